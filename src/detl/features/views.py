"""What training sees of each image: the image, and augmented views of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from detl.features.store import allocate
from detl.pretraining.augmentation import Augmentation
from detl.progress import progress_bar

BATCH = 16  # images per step of a trunk; a multiple of it is computed


@dataclass(frozen=True, kw_only=True)
class Views:
    """The image, and so many augmented views, drawn from the seed and the image's content."""

    n_augmented: int
    augmentation: Augmentation
    seed: int

    @property
    def n(self) -> int:
        """Views per image, itself included."""
        return 1 + self.n_augmented

    def pixels(
        self, images: np.ndarray, places: np.ndarray, digests: Sequence[bytes]
    ) -> np.ndarray:
        """Return the views at these places, where view v of image i of n has place ``i + v n``."""
        views, rows = np.divmod(places, len(images))
        pixels = np.array(images[rows])
        augmented = np.flatnonzero(views)
        if len(augmented):
            height, width = pixels.shape[1:3]
            changes = []
            for row, view in zip(rows[augmented], views[augmented]):
                seeds = [self.seed, int(view), int.from_bytes(digests[row])]
                generator = np.random.default_rng(seeds)
                changes.append(self.augmentation.draw(1, height, width, generator))
            changed = self.augmentation.apply(pixels[augmented], np.concatenate(changes))
            pixels[augmented] = keras.ops.convert_to_numpy(changed)
        return pixels

    def names(self, digests: Sequence[bytes]) -> list[bytes]:
        """Return what tells the views of images apart, in the order of their places."""
        return [
            digest
            if view == 0
            else _digest(digest + f"{view} {self.seed} {self.augmentation}".encode())
            for view in range(self.n)
            for digest in digests
        ]


UNCHANGED = Views(n_augmented=0, augmentation=Augmentation(), seed=0)  # the images as they are


def pixels_of_views(images: np.ndarray, views: Views, *, verbose: int = 0) -> np.ndarray:
    """Return the pixels of all views: the images, then the first view of each, and so on."""
    if not views.n_augmented:
        return images
    digests = image_digests(images)
    found = allocate((len(images) * views.n, *images.shape[1:]), images.dtype)
    with progress_bar(len(found), verbose=verbose, description="views", unit="view") as bar:
        for start in range(0, len(found), BATCH):
            places = np.arange(start, min(start + BATCH, len(found)))
            found[places] = views.pixels(images, places, digests)
            bar.update(len(places))
    return found


def image_digests(images: np.ndarray) -> list[bytes]:
    """Return a digest of each image's type, shape and pixels."""
    kind = f"{images.dtype}{images.shape[1:]}"
    return [_digest(kind.encode() + np.ascontiguousarray(image).tobytes()) for image in images]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()
