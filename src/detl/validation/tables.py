"""The table of a result, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from detl import metrics
from detl.metrics.intervals import FEW_UNITS, no_width_notes, units_of
from detl.metrics.learning import not_learned_in_folds

if TYPE_CHECKING:
    from detl.validation.results import CrossValidationResult

SPLIT = (
    "Groups of several classes were split by the label of their images, which is not known "
    "for new images: the scores are too high."
)
_WIDTH = 110  # of the table, where class names are short
LABELS = {
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "roc_auc": "ROC AUC",
    "calibration_error": "calibration error",
    "brier_score": "Brier score",
}


def table_of(result: CrossValidationResult) -> str:
    """Return scores with intervals, the confusion matrix, and what to know about both, as text."""
    accuracy = result.scores["accuracy"]
    folds = "  ".join(f"{value:.3f}" for value in accuracy.folds)
    lines = [
        f"accuracy {number(accuracy.mean)} ± {number(accuracy.std)} (share of {result.row_unit}; "
        f"mean ± standard deviation over {len(result.folds)} folds, {_protocol(result)})",
        f"95 % interval {accuracy.interval.low:.3f} to {accuracy.interval.high:.3f} "
        f"({accuracy.interval.method})",
        *textwrap.wrap(f"folds {folds}", _WIDTH, subsequent_indent=" " * len("folds ")),
        "",
        *_overall_lines(result),
        "",
        *_class_lines(result),
        "",
        *matrix_lines(
            "confusion matrix, summed over folds",
            result.confusion_matrix,
            result.classes.tolist(),
            result.classes.tolist(),
        ),
    ]
    notes = _notes(result)
    if notes:
        lines += ["", *notes]
    if result.audit.leaks:
        lines += ["", "LEAKS: the scores above are too optimistic"]
        for sentence in result.audit.leaks:
            lines += textwrap.wrap(f"- {sentence}", _WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def unlearned(result: CrossValidationResult) -> str | None:
    """Say in how many folds a network has not learned its training images, and how one failed."""
    return not_learned_in_folds(
        [(fold.history, result.labels[fold.train]) for fold in result.folds],
        weighted=result.settings.get("transfer", {}).get("class_weight") is not None,
    )


def _protocol(result: CrossValidationResult) -> str:
    if result.groups is None:
        return "split without groups"
    if any(
        np.isin(result.groups[fold.test], result.groups[fold.train]).any() for fold in result.folds
    ):
        return "groups on both sides"
    return "groups kept together"


def _overall_lines(result: CrossValidationResult) -> list[str]:
    lines = [f"{'score':<18}  {'mean ± std':<13}  95 % interval"]
    for name, score in result.scores.items():
        if name != "accuracy":
            mark = "*" if score.n_missing else " "
            lines.append(
                f"{LABELS[name]:<18}  {number(score.mean)} ± {number(score.std)}{mark} "
                f"{number(score.interval.low)} to {number(score.interval.high)}".rstrip()
            )
    return lines


def _class_lines(result: CrossValidationResult) -> list[str]:
    names = [str(name) for name in result.class_scores]
    width = max(len("class"), *map(len, names))
    counts = result.confusion_matrix.sum(axis=1)
    headers = [LABELS.get(name, name) for name in metrics.PER_CLASS]
    lines = [f"{'class':<{width}} {result.row_unit:>6}  " + "  ".join(f"{h:<20}" for h in headers)]
    for name, count, scores in zip(names, counts, result.class_scores.values(), strict=True):
        cells = []
        for score in scores.values():
            mark = "*" if score.n_missing else ""
            interval = f"({number(score.interval.low)}–{number(score.interval.high)})"
            if np.isnan(score.mean):
                interval = " " * len(interval)
            cells.append(f"{number(score.mean)} {interval}{mark}")
        lines.append(f"{name:<{width}} {count:>6d}  " + "  ".join(f"{c:<20}" for c in cells))
    return [line.rstrip() for line in lines]


def matrix_lines(
    title: str, matrix: np.ndarray, rows: Sequence[Any], columns: Sequence[Any]
) -> list[str]:
    """Return a confusion matrix under its title: rows are true classes, columns predicted ones."""
    of_rows, of_columns = ([str(name) for name in names] for names in (rows, columns))
    width = max(len("class"), *map(len, of_rows))
    cell = max(7, *(len(name) + 2 for name in of_columns))
    return [
        f"{title} (rows: true, columns: predicted)",
        " " * width + "".join(f"{name:>{cell}}" for name in of_columns),
        *(
            f"{name:<{width}}" + "".join(f"{count:>{cell}d}" for count in counts)
            for name, counts in zip(of_rows, matrix, strict=True)
        ),
    ]


def _notes(result: CrossValidationResult) -> list[str]:
    lines = []
    if any(score.n_missing for score in _every_score(result)):
        lines.append(
            "* mean over the folds that have the score: others lack a class, or never predict it."
        )
    untrained = [
        str(name)
        for number, name in enumerate(result.classes)
        if ((result.audit.train_counts == 0) & (result.audit.test_counts > 0))[:, number].any()
    ]
    if untrained:
        lines.append(
            f"Not trained on in every fold that tests it, and there counted as wrong: "
            f"{', '.join(untrained)}."
        )
    if "split" in str(result.settings.get("by_group")):
        lines += textwrap.wrap(SPLIT, _WIDTH)
    if (result.times_tested > 1).any():
        lines.append("An image counts as often as it was tested, in several folds here.")
    lines += no_width_notes((score.interval for score in _every_score(result)), result.unit)
    n_units = len(units_of(result.fold_predictions))
    if 1 < n_units < FEW_UNITS:
        lines.append(
            f"Over {n_units} {result.unit} the intervals are too narrow: they hold the true "
            "value less often than 95 times in 100."
        )
    reason = unlearned(result)
    if reason is not None:
        lines += textwrap.wrap(f"{reason}.", _WIDTH)
    untested = int((result.times_tested == 0).sum())
    if untested:
        lines.append(f"{untested} of {len(result.labels)} images were tested by no fold.")
    return lines


def _every_score(result: CrossValidationResult) -> list[metrics.Score]:
    per_class = [score for scores in result.class_scores.values() for score in scores.values()]
    return [*result.scores.values(), *per_class]


def number(value: float) -> str:
    """Return a share with three decimals, or a dash for NaN."""
    return "  -  " if np.isnan(value) else f"{value:.3f}"
