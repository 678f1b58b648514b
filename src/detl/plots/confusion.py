"""Confusion matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detl.checks import check_labels
from detl.plots.drawing import Array, new_figure, require_matplotlib, wrapped

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL, _SIDE = 1.05, 12.0  # the greatest size of a cell and of all of them, inches
_MOST_NUMBERED = 20  # classes
_POINTS = 72  # in an inch
_SMALLEST_FONT = 5


def confusion_matrix(
    matrix_or_result: Any, class_names: Any = None, *, normalize: bool = False
) -> Figure:
    """Draw a confusion matrix, as in Fig. 3 of Basu et al. 2020.

    Every cell has its count of images and its share of the true class's. More than 20 classes have
    colours alone; the picture does not grow with their number.

    Parameters
    ----------
    matrix_or_result : array-like of shape (n_classes, n_classes), or CrossValidationResult
        Counts; rows are true classes, columns predicted ones.
    class_names : array-like of shape (n_classes,), optional
        By default the result's classes; for a matrix, their indices.
    normalize : bool, default=False
        Whether colours show the shares instead of the counts, so that a rare class is as visible
        as a frequent one.

    Returns
    -------
    matplotlib.figure.Figure
    """
    require_matplotlib()
    matrix = _check_matrix(getattr(matrix_or_result, "confusion_matrix", matrix_or_result))
    if class_names is None:
        class_names = getattr(matrix_or_result, "classes", range(len(matrix)))
    class_names = check_labels(class_names, len(matrix), name="class_names", of="rows")
    names = [wrapped(name, 24) for name in class_names]

    totals = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.where(totals > 0, totals, 1)
    n = len(matrix)
    cell = min(_CELL, _SIDE / n)
    fontsize = max(_SMALLEST_FONT, min(10, _POINTS * cell / 2))
    longest = max(len(line) for name in names for line in name.split("\n"))
    is_turned = longest > 10 or cell < _CELL  # longer than a cell is wide
    room = longest * 0.6 * fontsize / _POINTS  # for the names
    figure = new_figure(cell * n + room + 2.5, cell * n + (room if is_turned else 0) + 1)
    axis = figure.subplots()
    shown = axis.imshow(shares if normalize else matrix, cmap="Blues", vmin=0)
    shown.set_clim(vmax=1 if normalize else max(1, matrix.max()))
    if n <= _MOST_NUMBERED:
        for (i, j), count in np.ndenumerate(matrix):
            share = f"{100 * shares[i, j]:.1f} %" if totals[i] else "no images"
            colour = _readable_on(shown.cmap(shown.norm(shares[i, j] if normalize else count)))
            fits = min(10, _POINTS * cell / 4.6)
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": fits}
            axis.text(j, i, f"{count:.10g}\n{share}", color=colour, **style)
    # Of very many classes, as many are named as can be read.
    named = slice(None, None, int(np.ceil(1.2 * fontsize / (_POINTS * cell))))
    text: dict[str, Any] = {"fontsize": fontsize, "parse_math": False}
    axis.set_xticks(np.arange(n)[named], names[named], **text)
    axis.set_yticks(np.arange(n)[named], names[named], **text)
    if is_turned:
        for label in axis.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    axis.set_xlabel("predicted class")
    axis.set_ylabel("true class")
    axis.spines[:].set_visible(False)
    quantity = "share of the true class" if normalize else "images"
    figure.colorbar(shown, ax=axis, label=quantity, fraction=0.05)
    return figure


def _readable_on(colour: Any) -> str:
    """Return the colour of a text that can be read on this one."""
    red, green, blue, _ = colour
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def _check_matrix(matrix: Any) -> Array:
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(
            f"The confusion matrix has shape {counts.shape}; expected (n_classes, n_classes), or a "
            "result that carries one."
        )
    if counts.dtype.kind not in "uif" or not ((counts >= 0) & np.isfinite(counts)).all():
        raise ValueError("The confusion matrix has entries that are no counts; expected 0 or more.")
    return counts
