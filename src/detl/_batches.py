"""Seeded batches: the one place that decides in which order images are trained on."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

ClassWeight = Literal["balanced"] | None


def seed_sequence(random_state: Any) -> np.random.SeedSequence:
    """Return the root from which all seeds of one call are spawned.

    Parameters
    ----------
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None
        As in scikit-learn; None draws fresh entropy from the operating system.
    """
    if random_state is None:
        return np.random.SeedSequence()
    if isinstance(random_state, np.random.SeedSequence):
        return random_state
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(int(random_state.integers(2**32)))
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence(int(random_state.randint(2**32, dtype=np.uint32)))
    if isinstance(random_state, (int, np.integer)) and random_state >= 0:
        return np.random.SeedSequence(int(random_state))
    raise ValueError(
        f"random_state={random_state!r}; expected a whole number >= 0, a numpy generator or None."
    )


def integer_seed(sequence: np.random.SeedSequence) -> int:
    """Return a seed that Keras and scikit-learn take."""
    return int(sequence.generate_state(1)[0] >> 1)


def array_digest(array: np.ndarray) -> str:
    """Return a SHA-256 digest of type, shape and values; a memory map is read in parts."""
    digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    for start in range(0, len(array), 256):
        part = array[start : start + 256]
        digest.update(repr(part.tolist()).encode() if part.dtype == object else part.tobytes())
    return digest.hexdigest()


def names_digest(names: np.ndarray) -> str:
    """Return a SHA-256 digest of labels or groups ``(n,)``, equal whatever array type has them.

    Strings come as ``<U4``, as ``<U5`` beside a longer one, or as objects from a data frame.
    """
    plain = (name.item() if isinstance(name, np.generic) else name for name in names.tolist())
    return hashlib.sha256(repr(list(plain)).encode()).hexdigest()


def training_batches(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    batch_size: int,
    generator: np.random.Generator,
    rows: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    augment: Callable[[np.ndarray, np.random.Generator], Any] | None = None,
    n_views: int = 1,
) -> Iterator[tuple[Any, ...]]:
    """Yield shuffled batches without end, every row once per epoch.

    Where there are several views of each row, view v of row i is ``inputs[i + v * n]``, and each
    epoch draws one of them. The order depends on ``generator`` alone: Keras's own
    ``fit(shuffle=True)`` would read the global seed. Rows are read as they are needed, so that a
    memory map is never read whole.
    """
    rows = np.arange(len(targets)) if rows is None else rows
    while True:
        order = generator.permutation(rows)
        for start in range(0, len(order), batch_size):
            # Sorted within the batch: a memory map is read front to back.
            chosen = np.sort(order[start : start + batch_size])
            drawn = generator.integers(n_views, size=len(chosen)) if n_views > 1 else 0
            batch = inputs[chosen + len(targets) * drawn]
            if augment is not None:
                batch = augment(batch, generator)
            if weights is None:
                yield batch, targets[chosen]
            else:
                yield batch, targets[chosen], weights[chosen]


class BatchStream:
    """Hand batches to ``Model.fit``, which on TensorFlow never gives back what it reads from.

    From a Python generator Keras makes a new pipeline for every fit, and each leaves 1.3 MiB
    behind. Here one pipeline serves all fits.
    """

    def __init__(self) -> None:
        self._batches: Iterator[tuple[Any, ...]] = iter(())
        self._pipelines: dict[Any, Any] = {}

    def of(self, batches: Iterator[tuple[Any, ...]]) -> Any:
        """Return what ``Model.fit`` reads these batches from; the stream's last batches end."""
        import keras  # folds and metrics, which also draw seeds here, do without

        if keras.backend.backend() != "tensorflow":
            return batches
        import tensorflow as tf

        first = next(batches)
        self._batches = itertools.chain([first], batches)
        signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in first)
        if signature not in self._pipelines:
            pipeline = tf.data.Dataset.from_generator(
                lambda: self._batches, output_signature=signature
            )
            self._pipelines[signature] = pipeline.prefetch(tf.data.AUTOTUNE)
        return self._pipelines[signature]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Return the number of batches in an epoch, the last, smaller one included."""
    return -(-n // batch_size)


def balanced_weights(targets: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return a weight per image that gives every class the same total among ``rows``, mean 1."""
    chosen = targets if rows is None else targets[rows]
    counts = np.bincount(chosen, minlength=int(targets.max()) + 1)
    per_class = len(chosen) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return per_class[targets].astype("float32")
