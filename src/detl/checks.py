"""Checks of arguments: what arrived, what was expected, what to do."""

from __future__ import annotations

import enum
import math
import operator
import os
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from detl.caller import stacklevel_of_caller

_COMPARISONS = {
    "above": operator.gt,
    "at_least": operator.ge,
    "below": operator.lt,
    "at_most": operator.le,
}


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse a value that is not one of the choices."""
    if isinstance(value, np.ndarray) or value not in choices:
        raise ValueError(f"{name}={value!r}; expected one of {', '.join(map(repr, choices))}.")


def check_path(name: str, value: Any, *, of: str = "a file or folder") -> Path:
    """Return a path, refusing what is none."""
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"{name} is {type(value).__name__} {value!r}; expected the path of {of}.")
    return Path(value)


def check_number(name: str, value: Any, **bounds: float) -> None:
    """Refuse what is no finite number within ``above``, ``at_least``, ``below``, ``at_most``."""
    expected = "a number " + " and ".join(
        f"{word.replace('_', ' ')} {bound:g}" for word, bound in bounds.items()
    )
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} is {type(value).__name__} {value!r}; expected {expected}.")
    is_within = all(_COMPARISONS[word](value, bound) for word, bound in bounds.items())
    if not (math.isfinite(float(value)) and is_within):
        raise ValueError(f"{name}={value!r}; expected {expected}.")


def check_positive(name: str, value: Any) -> None:
    """Refuse what is not a number above zero."""
    check_number(name, value, above=0)


def check_count(name: str, value: Any, *, at_least: int = 1) -> None:
    """Refuse what is not a whole number of at least ``at_least``."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} is {type(value).__name__} {value!r}; expected a whole number.")
    if value < at_least:
        raise ValueError(f"{name}={value}; expected at least {at_least}.")


def check_size(name: str, value: Any) -> tuple[int, int]:
    """Return ``(height, width)`` in pixels, refusing what is no pair of whole numbers above 0."""
    is_pair = isinstance(value, Sequence) and len(value) == 2
    if not is_pair or not all(isinstance(n, Integral) and int(n) >= 1 for n in value):
        raise ValueError(
            f"{name}={value!r}; expected (height, width) in pixels, two whole numbers above 0, "
            "such as (224, 224)."
        )
    return int(value[0]), int(value[1])


def check_input_shape(input_shape: Any, *, smallest: int) -> None:
    """Refuse what is not (height, width, channels) with 1 or 3 channels."""
    is_list = isinstance(input_shape, tuple | list) or np.ndim(input_shape) == 1
    shape: tuple[Any, ...] = tuple(input_shape) if is_list else ()
    if len(shape) != 3 or not all(
        isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0 for n in shape
    ):
        raise ValueError(
            f"input_shape={input_shape!r}; expected (height, width, channels), "
            "such as (224, 224, 1)."
        )
    if shape[2] not in (1, 3):
        raise ValueError(f"input_shape={shape} has {shape[2]} channels; expected 1 (grey) or 3.")
    if min(shape[:2]) < smallest:
        height, width = (max(n, smallest) for n in shape[:2])
        raise ValueError(
            f"input_shape={shape} is too small for this backbone, which halves the image several "
            f"times; use at least {smallest} x {smallest} pixels. Smaller images can be enlarged: "
            f"detl.images.resize(images, size=({height}, {width}))."
        )


def check_images(
    images: Any,
    *,
    name: str = "images",
    shape: tuple[Any, ...] | None = None,
    any_scale: bool = False,
) -> Any:
    """Return the images as an array, refusing wrong shapes and NaN, warning of another range.

    ``shape`` is the ``(height, width, channels)`` that a model expects, None for any size. With
    ``any_scale`` there is no warning. An array or a memory map is not copied.
    """
    try:
        array = images if isinstance(images, np.ndarray) else np.asarray(images)
    except ValueError:  # numpy's word for a list of unequal arrays names neither images nor sizes
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "uif":
        what = f"has dtype {array.dtype}" if array.ndim else f"is a {type(images).__name__}"
        hint = "Images of different sizes do not form one array: detl.images.load resizes them."
        if hasattr(images, "as_numpy_iterator"):
            what = "is a tf.data.Dataset"
            hint = f"Collect it: np.concatenate([x for x, _ in {name}.as_numpy_iterator()])."
        elif array.ndim == 1 and array.dtype == object and len(set(map(np.shape, array))) == 1:
            hint = f"Its images are of one size: np.stack({name}) makes one array of them."
        raise TypeError(f"{name} {what}; expected numbers, uint8 or float in [0, 255]. {hint}")
    if array.ndim != 4:
        hint = ""
        if array.ndim == 3:
            hint = f" One image: {name}[np.newaxis]; grey images: {name}[..., np.newaxis]."
        raise ValueError(
            f"{name} has shape {array.shape}; expected (n, height, width, channels).{hint}"
        )
    if shape is not None:
        fits = all(want in (None, got) for want, got in zip(shape, array.shape[1:], strict=True))
        if not fits:
            raise ValueError(
                f"{name} has shape {array.shape}, but the model takes (n, "
                f"{', '.join('any' if n is None else str(n) for n in shape)}); "
                "bring the images to that size (detl.images.load for files, detl.images.resize for "
                "arrays) or build the model for theirs."
            )
    if len(array) == 0:
        raise ValueError(f"{name} is empty; expected at least one image.")
    if array.dtype.kind == "f" or (array.dtype != np.uint8 and not any_scale):
        _check_pixels(array, name, any_scale)
    return array


def _check_pixels(array: np.ndarray, name: str, any_scale: bool) -> None:
    """Refuse NaN and infinity, and warn of images that look scaled otherwise than to [0, 255]."""
    low, high = np.inf, -np.inf
    for start in range(0, len(array), 256):  # a memory map is never read whole
        batch = np.asarray(array[start : start + 256])
        broken = ~np.isfinite(batch).reshape(len(batch), -1).all(axis=1)
        if broken.any():
            first = start + int(np.flatnonzero(broken)[0])
            raise ValueError(
                f"{name} contains NaN or infinity, first in row {first}; "
                "drop or repair such images."
            )
        low, high = min(low, float(batch.min())), max(high, float(batch.max()))
    if any_scale:
        return
    is_float = array.dtype.kind == "f"
    is_black = len(array) == 1 and low == high == 0
    # [-1, 1] is what keras.applications' own preprocessing gives.
    if is_float and -1 <= low and high <= 1 and not is_black:
        advice = (
            "If they were divided by 255, multiply them back; leave any other preprocessing out."
        )
    # What rounds to 0 and 255 may: interpolation overshoots by that much.
    elif low < -0.5 or high > 255.5:
        advice = "Scale them, 16 bits by dividing by 257; leave any other preprocessing out."
    else:
        return
    warnings.warn(
        f"{name} are {'floats' if is_float else 'integers'} in [{low:.5g}, {high:.5g}], but pixels "
        f"are expected in [0, 255]: rescaling is inside the model. {advice}",
        UserWarning,
        stacklevel=stacklevel_of_caller(),
    )


def check_heatmaps(heatmaps: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return the heatmaps as an array, refusing wrong shapes, NaN and values outside [0, 1]."""
    array = np.asarray(heatmaps)
    if array.dtype.kind not in "uif":
        raise TypeError(f"heatmaps has dtype {array.dtype}; expected floats in [0, 1].")
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"heatmaps has shape {array.shape}; expected (n, height, width), such as GradCAM gives."
        )
    if shape is not None and array.shape != shape:
        raise ValueError(
            f"heatmaps has shape {array.shape}; expected {shape}, one per image and of its size."
        )
    for row, heatmap in enumerate(array):  # one at a time: of many, a copy would be large
        low, high = heatmap.min(), heatmap.max()
        if not (0 <= low and high <= 1):  # also refuses NaN
            raise ValueError(
                f"heatmaps has values from {low:.3g} to {high:.3g} in row {row}; expected [0, 1], "
                "as GradCAM gives them (not Explanation.raw): clip what is negative, divide by the "
                "maximum."
            )
    return array


def check_boxes(boxes: Any) -> list[np.ndarray]:
    """Return the boxes (x, y, width, height) of each image, ``(k, 4)``."""
    boxes = boxes.to_numpy() if hasattr(boxes, "to_numpy") else boxes  # frames iterate over columns
    if not np.iterable(boxes) or isinstance(boxes, str):
        raise TypeError(
            f"boxes is {type(boxes).__name__} {boxes!r}; expected (x, y, width, height) for each "
            "image, or several of them."
        )
    found = []
    for row, of_image in enumerate(boxes):
        try:
            array = np.asarray(of_image, dtype=np.float64)
        except (TypeError, ValueError):  # numpy's word for what is no number names no row
            array = np.full(4, np.nan)
        array = array.reshape(-1, 4) if array.size in (0, 4) else array
        is_box = array.ndim == 2 and array.shape[1] == 4 and np.isfinite(array).all()
        if not (is_box and (array[:, 2:] > 0).all()):
            raise ValueError(
                f"boxes has {of_image!r} in row {row}; expected (x, y, width, height), in pixels "
                "and with an area, or several of them."
            )
        found.append(array)
    return found


def check_labels(
    labels: Any, n: int | None = None, *, name: str = "labels", of: str = "images"
) -> np.ndarray:
    """Return labels as a one-dimensional array, of length ``n`` where given, none missing."""
    try:
        array = _as_array(labels)
    except ValueError as error:  # numpy's word for lists of unequal lengths
        raise ValueError(f"{name} holds lists; expected one entry per image.") from error
    if array.ndim != 1:
        hint = ""
        if array.ndim == 2 and array.shape[1] == 1:
            hint = f" (a column: use np.ravel({name}))"
        elif array.ndim == 2 and array.dtype.kind in "biuf" and (array.sum(axis=1) == 1).all():
            hint = " (one-hot labels: use labels.argmax(axis=1))"
        elif array.ndim == 2:
            hint = (
                f" (several names each: join them, as in ['/'.join(map(str, x)) for x in {name}])"
            )
        raise ValueError(
            f"{name} has shape {array.shape}; expected ({'n' if n is None else n},), "
            f"one entry per image{hint}."
        )
    if n is not None and len(array) != n:
        raise ValueError(f"{len(array)} {name} for {n} {of}; expected one entry per image.")
    if array.dtype == object and any(isinstance(value, list | np.ndarray) for value in array):
        raise ValueError(f"{name} holds lists or arrays; expected one entry per image.")
    missing = _is_missing(array)
    if isinstance(labels, np.ma.MaskedArray):
        missing |= np.ma.getmaskarray(labels)
    if missing.any():
        first = int(np.flatnonzero(missing)[0])
        raise ValueError(f"{name} has a missing value (NaN or None) in row {first}.")
    if array.dtype == object:
        array = _with_plain_values(array)
        _check_order(array, name)
    return array


def _as_array(labels: Any) -> np.ndarray:
    """Return labels as an array of the same values; numpy makes text of 12 beside "P3"."""
    if not isinstance(labels, list | tuple):
        return np.asarray(labels)
    plain = [_plain(value) for value in labels]
    array = np.asarray(plain)
    if array.ndim == 1 and array.tolist() != plain:
        array = np.empty(len(plain), dtype=object)
        array[:] = plain
    return array


def _plain(value: Any) -> Any:
    """Return a number of numpy, or a member of an Enum of text or numbers, as Python's own."""
    if isinstance(value, np.number | np.bool_):
        return value.item()
    if isinstance(value, enum.Enum) and isinstance(value, str | int | float):
        return value.value
    return value


def _with_plain_values(array: np.ndarray) -> np.ndarray:
    """Return plain values in an array of objects; numpy's numbers, as an array of numbers."""
    plain = [_plain(value) for value in array]
    if all(isinstance(value, np.number | np.bool_) for value in array):
        numbers = np.array(plain)
        if numbers.tolist() == plain:  # no type for whole numbers holds all of them
            return numbers
    mixed = np.empty(len(plain), dtype=object)
    mixed[:] = plain
    return mixed


def _check_order(array: np.ndarray, name: str) -> None:
    """Refuse what numpy cannot sort, and so cannot count either."""
    try:
        np.sort(array)
    except TypeError as error:
        kinds = " and ".join(sorted({type(value).__name__ for value in array}))
        raise TypeError(
            f"{name} mixes {kinds}, which have no common order; make all of one type, "
            f"such as [str(value) for value in {name}]. Mind that 12 and 12.0 become two texts."
        ) from error


def _is_missing(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "fmM":
        return array != array  # NaN and NaT are equal to nothing
    if array.dtype == object:
        return np.array([_is_nothing(value) for value in array], dtype=bool)
    return np.zeros(len(array), dtype=bool)


def _is_nothing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA refuses to be compared
        return True


def check_classes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sorted classes and each label's index in them, refusing a single class."""
    classes, indices = np.unique(labels, return_inverse=True)
    if len(classes) == 0:
        raise ValueError("labels are empty; expected one entry per image.")
    # Of a date in nanoseconds, tolist makes a number.
    if labels.dtype.kind in "mM" or not all(map(_can_be_saved, classes.tolist())):
        raise TypeError(
            f"labels are {type(labels[0]).__name__}, such as {labels[0]}, which cannot be saved as "
            "the names of classes; give strings, such as [str(label) for label in labels]."
        )
    if len(classes) < 2:
        raise ValueError(
            f"labels has one class only, {classes.tolist()[0]!r}; a classifier needs at least two."
        )
    return classes, indices.reshape(-1)


def _can_be_saved(name: Any) -> bool:
    """Whether JSON gives a name back as it was."""
    return isinstance(name, str | int | float) and name not in (math.inf, -math.inf)
