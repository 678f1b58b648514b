"""The images that a classifier gets wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from detl.checks import check_count, check_images
from detl.plots.drawing import (
    Array,
    as_colours,
    check_result,
    grid_of_pictures,
    new_figure,
    wrapped,
)
from detl.validation.suspects import doubts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from detl.validation.results import CrossValidationResult

_WIDE = 2.3  # of one with a title of three lines


def most_confused(
    result: CrossValidationResult, images: Any, *, n: int = 12, columns: int = 4
) -> Figure:
    """Show the images that were taken for another class, and whose own got the least probability.

    Look at them first: they are wrong labels, bad images, or what the classifier cannot do.

    Parameters
    ----------
    result : CrossValidationResult
    images : array-like of shape (n_images, height, width, channels)
        The cross-validated images, pixels in [0, 255]; 1 channel (grey) or 3. Of a memory map,
        only the images shown are read.
    n : int, default=12
        Number of images; fewer where no more are wrong.
    columns : int, default=4
        Greatest number of images in a row.

    Returns
    -------
    matplotlib.figure.Figure
        The most confused image first. Each title has the true and the predicted class with their
        probabilities (with repeats, their mean), the image's row index and the fold, or folds,
        that tested it.
    """
    check_result(result)
    check_count("n", n)
    check_count("columns", columns)
    rows, probabilities, _ = doubts(result)
    chosen, of_truth = rows[:n], probabilities[:n]
    if len(chosen) == 0:
        figure = new_figure(2 * _WIDE, 1)
        figure.text(0.5, 0.5, "no image is taken for another class", ha="center")
        return figure
    pictures = as_colours(_rows_of_images(images, chosen, len(result.labels)))

    n_rows, columns = math.ceil(len(chosen) / columns), min(len(chosen), columns)
    titles = []
    for row, of_label in zip(chosen, of_truth):
        tested_in = [str(k) for k, (_, test) in enumerate(result.indices) if row in test]
        of_predicted = result.probabilities[row][result.classes == result.predictions[row]].max()
        lines = [
            f"true: {result.labels[row]} ({of_label:.3f})",
            f"predicted: {result.predictions[row]} ({of_predicted:.3f})",
            f"image {row}, fold{'s' * (len(tested_in) > 1)} {', '.join(tested_in)}",
        ]
        titles.append("\n".join(wrapped(line, 40) for line in lines))
    height, width = pictures.shape[1:3]
    above = 0.15 + 0.12 * max(title.count("\n") + 1 for title in titles)
    picture = _WIDE, _WIDE * height / width
    figure, axes = grid_of_pictures((n_rows, columns), picture, above=above)
    for axis, picture, title in zip(axes.flat, pictures, titles):
        axis.imshow(picture)
        axis.set_title(title, fontsize="x-small", loc="left", parse_math=False)
    return figure


def _rows_of_images(images: Any, rows: Array, n: int) -> Array:
    """Return and check these images alone: a memory map is not read whole."""
    if not isinstance(images, np.ndarray):
        images = check_images(images)
    if len(images) != n:
        raise ValueError(
            f"{len(images)} images for a result of {n}; give those that were cross-validated."
        )
    return check_images(images[rows])
