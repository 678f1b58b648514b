"""Shortcut reports."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from detl.plots.drawing import chart, check_carries, checked_size, new_figure
from detl.plots.intervals import Row, draw_rows
from detl.plots.theme import ALARM, MAIN, NEUTRAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABEL_WIDTH = 44  # of an axis, characters
_MOST_CLASSES = 12  # of a test that are shown


def shortcut_report(
    report: Any, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None
) -> Figure:
    """Draw a shortcut report: the ROC AUC of each classifier, and each test's estimates.

    Parameters
    ----------
    report : ShortcutReport
        What :func:`detl.shortcuts.examine` or one of its tests returned.
    ax : matplotlib.axes.Axes, optional
        Axes to draw the left chart on, with the verdicts of the tests. By default, both are drawn
        on a new figure.
    figsize : tuple of (float, float), optional
        Width and height of a new figure in inches. By default it follows from the tests.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``. On the left, the ROC AUC of the network and of what it is
        compared with. On the right, the estimate of each test and class with its interval; tests
        with the same measure share a panel, which shows at most the 12 most suspicious classes. The
        dashed line is the threshold. Red intervals are beyond it, blue ones on the other side, grey
        ones cross it.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import cross_validate, plots, recipes, shortcuts
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 1), dtype="uint8")
    >>> labels = ["covid", "normal"] * 20
    >>> result = cross_validate(recipes.thumbnail(), images, labels, n_splits=2, random_state=0)
    >>> figure = plots.shortcut_report(shortcuts.baseline_test(result, images))
    >>> figure.axes[0].get_xlabel()
    'ROC AUC, mean over classes'
    """
    check_carries(
        "report", report, "findings", "a ShortcutReport, as detl.shortcuts.examine returns it"
    )
    if ax is not None:
        figure, axis = chart(ax, figsize, (5.4, 3.8))
        _draw_areas(axis, report, with_verdicts=True)
        return figure
    panels: dict[str, list[tuple[str, Any]]] = {}
    for name, test in report.tests.items():
        if test.threshold is not None:
            panels.setdefault(test.measure, []).append((name, test))
    rows = [[row for test in tests for row in _rows_of_test(*test)] for tests in panels.values()]
    heights = [len(rows_of_panel) + 3 for rows_of_panel in rows]
    height = 0.6 + 0.2 * max(len(report.results) + 3, sum(heights), 11)
    figure = new_figure(*checked_size(figsize, (9.6, height)))
    grid = figure.add_gridspec(max(1, len(panels)), 2, height_ratios=heights or None)
    _draw_areas(figure.add_subplot(grid[:, 0]), report)
    for place, (measure, tests) in enumerate(panels.items()):
        axis = figure.add_subplot(grid[place, 1])
        for threshold in {float(test.threshold or 0) for _, test in tests}:
            axis.axvline(threshold, color=ALARM, linestyle="--", linewidth=1)
        draw_rows(axis, rows[place])
        axis.set_xlabel(textwrap.fill(measure, _LABEL_WIDTH), loc="right")
    return figure


def _draw_areas(axis: Axes, report: Any, *, with_verdicts: bool = False) -> None:
    """Draw the ROC AUC of the network and of all that it is compared with."""
    tests = report.tests.items() if with_verdicts else ()
    verdicts = {name: test.verdict for name, test in tests}
    rows = []
    for name, result in report.results.items():
        area = result.scores["roc_auc"]
        rows.append(
            Row(
                name=f"{name}\n{verdicts[name]}" if name in verdicts else name,
                value=area.mean,
                low=area.interval.low,
                high=area.interval.high,
            )
        )
    axis.axvline(0.5, color=NEUTRAL, linestyle=":", linewidth=1)
    draw_rows(axis, rows)
    axis.set_xlabel("ROC AUC, mean over classes")


def _rows_of_test(name: str, test: Any) -> list[Row]:
    """Return a heading with the verdict, and a row for each class."""
    beyond, other = ("above", "below") if test.suspicious == "above" else ("below", "above")
    colours = {beyond: ALARM, other: MAIN, "unknown": NEUTRAL}
    shown = test.by_suspicion[:_MOST_CLASSES]
    worst = f" (worst {_MOST_CLASSES} classes)" if len(test.estimates) > len(shown) else ""
    rows = [Row(name=f"{name}: {test.verdict}{worst}")]
    for label, estimate in test.estimates.items():
        if label in shown:
            colour = colours[estimate.lies(test.threshold or 0)]
            numbers = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
            rows.append(Row(name=str(label), colour=colour, **numbers))
    return rows
