"""Random changes of images while training runs: place, contrast, brightness, an erased box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from detl.checks import check_number

_GREY = 128.0  # the middle of [0, 255]
# What TensorFlow interpolates; other backends take more.
_INTERPOLATED = ("uint8", "int32", "int64", "bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far training images are changed, anew for every image and epoch.

    Rotation, scaling, mirroring and translation are one affine map per image, so that each pixel is
    interpolated once; then come contrast and brightness, then an erased box.

    Parameters
    ----------
    rotation : float, default=10.0
        Greatest rotation to either side, in degrees.
    scaling : float, default=0.1
        Greatest change of size, as a share: 0.1 draws factors from 0.9 to 1.1.
    mirroring : bool, default=True
        Whether half of the images, drawn at random, are flipped left to right. Set it to False
        where sides have a meaning: a mirrored chest has its heart on the right.
    translation : float, default=0.0
        Greatest shift to each side, as a share of the height and of the width.
    contrast : float, default=0.0
        Greatest change of contrast about the middle grey, as a share: 0.2 draws factors from 0.8 to
        1.2.
    brightness : float, default=0.0
        Greatest change of brightness to either side, as a share of the range of 255.
    erasing : float, default=0.0
        Greatest side of a box that is painted in the middle grey, as a share of the height and of
        the width; every image has one, with sides between nothing and that.

    Notes
    -----
    Basu et al. 2020, sec. IV: "random rotation, scaling, mirroring"; amounts are not given there.
    The others are off by default. What comes into view from outside the image is its reflection.
    Pixels stay in [0, 255]. Images keep their dtype: where ``uint8`` pixels are interpolated,
    TensorFlow drops the fraction (half a grey level in the mean), and PyTorch rounds. Integers that
    TensorFlow cannot interpolate, such as ``uint16``, become ``float32``.

    References
    ----------
    Zhong, Zheng, Kang, Li, Yang 2020, "Random Erasing Data Augmentation", AAAI.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(9, dtype="uint8").reshape(1, 3, 3, 1)
    >>> still = Augmentation(rotation=0, scaling=0, mirroring=False)
    >>> np.asarray(still(image, np.random.default_rng(0)))[0, :, :, 0].tolist()
    [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    """

    rotation: float = 10.0
    scaling: float = 0.1
    mirroring: bool = True
    translation: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    erasing: float = 0.0

    def __post_init__(self) -> None:
        check_number("rotation", self.rotation, at_least=0, at_most=180)
        if not isinstance(self.mirroring, (bool, np.bool_)):
            raise TypeError(f"mirroring={self.mirroring!r}; expected True or False.")
        for name in ("scaling", "translation", "contrast", "brightness", "erasing"):
            check_number(name, getattr(self, name), at_least=0, below=1)
        for name, value in vars(self).items():
            if isinstance(value, np.generic):  # which JSON does not know
                object.__setattr__(self, name, value.item())

    def __call__(self, images: np.ndarray, generator: np.random.Generator) -> Any:
        """Return the images ``(n, height, width, channels)``, each changed in its own way."""
        height, width = images.shape[1:3]
        return self.apply(images, self.draw(len(images), height, width, generator))

    def apply(self, images: np.ndarray, changes: np.ndarray) -> Any:
        """Return the images, each under its change; the changes are those of :meth:`draw`."""
        found = ops.image.affine_transform(
            _to_interpolate(images),
            changes[:, :8],
            interpolation="bilinear",
            fill_mode="reflect",
            data_format="channels_last",
        )
        if self.contrast or self.brightness:
            gain, offset = (
                ops.convert_to_tensor(column.reshape(-1, 1, 1, 1)) for column in changes[:, 8:10].T
            )
            pixels = (ops.cast(found, "float32") - _GREY) * gain + (_GREY + offset)
            found = ops.cast(ops.clip(pixels, 0, 255), found.dtype)
        if self.erasing:
            erased = _boxes(changes[:, 10:14], *images.shape[1:3])
            found = ops.where(erased, ops.cast(_GREY, found.dtype), found)
        return found

    def draw(self, n: int, height: int, width: int, generator: np.random.Generator) -> np.ndarray:
        """Draw changes for n images, ``(n, 14)``.

        A row begins with ``a b c d e f 0 0``, which takes output column x and row y to input column
        ``a x + b y + c`` and row ``d x + e y + f``, about the image's centre. Then come the factor
        of the contrast, what is added in grey levels, and the box that is erased: first row, first
        column, and the row and column that follow its last ones.
        """
        angle = np.deg2rad(generator.uniform(-self.rotation, self.rotation, n))
        shrink = 1 / generator.uniform(1 - self.scaling, 1 + self.scaling, n)
        mirror = np.where(self.mirroring & (generator.random(n) < 0.5), -1.0, 1.0)
        a, b = mirror * shrink * np.cos(angle), -shrink * np.sin(angle)
        d, e = mirror * shrink * np.sin(angle), shrink * np.cos(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        c, f = x - a * x - b * y, y - d * x - e * y
        zero = np.zeros(n)
        gain, offset, box = zero + 1, zero, [zero] * 4
        # What is off draws nothing, so that the others come out the same.
        if self.translation:
            c = c + width * generator.uniform(-self.translation, self.translation, n)
            f = f + height * generator.uniform(-self.translation, self.translation, n)
        if self.contrast:
            gain = generator.uniform(1 - self.contrast, 1 + self.contrast, n)
        if self.brightness:
            offset = 255 * generator.uniform(-self.brightness, self.brightness, n)
        if self.erasing:
            sides = generator.uniform(0, self.erasing, (2, n))
            starts = generator.random((2, n)) * (1 - sides)
            pixels = np.array([[height], [width]])
            box = [*np.rint(starts * pixels), *np.rint((starts + sides) * pixels)]
        changes = [a, b, c, d, e, f, zero, zero, gain, offset, *box]
        return np.stack(changes, axis=1).astype("float32")


def _to_interpolate(images: np.ndarray) -> np.ndarray:
    """Return the images in a type and an order of bytes that all backends interpolate."""
    is_taken = images.dtype.name in _INTERPOLATED
    dtype = images.dtype.newbyteorder("=") if is_taken else np.dtype("float32")
    return images.astype(dtype, copy=False)


def _boxes(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return which pixels lie in the boxes ``(n, 4)``, as ``(n, height, width, 1)``."""
    first_row, first_column, end_row, end_column = corners.T[..., np.newaxis, np.newaxis]
    rows, columns = np.arange(height)[:, np.newaxis], np.arange(width)
    inside = (first_row <= rows) & (rows < end_row)
    return (inside & (first_column <= columns) & (columns < end_column))[..., np.newaxis]
