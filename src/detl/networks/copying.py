"""Copy a network: flat, with weights of its own, the original left as it is."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from detl.networks.graphs import Tensor, is_graph, layer_of, model_nodes
from detl.networks.probe import check_copy, needs_proof


@contextmanager
def global_seed_kept() -> Iterator[None]:
    """Leave Python's global generator as it was: Keras draws from it seeds for layers."""
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
    """Build a flat copy of a functional or Sequential model with weights of its own, and prove it.

    Models nested in the graph are dissolved into it: a nested model hides its layers from cutting
    and from Grad-CAM. Inputs, outputs and the names of layers stay (a name that occurs twice gets a
    prefix).

    Parameters
    ----------
    model : keras.Model
        Left as it is.
    dtype_policy : str, optional
        Policy of all copied layers, such as ``"mixed_bfloat16"``; by default their own.
    seeds : numpy.random.Generator, optional
        Where given, weights are drawn afresh by each layer's own initializer, seeded from here;
        otherwise they are copied.
    replacing : dict of type to type, optional
        Layers of exactly the one class become layers of the other, of the same configuration.

    Raises
    ------
    ValueError
        If a layer does not compute what the original does.
    """
    copied, copies = _rebuilt(model, dtype_policy, seeds, replacing)
    if needs_proof(model):
        if seeds is not None or dtype_policy is not None:
            # With weights or rounding of its own a copy cannot be compared; a plain one can.
            _, copies = _rebuilt(model, None, None, replacing)
        check_copy(model, copies)
    return copied


def _rebuilt(
    model: keras.Model,
    dtype_policy: str | None,
    seeds: np.random.Generator | None,
    replacing: Mapping[type, type],
) -> tuple[keras.Model, dict[int, Any]]:
    """Return the copy, and the copy of each layer and operation by the id of its original."""
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
                # A quantised layer keeps its policy: its weights fit no other.
                if dtype_policy is not None and operation.quantization_mode is None:
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
                copy = copy_of(operation, prefix)
                with nullcontext() if seeds is not None else _built_of_zeros(copy):
                    outputs = keras.tree.flatten(copy(*args, **kwargs))
            known.update({id(old): new for old, new in zip(node.outputs, outputs, strict=True)})
        return [known[id(tensor)] for tensor in part.outputs]

    inputs = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=layer_of(tensor).name)
        for tensor in model.inputs
    ]
    # One tensor is given bare: Keras warns when a model of ``[tensor]`` is called with an array.
    ends = [x if len(x) > 1 else x[0] for x in (inputs, rebuild(model, inputs, ""))]
    copied = keras.Model(*ends, name=model.name)
    for original, copy in copies.values():
        adapted = hasattr(original, "finalize_state")  # Normalization: statistics of the images
        if isinstance(original, keras.Layer) and (seeds is None or adapted):
            copy.set_weights(original.get_weights())
    finalize_statistics(copied)
    return copied, {key: copy for key, (_, copy) in copies.items()}


@contextmanager
def _built_of_zeros(layer: Any) -> Iterator[None]:
    """Let a layer begin with zeros while it is built: weights to be replaced need not be drawn."""
    drawing = {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, keras.initializers.Initializer) and hasattr(value, "seed")
    }
    vars(layer).update(dict.fromkeys(drawing, keras.initializers.Zeros()))
    try:
        yield
    finally:
        vars(layer).update(drawing)


def finalize_statistics(model: keras.Model) -> None:
    """Have layers that were adapted to images compute with their weights, not older constants."""
    for layer in model._flatten_layers():
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


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
