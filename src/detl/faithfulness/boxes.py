"""Boxes of objects, and the pixels in them."""

from __future__ import annotations

from typing import Any

import numpy as np

from detl.checks import check_boxes, check_count
from detl.faithfulness.estimates import Array


def box_masks(boxes: Any, size: tuple[int, int]) -> Array:
    """Turn boxes into masks.

    Parameters
    ----------
    boxes : array-like or data frame of shape (n, 4), or sequence of n of shape (k, 4)
        ``(x, y, width, height)`` from the upper left corner, in pixels, fractions included; one
        box per image, or several. Each has an area and reaches into the image; boxes of an image
        of another size are to be multiplied first.
    size : tuple of int
        ``(height, width)`` of the images.

    Returns
    -------
    numpy.ndarray of bool, shape (n, height, width)
        True at the pixels whose centre is in a box of the image, and at the pixel in the middle of
        a box that holds no centre. What reaches beyond the image is cut off.

    Examples
    --------
    >>> from detl import faithfulness
    >>> faithfulness.box_masks([(1, 0, 2, 1), [(0, 0, 1, 1), (3, 1, 1, 1)]], (2, 4)).astype(int)
    array([[[0, 1, 1, 0],
            [0, 0, 0, 0]],
           [[1, 0, 0, 0],
            [0, 0, 0, 1]]])
    """
    if not np.iterable(size) or len(tuple(size)) != 2:
        raise ValueError(f"size={size!r}; expected (height, width) of the images.")
    for side in size:
        check_count("size", side)
    height, width = size
    boxes = check_boxes(boxes)
    masks = np.zeros((len(boxes), height, width), dtype=bool)
    for row, of_image in enumerate(boxes):
        for x, y, wide, high in of_image.tolist():
            if not (x < width and y < height and x + wide > 0 and y + high > 0):
                raise ValueError(
                    f"boxes has (x, y, width, height) = {(x, y, wide, high)} in row {row}; "
                    f"expected a box within {width} x {height} pixels. Scale boxes of the original "
                    "image to this size."
                )
            masks[row][_pixels(y, high, height), _pixels(x, wide, width)] = True
    return masks


def _pixels(start: float, length: float, side: int) -> slice:
    """Return the pixels whose centres lie between start and start + length, at least one."""
    first = int(np.ceil(max(start, 0) - 0.5))
    stop = int(np.ceil(min(start + length, side) - 0.5))
    if stop <= first:
        middle = (max(start, 0) + min(start + length, side)) / 2
        first = min(int(middle), side - 1)
        stop = first + 1
    return slice(first, stop)
