"""Run the frozen trunk once per image and keep what comes out."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from detl.features.store import FeatureStore, allocate
from detl.features.views import BATCH, Views, image_digests
from detl.networks.prediction import Predicts, predict_on_batch
from detl.progress import progress_bar

_store = FeatureStore()
_lock = threading.Lock()  # two threads that ask for the same features compute them once


def features_of(
    trunk: Predicts,
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
    key : str
        What tells this trunk from all others, see :func:`detl.features.identity.trunk_name`.
    cache_dir : path, optional
        Where features are kept for later processes, those that were known already included.

    Returns
    -------
    numpy.ndarray of shape (n views, ...)
        Features of all images as they are, then of their first augmented views, and so on. Shared:
        not to be written to.
    """
    digests = image_digests(images)
    names = views.names(digests)
    with _lock:
        if cache_dir is not None:
            _store.read(cache_dir, key, names)
        missing = _store.missing(key, names)
        if missing:
            rows = _extract_places(trunk, images, missing, digests, views, verbose=verbose)
            _store.add(key, [names[place] for place in missing], rows, cache_dir)
        if cache_dir is not None:
            elsewhere = set(_store.missing(key, names, cache_dir)) - set(missing)
            unwritten = [names[place] for place in sorted(elsewhere)]
            if unwritten:
                _store.add(key, unwritten, _store.gather(key, unwritten), cache_dir)
        found = _store.gather(key, names)
        _store.forget()
    return found


def n_to_run(images: np.ndarray, *, key: str, cache_dir: Path | None = None) -> int:
    """Return on how many images :func:`features_of` would run the trunk, in batches filled up."""
    names = image_digests(images)
    with _lock:
        if cache_dir is not None:
            _store.read(cache_dir, key, names)
        return math.ceil(len(_store.missing(key, names)) / BATCH) * BATCH


def clear_cache() -> None:
    """Forget the features of all trunks and images, and give their memory back; files stay."""
    _store.clear()


def _extract_places(
    trunk: Predicts,
    images: np.ndarray,
    places: Sequence[int],
    digests: Sequence[bytes],
    views: Views,
    *,
    verbose: int,
) -> np.ndarray:
    def run(start: int) -> np.ndarray:
        chosen = np.asarray(places[start : start + BATCH])
        # Filled up, so that an image's features do not depend on how many others were missing.
        full = np.resize(chosen, BATCH)
        return predict_on_batch(trunk, views.pixels(images, full, digests))[: len(chosen)]

    return _in_batches(run, len(places), BATCH, verbose=verbose)


def extract(
    trunk: keras.Model, images: np.ndarray, *, batch_size: int = 32, verbose: int = 1
) -> np.ndarray:
    """Return the trunk's output for every image, computed in inference mode.

    Batch normalisation uses its stored statistics and dropout is off, as it must be in frozen
    layers. (Inside a model that is being fitted, frozen Dropout still drops.)

    Parameters
    ----------
    trunk : keras.Model
        From images to features.
    images : numpy.ndarray of shape (n, ...)
        May be a memory map; it is read batch by batch.
    batch_size : int, default=32
        Images per step.
    verbose : int, default=1
        1 shows a progress bar in a terminal or a notebook, 0 nothing.

    Returns
    -------
    numpy.ndarray of shape (n, ...)
        One row per image. Where all rows would exceed a quarter of the memory it is a memory map of
        a temporary file, which the system removes with the last reference to it.
    """

    def run(start: int) -> np.ndarray:
        batch = np.asarray(images[start : start + batch_size])
        return predict_on_batch(trunk, batch)[: len(batch)]  # tf.distribute: all, from each device

    return _in_batches(run, len(images), batch_size, verbose=verbose)


def _in_batches(
    run: Callable[[int], np.ndarray], n: int, batch_size: int, *, verbose: int
) -> np.ndarray:
    """Return the features of all batches; ``run`` is given the first row of each."""
    with progress_bar(n, verbose=verbose, description="features", unit="image") as bar:
        for start in range(0, n, batch_size):
            batch = run(start)
            if start == 0:
                # bfloat16 is no dtype of numpy's own; float32 holds its values exactly.
                features = allocate((n, *batch.shape[1:]), np.dtype("float32"))
            features[start : start + len(batch)] = batch
            bar.update(len(batch))
    return features
