"""Run the frozen trunk once per image and keep what comes out."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import keras
import numpy as np

from detl.features.store import FeatureStore, allocate
from detl.pretraining.augmentation import Augmentation
from detl.progress import progress_bar

_BATCH = 16  # images per step of a trunk; a multiple of it is computed
_store = FeatureStore()
_lock = threading.Lock()  # two threads that ask for the same features compute them once


class Runs(Protocol):
    """What goes from images to features: a ``keras.Model``, or what makes one when needed."""

    def predict_on_batch(self, images: np.ndarray, /) -> np.ndarray:
        """Return the features of a batch."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """What training sees of each image: the image, and augmented views of it.

    Attributes
    ----------
    n_augmented : int
        Augmented views per image.
    augmentation : Augmentation
        How they are drawn.
    seed : int
        What they are drawn with; a view depends on it, its number, and the image's content alone.
    """

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
            changes = [
                self.augmentation.draw(1, height, width, self._generator(digests[row], view))
                for row, view in zip(rows[augmented], views[augmented])
            ]
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

    def _generator(self, digest: bytes, view: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, int(view), int.from_bytes(digest)])


def views_of(images: np.ndarray, views: Views, *, verbose: int = 0) -> np.ndarray:
    """Return the pixels of all views: the images, then the first view of each, and so on."""
    if not views.n_augmented:
        return images
    digests = _digests(images)
    found = allocate((len(images) * views.n, *images.shape[1:]), images.dtype)
    with progress_bar(len(found), verbose=verbose, description="views", unit="view") as bar:
        for start in range(0, len(found), _BATCH):
            places = np.arange(start, min(start + _BATCH, len(found)))
            found[places] = views.pixels(images, places, digests)
            bar.update(len(places))
    return found


def known_or_extracted(
    trunk: Runs,
    images: np.ndarray,
    *,
    key: str,
    views: Views,
    cache_dir: Path | None = None,
    verbose: int = 0,
) -> np.ndarray:
    """Return the trunk's output for every view, run on those that it has not seen before.

    Parameters
    ----------
    trunk : keras.Model
        From images to features; or what has its ``predict_on_batch``.
    images : numpy.ndarray of shape (n, ...)
        May be a memory map; it is read batch by batch.
    key : str
        What tells this trunk from all others, see :func:`detl.features.identity.trunk_name`.
    views : Views
        What is seen of each image.
    cache_dir : path, optional
        Where features are kept for later processes, those that were known already included.
        Without it they are kept in memory up to a quarter of it, beyond that in a temporary file,
        and forgotten with this process.
    verbose : int, default=0
        1 shows a progress bar in a terminal or a notebook.

    Returns
    -------
    numpy.ndarray of shape (n views, ...)
        Features of all images as they are, then of their first augmented views, and so on. Shared:
        not to be written to.

    Raises
    ------
    OSError
        If there is no room for the features, neither in memory nor in a temporary file.
    """
    digests = _digests(images)
    names = views.names(digests)
    with _lock:
        if cache_dir is not None:
            _store.read(cache_dir, key, names)
        missing = _store.missing(key, names)
        if missing:
            rows = _extract_places(trunk, images, missing, digests, views, verbose=verbose)
            _store.add(key, [names[place] for place in missing], rows, cache_dir)
        if cache_dir is not None:
            unwritten = _store.unwritten(key, names, cache_dir)
            if unwritten:
                _store.add(key, unwritten, _store.gather(key, unwritten), cache_dir)
        found = _store.gather(key, names)
        _store.forget()
    return found


def clear_cache() -> None:
    """Forget the features of all trunks and images, and give their memory back; files stay."""
    _store.clear()


def _extract_places(
    trunk: Runs,
    images: np.ndarray,
    places: Sequence[int],
    digests: Sequence[bytes],
    views: Views,
    *,
    verbose: int,
) -> np.ndarray:
    def run(start: int) -> np.ndarray:
        chosen = np.asarray(places[start : start + _BATCH])
        # Filled up, so that an image's features do not depend on how many others were missing.
        full = np.resize(chosen, _BATCH)
        return trunk.predict_on_batch(views.pixels(images, full, digests))[: len(chosen)]

    with progress_bar(len(places), verbose=verbose, description="features", unit="view") as bar:
        first = run(0)
        # bfloat16 is no dtype of numpy's own; float32 holds its values exactly.
        features = allocate((len(places), *first.shape[1:]), np.dtype("float32"))
        for start in range(0, len(places), _BATCH):
            batch = run(start) if start else first
            features[start : start + len(batch)] = batch
            bar.update(len(batch))
    return features


def _digests(images: np.ndarray) -> list[bytes]:
    """Return a digest of each image's type, shape and pixels."""
    kind = f"{images.dtype}{images.shape[1:]}"
    return [_digest(kind.encode() + np.ascontiguousarray(image).tobytes()) for image in images]


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def extract(
    trunk: keras.Model, images: np.ndarray, *, batch_size: int = 32, verbose: int = 0
) -> np.ndarray:
    """Return the trunk's output for every image, computed in inference mode.

    The trunk is a pure function here: batch normalisation uses its stored statistics and dropout
    is off, as it must be in frozen layers. (Inside a model that is being fitted Keras runs frozen
    BatchNormalization with its stored statistics, but frozen Dropout still drops.)

    Parameters
    ----------
    trunk : keras.Model
        From images to features.
    images : numpy.ndarray of shape (n, ...)
        May be a memory map; it is read batch by batch.
    batch_size : int, default=32
        Images per step.
    verbose : int, default=0
        1 shows a progress bar in a terminal or a notebook.

    Returns
    -------
    numpy.ndarray of shape (n, ...)
        One row per image. Where all rows would exceed a quarter of the memory it is a memory map of
        a temporary file, which the system removes with the last reference to it.

    Raises
    ------
    OSError
        If that file would not fit into the folder for temporary files.
    """
    first = trunk.predict_on_batch(np.asarray(images[:batch_size]))
    # bfloat16 is no dtype of numpy's own; float32 holds its values exactly.
    features = allocate((len(images), *first.shape[1:]), np.dtype("float32"))
    n_first = min(batch_size, len(images))
    features[:n_first] = first[:n_first]
    starts = range(batch_size, len(images), batch_size)
    with progress_bar(len(images), verbose=verbose, description="features", unit="image") as bar:
        bar.update(n_first)
        for start in starts:
            stop = min(start + batch_size, len(images))
            found = trunk.predict_on_batch(np.asarray(images[start:stop]))
            features[start:stop] = found[: stop - start]  # tf.distribute: all, from each device
            bar.update(stop - start)
    return features
