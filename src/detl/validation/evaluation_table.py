"""The table of an evaluation, as text."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from detl.metrics import PER_CLASS
from detl.metrics.intervals import FEW_UNITS, no_width_notes, units_of
from detl.screening.pooling import Estimate, estimate_of
from detl.validation.tables import LABELS, SPLIT, matrix_lines, number

if TYPE_CHECKING:
    from detl.validation.evaluation import Evaluation

_WIDTH = 110
_MIX = 0.05  # difference of a class's share that is worth a word


def table_of(found: Evaluation) -> str:
    """Return scores, changes, the confusion matrix, and what to know about them, as text."""
    lines = [
        *_headline(found),
        "",
        *_overall_lines(found),
        "",
        *_class_lines(found),
        "",
        *matrix_lines(
            "confusion matrix",
            found.confusion_matrix,
            [*found.classes.tolist(), *found.unknown],
            found.classes.tolist(),
        ),
    ]
    notes = notes_of(found)
    if notes:
        lines += ["", *(line for note in notes for line in textwrap.wrap(note, _WIDTH))]
    if found.leaks:
        lines += ["", "LEAKS: the scores above are too optimistic"]
        for leak in found.leaks:
            lines += textwrap.wrap(f"- {leak}", _WIDTH, subsequent_indent="  ")
    return "\n".join(lines)


def _headline(found: Evaluation) -> list[str]:
    (mine,) = found.fold_predictions
    accuracy = found.scores["accuracy"]
    lines = [
        f"accuracy {number(accuracy.mean)} (share of {len(mine.targets)} external "
        f"{found.row_unit})",
        f"95 % interval {number(accuracy.interval.low)} to {number(accuracy.interval.high)} "
        f"({accuracy.interval.method})",
    ]
    if found.changes:
        change = found.changes["accuracy"]
        lines.append(
            f"internally {number(found.internal_scores['accuracy'])}; {points(change)} points here"
        )
    return lines


def _overall_lines(found: Evaluation) -> list[str]:
    lines = [f"{'score':<18}  {'here (95 % interval)':<24}"]
    if found.changes:
        lines[0] += "internal  change (95 % interval)"
    for name, score in found.scores.items():
        if name != "accuracy":
            line = f"{LABELS[name]:<18}  {estimate_of(score)!s:<24}"
            if found.changes:
                internal = number(found.internal_scores[name])
                line += f"{internal:<8}  {_signed(found.changes[name])}"
            lines.append(line.rstrip())
    return lines


def _class_lines(found: Evaluation) -> list[str]:
    names = [str(name) for name in found.class_scores]
    width = max(len("class"), *map(len, names))
    counts = found.confusion_matrix.sum(axis=1)
    heads = [LABELS.get(name, name) for name in PER_CLASS]
    head = f"{'class':<{width}} {found.row_unit:>6}  " + "  ".join(f"{h:<22}" for h in heads)
    lines = [head.rstrip()]
    for name, count, scores in zip(names, counts, found.class_scores.values(), strict=False):
        cells = [str(estimate_of(score)) for score in scores.values()]
        lines.append(f"{name:<{width}} {count:>6}  " + "  ".join(f"{c:<22}" for c in cells))
    if found.class_changes:
        lines.append("change from the internal result, in points")
        for label, changes in found.class_changes.items():
            cells = [points(change) for change in changes.values()]
            lines.append(f"{label!s:<{width}} {'':>6}  " + "  ".join(f"{c:<22}" for c in cells))
    return [line.rstrip() for line in lines]


def notes_of(found: Evaluation) -> list[str]:
    """Return what to know about the scores, in sentences."""
    said = []
    if found.absent:
        too = ", internally too" if found.internal else ""
        said.append(
            f"No {found.row_unit} of {', '.join(map(str, found.absent))}: means over classes are "
            f"of the others{too}."
        )
    if found.unknown:
        n = len(found.labels) - len(found.predicted_rows)
        said.append(
            f"The classifier does not know {', '.join(map(str, found.unknown))}: these {n} "
            f"{found.row_unit} are in the matrix, and in no score."
        )
    if found.changes and _mixes_differ(found):
        said.append(
            "The classes have other shares here than internally. Accuracy, precision and "
            "calibration change with that alone; sensitivity, specificity and ROC AUC do not."
        )
    n_units = len(units_of(found.fold_predictions))
    said += no_width_notes((score.interval for score in found.scores.values()), found.unit)
    if "split" in str(found.settings.get("by_group")):
        said.append(SPLIT)
    if 1 < n_units < FEW_UNITS:
        said.append(f"Over {n_units} {found.unit} the intervals are too narrow.")
    return said


def _mixes_differ(found: Evaluation) -> bool:
    """Whether some class has a share that differs enough to be worth a word."""
    if found.internal is None:
        return False
    present = [name for name in found.classes.tolist() if name not in found.absent]
    counts = [
        np.array([np.count_nonzero(labels == name) for name in present])
        for labels in (found.labels, found.internal.labels)
    ]
    return bool(np.abs(counts[0] / counts[0].sum() - counts[1] / counts[1].sum()).max() > _MIX)


def _signed(change: Estimate) -> str:
    low, high = change.interval.low, change.interval.high
    if np.isnan(change.value):
        return "-"
    return f"{change.value:+.3f} ({low:+.3f} to {high:+.3f})"


def points(change: Estimate) -> str:
    """Return a change in points, with its interval."""
    if np.isnan(change.value):
        return "-"
    value, low, high = (
        100 * number for number in (change.value, change.interval.low, change.interval.high)
    )
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
