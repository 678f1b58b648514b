"""The images that a classifier gets wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from detl.checks import check_count, check_images
from detl.plots.drawing import (
    Array,
    as_colours,
    characters,
    check_result,
    checked_size,
    grid_of_pictures,
    new_figure,
    width_of_pictures,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDE = 2.3  # of a picture, inches
_FONT, _LINE = 7, 0.12  # of the titles: points, and inches


def most_confused(
    result: Any,
    images: Any,
    *,
    n: int = 12,
    columns: int = 4,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Show the images that were taken for another class, and whose own got the least probability.

    Look at them first: they are wrong labels, bad images, or what the classifier cannot do.

    Parameters
    ----------
    result : CrossValidationResult or Evaluation
    images : array-like of shape (n_images, height, width, channels)
        The cross-validated or evaluated images, pixels in [0, 255]; 1 channel (grey) or 3. Of a
        memory map, only the images shown are read.
    n : int, default=12
        Number of images; fewer where no more are wrong.
    columns : int, default=4
        Greatest number of images in a row.
    figsize : tuple of (float, float), optional
        Width and height of the figure in inches, which the images are scaled to. By default each is
        2.3 inches wide.

    Returns
    -------
    matplotlib.figure.Figure
        The most confused image first. Each title has the true and the predicted class with their
        probabilities (with repeats, their mean), the image's row index and the fold, or folds,
        that tested it.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from detl import evaluate, plots
    >>> images, labels = np.zeros((40, 8, 8, 1), dtype="uint8"), ["covid"] * 30 + ["normal"] * 10
    >>> found = evaluate(DummyClassifier().fit(images, labels), images, labels, random_state=0)
    >>> figure = plots.most_confused(found, images, n=2)
    >>> figure.axes[0].get_title("left").splitlines()
    ['true: normal (0.250)', 'predicted: covid (0.750)', 'image 30']
    """
    check_result(result)
    check_count("n", n)
    check_count("columns", columns)
    chosen = result.suspects(n).rows
    if len(chosen) == 0:
        figure = new_figure(*checked_size(figsize, (2 * _WIDE, 1)))
        figure.text(0.5, 0.5, "no image is taken for another class", ha="center")
        return figure
    pictures = as_colours(_rows_of_images(images, chosen, len(result.labels)))

    shape = math.ceil(len(chosen) / columns), min(len(chosen), columns)
    aspect = pictures.shape[1] / pictures.shape[2]
    size = None if figsize is None else checked_size(figsize, (0, 0))
    width = _WIDE if size is None else width_of_pictures(size, shape, aspect=aspect, above=0)
    titles = [_title_of(result, row, characters(width, _FONT)) for row in chosen]
    above = 0.15 + _LINE * max(title.count("\n") + 1 for title in titles)
    if size is not None:
        width = width_of_pictures(size, shape, aspect=aspect, above=above)
    figure, axes = grid_of_pictures(shape, (width, width * aspect), above=above, figsize=size)
    for axis, picture, title in zip(axes.flat, pictures, titles):
        axis.imshow(picture)
        axis.set_title(title, fontsize=_FONT, loc="left", parse_math=False)
    return figure


def _title_of(result: Any, row: int, fits: int) -> str:
    """Return what an image is, what it was taken for, and where it was tested."""
    true, predicted = (
        result.probabilities[row][result.classes == name].max()
        for name in (result.labels[row], result.predictions[row])
    )
    lines = [
        f"true: {result.labels[row]} ({true:.3f})",
        f"predicted: {result.predictions[row]} ({predicted:.3f})",
        f"image {row}",
    ]
    folds = getattr(result, "indices", [])  # an evaluation has none
    tested_in = [str(number) for number, (_, test) in enumerate(folds) if row in test]
    if tested_in:
        lines[-1] += f", fold{'s' * (len(tested_in) > 1)} {', '.join(tested_in)}"
    return "\n".join(wrapped(line, fits) for line in lines)


def _rows_of_images(images: Any, rows: Array, n: int) -> Array:
    """Return and check these images alone: a memory map is not read whole."""
    if not isinstance(images, np.ndarray):
        images = check_images(images)
    if len(images) != n:
        raise ValueError(
            f"{len(images)} images for a result of {n}; give those that were cross-validated."
        )
    return check_images(images[rows])
