"""Differences between classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detl.plots.drawing import chart, check_carries
from detl.plots.intervals import Row, draw_rows
from detl.plots.theme import MAIN, NEUTRAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def comparison(
    found: Any, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None
) -> Figure:
    r"""Draw the difference of each pair of classifiers with its interval, as a forest plot.

    Parameters
    ----------
    found : Comparison
        What :func:`detl.compare` or :func:`detl.compare_results` returned.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default, those of a new figure.
    figsize : tuple of (float, float), optional
        Width and height of a new figure in inches. By default it follows from the pairs.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``. A row per pair: the difference in points with its 95 %
        interval. Right of the dotted line the first of the pair is ahead. Blue: a difference is
        shown. Grey: none is. A new figure has the numbers and the verdict of each row beside it.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import compare, plots, recipes
    >>> images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 1), dtype="uint8")
    >>> labels = ["covid", "normal"] * 12
    >>> classifiers = {"a": recipes.thumbnail(), "b": recipes.thumbnail()}
    >>> found = compare(classifiers, images, labels, n_splits=3, random_state=0)
    >>> figure = plots.comparison(found)
    >>> figure.axes[0].get_yticklabels()[0].get_text()
    'a\nminus b'
    """
    check_carries("found", found, "differences", "a Comparison, as detl.compare returns it")
    rows = [
        Row(
            name=f"{one.first}\nminus {one.second}",
            value=100 * one.mean,
            low=100 * one.interval.low,
            high=100 * one.interval.high,
            colour=NEUTRAL if one.better is None else MAIN,
            note=_note(one) if ax is None else "",
        )
        for one in found.differences
    ]
    figure, axis = chart(ax, figsize, (7.2, 1.0 + 0.5 * len(rows)))
    axis.axvline(0, color=NEUTRAL, linestyle=":", linewidth=1)
    draw_rows(axis, rows)
    axis.set_xlabel(f"difference in {found.score.replace('_', ' ')} (points)")
    return figure


def _note(one: Any) -> str:
    if np.isnan(one.mean):
        return str(one.verdict)
    low, high = 100 * one.interval.low, 100 * one.interval.high
    return f"{100 * one.mean:+.1f} ({low:+.1f} to {high:+.1f})\n{one.verdict}"
