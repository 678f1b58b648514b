"""Walk, cut, flatten and copy the graph of a Keras model.

A Keras functional model is a graph of *nodes*: one node is one call of one layer. Everything that
detl does to a model (cutting it into trunk and tail, replacing its head, changing its precision)
is done on that graph, by building new models; the caller's model is never changed.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from detl.networks.code import code_digest, is_library

Tensor = Any  # a symbolic keras.KerasTensor
Node = Any  # keras.src.ops.node.Node: one call of one layer


def node_of(tensor: Tensor) -> Node:
    """Return the call that produced a symbolic tensor."""
    # Keras documents the history of a tensor ("_keras_history") but exposes no public reader of it.
    operation, node_index, _ = tensor._keras_history
    return operation._inbound_nodes[node_index]


def layer_of(tensor: Tensor) -> Any:
    """Return the layer (or operation) that produced a symbolic tensor."""
    return tensor._keras_history.operation


def nodes(outputs: list[Tensor], inputs: list[Tensor]) -> list[Node]:
    """Return the calls between inputs and outputs, every call after those it depends on."""
    done: dict[int, Node] = {}
    boundary = {id(tensor) for tensor in inputs}
    stack = [(node_of(tensor), False) for tensor in reversed(outputs) if id(tensor) not in boundary]
    while stack:
        node, parents_done = stack.pop()
        if id(node) in done:
            continue
        if parents_done:
            done[id(node)] = node
            continue
        stack.append((node, True))
        stack.extend(
            (node_of(parent), False)
            for parent in reversed(node.input_tensors)
            if id(parent) not in boundary
        )
    return list(done.values())


def model_nodes(model: keras.Model) -> list[Node]:
    """Return the calls of a functional or Sequential model in topological order."""
    return nodes(list(model.outputs), list(model.inputs))


def is_graph(model: Any) -> bool:
    """Whether this is a functional or built Sequential model, whose graph can be walked."""
    return isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))


def input_structure(model: keras.Model) -> Any:
    """Return the symbolic inputs of a graph in the form in which it takes them."""
    # A Sequential model has one input, and denies having it where it was never called.
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


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


def bottlenecks(model: keras.Model) -> Iterator[tuple[Tensor, list[Node]]]:
    """Yield the tensors that everything passes through, with the calls that come after each.

    Cutting the graph at such a tensor separates it exactly in two: residual and dense blocks,
    whose skip connections run beside their tensors, are never split.
    """
    order = model_nodes(model)
    last_use = {id(tensor): len(order) for tensor in model.outputs}
    for index, node in reversed(list(enumerate(order))):
        for tensor in node.input_tensors:
            last_use.setdefault(id(tensor), index)

    reach = max((last_use.get(id(tensor), -1) for tensor in model.inputs), default=-1)
    if len(model.inputs) == 1:
        yield model.inputs[0], order
    for index, node in enumerate(order):
        if reach <= index and len(node.outputs) == 1:
            yield node.outputs[0], order[index + 1 :]
        reach = max([reach, *(last_use.get(id(tensor), -1) for tensor in node.outputs)])


def above(entrance: Tensor, output: Tensor) -> keras.Model:
    """Build the model from a tensor inside a graph to one that depends on it, sharing the layers.

    ``keras.Model(entrance, output)`` does so as well, but not where the layer that gave
    ``entrance`` (a ReLU, say) is called again further up (Keras 3.15).
    """
    start = keras.Input(batch_shape=entrance.shape, dtype=entrance.dtype)
    known = {id(entrance): start}
    for node in nodes([output], [entrance]):
        args, kwargs = node.arguments.fill_in(known)
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        known.update({id(old): new for old, new in zip(node.outputs, outputs, strict=True)})
    return keras.Model(start, known[id(output)])


@contextmanager
def global_seed_kept() -> Iterator[None]:
    """Leave Python's global generator as it was.

    Keras draws from it a seed for every layer that is built without one.
    """
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


@global_seed_kept()
def copy_model(
    model: keras.Model,
    *,
    dtype_policy: str | None = None,
    seeds: np.random.Generator | None = None,
    replacing: Mapping[type, type] = MappingProxyType({}),
) -> keras.Model:
    """Build a flat copy of a model with weights of its own.

    Models nested in the graph are dissolved into it: a nested model hides its layers from cutting
    and from Grad-CAM.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential.
    dtype_policy : str, optional
        Policy of all copied layers, such as ``"mixed_bfloat16"``; by default their own.
    seeds : numpy.random.Generator, optional
        Where given, weights are drawn afresh by each layer's own initializer, seeded from here;
        otherwise they are copied.
    replacing : dict of type to type, optional
        Layers of exactly the one class become layers of the other, of the same configuration.

    Returns
    -------
    keras.Model
        Same inputs, outputs and layer names (a name that occurs twice gets a prefix).
    """
    copies: dict[int, tuple[Any, Any]] = {}
    # The outer graph keeps its names; what a nested model brings gives way.
    names = {node.operation.name for node in model_nodes(model) if not is_graph(node.operation)}
    names |= {layer_of(tensor).name for tensor in model.inputs}

    def copy_of(operation: Any, prefix: str) -> Any:
        # Operations without weights, such as keras.ops.flip, are copied as well: a shared one
        # would remember every call, and so keep every copy of the model in memory.
        if id(operation) not in copies:
            is_lambda = type(operation) is keras.layers.Lambda
            config = keras.Layer.get_config(operation) if is_lambda else operation.get_config()
            if prefix:
                while config["name"] in names:
                    config["name"] = f"{prefix}{config['name']}"
                names.add(config["name"])
            if isinstance(operation, keras.Layer):
                if dtype_policy is not None:
                    config["dtype"] = dtype_policy
                if seeds is not None:
                    _seed_config(config, seeds)
            kind: Any = replacing.get(type(operation), type(operation))
            if is_lambda:
                # As it was made: from a config Keras finds few functions, and runs none of them
                # where they were written. What comes from a file is read in safe mode.
                copy = kind(
                    operation.function,
                    output_shape=operation._output_shape,
                    mask=operation.mask,
                    arguments=dict(operation.arguments),
                    **config,
                )
            else:
                trust = {"safe_mode": False} if isinstance(operation, keras.layers.Lambda) else {}
                copy = kind.from_config(config, **trust)
            copies[id(operation)] = operation, copy
        return copies[id(operation)][1]

    def rebuild(part: keras.Model, inputs: list[Tensor], prefix: str) -> list[Tensor]:
        known = {id(old): new for old, new in zip(part.inputs, inputs, strict=True)}
        for node in model_nodes(part):
            if node.is_input:
                continue
            operation = node.operation
            if is_graph(operation):
                tensors = [known[id(tensor)] for tensor in node.input_tensors]
                outputs = rebuild(operation, tensors, f"{prefix}{operation.name}_")
            else:
                args, kwargs = node.arguments.fill_in(known)
                outputs = keras.tree.flatten(copy_of(operation, prefix)(*args, **kwargs))
            known.update({id(old): new for old, new in zip(node.outputs, outputs, strict=True)})
        return [known[id(tensor)] for tensor in part.outputs]

    inputs = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=layer_of(tensor).name)
        for tensor in model.inputs
    ]
    outputs = rebuild(model, inputs, "")
    copied = keras.Model(_single(inputs), _single(outputs), name=model.name)
    for original, copy in copies.values():
        adapted = hasattr(original, "finalize_state")  # Normalization: statistics of the images
        if isinstance(original, keras.Layer) and (seeds is None or adapted):
            copy.set_weights(original.get_weights())
        if adapted:
            copy.finalize_state()  # Keras computes with constants that it made of the old weights
    return copied


def lost_lambda(model: Any, *, safe_mode: bool) -> keras.layers.Lambda | None:
    """Return a Lambda of the model that Keras would not read back as it is, if there is one.

    A pickle is read without the safe mode, yet its lambdas then miss the globals that they used,
    and functions that are not registered are not found.
    """
    for layer in model._flatten_layers():
        if not isinstance(layer, keras.layers.Lambda):
            continue
        try:
            back = type(layer).from_config(layer.get_config(), safe_mode=safe_mode)
        except Exception:  # whatever it is, a file would have it too
            return layer
        function = layer.function
        if not is_library(function) and code_digest(function) != code_digest(back.function):
            return layer
    return None


def _single(tensors: list[Tensor]) -> Any:
    """Return one tensor bare: Keras warns when a model of ``[tensor]`` is called with an array."""
    return tensors if len(tensors) > 1 else tensors[0]


def _seed_config(config: dict[str, Any], seeds: np.random.Generator) -> None:
    """Give every initializer, and the layer's own noise, a seed drawn from ``seeds``."""
    for key, value in config.items():
        if key == "seed":
            config[key] = int(seeds.integers(2**31))
        elif isinstance(value, dict):
            _seed_config(value, seeds)


def seed_noise(model: keras.Model, seed: int) -> None:
    """Reset the random state of every layer that draws noise in training (Dropout and its kind)."""
    generators = (g for layer in model._flatten_layers() for g in layer._seed_generators)
    for index, generator in enumerate(generators):
        generator.state.assign(np.array([seed, index], dtype="uint32"))
        # Of a layer built without a seed Keras reads no state on PyTorch, but torch's global one.
        generator._initial_seed = seed
