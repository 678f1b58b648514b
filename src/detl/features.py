"""Run the frozen trunk once per image and keep what comes out."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np

from detl._progress import progress_bar

# Above this size the features go to a memory-mapped file instead of memory.
_IN_MEMORY_BYTES = 4 * 1024**3


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
        One row per image. Where all rows would exceed 4 GiB it is a memory map of a temporary
        file, which the system removes with the last reference to it.

    Raises
    ------
    OSError
        If that file would not fit into the folder for temporary files.
    """
    first = trunk.predict_on_batch(np.asarray(images[:batch_size]))
    # bfloat16 is no dtype of numpy's own; float32 holds its values exactly.
    features = _allocate((len(images), *first.shape[1:]), np.dtype("float32"))
    features[: len(first)] = first
    starts = range(batch_size, len(images), batch_size)
    with progress_bar(len(images), verbose=verbose, description="features", unit="image") as bar:
        bar.update(len(first))
        for start in starts:
            stop = min(start + batch_size, len(images))
            features[start:stop] = trunk.predict_on_batch(np.asarray(images[start:stop]))
            bar.update(stop - start)
    return features


def _allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size <= _IN_MEMORY_BYTES:
        return np.empty(shape, dtype)
    # The file is unlinked at once where the system allows it, so that nothing is left behind.
    with tempfile.TemporaryDirectory(prefix="detl-", ignore_cleanup_errors=True) as folder:
        # A memory map that outgrows its disk ends the process without a word.
        free = shutil.disk_usage(folder).free
        if size > free:
            raise OSError(
                f"The features of {shape[0]} images need {size / 1024**3:.1f} GiB, but "
                f"{tempfile.gettempdir()} has {free / 1024**3:.1f} GiB free; set TMPDIR to a "
                "larger folder, use smaller images, or train from a later layer (trainable_from)."
            )
        return np.lib.format.open_memmap(
            Path(folder) / "features.npy", mode="w+", dtype=dtype, shape=shape
        )
