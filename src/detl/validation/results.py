"""What a cross-validation found: predictions first, everything else follows from them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix

from detl import folds, metrics
from detl.metrics.intervals import FEW_UNITS
from detl.storage.reading import read_json
from detl.storage.writing import write_json

if TYPE_CHECKING:
    from pandas import DataFrame

    from detl.folds.audit_report import Audit
from detl.folds.splitting import Indices

_WIDTH = 110  # of the table, where class names are short
_LABELS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "calibration_error": "calibration error",
    "brier_score": "Brier score",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldResult:
    """What one fold found.

    Attributes
    ----------
    train, test : numpy.ndarray of int
        Row indices of the images.
    probabilities : numpy.ndarray of shape (n_test, n_classes)
        Predicted probabilities of the test images, float32, in the order of ``test``.
    history : dict of str to list of float
        Course of the training, one entry per epoch.
    seed : int
        ``random_state`` with which a fit on ``train`` repeats the fold. Augmented views are drawn
        once for all folds, from ``settings["views_seed"]``, so that with them it draws others.
    start : str
        SHA-256 digest of the weights that training began with, the new layer left out: the same
        in every fold, or the folds would not be independent.
    seconds : float
        Wall time of fit and prediction.
    """

    train: np.ndarray
    test: np.ndarray
    probabilities: np.ndarray
    history: dict[str, list[float]] = field(repr=False)
    seed: int
    start: str
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidationResult:
    """What cross-validation found; ``print`` it for a table.

    Attributes
    ----------
    classes : numpy.ndarray of shape (n_classes,)
        Class names, sorted.
    labels : numpy.ndarray of shape (n,)
        True class of each image.
    groups : numpy.ndarray of shape (n,) or None
        Group of each image, where groups were given.
    folds : tuple of FoldResult
        Predictions, history, seed and wall time of each fold; repeats follow each other.
    audit : Audit
        What :func:`detl.folds.audit` found out about the folds.
    settings : dict
        Parameters of the transfer and of the cross-validation, digests of source and data, the kind
        of ``device`` (``"cpu"``, ``"gpu"``), and the ``precision`` that was computed in, which of
        ``"auto"`` is not known before.
    versions : dict of str to str
        Of Python and the packages that computed the result.
    seconds : dict of str to float
        Wall time of this run: ``features`` (all that comes before the first fold, the trunk above
        all; 0 if no fold was left to train), ``total``. Of a run that went on from
        ``checkpoint_dir``, the folds before are not in it.
    """

    classes: np.ndarray
    labels: np.ndarray = field(repr=False)
    groups: np.ndarray | None = field(repr=False)
    folds: tuple[FoldResult, ...] = field(repr=False)
    audit: Audit = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    versions: dict[str, str] = field(repr=False)
    seconds: dict[str, float] = field(repr=False)

    # ------------------------------------------------------------------------- predictions

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Out-of-fold probabilities ``(n, n_classes)``; row i belongs to image i.

        With repeats, the mean over the folds that tested the image; NaN where none did.
        """
        total = np.zeros((len(self.labels), len(self.classes)))
        for fold in self.folds:
            total[fold.test] += fold.probabilities
        with np.errstate(invalid="ignore"):
            return (total / self._times_tested[:, None]).astype("float32")

    @cached_property
    def predictions(self) -> np.ndarray:
        """Most probable class of each image, ``(n,)``; None where no fold tested it."""
        tested = self._times_tested > 0
        found = self.classes[np.where(tested[:, None], self.probabilities, 0).argmax(axis=1)]
        if not tested.all():
            found = found.astype(object)
            found[~tested] = None
        return found

    @cached_property
    def fold_of(self) -> np.ndarray:
        """First fold in which each image was tested, ``(n,)``; -1 if none did."""
        found = np.full(len(self.labels), -1)
        for number, fold in reversed(list(enumerate(self.folds))):
            found[fold.test] = number
        return found

    @cached_property
    def _times_tested(self) -> np.ndarray:
        tested = np.concatenate([fold.test for fold in self.folds])
        return np.bincount(tested, minlength=len(self.labels))

    @property
    def indices(self) -> list[Indices]:
        """Row indices ``(train, test)`` of each fold."""
        return [(fold.train, fold.test) for fold in self.folds]

    @property
    def histories(self) -> list[dict[str, list[float]]]:
        """Course of the training of each fold."""
        return [fold.history for fold in self.folds]

    @property
    def fold_seeds(self) -> list[int]:
        """Seed of each fold.

        ``transfer.set_params(random_state=fold_seeds[k]).fit(images[train], labels[train])``
        repeats fold k.
        """
        return [fold.seed for fold in self.folds]

    # ------------------------------------------------------------------------------ scores

    @cached_property
    def scores(self) -> dict[str, metrics.Score]:
        """Scores over all classes, see :func:`detl.metrics.scores`."""
        return self._all_scores[0]

    @cached_property
    def class_scores(self) -> dict[Any, dict[str, metrics.Score]]:
        """Scores of each class against the rest, see :func:`detl.metrics.scores`."""
        return dict(zip(self.classes.tolist(), self._all_scores[1], strict=True))

    @cached_property
    def _all_scores(self) -> tuple[dict[str, metrics.Score], list[dict[str, metrics.Score]]]:
        return metrics.scores(self.fold_predictions, unit=self.unit, random_state=self._draw_seed)

    @property
    def _draw_seed(self) -> int:
        return int(self.settings["interval_seed"])

    @property
    def unit(self) -> str:
        """What an interval redraws as a whole: ``"images"`` or ``"groups"``."""
        return "images" if self.groups is None else "groups"

    @cached_property
    def fold_predictions(self) -> list[metrics.Predictions]:
        """Predictions of each fold, for :mod:`detl.metrics`."""
        targets = np.searchsorted(self.classes, self.labels)
        units = np.arange(len(self.labels))
        if self.groups is not None:
            units = np.unique(self.groups, return_inverse=True)[1]
        return [
            metrics.Predictions(
                targets=targets[fold.test],
                probabilities=fold.probabilities,
                units=units[fold.test],
            )
            for fold in self.folds
        ]

    @property
    def accuracies(self) -> np.ndarray:
        """Share of right predictions among each fold's test images, ``(n_folds,)``."""
        return np.array(self.scores["accuracy"].folds)

    @property
    def accuracy(self) -> float:
        """Mean of the folds' accuracies, in [0, 1]."""
        return self.scores["accuracy"].mean

    @property
    def accuracy_std(self) -> float:
        """Sample standard deviation (n - 1) of the folds' accuracies, in [0, 1]."""
        return self.scores["accuracy"].std

    @property
    def interval(self) -> metrics.Interval:
        """95 % interval of the accuracy, and how it was found."""
        return self.scores["accuracy"].interval

    @cached_property
    def confusion_matrix(self) -> np.ndarray:
        """Counts summed over folds, ``(n_classes, n_classes)`` (Basu et al. 2020, Fig. 3).

        Rows are true classes, columns predicted ones.
        """
        return self.fold_confusion_matrices.sum(axis=0)

    @cached_property
    def fold_confusion_matrices(self) -> np.ndarray:
        """Counts of each fold, ``(n_folds, n_classes, n_classes)``."""
        every = np.arange(len(self.classes))
        return np.stack(
            [
                confusion_matrix(fold.targets, fold.probabilities.argmax(axis=1), labels=every)
                for fold in self.fold_predictions
            ]
        )

    # ------------------------------------------------------------------------ other forms

    def scores_frame(self) -> DataFrame:
        """Return all scores as a pandas data frame, one row per score and class.

        Columns: ``score``, ``class`` (None for scores over all classes), ``mean``, ``std``,
        ``low``, ``high``, ``method``, ``folds_without``, and ``fold_0``, ``fold_1``, ...

        Raises
        ------
        ImportError
            If pandas, an extra, is not installed.
        """
        rows = [(name, None, score) for name, score in self.scores.items()]
        rows += [
            (name, label, score)
            for label, scores in self.class_scores.items()
            for name, score in scores.items()
        ]
        pandas = _pandas()
        frame = pandas.DataFrame(
            [
                {
                    "score": name,
                    "class": label,
                    "mean": score.mean,
                    "std": score.std,
                    "low": score.interval.low,
                    "high": score.interval.high,
                    "method": score.interval.method,
                    "folds_without": score.n_missing,
                    **{f"fold_{number}": value for number, value in enumerate(score.folds)},
                }
                for name, label, score in rows
            ]
        )
        # pandas would turn whole numbers beside None into floats.
        frame["class"] = pandas.Series([label for _, label, _ in rows], dtype=object)
        return frame

    def predictions_frame(self) -> DataFrame:
        """Return every out-of-fold prediction as a pandas data frame, one row per fold and image.

        Columns: ``fold``, ``image`` (row index), ``group`` where groups were given, ``label``,
        ``prediction``, and ``probability_<class>`` for each class.

        Raises
        ------
        ImportError
            If pandas, an extra, is not installed.
        """
        test = np.concatenate([fold.test for fold in self.folds])
        probabilities = np.concatenate([fold.probabilities for fold in self.folds])
        columns: dict[str, Any] = {
            "fold": np.repeat(np.arange(len(self.folds)), [len(fold.test) for fold in self.folds]),
            "image": test,
        }
        if self.groups is not None:
            columns["group"] = self.groups[test]
        columns["label"] = self.labels[test]
        columns["prediction"] = self.classes[probabilities.argmax(axis=1)]
        for name, column in zip(self.classes, probabilities.T, strict=True):
            columns[f"probability_{name}"] = column
        return _pandas().DataFrame(columns)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in lists, strings and numbers that JSON can hold.

        ``scores`` and ``class_scores`` are there for other readers; :meth:`from_dict` computes
        them anew. Groups that JSON has no type for, such as dates, become strings.
        """
        return {
            "classes": self.classes.tolist(),
            "labels": self.labels.tolist(),
            "groups": None if self.groups is None else _group_names(self.groups),
            "folds": [
                {
                    "train": fold.train.tolist(),
                    "test": fold.test.tolist(),
                    "probabilities": fold.probabilities.tolist(),
                    "history": {k: list(map(_to_json, v)) for k, v in fold.history.items()},
                    "seed": fold.seed,
                    "start": fold.start,
                    "seconds": fold.seconds,
                }
                for fold in self.folds
            ],
            "audit": self.audit.to_dict(),
            "settings": self.settings,
            "versions": self.versions,
            "seconds": self.seconds,
            "scores": _scores_to_dict(self.scores),
            "class_scores": [
                {"class": name, **_scores_to_dict(scores)}
                for name, scores in self.class_scores.items()
            ],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> CrossValidationResult:
        """Return the result that :meth:`to_dict` wrote down."""
        missing = {one.name for one in fields(cls)} - set(record)
        if missing:
            raise ValueError(
                f"The record has no {', '.join(sorted(missing))}; expected what "
                "CrossValidationResult.to_dict returns."
            )
        groups = record["groups"]
        return cls(
            classes=np.asarray(record["classes"]),
            labels=np.asarray(record["labels"]),
            groups=None if groups is None else np.asarray(groups),
            folds=tuple(
                FoldResult(
                    train=np.asarray(fold["train"]),
                    test=np.asarray(fold["test"]),
                    probabilities=np.asarray(fold["probabilities"], dtype="float32"),
                    history={k: list(map(float, v)) for k, v in fold["history"].items()},
                    seed=fold["seed"],
                    start=fold["start"],
                    seconds=fold["seconds"],
                )
                for fold in record["folds"]
            ),
            audit=folds.Audit.from_dict(record["audit"]),
            settings=dict(record["settings"]),
            versions=dict(record["versions"]),
            seconds=dict(record["seconds"]),
        )

    def save(self, path: str | Path) -> Path:
        """Write the result to a JSON file, and return its path."""
        path = Path(path)
        record = self.to_dict()  # before a folder is made: not every label can be written
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_json(path, record)

    @classmethod
    def load(cls, path: str | Path) -> CrossValidationResult:
        """Read the result that :meth:`save` wrote.

        Raises
        ------
        ValueError
            If the file is anything else, or was changed since.
        """
        expected = "expected what CrossValidationResult.save writes."
        record = read_json(Path(path), remedy=expected)
        if not isinstance(record, dict):
            raise ValueError(f"{path} has a {type(record).__name__}; {expected}")
        return cls.from_dict(record)

    # -------------------------------------------------------------------------- the table

    def __str__(self) -> str:
        """Return the table worth pasting."""
        accuracy = self.scores["accuracy"]
        folds = "  ".join(f"{value:.3f}" for value in accuracy.folds)
        lines = [
            f"accuracy {_number(accuracy.mean)} ± {_number(accuracy.std)} (share of images; mean ± "
            f"standard deviation over {len(self.folds)} folds, {self._protocol()})",
            f"95 % interval {accuracy.interval.low:.3f} to {accuracy.interval.high:.3f} "
            f"({accuracy.interval.method})",
            *textwrap.wrap(f"folds {folds}", _WIDTH, subsequent_indent=" " * len("folds ")),
            "",
            *self._overall_lines(),
            "",
            *self._class_lines(),
            "",
            *self._matrix_lines(),
        ]
        notes = self._notes()
        if notes:
            lines += ["", *notes]
        if self.audit.leaks:
            lines += ["", "LEAKS: the scores above flatter"]
            for sentence in self.audit.leaks:
                lines += textwrap.wrap(f"- {sentence}", _WIDTH, subsequent_indent="  ")
        return "\n".join(lines)

    def _protocol(self) -> str:
        if self.groups is None:
            return "split without groups"
        if any(
            np.isin(self.groups[fold.test], self.groups[fold.train]).any() for fold in self.folds
        ):
            return "groups on both sides"
        return "groups kept together"

    def _overall_lines(self) -> list[str]:
        lines = [f"{'score':<18}  {'mean ± std':<13}  95 % interval"]
        for name, score in self.scores.items():
            if name != "accuracy":
                mark = "*" if score.n_missing else " "
                lines.append(
                    f"{_LABELS[name]:<18}  {_number(score.mean)} ± {_number(score.std)}{mark} "
                    f"{_number(score.interval.low)} to {_number(score.interval.high)}".rstrip()
                )
        return lines

    def _class_lines(self) -> list[str]:
        names = [str(name) for name in self.class_scores]
        width = max(len("class"), *map(len, names))
        counts = self.confusion_matrix.sum(axis=1)
        headers = [_LABELS.get(name, name) for name in metrics.PER_CLASS]
        lines = [f"{'class':<{width}} {'images':>6}  " + "  ".join(f"{h:<20}" for h in headers)]
        for name, count, scores in zip(names, counts, self.class_scores.values(), strict=True):
            cells = []
            for score in scores.values():
                mark = "*" if score.n_missing else ""
                interval = f"({_number(score.interval.low)}–{_number(score.interval.high)})"
                if np.isnan(score.mean):
                    interval = " " * len(interval)
                cells.append(f"{_number(score.mean)} {interval}{mark}")
            lines.append(f"{name:<{width}} {count:>6d}  " + "  ".join(f"{c:<20}" for c in cells))
        return [line.rstrip() for line in lines]

    def _matrix_lines(self) -> list[str]:
        names = [str(name) for name in self.classes]
        width = max(len("class"), *map(len, names))
        cell = max(7, *(len(name) + 2 for name in names))
        return [
            "confusion matrix, summed over folds (rows: true, columns: predicted)",
            " " * width + "".join(f"{name:>{cell}}" for name in names),
            *(
                f"{name:<{width}}" + "".join(f"{count:>{cell}d}" for count in counts)
                for name, counts in zip(names, self.confusion_matrix, strict=True)
            ),
        ]

    def _notes(self) -> list[str]:
        lines = []
        if any(score.n_missing for score in self._every_score()):
            lines.append(
                "* mean over the folds that have the score: others lack a class, or never predict "
                "it."
            )
        untrained = [
            str(name)
            for number, name in enumerate(self.classes)
            if ((self.audit.train_counts == 0) & (self.audit.test_counts > 0))[:, number].any()
        ]
        if untrained:
            lines.append(
                f"Not trained on in every fold that tests it, and there counted as wrong: "
                f"{', '.join(untrained)}."
            )
        if (self._times_tested > 1).any():
            lines.append("An image counts as often as it was tested, in several folds here.")
        if any(score.interval.low == score.interval.high for score in self._every_score()):
            # Hanley & Lippman-Hand 1983, "If Nothing Goes Wrong, Is Everything All Right?"
            lines.append(
                "An interval of no width is not certainty: where none of n is wrong, up to 3/n may "
                f"be (n: {self.unit})."
            )
        n_units = len(np.unique(np.concatenate([fold.units for fold in self.fold_predictions])))
        if 1 < n_units < FEW_UNITS:
            lines.append(
                f"Over {n_units} {self.unit} the intervals are too narrow: they hold the true "
                "value less often than 95 times in 100."
            )
        untested = int((self._times_tested == 0).sum())
        if untested:
            lines.append(f"{untested} of {len(self.labels)} images were tested by no fold.")
        return lines

    def _every_score(self) -> list[metrics.Score]:
        per_class = [score for scores in self.class_scores.values() for score in scores.values()]
        return [*self.scores.values(), *per_class]


def _number(value: float) -> str:
    return "  -  " if np.isnan(value) else f"{value:.3f}"


def _to_json(value: float) -> float | str:
    """Return the number, or its name where JSON has none for it (``float`` reads both)."""
    return float(value) if np.isfinite(value) else str(float(value))


def _group_names(groups: np.ndarray) -> list[Any]:
    names = np.asarray(groups.tolist())  # objects of one type get that type
    return names.tolist() if names.dtype.kind in "biufU" else [str(name) for name in groups]


def _scores_to_dict(scores: Mapping[str, metrics.Score]) -> dict[str, Any]:
    def known(value: float) -> float | None:
        return None if np.isnan(value) else value

    return {
        name: {
            "mean": known(score.mean),
            "std": known(score.std),
            "low": known(score.interval.low),
            "high": known(score.interval.high),
            "method": score.interval.method,
            "folds": list(map(known, score.folds)),
        }
        for name, score in scores.items()
    }


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "Data frames need pandas, which is an extra: run `pip install '.[frames]'` in the "
            "folder of detl, or `pip install pandas`. to_dict() gives the same without it."
        ) from error
    return pandas
