"""Scores of subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detl.plots.drawing import chart, check_carries
from detl.plots.intervals import draw_interval, name_rows
from detl.plots.theme import BLUE, GREEN, ORANGE, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_APART = 0.22  # between the scores of a row
# Each score has a colour and a form, so that neither alone tells them apart.
_STYLES = ((BLUE, "o"), (ORANGE, "^"), (GREEN, "s"))


def subgroups(
    found: Any, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None
) -> Figure:
    r"""Draw the scores of each subgroup with their intervals, as a forest plot.

    Parameters
    ----------
    found : Subgroups
        What ``result.subgroups(...)`` returned.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default, those of a new figure.
    figsize : tuple of (float, float), optional
        Width and height of a new figure in inches. By default it follows from the subgroups.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``. A row per subgroup: accuracy, sensitivity and specificity
        with 95 % intervals. A filled mark differs from that of all other images, after correction
        for the number of differences; of an open one, no difference is shown.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from detl import evaluate, plots
    >>> images, labels = np.zeros((80, 8, 8, 1), dtype="uint8"), ["covid", "normal"] * 40
    >>> found = evaluate(DummyClassifier().fit(images, labels), images, labels, random_state=0)
    >>> figure = plots.subgroups(found.subgroups({"view": ["AP"] * 30 + ["PA"] * 50}))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['view AP\n(30 images)', 'view PA\n(50 images)']
    """
    check_carries(
        "found", found, "n_comparisons", "Subgroups, as result.subgroups(...) returns them"
    )
    from matplotlib.lines import Line2D

    figure, axis = chart(ax, figsize, (6.4, 1.5 + 0.5 * len(found.subgroups)))
    scores = list(found.subgroups[0].values)
    offsets = _APART * (np.arange(len(scores)) - (len(scores) - 1) / 2)
    for place, one in enumerate(found.subgroups):
        for score, offset, (colour, marker) in zip(scores, offsets, _STYLES, strict=True):
            interval = one.values[score].interval
            draw_interval(
                axis,
                place + offset,
                (one.values[score].value, interval.low, interval.high),
                colour,
                marker=marker,
                is_filled=score in one.differs,
            )
    name_rows(
        axis,
        [
            f"{one.attribute} {one.name}\n({one.n_images} {found.counted})"
            for one in found.subgroups
        ],
    )
    axis.set_xlim(-0.02, 1.02)
    axis.set_xlabel("score (95 % interval)\nfilled: differs from all others")
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=5, label=score)
        for score, (colour, marker) in zip(scores, _STYLES, strict=True)
    ]
    axis.legend(
        handles=handles,
        loc="lower right",  # over the names of the rows, where the chart is narrow
        bbox_to_anchor=(1, 1),
        columnspacing=1,
        handletextpad=0.3,
        ncols=len(scores),
        frameon=False,
        fontsize=SMALL,
    )
    return figure
