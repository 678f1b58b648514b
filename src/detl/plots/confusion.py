"""Confusion matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detl.checks import check_labels
from detl.plots.drawing import Array, chart, require_matplotlib, wrapped
from detl.plots.theme import LABEL, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL, _SIDE = 1.05, 12.0  # the greatest size of a cell and of all of them, inches
_BESIDE, _BELOW = 2.5, 1.0  # room for the colour bar and the labels of the axes, inches
_LEAST = 1.3  # the least of such room
_FINEST = 0.01  # the smallest size of a cell that is thought of, inches
_MOST_NUMBERED = 20  # classes
_POINTS = 72  # in an inch
_LARGEST_FONT, _SMALLEST_FONT = 10, 5


def confusion_matrix(
    matrix_or_result: Any,
    class_names: Any = None,
    *,
    normalize: bool = False,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    r"""Draw a confusion matrix.

    As in Fig. 3 of Basu et al. 2020.

    Every cell has its count of images and its share of the true class's. More than 20 classes, and
    cells that are too small to read, have colours alone.

    Parameters
    ----------
    matrix_or_result : array-like of shape (n_classes, n_classes), or result
        Counts; rows are true classes, columns predicted ones. A CrossValidationResult or an
        Evaluation brings its own; labels that the classifier of an evaluation does not know are
        rows below the classes.
    class_names : array-like of shape (n_classes,), optional
        By default the result's classes; for a matrix, their indices.
    normalize : bool, default=False
        Whether colours show the shares instead of the counts, so that a rare class is as visible
        as a frequent one.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default, those of a new figure.
    figsize : tuple of (float, float), optional
        Width and height of a new figure in inches. By default it follows from the classes.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``.

    Examples
    --------
    >>> from detl import plots
    >>> figure = plots.confusion_matrix([[8, 2], [1, 4]], ["normal", "covid"])
    >>> [text.get_text() for text in figure.axes[0].texts][:2]
    ['8\n80.0 %', '2\n20.0 %']
    """
    require_matplotlib()
    unknown = list(getattr(matrix_or_result, "unknown", []))
    matrix = _check_matrix(
        getattr(matrix_or_result, "confusion_matrix", matrix_or_result), n_unknown=len(unknown)
    )
    n_columns = matrix.shape[1]
    if class_names is None:
        class_names = getattr(matrix_or_result, "classes", range(n_columns))
    class_names = check_labels(class_names, n_columns, name="class_names", of="rows")
    names = [wrapped(name, 24) for name in [*class_names, *unknown]]

    figure, axis, cell = _chart_of_cells(matrix.shape, names, ax, figsize)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.where(totals > 0, totals, 1)
    shown = axis.imshow(shares if normalize else matrix, cmap="Blues", vmin=0)
    shown.set_clim(vmax=1 if normalize else max(1, matrix.max()))
    numbers = min(_LARGEST_FONT, _POINTS * cell / 4.6)  # points
    if n_columns <= _MOST_NUMBERED and numbers >= _SMALLEST_FONT:
        for (i, j), count in np.ndenumerate(matrix):
            share = f"{100 * shares[i, j]:.1f} %" if totals[i] else "no images"
            colour = _readable_on(shown.cmap(shown.norm(shares[i, j] if normalize else count)))
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": numbers}
            axis.text(j, i, f"{count:.10g}\n{share}", color=colour, **style)
    _name_cells(axis, names, n_columns, cell)
    bar = figure.colorbar(shown, ax=axis, fraction=0.05)
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label("share of the true class" if normalize else "images", fontsize=LABEL)
    return figure


def _chart_of_cells(
    shape: tuple[int, ...], names: list[str], ax: Any, figsize: Any
) -> tuple[Figure, Axes, float]:
    """Return figure and axes for cells, and how large each will be, in inches."""
    n_rows, n_columns = shape
    cell = min(_CELL, _SIDE / n_rows)
    room = _room(names, cell)
    default = (
        cell * n_columns + room + _BESIDE,
        cell * n_rows + room * _is_turned(names, cell) + _BELOW,
    )
    figure, axis = chart(ax, figsize, default)
    if ax is not None:
        box = axis.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        width, height = box.width, box.height
        left = 0.15 * width + 0.4  # the colour bar takes this from the axes
        cell = min(_CELL, (width - left) / n_columns, height / n_rows)
    elif figsize is not None:
        width, height = figure.get_size_inches()
        room = _room(names, width / (2 * n_columns))
        cell = min(_CELL, (width - room - _LEAST) / n_columns, (height - room) / n_rows)
    return figure, axis, max(cell, _FINEST)


def _room(names: list[str], cell: float) -> float:
    """Return how long the longest name is, inches."""
    return _widest(names) * 0.6 * _font_of(cell) / _POINTS


def _name_cells(axis: Axes, names: list[str], n_columns: int, cell: float) -> None:
    """Name rows and columns; of very many classes, as many as can be read."""
    fontsize = _font_of(cell)
    named = slice(None, None, int(np.ceil(1.2 * fontsize / (_POINTS * cell))))
    text: dict[str, Any] = {"fontsize": fontsize, "parse_math": False}
    axis.set_xticks(np.arange(n_columns)[named], names[:n_columns][named], **text)
    axis.set_yticks(np.arange(len(names))[named], names[named], **text)
    if _is_turned(names, cell):
        for label in axis.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axis.set_xlabel("predicted class", fontsize=LABEL)
    axis.set_ylabel("true class", fontsize=LABEL)
    axis.spines[:].set_visible(False)


def _widest(names: list[str]) -> int:
    return max(len(line) for name in names for line in name.split("\n"))


def _is_turned(names: list[str], cell: float) -> bool:
    """Whether a name is longer than a cell is wide."""
    return _widest(names) * 0.7 * _font_of(cell) > _POINTS * cell


def _font_of(cell: float) -> float:
    """Return the size of the names, points, beside cells of a size in inches."""
    return max(_SMALLEST_FONT, min(_LARGEST_FONT, _POINTS * cell / 2))


def _readable_on(colour: Any) -> str:
    """Return the colour of a text that can be read on this one."""
    red, green, blue, _ = colour
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def _check_matrix(matrix: Any, *, n_unknown: int) -> Array:
    counts = np.asarray(matrix)
    is_matrix = counts.ndim == 2 and counts.size > 0
    if not is_matrix or counts.shape[0] != counts.shape[1] + n_unknown:
        raise ValueError(
            f"The confusion matrix has shape {counts.shape}; expected (n_classes, n_classes), or a "
            "result that carries one."
        )
    if counts.dtype.kind not in "uif" or not ((counts >= 0) & np.isfinite(counts)).all():
        raise ValueError("The confusion matrix has entries that are no counts; expected 0 or more.")
    return counts
