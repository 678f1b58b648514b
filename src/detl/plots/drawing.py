"""How pictures are drawn, apart from what they show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def require_matplotlib() -> None:
    """Refuse to go on without matplotlib, and say how to get it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "detl.plots draws with matplotlib, which is an extra: run "
            "`pip install '.[plots]'` in the folder of detl, or `pip install matplotlib`."
        ) from error


def find_colormap(name: str) -> Any:
    """Return matplotlib's colour map of that name."""
    import matplotlib

    if name not in matplotlib.colormaps:
        raise ValueError(
            f"colormap={name!r} is unknown to matplotlib; use 'inferno' or 'viridis' (perceptually "
            "uniform), 'jet' (the look of the paper), or another of matplotlib.colormaps."
        )
    return matplotlib.colormaps[name]


def as_colours(images: Array) -> Array:
    """Return the images in red, green and blue, uint8."""
    return np.repeat(images.round().clip(0, 255).astype("uint8"), 3 // images.shape[-1], axis=-1)


def blend(plain: Array, heatmaps: Array, alpha: float, colormap: Any) -> Array:
    """Lay heatmaps over images in red, green and blue; ``alpha`` is the heatmap's share."""
    blended = np.empty_like(plain)
    for picture, image, heatmap in zip(blended, plain, heatmaps, strict=True):
        colours = 255 * colormap(heatmap.astype(float))[..., :3]
        picture[...] = ((1 - alpha) * image + alpha * colours).round()
    return blended


def rows_of(n: int, labels: Array | None, columns: int) -> list[Array]:
    """Return the indices of the images in each row of a grid."""
    if labels is None:
        groups = [np.arange(n)]
    else:
        names = dict.fromkeys(labels.tolist())
        groups = [np.flatnonzero(labels == name) for name in names]
    return [
        group[start : start + columns]
        for group in groups
        for start in range(0, len(group), columns)
    ]


def draw_boxes(axis: Axes, boxes: Sequence[Any] | Array) -> None:
    """Draw boxes ``(x, y, width, height)`` in pixels, white on a dark line."""
    from matplotlib.patches import Rectangle

    for x, y, width, height in boxes:
        for colour, line in (("black", 2.2), ("white", 1.0)):
            # The corner of the first pixel is half a pixel from its centre, which is at 0.
            corner = (x - 0.5, y - 0.5)
            axis.add_patch(Rectangle(corner, width, height, fill=False, ec=colour, lw=line))


def draw_outline(axis: Axes, mask: Array) -> None:
    """Draw the border of a region, white on a dark line: visible on every colour."""
    for colour, width in (("black", 2.2), ("white", 1.0)):
        axis.contour(mask, levels=[0.5], colors=colour, linewidths=width)


def readable_on(colour: Any) -> str:
    """Return the colour of a text that can be read on this one."""
    red, green, blue, _ = colour
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def fold_colours(n_folds: int) -> list[tuple[float, ...]]:
    """Return a colour for each fold, as distinct as their number allows."""
    import matplotlib

    if n_folds > 20:
        colours = matplotlib.colormaps["turbo"](np.linspace(0, 1, n_folds))
    else:
        colours = matplotlib.colormaps["tab10" if n_folds <= 10 else "tab20"](range(n_folds))
    return [tuple(colour) for colour in colours]


def draw_course(axis: Axes, course: Sequence[float] | Array, **style: Any) -> None:
    """Draw one value per epoch, from epoch 1."""
    marker = "o" if len(course) == 1 else None  # one point makes no line
    axis.plot(range(1, len(course) + 1), course, marker=marker, **style)


def draw_shares(axis: Axes, *, x: str, y: str) -> None:
    """Make the axes a unit square with its diagonal, for one share over another."""
    axis.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    axis.grid(alpha=0.3)


def draw_intervals(axis: Axes, rows: Sequence[tuple[str, Any, str]]) -> None:
    """Draw values with their intervals, one a line from the top.

    A row is a name, ``(value, low, high)`` or None, and a colour; without a value it is a heading.
    """
    for place, (_, numbers, colour) in enumerate(rows):
        if numbers is None or np.isnan(numbers[0]):
            continue
        value, low, high = numbers
        axis.plot([low, high], [place, place], color=colour, linewidth=1.5)
        axis.plot(value, place, marker="o", color=colour, markersize=4)
    axis.set_yticks(range(len(rows)), [name for name, *_ in rows], fontsize="small")
    for tick, (_, numbers, _) in zip(axis.get_yticklabels(), rows, strict=True):
        tick.set_fontweight("bold" if numbers is None else "normal")
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)
