"""What a cross-validation found: predictions first, everything else follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.metrics import confusion_matrix

from detl import metrics
from detl.checks import check_path
from detl.storage.reading import read_json
from detl.storage.writing import write_json
from detl.validation.analyses import PredictionAnalyses
from detl.validation.frames import predictions_frame, scores_frame
from detl.validation.patients import Join, joined, name_of, rows_of_groups
from detl.validation.records import fields_of, record_of
from detl.validation.tables import table_of

if TYPE_CHECKING:
    from pandas import DataFrame

    from detl.folds.audit_report import Audit
    from detl.folds.splitting import Indices


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldResult:
    """What one fold found.

    Attributes
    ----------
    train, test : numpy.ndarray of int
        Row indices of the images.
    probabilities : numpy.ndarray of shape (n_test, n_classes)
        Predicted probabilities of the test images, float32, in the order of ``test``.
    decisions : numpy.ndarray of int, shape (n_test,), or None
        Index of the class that the classifier decided for, where that is not always the most
        probable: a threshold was tuned, or a machine decides by other numbers.
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
    chosen : dict
        ``best_params_`` of a search: what it chose on the fold's training images; else empty.
    """

    train: np.ndarray
    test: np.ndarray
    probabilities: np.ndarray
    history: dict[str, list[float]] = field(repr=False)
    seed: int
    start: str
    seconds: float
    decisions: np.ndarray | None = None
    chosen: dict[str, Any] = field(default_factory=dict)

    @property
    def predicted(self) -> np.ndarray:
        """Index of the class that was decided for, ``(n_test,)``."""
        if self.decisions is None:
            return np.asarray(self.probabilities.argmax(axis=1))
        return self.decisions


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidationResult(PredictionAnalyses):
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
        of ``device`` (``"cpu"``, ``"gpu"``), and the ``precision`` that was computed in.
    versions : dict of str to str
        Of Python and the packages that computed the result.
    seconds : dict of str to float
        Wall time of this run alone: ``features`` (all that comes before the first fold, the trunk
        above all; 0 if no fold was left to train), ``total``.
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
            return (total / self.times_tested[:, None]).astype("float32")

    @cached_property
    def predictions(self) -> np.ndarray:
        """Class that was decided for, ``(n,)``; None where no fold tested the image.

        The most probable one, unless the classifier decides otherwise. Where several folds with
        decisions of their own tested an image, most of them decide, and of ties the probability.
        """
        tested = self.times_tested > 0
        votes = np.where(tested[:, None], self.probabilities, 0)
        if any(fold.decisions is not None for fold in self.folds):
            for fold in self.folds:
                votes[fold.test, fold.predicted] += 2  # more than a probability can turn
        found = self.classes[votes.argmax(axis=1)]
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
    def times_tested(self) -> np.ndarray:
        """Number of folds that tested each image, ``(n,)``."""
        return np.bincount(self.predicted_rows, minlength=len(self.labels))

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
        """Seed of each fold."""
        return [fold.seed for fold in self.folds]

    # ------------------------------------------------------------------------------ scores

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
                decisions=fold.decisions,
            )
            for fold in self.folds
        ]

    @property
    def predicted_rows(self) -> np.ndarray:
        """Row of the image of each prediction, in the order of ``fold_predictions``."""
        return np.concatenate([fold.test for fold in self.folds])

    @property
    def accuracies(self) -> np.ndarray:
        """Share of right predictions among each fold's test images, ``(n_folds,)``."""
        return np.array(self.scores["accuracy"].folds)

    @property
    def accuracy_std(self) -> float:
        """Sample standard deviation (n - 1) of the folds' accuracies, in [0, 1]."""
        return self.scores["accuracy"].std

    @cached_property
    def confusion_matrix(self) -> np.ndarray:
        """Counts summed over folds, ``(n_classes, n_classes)``, as in Basu et al. 2020, Figure 3.

        Rows are true classes, columns predicted ones.
        """
        return self.fold_confusion_matrices.sum(axis=0)

    @cached_property
    def fold_confusion_matrices(self) -> np.ndarray:
        """Counts of each fold, ``(n_folds, n_classes, n_classes)``."""
        every = np.arange(len(self.classes))
        return np.stack(
            [
                confusion_matrix(fold.targets, fold.predicted, labels=every)
                for fold in self.fold_predictions
            ]
        )

    def by_group(
        self,
        join: Join = "mean",
        *,
        several_labels: Literal["raise", "split"] = "raise",
    ) -> CrossValidationResult:
        """Return the result of groups, such as patients: one row each, all scores again.

        Parameters
        ----------
        join : {"mean", "max"} or callable, default="mean"
            How the probabilities of a group's images become one: their mean, or the maximum of each
            class (one image is enough to call it), divided by their sum. A function takes
            ``(n_images, n_classes)`` and returns ``(n_classes,)``. Where the classifier decides
            otherwise than by the most probable class, the images of a group vote.
        several_labels : {"raise", "split"}, default="raise"
            What to do with groups that have images of several classes: refuse them by name, or keep
            each of their classes as a row of its own. Nobody knows these rows beforehand, so that
            scores are too optimistic; the table says so.

        Returns
        -------
        CrossValidationResult
            Its ``labels``, ``groups`` and rows are those of groups. A group that several folds
            test has a prediction in each.
        """
        first, row_of = rows_of_groups(self.labels, self.groups, several_labels=several_labels)
        folds = []
        for fold in self.folds:
            rows, place = np.unique(row_of[fold.test], return_inverse=True)
            probabilities, decisions = joined(fold.probabilities, fold.decisions, place, join)
            folds.append(
                replace(
                    fold,
                    train=np.unique(row_of[fold.train]),
                    test=rows,
                    probabilities=probabilities,
                    decisions=decisions,
                )
            )
        return replace(
            self,
            labels=self.labels[first],
            groups=None if self.groups is None else self.groups[first],
            folds=tuple(folds),
            settings={**self.settings, "by_group": name_of(join, several_labels=several_labels)},
        )

    # ------------------------------------------------------------------------ other forms

    def scores_frame(self) -> DataFrame:
        """Return all scores as a pandas data frame, one row per score and class.

        Columns: ``score``, ``class`` (None for scores over all classes), ``mean``, ``std``,
        ``low``, ``high``, ``method``, ``folds_without``, and ``fold_0``, ``fold_1``, ...
        """
        return scores_frame(self)

    def predictions_frame(self) -> DataFrame:
        """Return every out-of-fold prediction as a pandas data frame, one row per fold and image.

        Columns: ``fold``, ``image`` (row index), ``group`` where groups were given, ``label``,
        ``prediction``, and ``probability_<class>`` for each class.
        """
        return predictions_frame(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in lists, strings and numbers that JSON can hold.

        ``scores`` and ``class_scores`` are there for other readers; :meth:`from_dict` computes
        them anew. Groups that JSON has no type for, such as dates, become strings.
        """
        return record_of(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> CrossValidationResult:
        """Return the result that :meth:`to_dict` wrote down."""
        found = fields_of(record)
        return cls(**found | {"folds": tuple(FoldResult(**fold) for fold in found["folds"])})

    def save(self, path: str | Path) -> Path:
        """Write the result to a JSON file, and return its path."""
        path = check_path("path", path)
        record = self.to_dict()  # before a folder is made: not every label can be written
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_json(path, record)

    @classmethod
    def load(cls, path: str | Path) -> CrossValidationResult:
        """Read the result that :meth:`save` wrote; a file that was changed since is refused."""
        expected = "expected what CrossValidationResult.save writes."
        record = read_json(check_path("path", path), remedy=expected)
        if not isinstance(record, dict):
            raise ValueError(f"{path} has a {type(record).__name__}; {expected}")
        return cls.from_dict(record)

    def __str__(self) -> str:
        """Return the table as text."""
        return table_of(self)
