"""The trained part of a network: compiled once, reset to its start before every fit."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import keras
import numpy as np
from scipy import special
from sklearn.exceptions import ConvergenceWarning

from detl import folds
from detl.networks import copying, graphs
from detl.networks.digests import values_digest
from detl.networks.optimizers import SGD
from detl.networks.prediction import predict_on_batch
from detl.pretraining.batches import (
    BatchStream,
    ClassWeight,
    balanced_weights,
    in_order,
    steps_per_epoch,
    training_batches,
)
from detl.pretraining.held_out import HeldOut
from detl.seeds import integer_seed
from detl.transfer.linear_probe import linear_probe

Callbacks: TypeAlias = (
    Callable[[], list[keras.callbacks.Callback]] | Sequence[keras.callbacks.Callback]
)


class Tail:
    """Train the layers above the cut on the features of the trunk, again and again.

    Building a model per fold would trace and compile it anew each time. Here one compiled model
    serves all folds: ``fit`` first puts weights, optimizer and noise back to where they started.

    ``model`` goes from the trunk's features to ``(n, n_classes)`` logits; its last layer is new,
    and learns at ``head_learning_rate`` where that is given.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        learning_rate: float,
        momentum: float,
        head_learning_rate: float | None = None,
        label_smoothing: float = 0.0,
        schedule: str = "constant",
        head_start: str = "random",
    ) -> None:
        self.model = model
        # Not the layer's own input: it is also part of the network that was cut.
        below = graphs.node_of(model.outputs[0]).input_tensors[0]
        self._below_head = keras.Model(model.input, below)
        self._learning_rate, self._schedule = float(learning_rate), schedule
        self._head_start = head_start
        self._start = model.get_weights()
        self._head = model.layers[-1]
        self._stream = BatchStream()
        self._rates = f"learning_rate={learning_rate:.3g}"
        if head_learning_rate is not None:
            self._rates += f" or head_learning_rate={head_learning_rate:.3g}"
        optimizer: SGD
        if head_learning_rate is None:
            optimizer = SGD(float(learning_rate), momentum=float(momentum))
        else:
            optimizer = _DiscriminativeSGD(
                float(learning_rate),
                momentum=float(momentum),
                last=len(self._head.trainable_variables),
                factor=head_learning_rate / learning_rate,
            )
        model.compile(
            optimizer=optimizer,
            loss=_SmoothedCrossentropy(label_smoothing)
            if label_smoothing
            else keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            weighted_metrics=[],
            # Under a global policy of float16 Keras would wrap the optimizer; this model is not.
            auto_scale_loss=False,
        )
        optimizer.build(model.trainable_variables)  # the new layer's come last
        # Otherwise Keras makes the metrics while it traces the first step, and then traces again.
        model.compute_metrics(None, np.zeros(1), np.zeros((1, self._head.units)))
        model.reset_metrics()
        # Counters and the rate; momenta begin at zero.
        self._optimizer_start = [
            None if len(v.shape) else keras.ops.convert_to_numpy(v) for v in optimizer.variables
        ]
        self._is_fresh = True

    @cached_property
    def start_digest(self) -> str:
        """Digest of the weights that a fit begins with, but for the new layer."""
        new = [id(weight) for weight in self._head.weights]
        pairs = zip(self.model.weights, self._start, strict=True)
        return values_digest(value for weight, value in pairs if id(weight) not in new)

    def fit(
        self,
        features: np.ndarray,
        targets: np.ndarray,
        *,
        rows: np.ndarray,
        epochs: int,
        batch_size: int,
        class_weight: ClassWeight | np.ndarray,
        seed: np.random.SeedSequence,
        n_views: int = 1,
        groups: np.ndarray | None = None,
        validation_split: float = 0.0,
        early_stopping: int | None = None,
        callbacks: Callbacks = (),
        verbose: int = 0,
        on_epoch: Callable[[], object] | None = None,
    ) -> dict[str, list[float]]:
        """Train from the starting weights and return the history, one entry per epoch.

        ``features`` are what the trunk made of the n images, then of the first augmented view of
        each, and so on; ``targets`` are the n indices of classes. Only ``rows`` are looked at, and
        nothing is copied. A ``class_weight`` that is an array has a weight for each class. Some of
        the rows are held out where there is a ``validation_split``, none of whose ``groups`` is
        trained on.
        """
        head_seed, batch_seed, noise_seed, split_seed = (
            np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, k)) for k in range(4)
        )
        self._reset(integer_seed(head_seed), integer_seed(noise_seed))
        held_out = None
        if validation_split:
            rows, others = _inner_split(targets, rows, groups, validation_split, split_seed)
            held_out = HeldOut(features, targets, rows=others, batch_size=batch_size)
        weights = _image_weights(class_weight, targets, rows)
        if self._head_start == "linear_probe":
            seen = _outputs(self._below_head, features, rows, batch_size)
            of_rows = None if weights is None else weights[rows]
            # Else it stays random, and the training says what is wrong.
            if np.isfinite(seen).all() and len(np.unique(targets[rows])) > 1:
                start = linear_probe(seen, targets[rows], self._head.units, of_rows)
                self._head.set_weights(start)
        # Of its own for each fit: a callback that has been used remembers.
        followers = callbacks() if callable(callbacks) else copy.deepcopy(list(callbacks))
        if early_stopping is not None:
            stop = keras.callbacks.EarlyStopping(patience=early_stopping, restore_best_weights=True)
            followers.append(stop)
        if self._schedule == "cosine":
            followers.append(
                keras.callbacks.LearningRateScheduler(
                    lambda epoch: self._learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
                )
            )
        if on_epoch is not None:
            followers.append(_AfterEpoch(on_epoch))
        batches = training_batches(
            features,
            targets,
            batch_size=batch_size,
            generator=np.random.default_rng(batch_seed),
            rows=rows,
            weights=weights,
            n_views=n_views,
        )
        history = self._stream.fit(
            self.model,
            batches,
            steps_per_epoch=steps_per_epoch(len(rows), batch_size),
            epochs=epochs,
            validation_data=None if held_out is None else in_order(held_out),
            callbacks=followers,
            verbose=verbose,
        )
        losses = history.history["loss"]
        if not np.isfinite(losses).all():
            warnings.warn(
                f"The loss was {losses[-1]} after {epochs} epochs, so the predictions mean "
                f"nothing: {self._rates} is too high here; try a tenth of it.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return {
            name: [float(v) for v in values]
            for name, values in history.history.items()
            if name != "learning_rate"  # of the schedule, which is known
        }

    def _reset(self, head_seed: int, noise_seed: int) -> None:
        if not self._is_fresh:  # copying the weights of a large network takes seconds
            self.model.set_weights(self._start)
            optimizer = self.model.optimizer
            for variable, value in zip(optimizer.variables, self._optimizer_start, strict=True):
                variable.assign(keras.ops.zeros_like(variable.value) if value is None else value)
        self._is_fresh = False
        draw = keras.initializers.GlorotUniform(seed=head_seed)
        # Not in the global type: the same seed is to give the same layer under each.
        kernel = draw(self._head.kernel.shape, dtype="float32")
        self._head.kernel.assign(kernel)
        self._head.bias.assign(np.zeros(self._head.bias.shape))
        copying.seed_noise(self.model, noise_seed)

    def probabilities(
        self, features: np.ndarray, *, rows: np.ndarray, batch_size: int
    ) -> np.ndarray:
        """Return the softmax of the logits of the given rows, float32 ``(n_rows, n_classes)``."""
        logits = _outputs(self.model, features, rows, batch_size)
        return special.softmax(logits, axis=1).astype("float32")


def _outputs(
    model: keras.Model, features: np.ndarray, rows: np.ndarray, batch_size: int
) -> np.ndarray:
    batches = []
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        # Filled up: every other length would be traced anew. Inside a scope of tf.distribute every
        # device gives all rows, one device after the other.
        full = features[np.resize(part, min(batch_size, len(rows)))]
        batches.append(predict_on_batch(model, full)[: len(part)])
    return np.concatenate(batches)


class _DiscriminativeSGD(SGD):
    """The last variables learn at a multiple of the rate of the others."""

    def __init__(self, learning_rate: float, *, momentum: float, last: int, factor: float) -> None:
        super().__init__(learning_rate, momentum=momentum, name="sgd")
        self._last = last
        self._factor = float(factor)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        first_of_last = len(self._trainable_variables) - self._last
        is_last = self._get_variable_index(variable) >= first_of_last
        super().update_step(gradient, variable, learning_rate * (self._factor if is_last else 1.0))


class _SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy with labels of 1 - s + s / k instead of 1, and s / k instead of 0.

    Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", sec. 7.
    """

    def __init__(self, smoothing: float) -> None:
        super().__init__()
        self._of_one_hot = keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=float(smoothing), reduction="none"
        )

    def call(self, y_true: Any, y_pred: Any) -> Any:
        classes = keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32")
        return self._of_one_hot(keras.ops.one_hot(classes, y_pred.shape[-1]), y_pred)


def _inner_split(
    targets: np.ndarray,
    rows: np.ndarray,
    groups: np.ndarray | None,
    share: float,
    seed: np.random.SeedSequence,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to train on, and those to hold out, no group on both sides."""
    try:
        train, held_out = folds.stratified_folds(
            targets[rows],
            groups=None if groups is None else groups[rows],
            n_splits=round(1 / share),
            random_state=integer_seed(seed),
        )[0]
    except ValueError as error:
        raise ValueError(
            f"validation_split={share} of {len(rows)} training images would lack a class, of which "
            "there are too few images or groups; hold out a larger share, up to 0.5, or none."
        ) from error
    return rows[train], rows[held_out]


class _AfterEpoch(keras.callbacks.Callback):
    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self._call = call

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._call()


def _image_weights(
    class_weight: ClassWeight | np.ndarray, targets: np.ndarray, rows: np.ndarray
) -> np.ndarray | None:
    """Return a weight for every image, of mean 1 among the rows to train on.

    So ``learning_rate`` means the same whatever the weights.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        return balanced_weights(targets, rows)
    weights = class_weight[targets]
    return (weights / weights[rows].mean()).astype("float32")
