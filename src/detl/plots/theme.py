"""The look of every picture: colours, sizes of text, the frame of a chart.

The colours are those of Okabe and Ito 2008, "Color Universal Design", which people with any kind of
colour blindness tell apart. Sizes are relative to matplotlib's ``font.size``: 10 points by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
SKY, VERMILION, YELLOW, BLACK = "#56B4E9", "#D55E00", "#F0E442", "#000000"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, YELLOW)

MAIN = BLUE  # what a picture is about
RIVAL = ORANGE  # what it is compared with
ALARM = VERMILION  # what the reader must not miss
NEUTRAL = "#666666"  # what is neither good nor bad, and lines of reference

TITLE = LABEL = "medium"
SMALL = "small"  # ticks, legends, notes


def colours(n: int) -> list[str]:
    """Return ``n`` colours: up to seven that everybody tells apart, else steps of one scale."""
    import matplotlib
    from matplotlib.colors import to_hex

    if n <= len(PALETTE):
        return list(PALETTE[:n])
    return [to_hex(colour) for colour in matplotlib.colormaps["viridis"](np.linspace(0, 0.95, n))]


def finish(axis: Axes, *, grid: Literal["both", "x", "y"] | None = "both") -> None:
    """Give a chart the frame, the grid and the sizes of text that all have."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=SMALL)
    for text, size in ((axis.xaxis.label, LABEL), (axis.yaxis.label, LABEL), (axis.title, TITLE)):
        text.set_fontsize(size)
    axis.set_axisbelow(True)
    if grid is not None:
        axis.grid(axis=grid, alpha=0.3)
