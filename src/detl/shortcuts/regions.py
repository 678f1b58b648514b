"""Regions of images: given in one of several ways, blanked out, or kept alone."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np

from detl.checks import check_number

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Region: TypeAlias = "tuple[float, float, float, float] | Array | Callable[[Array], Array]"

# The middle of the scale: the same in every image, so that it says nothing of any.
FILL = 128
BORDER = 0.1

_CHUNK = 256  # images at once: a memory map is never read whole


def region_masks(region: Any, images: Array) -> Array:
    """Return the region as a mask per image, ``(n, height, width)``; not to be written to."""
    n, height, width = images.shape[:3]
    source = "region"
    if callable(region):
        region, source = region(images), "what region(images) returned"
    if isinstance(region, np.ndarray) and region.shape == (4,) and region.dtype.kind in "uif":
        region = region.tolist()
    if isinstance(region, np.ndarray):
        masks = _check_masks(region, (n, height, width), source)
    else:
        masks = _box_mask(region, height, width)
    masks = np.broadcast_to(masks, (n, height, width))
    covered = masks.reshape(n, -1).mean(axis=1)
    if covered.max() == 0 or covered.min() == 1:
        raise ValueError(
            f"{source} covers {'nothing' if covered.max() == 0 else 'the whole'} of every image; "
            "expected a part, such as (0.1, 0.1, 0.9, 0.9) for all but the border."
        )
    return masks


def _box_mask(region: Any, height: int, width: int) -> Array:
    box = tuple(region) if np.iterable(region) and not isinstance(region, str) else ()
    if len(box) != 4 or not all(isinstance(v, Real) and not isinstance(v, bool) for v in box):
        raise TypeError(
            f"region={region!r}; expected (top, left, bottom, right) in shares of the sides or in "
            "pixels, an array of bool (height, width) or (n, height, width), or a function from "
            "images to such masks."
        )
    top, left, bottom, right = (float(v) for v in box)
    if all(isinstance(v, Integral) for v in box):
        unit, limits = "pixels", (height, width)
    else:
        unit, limits = "shares of the sides", (1, 1)
    if not (0 <= top < bottom <= limits[0] and 0 <= left < right <= limits[1]):
        raise ValueError(
            f"region={box} is not a box (top, left, bottom, right) in {unit} of at most "
            f"{limits[0]} and {limits[1]}; with whole numbers it is meant in pixels, with floats "
            "in shares."
        )
    down, across = height / limits[0], width / limits[1]
    mask = np.zeros((height, width), dtype=bool)
    rows = slice(round(top * down), round(bottom * down))
    mask[rows, round(left * across) : round(right * across)] = True
    return mask


def _check_masks(masks: Array, shape: tuple[int, int, int], source: str) -> Array:
    if masks.dtype != bool:
        raise TypeError(f"{source} has dtype {masks.dtype}; expected bool, such as masks > 0.")
    if masks.shape not in (shape, shape[1:]):
        raise ValueError(
            f"{source} has shape {masks.shape}; expected {shape[1:]}, one mask for all images, or "
            f"{shape}, one per image."
        )
    return masks


def border_mask(border: Any, size: tuple[int, int], *, without: Array | None = None) -> Array:
    """Return where only the border is, ``(height, width)``: ``border`` times the shorter side.

    What is in the masks ``without``, in whatever image, is no part of it.
    """
    check_number("border", border, above=0, below=0.5)
    pixels = int(float(border) * min(size))
    if pixels == 0:
        raise ValueError(
            f"border={border} is less than a pixel of {size[0]} x {size[1]}; use at least "
            f"{1 / min(size):.3f}."
        )
    mask = np.ones(size, dtype=bool)
    mask[pixels:-pixels, pixels:-pixels] = False
    if without is not None:
        mask &= ~without.any(axis=0)
    if not mask.any():
        raise ValueError(
            "The region covers the whole border in one image or another, so that nothing is left "
            "to be tested; use border=None, or a wider one."
        )
    return mask


def blanked(images: Array, masks: Array, fill: float) -> Array:
    """Return a copy of the images in which one constant stands wherever the mask is true."""
    _check_fill(fill, images.dtype)
    found = np.empty(images.shape, images.dtype)
    masks = np.broadcast_to(masks, images.shape[:3])
    for start in range(0, len(images), _CHUNK):
        rows = slice(start, start + _CHUNK)
        found[rows] = images[rows]
        found[rows][masks[rows]] = fill
    return found


def _check_fill(fill: Any, dtype: np.dtype[Any]) -> None:
    levels = np.iinfo(dtype) if dtype.kind in "ui" else np.finfo(dtype)
    check_number("fill", fill, at_least=float(levels.min), at_most=float(levels.max))
    if dtype.kind in "ui" and not float(fill).is_integer():
        raise ValueError(f"fill={fill}; expected a whole number for images of {dtype}.")
