"""The sections of a page that follow from a result alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detl import plots
from detl.metrics import PER_CLASS
from detl.reporting.parts import Section, Table, kept, picture, plural, table
from detl.screening.pooling import estimate_of
from detl.validation.results import CrossValidationResult
from detl.validation.tables import LABELS, number, unlearned

_SHADED = 30  # classes up to which a confusion matrix is a table
_CALIBRATED = 20  # classes up to which each has a slope
_HISTORIES = 20  # folds up to which each has a curve
_SUSPECTS = 20


def headline(result: CrossValidationResult) -> Section:
    """Return the first screen: what was classified, how well, and whether it leaks."""
    counts = [np.count_nonzero(result.labels == name) for name in result.classes]
    of_groups = ""
    if result.groups is not None and result.row_unit == "images":
        of_groups = f" of {plural(len(np.unique(result.groups)), 'group')}"
    names = [str(name) for name in result.classes]
    listed = ", ".join(f"{name} ({count:,})" for name, count in zip(names, counts, strict=True))
    if len(names) > _SHADED:
        listed = f"{len(names)} classes"
    return Section(
        name="summary",
        title="Summary",
        says=f"{plural(len(result.labels), result.row_unit[:-1])}{of_groups} were classified: "
        f"{listed}. Every prediction is of a network that was not trained on that image: "
        f"{plural(len(result.folds), 'fold')}{kept(result)}.",
        tables=(confusion(result),) if len(names) <= _SHADED else (),
        pictures=()
        if len(names) <= _SHADED
        else (picture(plots.confusion_matrix(result), "Confusion matrix"),),
    )


def confusion(result: Any) -> Table:
    """Return the confusion matrix, shaded by shares of the true class."""
    matrix = result.confusion_matrix
    totals = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = [str(name) for name in result.classes]
    rows = [*names, *map(str, getattr(result, "unknown", []))]
    return table(
        ["true class", *names],
        [[name, *counts] for name, counts in zip(rows, matrix.tolist(), strict=True)],
        caption="Confusion matrix: how many of each class (rows) were called what (columns).",
        shades=tuple(map(tuple, (matrix / totals).round(3).tolist())),
    )


def scores(result: CrossValidationResult) -> Section:
    """Return all scores with intervals."""
    overall = [
        [LABELS.get(name, name), estimate_of(score), f"{number(score.std)}".strip()]
        for name, score in result.scores.items()
    ]
    counts = result.confusion_matrix.sum(axis=1)
    by_class = [
        [name, f"{count:,}", *(estimate_of(score) for score in of_class.values())]
        for (name, of_class), count in zip(result.class_scores.items(), counts, strict=True)
    ]
    heads = [LABELS.get(name, name) for name in PER_CLASS]
    method = result.interval.method
    return Section(
        name="scores",
        title="Scores",
        says=f"Means over folds with 95 % intervals ({method}). The interval covers new "
        f"{result.unit} of the same kind; the spread over folds also covers retraining.",
        tables=(
            table(["score", "mean (95 % interval)", "standard deviation over folds"], overall),
            table(
                ["class", result.row_unit, *heads],
                by_class,
                caption="Each class against all others.",
            ),
        ),
    )


def curves(result: CrossValidationResult) -> Section:
    """Return ROC curves."""
    return Section(
        name="roc",
        title="ROC curves",
        says="The closer a curve comes to the upper left corner, the better the classifier "
        "separates this class from all others. The band is the 95 % interval.",
        pictures=(picture(plots.roc_curves(result), "ROC curves, one class against the rest"),),
    )


def calibration(result: CrossValidationResult) -> Section:
    """Return the reliability diagram, slopes and the temperature."""
    tables: tuple[Table, ...] = ()
    says = (
        "Can the probabilities be taken at their word? Points on the diagonal say yes; below it, "
        "the classifier is surer than it is right."
    )
    if len(result.classes) <= _CALIBRATED:
        found = result.recalibration()
        tables = (
            table(
                ["class", "slope (1 is right)", "intercept (0 is right)"],
                [[name, slope, found.intercepts[name]] for name, slope in found.slopes.items()],
            ),
            table(
                ["", "as predicted", "at a temperature found on the other folds"],
                [
                    [name.replace("_", " "), before, found.after.get(name, "-")]
                    for name, before in found.before.items()
                ],
                caption=f"Temperature {found.temperature:.2f}. {found.verdict}",
            ),
        )
    diagram = plots.reliability_diagram(result)
    return Section(
        name="calibration",
        title="Calibration",
        says=says,
        tables=tables,
        pictures=(picture(diagram, "Accuracy over confidence"),),
    )


def training(result: CrossValidationResult) -> Section | None:
    """Return the learning curves, and whether the networks learned; None without histories."""
    if not all(fold.history.get("loss") for fold in result.folds):
        return None
    reason = unlearned(result)
    says = (
        f"{reason}."
        if reason
        else "Each line is a fold. A loss that still falls at the end asks for more epochs."
    )
    shown = [fold.history for fold in result.folds[:_HISTORIES]]
    alt = "Loss and accuracy over the epochs of each fold"
    return Section(
        name="training",
        title="Training",
        says=says,
        pictures=(picture(plots.learning_curves(shown), alt),),
    )


def doubtful(
    result: CrossValidationResult, images: Any, names: Sequence[Any] | None
) -> Section | None:
    """Return the images whose label is doubted most; None where all are right."""
    found = result.suspects(_SUSPECTS, names=names)
    if not len(found.rows):
        return None
    files = [] if found.names is None else ["file"]
    rows = [
        [row, label, f"{of_label:.3f}", taken, f"{of_taken:.3f}", *map(str, file)]
        for row, label, of_label, taken, of_taken, *file in zip(
            found.rows,
            found.labels,
            found.of_label,
            found.predictions,
            found.of_prediction,
            *([] if found.names is None else [found.names]),
            strict=True,
        )
    ]
    shown = [] if images is None else [plots.most_confused(result, images)]
    alt = "The images whose own class got the least probability"
    return Section(
        name="errors",
        title="Most doubtful labels",
        says=f"{plural(found.n_wrong, result.row_unit[:-1])} of {len(result.labels):,} are taken "
        "for another class than their label. Look at these first: wrong labels, bad images, or "
        "what the classifier cannot do.",
        tables=(
            table(["image", "label", "probability", "taken for", "probability", *files], rows),
        ),
        pictures=tuple(picture(figure, alt) for figure in shown),
    )


def audit(result: CrossValidationResult) -> Section:
    """Return what the audit of the folds found."""
    leaks = result.audit.leaks
    return Section(
        name="audit",
        title="Audit of the folds",
        says="These images or groups are on both sides of a split, so the scores are too high."
        if leaks
        else "The checks that were made found no leak between training and test images.",
        points=tuple(leaks),
        text=str(result.audit),
    )


def settings(result: CrossValidationResult) -> Section:
    """Return settings, versions and digests."""
    rows = [[name, value] for name, value in _flat(result.settings) if name != "fold_seeds"]
    rows += [["fold seeds", ", ".join(map(str, result.fold_seeds))]]
    return Section(
        name="settings",
        title="Settings, versions, digests",
        says="What is needed to repeat the run. Digests tell whether images, labels, folds and "
        "weights are the same.",
        tables=(
            table(["setting", "value"], rows),
            table(["package", "version"], list(result.versions.items())),
        ),
    )


def _flat(values: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, f"{above}{name}: ")
        else:
            found.append((f"{above}{name}".replace("_", " "), value))
    return found
