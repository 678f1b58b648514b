"""The sections of a page that were given beside the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from detl import plots
from detl.metrics import PER_CLASS
from detl.reporting.evidence import confusion
from detl.reporting.parts import Section, picture, table
from detl.screening import DecisionCurve, Estimate, OperatingPoint, Subgroups
from detl.screening.operating_points import QUANTITIES
from detl.screening.pooling import estimate_of
from detl.screening.subgroups import SCORES, points_of
from detl.shortcuts import ShortcutReport
from detl.validation import Comparison, Evaluation, LearningCurve
from detl.validation.evaluation_table import notes_of, points
from detl.validation.results import CrossValidationResult
from detl.validation.tables import LABELS

Analysis = OperatingPoint | DecisionCurve | Subgroups | LearningCurve
_SHOWN = 3  # heatmaps of each class


def of_analysis(found: Any) -> Section:
    """Return the section of an analysis, refusing what is none."""
    makers: dict[type, Any] = {
        Subgroups: subgroups,
        OperatingPoint: operating_point,
        DecisionCurve: net_benefit,
        LearningCurve: learning_curve,
    }
    for kind, make in makers.items():
        if isinstance(found, kind):
            section: Section = make(found)
            return section
    raise TypeError(
        f"analyses has a {type(found).__name__}; expected what subgroups, operating_point and "
        "net_benefit of a result return, or detl.learning_curve."
    )


def subgroups(found: Subgroups) -> Section:
    """Return values of subgroups, and their differences to all others."""
    shown = [one for one in found.subgroups if one.differs]
    says = "No difference is shown, which is not to say that there is none."
    if shown:
        listed = ", ".join(
            f"{one.attribute} {one.name} ({', '.join(one.differs)})" for one in shown
        )
        says = f"Different from all others: {listed}."
    return Section(
        name="subgroups",
        title="Subgroups",
        says=f"{says} {found.measured[0].upper()}{found.measured[1:]}.",
        tables=(
            table(
                ["subgroup", found.counted, found.unit, *SCORES],
                [
                    [f"{one.attribute} {one.name}", one.n_images, one.n_units, *one.values.values()]
                    for one in found.subgroups
                ],
            ),
            table(
                ["subgroup", *SCORES],
                [
                    [f"{one.attribute} {one.name}", *(points_of(one, name) for name in SCORES)]
                    for one in found.subgroups
                ],
                caption=f"Difference from all other {found.counted}, in points, with 95 % "
                f"intervals. A star: the interval, widened for {found.n_comparisons} differences, "
                "leaves out zero. A dash: too few to judge.",
            ),
        ),
        pictures=(picture(found.plot(), "Scores of each subgroup with 95 % intervals"),),
    )


def operating_point(found: OperatingPoint) -> Section:
    """Return rates and predictive values at a threshold."""
    origin = "stated" if found.prevalence_given else "that of these images"
    (hits, misses), (alarms, passed) = found.counts.tolist()
    elsewhere = " No threshold was chosen on images that it is judged on."
    if found.aim == "given":
        elsewhere = ""
    return Section(
        name="threshold",
        title=f"Threshold for {found.class_name}",
        says=f"Called from a probability of {found.chosen} on ({found.aim}): {hits} of "
        f"{hits + misses} {found.counted} are found, and {alarms} of {alarms + passed} others are "
        f"called too.{elsewhere}",
        tables=(
            table(
                ["", "value (95 % interval)"],
                [[name.replace("_", " "), getattr(found, name)] for name in QUANTITIES],
                caption=f"Predictive values at a prevalence of {found.prevalence:.3g} ({origin}).",
            ),
        ),
    )


def net_benefit(found: DecisionCurve) -> Section:
    """Return the decision curve."""
    return Section(
        name="net_benefit",
        title=f"Net benefit of acting on {found.class_name}",
        says="The highest line is the best choice at a threshold: act on the prediction, on all, "
        f"or on none. {found.verdict}",
        pictures=(picture(found.plot(), "Net benefit over the threshold"),),
    )


def learning_curve(found: LearningCurve) -> Section:
    """Return scores by number of training images."""
    rows = [
        [f"{units:.0f}", f"{images:.0f}", estimate_of(result.scores[found.score])]
        for units, images, result in zip(found.n_units, found.n_images, found.results, strict=True)
    ]
    return Section(
        name="learning",
        title="Would more images help?",
        says=f"{found.verdict} The interval covers new test {found.unit}, but not another "
        "draw of training images or an error of the extrapolated curve.",
        tables=(
            table(
                [f"training {found.unit}", "training images", found.score.replace("_", " ")], rows
            ),
        ),
        pictures=(picture(found.plot(), "Score over the number of training images"),),
    )


def external(found: Evaluation) -> Section:
    """Return the scores of a classifier on images from elsewhere."""
    accuracy = f"accuracy {estimate_of(found.scores['accuracy'])}"
    says = f"On {len(found.labels):,} {found.row_unit} from elsewhere: {accuracy}."
    heads, rows = (
        ["score", "here (95 % interval)"],
        [[LABELS.get(name, name), estimate_of(score)] for name, score in found.scores.items()],
    )
    if found.changes:
        says += f" Internally {found.internal_scores['accuracy']:.3f}: a change of "
        says += f"{points(found.changes['accuracy'])} points."
        heads += ["internally", "change in points"]
        for row, (name, change) in zip(rows, found.changes.items(), strict=True):
            row += [f"{found.internal_scores[name]:.3f}", points(change)]
    by_class = [
        [name, *(estimate_of(score) for score in of_class.values())]
        for name, of_class in found.class_scores.items()
    ]
    return Section(
        name="external",
        title="External validation",
        says=says,
        tables=(
            table(heads, rows),
            table(["class", *(LABELS.get(name, name) for name in PER_CLASS)], by_class),
            confusion(found),
        ),
        points=(*notes_of(found), *(f"LEAK: {leak}" for leak in found.leaks)),
    )


def comparison(found: Comparison) -> Section:
    """Return differences between classifiers."""
    return Section(
        name="comparison",
        title="Comparison",
        says="; ".join(f"{d.first} and {d.second}: {d.verdict}" for d in found.differences) + ".",
        tables=(
            table(
                ["", found.score.replace("_", " ")],
                [
                    [name, estimate_of(result.scores[found.score])]
                    for name, result in found.results.items()
                ],
            ),
            table(
                ["difference", "points (95 % interval)", "p", "verdict"],
                [
                    [
                        f"{d.first} - {d.second}",
                        points(Estimate(value=d.mean, interval=d.interval)),
                        "-" if np.isnan(d.p_adjusted) else f"{d.p_adjusted:.3f}",
                        d.verdict,
                    ]
                    for d in found.differences
                ],
            ),
        ),
        pictures=(picture(found.plot(), "Difference of each pair with its 95 % interval"),),
    )


def shortcuts(found: ShortcutReport) -> Section:
    """Return the verdict of each shortcut test."""
    return Section(
        name="shortcuts",
        title="Shortcuts",
        says=verdict_on(found),
        tables=(
            table(
                ["question", "verdict"],
                [[test.question, test.verdict] for test in found.tests.values()],
            ),
        ),
        pictures=(picture(found.plot(), "Estimates of each shortcut test"),),
    )


def verdict_on(found: ShortcutReport) -> str:
    """Return a sentence on all shortcut tests."""
    likely = [test.question for test in found.tests.values() if test.verdict == "shortcut likely"]
    if likely:
        return f"A shortcut is likely in {len(likely)} of {len(found.tests)} tests."
    return f"None of {len(found.tests)} tests found a shortcut to be likely."


def heatmaps(result: CrossValidationResult, images: Any, maps: Any, predicted: Any) -> Section:
    """Return heatmaps of images that the network was not trained on, and their means."""
    chosen = _examples(result, np.isfinite(maps).all(axis=(1, 2)))
    shown = images[chosen]
    names = [str(name) for name in result.classes]
    grid = plots.heatmap_grid(
        shown,
        maps[chosen],
        labels=[str(name) for name in result.labels[chosen]],
        predicted=[names[column] for column in predicted[chosen]],
        columns=3,
    )
    return Section(
        name="heatmaps",
        title="Heatmaps",
        says="Where the evidence for the predicted class lies, by a network that was not trained "
        f"on the image: the first {_SHOWN} images of each class, not chosen by their looks.",
        pictures=(picture(grid, "Images with their heatmaps"),),
    )


def _examples(result: CrossValidationResult, known: np.ndarray) -> Sequence[int]:
    """Return the first images of each class, of at most eight classes."""
    found: list[int] = []
    for name in result.classes[:8]:
        found += np.flatnonzero((result.labels == name) & known)[:_SHOWN].tolist()
    return found
