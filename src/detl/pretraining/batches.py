"""Seeded batches: the one place that decides in which order images are trained on."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from detl.networks.prediction import in_native_order
from detl.progress import progress_bar

ClassWeight = Literal["balanced"] | None


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
    epoch_ends: list[Any] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Yield shuffled batches without end, every row once per epoch.

    Where there are several views of each row, view v of row i is ``inputs[i + v * n]``, and each
    epoch draws one of them. The order depends on ``generator`` alone: Keras's own
    ``fit(shuffle=True)`` would read the global seed. Rows are read as they are needed, so that a
    memory map is never read whole. The last batch of each epoch appends to ``epoch_ends`` the state
    of ``generator`` after it, from which another one goes on with the next epoch.
    """
    rows = np.arange(len(targets)) if rows is None else rows
    while True:
        order = generator.permutation(rows)
        for start in range(0, len(order), batch_size):
            # Sorted within the batch: a memory map is read front to back.
            chosen = np.sort(order[start : start + batch_size])
            drawn = generator.integers(n_views, size=len(chosen)) if n_views > 1 else 0
            batch = in_native_order(inputs[chosen + len(targets) * drawn])
            if augment is not None:
                batch = augment(batch, generator)
            if epoch_ends is not None and start + batch_size >= len(order):
                epoch_ends.append(generator.bit_generator.state)
            if weights is None:
                yield batch, targets[chosen]
            else:
                yield batch, targets[chosen], weights[chosen]


class BatchStream:
    """Hand batches to ``Model.fit``, on TensorFlow through one pipeline that serves all fits.

    Keras would make a new pipeline of a Python generator for every fit, and each leaves 1.3 MiB
    behind.
    """

    def __init__(self) -> None:
        self._number = 0
        self._batches: Iterator[tuple[Any, ...]] = iter(())
        self._pipelines: dict[Any, Any] = {}
        self._error: Exception | None = None

    def fit(
        self,
        model: Any,
        batches: Iterator[tuple[Any, ...]],
        *,
        steps_per_epoch: int,
        epochs: int,
        initial_epoch: int = 0,
        callbacks: Sequence[Any],
        verbose: int,
        description: str = "training",
        **options: Any,
    ) -> Any:
        """Call ``model.fit`` under a progress bar.

        What goes wrong while a batch is made is raised as it is.
        """
        bar = progress_bar(
            (epochs - initial_epoch) * steps_per_epoch,
            verbose=0 if verbose == 2 else verbose,
            description=description,
            unit="step",
            leave=False,
        )
        try:
            with bar:
                return model.fit(
                    self.of(batches),
                    shuffle=False,
                    steps_per_epoch=steps_per_epoch,
                    epochs=epochs,
                    initial_epoch=initial_epoch,
                    callbacks=[*callbacks] if bar.disable else [*callbacks, _advancing(bar)],
                    verbose=2 if verbose == 2 else 0,
                    **options,
                )
        except Exception as error:
            cause, self._error = self._error, None
            if cause is None or cause is error:
                raise
            raise cause from error

    def of(self, batches: Iterator[tuple[Any, ...]]) -> Any:
        """Return what ``Model.fit`` reads these batches from, and no others any more."""
        import keras  # folds and metrics, which also draw seeds here, do without

        if keras.backend.backend() != "tensorflow":
            return batches

        first = next(batches)
        self._number += 1
        self._error = None
        self._batches = itertools.chain([first], batches)
        signature = _signature(first)
        if signature not in self._pipelines:
            begun, following = weakref.WeakMethod(self._begun), weakref.WeakMethod(self._next)
            self._pipelines[signature] = _pipeline_of_fits(begun, following, signature)
        return self._pipelines[signature]

    def _begun(self, _: int) -> tuple[np.int64]:
        return (np.int64(self._number),)

    def _next(self, number: int) -> tuple[Any, ...]:
        if number != self._number:
            raise StopIteration
        try:
            return next(self._batches)
        except Exception as error:
            # TensorFlow raises one of its own for it, and asks once more.
            self._error = self._error or error
            raise


def in_order(batches: Any) -> Any:
    """Return what ``Model.fit`` validates on: the batches of a ``PyDataset``, in their order.

    The caller keeps the ``PyDataset`` for as long as it is read.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    one, signature = weakref.WeakMethod(batches.__getitem__), _signature(batches[0])
    indices = tf.data.Dataset.range(len(batches))
    return _ahead(indices.map(lambda index: _from_python(one, index, signature)))


def _advancing(bar: Any) -> Any:
    """Return a callback that moves the bar with each step and writes each epoch's accuracy."""
    import keras

    def of_epoch(_: int, logs: dict[str, float]) -> None:
        reached = [name for name in ("accuracy", "val_accuracy") if name in logs]
        bar.set_postfix_str(", ".join(f"{name} {logs[name]:.3f}" for name in reached))

    return keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: bar.update(), on_epoch_end=of_epoch
    )


def _pipeline_of_fits(
    begun: weakref.WeakMethod[Any], following: weakref.WeakMethod[Any], signature: tuple[Any, ...]
) -> Any:
    """Return a pipeline that asks for the fit's number first, then for its batches."""
    import tensorflow as tf

    def of_one_fit(_: Any) -> Any:
        (fit,) = _from_python(begun, 0, (tf.TensorSpec((), tf.int64),))
        return tf.data.Dataset.range(2**62).map(lambda _: _from_python(following, fit, signature))

    return _ahead(tf.data.Dataset.from_tensors(0).flat_map(of_one_fit))


def _signature(batch: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
    import tensorflow as tf

    return tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in batch)


def _from_python(method: weakref.WeakMethod[Any], number: Any, signature: tuple[Any, ...]) -> Any:
    """Return, as tensors, the arrays that a method returns for a number.

    Not ``tf.data.Dataset.from_generator``, which Keras uses too: once it was used, TensorFlow 2.21
    has the whole process give every free piece of memory above 128 kB back to the system, and
    training takes up to 1.8 times as long (benchmarks/input_pipeline.py). The method's object is
    not kept: TensorFlow never lets go of a Python function that it calls.
    """
    import tensorflow as tf

    def call(number: np.int64) -> Any:
        alive = method()
        if alive is None:
            raise StopIteration
        return alive(int(number))

    parts = tf.numpy_function(call, [number], [part.dtype for part in signature])
    return tuple(
        tf.ensure_shape(part, spec.shape) for part, spec in zip(parts, signature, strict=True)
    )


def _ahead(pipeline: Any) -> Any:
    """Prepare the next batches while one is trained on.

    Without autotuning: when its pipeline is closed, TensorFlow 2.21 may sleep as long as the
    pipeline has been open, at most a minute.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return pipeline.prefetch(2).with_options(options)


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Return the number of batches in an epoch, the last, smaller one included."""
    return -(-n // batch_size)


def balanced_weights(targets: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """Return a weight per image that gives every class the same total among ``rows``, mean 1."""
    chosen = targets if rows is None else targets[rows]
    counts = np.bincount(chosen, minlength=int(targets.max()) + 1)
    per_class = len(chosen) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return per_class[targets].astype("float32")
