"""Batch normalisation folded into the layers before it, in networks that do not learn.

With stored statistics a normalisation is a factor and a shift of each channel. A convolution that
nothing else reads takes both into its kernel and bias (Jacob et al. 2018, "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", section 3.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import layers

from detl.networks import copying, graphs
from detl.networks.normalization import FusedBatchNormalization

_NORMALIZATIONS = (layers.BatchNormalization, FusedBatchNormalization)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_LINEAR = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv3D,
    layers.SeparableConv1D,
    layers.SeparableConv2D,
    layers.Dense,
    *_DEPTHWISE,
)


class Folded:
    """A network that predicts with its normalisations folded, put together when it first does."""

    def __init__(self, network: keras.Model) -> None:
        self._network = network

    def predict_on_batch(self, images: Any, /) -> Any:
        """Return the outputs of a batch."""
        return self._folded.predict_on_batch(images)

    @cached_property
    def _folded(self) -> keras.Model:
        has_some = any(True for _ in _foldable(self._network))
        return folded(self._network) if has_some else self._network


def folded(network: keras.Model, **settings: Any) -> keras.Model:
    """Return a copy that predicts the same, to rounding, with fewer normalisations.

    One stays where it does not come straight after a convolution or a fully connected layer, where
    something else reads what that layer gives, and where numbers are rounded to 16 bits.

    Parameters
    ----------
    network : keras.Model
        Left as it is.
    **settings
        As for :func:`detl.networks.copying.copy_model`.
    """
    copied = copying.copy_model(network, **settings)
    instead: dict[int, Any] = {}
    weights: list[tuple[keras.Layer, list[np.ndarray]]] = []
    for linear, norm in _foldable(copied):
        layer = type(linear).from_config(linear.get_config() | {"use_bias": True})
        instead |= {id(linear): layer, id(norm): lambda maps, **_: maps}
        weights.append((layer, _weights(linear, norm)))
    if not instead:
        return copied
    known = {id(tensor): tensor for tensor in copied.inputs}
    for node in graphs.model_nodes(copied):
        if not node.is_input:
            args, kwargs = node.arguments.fill_in(known)
            operation = instead.get(id(node.operation), node.operation)
            outputs = keras.tree.flatten(operation(*args, **kwargs))
            known |= {id(old): new for old, new in zip(node.outputs, outputs, strict=True)}
    for layer, values in weights:
        layer.set_weights(values)
    ends = [known[id(tensor)] for tensor in copied.outputs]
    return keras.Model(graphs.input_structure(copied), ends if len(ends) > 1 else ends[0])


def _foldable(network: keras.Model) -> Iterator[tuple[keras.Layer, keras.Layer]]:
    """Yield each layer that can take in the normalisation after it, and that normalisation."""
    order = graphs.model_nodes(network)
    calls = Counter(id(node.operation) for node in order)
    reads = Counter(id(tensor) for node in order for tensor in node.input_tensors)
    reads.update(id(tensor) for tensor in network.outputs)
    for node in order:
        norm = node.operation
        if type(norm) not in _NORMALIZATIONS or node.arguments.kwargs.get("training"):
            continue
        (maps,) = node.input_tensors
        linear = graphs.layer_of(maps)
        if (
            type(linear) in _LINEAR
            and linear.activation is keras.activations.linear
            and linear.quantization_mode is None
            and not getattr(linear, "lora_enabled", False)
            and getattr(linear, "data_format", "channels_last") == "channels_last"
            and norm.axis in (-1, len(maps.shape) - 1)
            and linear.compute_dtype == norm.compute_dtype == "float32"
            and calls[id(linear)] == calls[id(norm)] == reads[id(maps)] == 1
        ):
            yield linear, norm


def _weights(linear: keras.Layer, norm: keras.Layer) -> list[np.ndarray]:
    """Return the weights of the layer that does both, computed in 64 bits."""

    def values(variable: Any) -> np.ndarray:
        return keras.ops.convert_to_numpy(variable).astype("float64")

    factor = 1 / np.sqrt(values(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        factor = factor * values(norm.gamma)
    bias = values(linear.bias) if linear.use_bias else 0.0
    shift = (bias - values(norm.moving_mean)) * factor
    if norm.center:
        shift = shift + values(norm.beta)
    *before, kernel = linear.get_weights()[:-1] if linear.use_bias else linear.get_weights()
    channels = kernel.shape[-2:] if isinstance(linear, _DEPTHWISE) else (-1,)
    return [*before, kernel * factor.reshape(channels), shift]
