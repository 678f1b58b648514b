"""Batch normalisation in one kernel while a network trains.

On a processor, Keras's own takes longer than the convolutions of a narrow network; TensorFlow's
fused kernel needs a tenth of the time (``benchmarks/normalization_speed.py``). Networks are trained
with the fused layer and handed out with Keras's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from detl.networks import copying

_LEAST_EPSILON = 1e-5


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer, computed by TensorFlow's fused kernel where it trains on maps or vectors."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise by the statistics of the batch and move the stored ones towards them."""
        rank = len(inputs.shape)
        fits = mask is None and rank in (2, 4) and self.axis in (-1, rank - 1)
        # The kernel knows one device, and takes a smaller epsilon for 1.001e-5.
        fits = fits and not self.synchronized and self.epsilon >= _LEAST_EPSILON
        if not (fits and training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        maps = keras.ops.cast(inputs, self.compute_dtype)
        if rank == 2:
            maps = maps[:, None, None, :]
        n_channels = maps.shape[-1]
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            maps,
            tf.cast(self.gamma, "float32") if self.scale else tf.ones(n_channels),
            tf.cast(self.beta, "float32") if self.center else tf.zeros(n_channels),
            epsilon=self.epsilon,
            is_training=True,
        )
        # The kernel divides by n - 1, Keras by n.
        n = tf.cast(tf.size(maps) / n_channels, "float32")
        for stored, seen in (
            (self.moving_mean, mean),
            (self.moving_variance, variance * (n - 1) / n),
        ):
            stored.assign(stored * self.momentum + seen * (1.0 - self.momentum))
        return outputs[:, 0, 0, :] if rank == 2 else outputs


def fused_layers() -> Mapping[type, type]:
    """Return which layers to replace before training; none on other backends than TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return {}
    return {keras.layers.BatchNormalization: FusedBatchNormalization}


def with_plain_layers(model: keras.Model, *, dtype_policy: str | None = None) -> keras.Model:
    """Return a trained model as Keras's own layers alone: itself, or a copy."""
    plain = {fused: plain for plain, fused in fused_layers().items()}
    if dtype_policy is None and not any(type(layer) in plain for layer in model.layers):
        return model
    return copying.copy_model(model, dtype_policy=dtype_policy, replacing=plain)
