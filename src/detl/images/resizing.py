"""Arrays of images to another size, by the filter that files are read with."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from detl.checks import check_images, check_size


def resize(images: Any, *, size: tuple[int, int]) -> np.ndarray:
    """Bring an array of images to another size, such as one that a backbone takes.

    Parameters
    ----------
    images : array-like of shape (n, height, width) or (n, height, width, channels)
        Pixels on any scale; 1 or 3 channels.
    size : tuple of int
        ``(height, width)`` of the result in pixels. Proportions may change.

    Returns
    -------
    numpy.ndarray of shape (n, height, width, channels)
        ``uint8`` where the images are, and ``float32`` otherwise; the scale stays as it is. Grey
        images without an axis for channels get one.

    Notes
    -----
    The filter is that of :func:`detl.images.load`: bilinear, and as wide as the reduction, so that
    smaller images do not alias. Larger images show nothing that was not in the small ones.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import images
    >>> small = np.zeros((10, 28, 28), dtype="uint8")  # such as those of MedMNIST
    >>> images.resize(small, size=(64, 64)).shape
    (10, 64, 64, 1)
    """
    height, width = check_size("size", size)
    array = images if isinstance(images, np.ndarray) else np.asarray(images)
    is_grey = array.ndim == 3 and array.shape[-1] not in (1, 3)  # else: one image, and refused
    array = check_images(array[..., np.newaxis] if is_grey else array, any_scale=True)
    channels = array.shape[-1]
    if channels not in (1, 3):
        raise ValueError(
            f"images has shape {array.shape}; expected 1 or 3 channels, in the last axis. Where "
            "channels come first: np.moveaxis(images, 1, -1)."
        )
    kind = np.uint8 if array.dtype == np.uint8 else np.float32
    resized = np.empty((len(array), height, width, channels), dtype=kind)
    for row, image in enumerate(array):
        for channel in range(channels):
            picture = Image.fromarray(np.ascontiguousarray(image[..., channel], dtype=kind))
            resized[row, ..., channel] = picture.resize((width, height), Image.Resampling.BILINEAR)
    return resized
