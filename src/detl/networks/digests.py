"""Digests of a network: of its layers and how they are joined, and of its weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from detl.networks.code import code_digest, is_library
from detl.networks.graphs import model_nodes


def graph_digest(model: keras.Model) -> str:
    """Return a SHA-256 digest of what the layers are and how they are joined, without weights.

    Names play no part, for Keras numbers them through a process, nor do initializers and seeds,
    which a network that has weights is done with. Layers and functions that are not Keras's count
    by their code, for their names stay when they are edited.
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
            type(node.operation).__name__,
            layers[id(node.operation)],
            _described(_config_of(node.operation)),
            _described(constants),
            [number[id(tensor)] for tensor in node.input_tensors],
            *_foreign_code(node.operation),
        ]
        digest.update(json.dumps(record, sort_keys=True).encode())
    outputs = [number[id(tensor)] for tensor in model.outputs]
    if outputs != [len(tensors) - 1]:  # what is computed last is what most networks give
        digest.update(json.dumps(outputs).encode())
    return digest.hexdigest()


def weights_digest(model: keras.Model, *, but: keras.layers.Layer | None = None) -> str:
    """Return a SHA-256 digest of all weights and statistics of a model but those of one layer."""
    digest = hashlib.sha256()
    left_out = [] if but is None else [id(weight) for weight in but.weights]
    for weight in model.weights:
        if id(weight) in left_out:
            continue
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _config_of(operation: Any) -> Any:
    """Return an operation's configuration, without the code that :func:`_foreign_code` digests."""
    if _is_lambda(operation):
        arguments = [getattr(operation, name) for name in ("arguments", *_OF_LAMBDA)]
        plain = [None if callable(argument) else argument for argument in arguments]
        return [keras.Layer.get_config(operation), plain]
    try:
        return operation.get_config()
    except NotImplementedError:  # an operation with arguments that Keras cannot write down
        return None


def _foreign_code(operation: Any) -> list[Any]:
    """Return digests of the classes and functions in an operation that are not Keras's."""
    parts = operation._flatten_layers() if isinstance(operation, keras.Layer) else [operation]
    found: list[Any] = []
    for part in parts:
        if not is_library(type(part)):
            found.append(code_digest(type(part)))
        for name, value in sorted(vars(part).items()):
            # Initializers are done with; Keras puts methods of its own beside those of the class.
            if name.endswith("_initializer") or hasattr(type(part), name):
                continue
            values = value if isinstance(value, (list, tuple)) else [value]
            found.extend(
                [name, code_digest(function)]
                for function in values
                if callable(function)
                and (not is_library(function) or (_is_lambda(part) and name in _OF_LAMBDA))
            )
    return found


_OF_LAMBDA = ("function", "mask", "_output_shape")


def _is_lambda(operation: Any) -> bool:
    """Whether a layer is a Lambda, but for one of an activation, which its configuration names."""
    if type(operation) is not keras.layers.Lambda:
        return False
    module = str(getattr(operation.function, "__module__", ""))
    return not module.startswith("keras.src.activations.")


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
    if callable(value) and not is_library(value):
        return code_digest(value)
    # Anything else by its type: an address in memory is another in every process.
    plain = value is None or isinstance(value, (bool, int, float, str))
    return value if plain else type(value).__name__
