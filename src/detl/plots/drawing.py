"""What several pictures share: matplotlib, colours, axes, checks."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detl import metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_GAP = 0.06  # between pictures, inches


def require_matplotlib() -> None:
    """Refuse to go on without matplotlib, and say how to get it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "detl.plots draws with matplotlib, which is an extra: run "
            "`pip install '.[plots]'` in the folder of detl, or `pip install matplotlib`."
        ) from error


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, inches, that matplotlib's global state does not know."""
    from detl.plots.notebook_figure import NotebookFigure

    return NotebookFigure(figsize=(width, height), layout="constrained")


def grid_of_pictures(
    shape: tuple[int, int],
    picture: tuple[float, float],
    *,
    above: float,
    left: float = 0.1,
    right: float = 0.1,
    group: int = 1,
) -> tuple[Figure, Array]:
    """Return an empty figure and its axes ``shape``, without frames, all sizes in inches.

    A picture is ``(width, height)`` with room above it, and each ``group`` of pictures in a row
    has room on its left. Every size is known: matplotlib, which would find them out, takes minutes
    for some hundred axes.
    """
    from detl.plots.notebook_figure import NotebookFigure

    (n_rows, n_columns), (width, height) = shape, picture
    step, down = group * (width + _GAP) + left, height + above
    total = n_columns // group * step + right, max(n_rows * down + _GAP, 1.5)
    figure = NotebookFigure(figsize=total)
    axes = np.empty(shape, dtype=object)
    for row, column in np.ndindex(shape):
        across = left + column // group * step + column % group * (width + _GAP)
        place = np.array([across, total[1] - (row + 1) * down, width, height])
        axis = figure.add_axes(tuple(place / (*total, *total)))  # in shares of the figure
        axis.set_axis_off()
        axes[row, column] = axis
    return figure, axes


def characters(width: float, fontsize: float) -> int:
    """Return how many characters of that size, points, fit into a width, inches."""
    return max(8, int(width * 72 / (0.58 * fontsize)))


def drawable(text: Any) -> str:
    """Return a text in which bytes that are no Unicode, which some file names have, are replaced.

    Draw it with ``parse_math=False``: between two dollar signs, matplotlib sees a formula.
    """
    return str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def wrapped(text: Any, width: int) -> str:
    """Return a text that can be drawn, over lines of so many characters."""
    return textwrap.fill(drawable(text), width)


def as_colours(images: Array) -> Array:
    """Return the images in red, green and blue, uint8, refusing other than 1 or 3 channels."""
    if images.shape[-1] not in (1, 3):
        raise ValueError(
            f"images has shape {images.shape}; expected 1 (grey) or 3 channels in the last axis."
        )
    return np.repeat(images.round().clip(0, 255).astype("uint8"), 3 // images.shape[-1], axis=-1)


def draw_shares(axis: Axes, *, x: str, y: str) -> None:
    """Make the axes a unit square with its diagonal, for one share over another."""
    axis.plot([0, 1], [0, 1], color="grey", linestyle=":", linewidth=1)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    axis.grid(alpha=0.3)


def with_interval(score: metrics.Score) -> str:
    """Return a mean with its interval."""
    return f"{score.mean:.3f} ({score.interval.low:.3f} to {score.interval.high:.3f})"


def check_result(result: Any) -> None:
    """Refuse to draw what has no predictions by fold, and without matplotlib."""
    require_matplotlib()
    if not hasattr(result, "fold_predictions"):
        raise TypeError(
            f"result is {type(result).__name__}; expected a CrossValidationResult, as "
            "detl.cross_validate returns it."
        )
