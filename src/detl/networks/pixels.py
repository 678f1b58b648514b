"""Which pixels a network was made for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

_LARGEST = 4.0  # of a pixel behind a rescaling, in whatever unit


def takes_bytes(network: keras.Model) -> bool:
    """Whether a layer ahead of all weights brings pixels of 0 to 255 to a small scale.

    Without such a layer nothing is known: what was done to its pixels, the network cannot tell.
    """
    for layer in leaves(network):
        if isinstance(layer, keras.layers.Rescaling):
            return _is_small(np.multiply(255.0, layer.scale) + layer.offset)
        if isinstance(layer, keras.layers.Normalization):
            mean, variance = (keras.ops.convert_to_numpy(x) for x in (layer.mean, layer.variance))
            return not _is_small(mean) or not _is_small(np.sqrt(variance))
        if layer.weights:
            return False
    return False


def _is_small(value: Any) -> bool:
    return float(np.max(np.abs(value))) <= _LARGEST


def leaves(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model, those of nested models in their place."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer
