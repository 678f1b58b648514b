"""The folds of a split: images of each class, and what leaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detl.plots.drawing import chart, check_carries, wrapped
from detl.plots.theme import ALARM, BLACK, PALETTE, SMALL, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NAMED = 6  # classes with a colour of their own; the alarm has the seventh
_CLASSES = tuple(colour for colour in PALETTE if colour != ALARM)
_WIDE = 0.8  # of the bars of a fold
_WIDEST, _ROOMY = 16.0, 5.0  # of a figure; of one with room for a legend beside the chart: inches


def audit(
    found: Any, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None
) -> Figure:
    r"""Draw the test images of each fold, by class, and those that leak from the training images.

    Parameters
    ----------
    found : Audit
        What :func:`detl.folds.audit` returned, or ``result.audit``.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default, those of a new figure.
    figsize : tuple of (float, float), optional
        Width and height of a new figure in inches. By default it follows from the folds.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``. A bar per fold: its test images, by class where there are
        up to six. Beside it, in red, the test images whose group, or whose copy, is also in
        training. The title says how many kinds of leaks were found, and what was not checked.

    Examples
    --------
    >>> from detl import folds, plots
    >>> labels, patients = ["covid", "normal"] * 6, [0, 1, 2, 3] * 3
    >>> split = folds.stratified_folds(labels, n_splits=3, random_state=0)  # patients are torn
    >>> figure = plots.audit(folds.audit(split, labels, groups=patients))
    >>> figure.axes[0].get_title()
    'leaks: 1 kind found\n(copies not checked)'
    """
    check_carries("found", found, "shared_groups", "an Audit, as detl.folds.audit returns it")
    from matplotlib.ticker import MaxNLocator

    counts = found.test_counts
    places = np.arange(len(counts))
    figure, axis = chart(ax, figsize, (min(_WIDEST, 4.0 + 0.45 * len(counts)), 3.6))
    leaking = [
        (label, images, hatch)
        for label, images, hatch in (
            ("group also in training", found.shared_group_images, None),
            ("copy also in training", found.copied_images, "////"),
        )
        if images is not None and images.any()
    ]
    width = _WIDE / (1 + len(leaking))
    first = places - _WIDE / 2 + width / 2
    below = np.zeros(len(counts))
    for name, images, colour in _stacks(found):
        axis.bar(first, images, width, bottom=below, color=colour, label=name)
        below += images
    for number, (label, images, hatch) in enumerate(leaking, start=1):
        inside = "white" if hatch else ALARM
        style: dict[str, Any] = {"facecolor": inside, "edgecolor": ALARM, "hatch": hatch}
        axis.bar(first + number * width, images, width, label=label, **style)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axis.margins(x=0.02)
    axis.set_xlabel("fold")
    axis.set_ylabel("test images")
    axis.set_title(_title(found), color=ALARM if found.leaks else BLACK)
    finish(axis, grid="y")
    _name_bars(figure, axis, is_own=ax is None)
    return figure


def _name_bars(figure: Figure, axis: Axes, *, is_own: bool) -> None:
    """Put a legend where there is room: beside or below the chart, or above the bars."""
    style: dict[str, Any] = {"frameon": False, "fontsize": SMALL}
    columns: dict[str, Any] = {"ncols": 2, "columnspacing": 1, "handlelength": 1.2}
    if is_own and figure.get_figwidth() >= _ROOMY:
        legend = axis.legend(loc="upper left", bbox_to_anchor=(1, 1), reverse=True, **style)
    elif is_own:
        legend = figure.legend(loc="outside lower center", **columns, **style)
    else:
        height = axis.get_window_extent().height / figure.dpi
        lines = -(-len(axis.get_legend_handles_labels()[0]) // 2)
        taken = min(0.6, (0.1 + 0.2 * lines) / height)
        axis.set_ylim(top=axis.get_ylim()[1] / (1 - taken))
        legend = axis.legend(loc="upper center", **columns, **style)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _stacks(found: Any) -> list[tuple[str, Any, str]]:
    """Return name, images by fold and colour of each class, or of all where they are many."""
    if len(found.classes) > _MOST_NAMED:
        return [(f"{len(found.classes)} classes", found.test_counts.sum(axis=1), _CLASSES[0])]
    return [
        (wrapped(name, 24), found.test_counts[:, column], _CLASSES[column])
        for column, name in enumerate(found.classes)
    ]


def _title(found: Any) -> str:
    n = len(found.leaks)
    kinds = "none found" if n == 0 else f"{n} kind{'s' * (n > 1)} found"
    unchecked = [
        name
        for name, value in (("groups", found.shared_groups), ("copies", found.copies))
        if value is None
    ]
    return f"leaks: {kinds}" + (f"\n({' and '.join(unchecked)} not checked)" if unchecked else "")
