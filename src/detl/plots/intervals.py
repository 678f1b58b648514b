"""Values with their intervals, one a row: forest plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detl.plots.drawing import drawable
from detl.plots.theme import BLACK, NEUTRAL, SMALL, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a forest plot; one without a value is a heading.

    ``note`` is written on its right.
    """

    name: str
    value: float | None = None
    low: float = np.nan
    high: float = np.nan
    colour: str = BLACK
    note: str = ""


def draw_rows(axis: Axes, rows: Sequence[Row]) -> None:
    """Draw values with their intervals, the first row on top; say where a value is not known."""
    style: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "va": "center"}
    for place, row in enumerate(rows):
        if row.value is not None and np.isnan(row.value):
            axis.text(0.02, place, "not known", fontsize=SMALL, color=NEUTRAL, **style)
        elif row.value is not None:
            draw_interval(axis, place, (row.value, row.low, row.high), row.colour)
        if row.note:
            note = drawable(row.note)
            axis.text(1.02, place, note, fontsize=SMALL, parse_math=False, **style)
    name_rows(axis, [row.name for row in rows])
    for tick, row in zip(axis.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if row.value is None else "normal")


def draw_interval(
    axis: Axes,
    place: float,
    numbers: tuple[float, float, float],
    colour: str,
    *,
    marker: str = "o",
    is_filled: bool = True,
) -> None:
    """Draw ``(value, low, high)`` at a place from the top; nothing where the value is NaN."""
    value, low, high = numbers
    if np.isnan(value):
        return
    axis.plot([low, high], [place, place], color=colour, linewidth=1.5)
    inside = colour if is_filled else "white"
    axis.plot(
        value, place, marker=marker, color=colour, markersize=5, markerfacecolor=inside, zorder=3
    )


def name_rows(axis: Axes, names: Sequence[str]) -> None:
    """Name the rows, from the top, and give the chart its frame."""
    axis.set_yticks(range(len(names)), [drawable(name) for name in names], parse_math=False)
    axis.set_ylim(len(names) - 0.5, -0.5)
    finish(axis, grid="x")
    axis.tick_params(axis="y", length=0)
    axis.locator_params(axis="x", nbins=6)
    axis.spines["left"].set_visible(False)
