"""Shortcut reports."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from detl.plots.drawing import drawable, new_figure, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from detl.shortcuts.verdicts import ShortcutReport, ShortcutTest

_LABEL_WIDTH = 44  # of an axis, characters
_MOST_CLASSES = 12  # of a test that are shown


def shortcut_report(report: ShortcutReport) -> Figure:
    """Draw a shortcut report: the ROC AUC of each classifier, and the estimates of each test.

    Parameters
    ----------
    report : ShortcutReport
        What :func:`detl.shortcuts.examine` or one of its tests returned.

    Returns
    -------
    matplotlib.figure.Figure
        On the left, the ROC AUC of the network and of what it is compared with. On the right, the
        estimate of each test and class with its interval; tests with the same measure share a
        panel, which shows at most the 12 most suspicious classes. The dashed line is the
        threshold. Red intervals are beyond it, blue ones on the other side, grey ones cross it.
    """
    require_matplotlib()
    from detl.shortcuts.verdicts import ShortcutReport  # whoever has one has loaded Keras

    if not isinstance(report, ShortcutReport):
        raise TypeError(
            f"report is {type(report).__name__}; expected a ShortcutReport, as "
            "detl.shortcuts.examine returns it."
        )
    panels: dict[str, list[tuple[str, ShortcutTest]]] = {}
    for name, test in report.tests.items():
        if test.threshold is not None:
            panels.setdefault(test.measure, []).append((name, test))
    rows = [[row for test in tests for row in _rows_of_test(*test)] for tests in panels.values()]
    heights = [len(rows_of_panel) + 3 for rows_of_panel in rows]
    figure = new_figure(9.6, 0.6 + 0.2 * max(len(report.results) + 3, sum(heights), 11))
    grid = figure.add_gridspec(max(1, len(panels)), 2, height_ratios=heights or None)
    axis = figure.add_subplot(grid[:, 0])
    areas = {name: result.scores["roc_auc"] for name, result in report.results.items()}
    _draw_intervals(
        axis,
        [(name, (a.mean, a.interval.low, a.interval.high), "black") for name, a in areas.items()],
    )
    axis.axvline(0.5, color="grey", linestyle=":", linewidth=1)
    axis.set_xlabel("ROC AUC, mean over classes")
    for place, (measure, tests) in enumerate(panels.items()):
        axis = figure.add_subplot(grid[place, 1])
        _draw_intervals(axis, rows[place])
        for threshold in {float(test.threshold or 0) for _, test in tests}:
            axis.axvline(threshold, color="tab:red", linestyle="--", linewidth=1)
        axis.set_xlabel(textwrap.fill(measure, _LABEL_WIDTH), loc="right")
    return figure


def _rows_of_test(name: str, test: ShortcutTest) -> list[Any]:
    """Return a heading with the verdict, and a row for each class."""
    beyond, other = ("above", "below") if test.suspicious == "above" else ("below", "above")
    colours = {beyond: "tab:red", other: "tab:blue", "unknown": "grey"}
    rows: list[Any] = [(f"{name}: {test.verdict}", None, "black")]
    shown = test.by_suspicion[:_MOST_CLASSES]
    if len(test.estimates) > len(shown):
        rows[0] = (f"{name}: {test.verdict} (worst {_MOST_CLASSES} classes)", None, "black")
    for label, estimate in test.estimates.items():
        if label not in shown:
            continue
        side = estimate.lies(test.threshold or 0)
        rows.append((str(label), (estimate.value, estimate.low, estimate.high), colours[side]))
    return rows


def _draw_intervals(axis: Axes, rows: Sequence[tuple[str, Any, str]]) -> None:
    """Draw values with their intervals, one a line from the top.

    A row is a name, ``(value, low, high)`` or None, and a colour; without a value it is a heading.
    """
    for place, (_, numbers, colour) in enumerate(rows):
        if numbers is None or np.isnan(numbers[0]):
            continue
        value, low, high = numbers
        axis.plot([low, high], [place, place], color=colour, linewidth=1.5)
        axis.plot(value, place, marker="o", color=colour, markersize=4)
    axis.set_yticks(
        range(len(rows)),
        [drawable(name) for name, *_ in rows],
        fontsize="small",
        parse_math=False,
    )
    for tick, (_, numbers, _) in zip(axis.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if numbers is None else "normal")
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)
