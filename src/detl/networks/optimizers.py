"""Keras's optimizers, without the memory that each training would leave behind."""

from __future__ import annotations

from typing import Any

import keras


class _UpdatesInPlace:
    """Update the variables one after another, without ``tf.distribute`` where none is in use.

    Keras 3.15 hands every update to ``tf.distribute`` under TensorFlow. What it traces there holds
    the network's weights and the optimizer's state for as long as the process lives, after model
    and optimizer are gone: 1 GB for each VGG-16 (benchmarks/memory_of_fits.py). The updates are
    the same.
    """

    def _backend_update_step(self: Any, grads: Any, variables: Any, learning_rate: Any) -> None:
        if _updates_are_ours():
            for gradient, variable in zip(grads, variables, strict=True):
                self.update_step(gradient, variable, learning_rate)
        else:
            super()._backend_update_step(grads, variables, learning_rate)  # type: ignore[misc]


class SGD(_UpdatesInPlace, keras.optimizers.SGD):
    """Stochastic gradient descent."""


class Adam(_UpdatesInPlace, keras.optimizers.Adam):
    """Adam (Kingma & Ba 2015)."""


def _updates_are_ours() -> bool:
    """Whether TensorFlow trains, and on one device: the other backends leave nothing behind."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.distribute.has_strategy()
