"""Digests of a network: of its layers and how they are joined, and of its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from detl.networks.graphs import model_nodes


def graph_digest(
    model: keras.Model, *, replacing: Mapping[type, type] = MappingProxyType({})
) -> str:
    """Return a SHA-256 digest of what the layers are and how they are joined, without weights.

    Names play no part, for Keras numbers them through a process, nor do initializers and seeds.
    What code that is not Keras's computes, :func:`detl.networks.probe.output_on_noise` tells.
    Layers of exactly a class that is to be replaced count as layers of the other.
    """
    order = model_nodes(model)
    tensors = [*model.inputs, *(tensor for node in order for tensor in node.outputs)]
    number = {id(tensor): k for k, tensor in enumerate(tensors)}
    layers = {id(node.operation): k for k, node in enumerate(order)}  # one called twice is one
    digest = hashlib.sha256()
    for node in order:
        arguments = keras.tree.flatten([node.arguments.args, node.arguments.kwargs])
        constants = [argument for argument in arguments if id(argument) not in number]
        record = [
            replacing.get(type(node.operation), type(node.operation)).__name__,
            layers[id(node.operation)],
            _described(_config_of(node.operation)),
            _described(constants),
            [number[id(tensor)] for tensor in node.input_tensors],
        ]
        digest.update(json.dumps(record, sort_keys=True).encode())
    outputs = [number[id(tensor)] for tensor in model.outputs]
    if outputs != [len(tensors) - 1]:  # what is computed last is what most networks give
        digest.update(json.dumps(outputs).encode())
    return digest.hexdigest()


def weights_digest(model: keras.Model, *, but: keras.layers.Layer | None = None) -> str:
    """Return a SHA-256 digest of all weights and statistics of a model but those of one layer."""
    left_out = [] if but is None else [id(weight) for weight in but.weights]
    kept = (weight for weight in model.weights if id(weight) not in left_out)
    return values_digest(keras.ops.convert_to_numpy(weight) for weight in kept)


def values_digest(values: Iterable[np.ndarray]) -> str:
    """Return the digest of weights that have these values."""
    digest = hashlib.sha256()
    for value in map(np.ascontiguousarray, values):
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _config_of(operation: Any) -> Any:
    """Return an operation's configuration; of a Lambda without the code in it."""
    if type(operation) is keras.layers.Lambda and not _is_activation(operation.function):
        plain = keras.tree.flatten([operation.arguments, operation._output_shape])
        return [keras.Layer.get_config(operation), plain]
    try:
        return operation.get_config()
    except NotImplementedError:  # an operation with arguments that Keras cannot write down
        return None


def _is_activation(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).startswith("keras.src.activations.")


def _described(value: Any) -> Any:
    """Return part of a layer's configuration in JSON's terms."""
    if isinstance(value, Mapping):
        return {
            str(key): _described(entry)
            for key, entry in value.items()
            if key not in ("name", "seed") and not str(key).endswith("_initializer")
        }
    if isinstance(value, (list, tuple)):
        return [_described(entry) for entry in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    # Anything else by its type: an address in memory is another in every process.
    plain = value is None or isinstance(value, (bool, int, float, str))
    return value if plain else type(value).__name__
