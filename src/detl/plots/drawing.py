"""What several pictures share: matplotlib, figures and axes, texts, checks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from detl import metrics
from detl.plots.theme import NEUTRAL, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_GAP, _SMALLEST = 0.06, 0.3  # between pictures, and of a picture, inches


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


def chart(ax: Any, figsize: Any, default: tuple[float, float]) -> tuple[Figure, Axes]:
    """Return the caller's axes and its figure, or those of a new figure, and check both arguments.

    ``default`` is the size of a new figure in inches.
    """
    require_matplotlib()
    from matplotlib.axes import Axes

    width, height = checked_size(figsize, default)
    if ax is None:
        figure = new_figure(width, height)
        return figure, figure.subplots()
    if not isinstance(ax, Axes):
        hint = "axes[0]" if isinstance(ax, np.ndarray | list | tuple) else "figure.subplots()"
        raise TypeError(
            f"ax is {type(ax).__name__}; expected one axes of matplotlib, such as {hint}, or None "
            "for a new figure."
        )
    if figsize is not None:
        raise ValueError(
            f"ax and figsize={figsize!r} are both given, but figsize is the size of a new figure. "
            "Leave it out; set the size where you make the figure of ax."
        )
    root: Any = ax.figure
    return root.figure, ax  # the figure of a subfigure is the whole one


def checked_size(figsize: Any, default: tuple[float, float]) -> tuple[float, float]:
    """Return the size of a new figure, inches, refusing what is no size."""
    if figsize is None:
        return default
    expected = "expected (width, height) in inches, such as (6, 4)."
    if not isinstance(figsize, Sequence | np.ndarray) or isinstance(figsize, str):
        raise TypeError(f"figsize is {type(figsize).__name__} {figsize!r}; {expected}")
    sizes = list(figsize)
    are_numbers = all(isinstance(size, Real) and not isinstance(size, bool) for size in sizes)
    if len(sizes) != 2 or not are_numbers or not all(0 < size < np.inf for size in sizes):
        raise ValueError(f"figsize={figsize!r}; {expected}")
    width, height = map(float, sizes)
    return width, height


def grid_of_pictures(
    shape: tuple[int, int],
    picture: tuple[float, float],
    *,
    above: float,
    left: float = 0.1,
    right: float = 0.1,
    group: int = 1,
    figsize: tuple[float, float] | None = None,
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
    if figsize is not None:
        total = figsize  # they begin in its upper left corner
    figure = NotebookFigure(figsize=total)
    axes = np.empty(shape, dtype=object)
    for row, column in np.ndindex(shape):
        across = left + column // group * step + column % group * (width + _GAP)
        place = np.array([across, total[1] - (row + 1) * down, width, height])
        axis = figure.add_axes(tuple(place / (*total, *total)))  # in shares of the figure
        axis.set_axis_off()
        axes[row, column] = axis
    return figure, axes


def width_of_pictures(
    figsize: tuple[float, float],
    shape: tuple[int, int],
    *,
    aspect: float,
    above: float,
    left: float = 0.1,
    right: float = 0.1,
    group: int = 1,
) -> float:
    """Return the greatest width of pictures that fit into a figure, all sizes in inches.

    ``aspect`` is their height over their width; the rest is as for :func:`grid_of_pictures`.
    """
    (n_rows, n_columns), (width, height) = shape, figsize
    across = ((width - right) / (n_columns / group) - left) / group - _GAP
    down = (height - _GAP) / n_rows - above
    found = min(across, down / aspect)
    if found < _SMALLEST:
        raise ValueError(
            f"figsize={figsize} leaves no room for {n_rows} x {n_columns} pictures with their "
            "titles; give a larger one, fewer images, or another number of columns."
        )
    return found


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
    axis.plot([0, 1], [0, 1], color=NEUTRAL, linestyle=":", linewidth=1)
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y)
    finish(axis)


def with_interval(score: metrics.Score) -> str:
    """Return a mean with its interval."""
    return f"{score.mean:.3f} ({score.interval.low:.3f} to {score.interval.high:.3f})"


def check_result(result: Any) -> None:
    """Refuse to draw what has no predictions, and without matplotlib."""
    check_carries(
        "result",
        result,
        "fold_predictions",
        "a CrossValidationResult, as detl.cross_validate returns it, or an Evaluation, as "
        "detl.evaluate does",
    )


def check_carries(name: str, value: Any, attribute: str, expected: str) -> None:
    """Refuse what has not the attribute by which a kind of result is known.

    The rooms that make results import this one, to draw them: their types are not known here.
    """
    require_matplotlib()
    if not hasattr(value, attribute):
        raise TypeError(f"{name} is {type(value).__name__}; expected {expected}.")
