"""Random rotation, scaling and mirroring of image batches, while training runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How far training images are turned, scaled and mirrored, anew for every image and epoch.

    The three are one affine map per image, so that each pixel is interpolated once.

    Parameters
    ----------
    rotation : float, default=10.0
        Greatest rotation to either side, in degrees.
    scaling : float, default=0.1
        Greatest change of size, as a share: 0.1 draws factors from 0.9 to 1.1.
    mirroring : bool, default=True
        Whether half of the images, drawn at random, are flipped left to right. Set it to False
        where sides have a meaning: a mirrored chest has its heart on the right.

    Notes
    -----
    Basu et al. 2020, sec. IV: "random rotation, scaling, mirroring"; amounts are not given there.
    What turns into view from outside the image is its reflection. Images keep their dtype: where
    ``uint8`` pixels are interpolated, the fraction is dropped (half a grey level in the mean).

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

    def __post_init__(self) -> None:
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"rotation={self.rotation!r}; expected degrees between 0 and 180.")
        if not 0 <= self.scaling < 1:
            raise ValueError(f"scaling={self.scaling!r}; expected a share in [0, 1), such as 0.1.")
        if not isinstance(self.mirroring, (bool, np.bool_)):
            raise TypeError(f"mirroring={self.mirroring!r}; expected True or False.")

    def __call__(self, images: np.ndarray, generator: np.random.Generator) -> Any:
        """Return the images ``(n, height, width, channels)``, each under a map of its own."""
        height, width = images.shape[1:3]
        return self.warp(images, self.draw(len(images), height, width, generator))

    def warp(self, images: np.ndarray, maps: np.ndarray) -> Any:
        """Return the images, each under its map; the maps are those of :meth:`draw`."""
        return ops.image.affine_transform(
            images,
            maps,
            interpolation="bilinear",
            fill_mode="reflect",
            data_format="channels_last",
        )

    def draw(self, n: int, height: int, width: int, generator: np.random.Generator) -> np.ndarray:
        """Draw ``n`` maps from output to input pixels about the image's centre, ``(n, 8)``.

        A row ``a b c d e f 0 0`` takes output column x and row y to input column
        ``a x + b y + c`` and row ``d x + e y + f``.
        """
        angle = np.deg2rad(generator.uniform(-self.rotation, self.rotation, n))
        shrink = 1 / generator.uniform(1 - self.scaling, 1 + self.scaling, n)
        mirror = np.where(self.mirroring & (generator.random(n) < 0.5), -1.0, 1.0)
        a, b = mirror * shrink * np.cos(angle), -shrink * np.sin(angle)
        d, e = mirror * shrink * np.sin(angle), shrink * np.cos(angle)
        x, y = (width - 1) / 2, (height - 1) / 2
        zero = np.zeros(n)
        maps = [a, b, x - a * x - b * y, d, e, y - d * x - e * y, zero, zero]
        return np.stack(maps, axis=1).astype("float32")
