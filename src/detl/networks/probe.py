"""Look at what a network computes: run a few fixed images of noise through it.

A name, a configuration and weights do not tell what a layer computes: its ``get_config`` may
forget something, its class may be edited in a notebook, an attribute may be set later. What comes
out does.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from detl.networks.graphs import input_structure, is_graph, model_nodes

_IMAGES = 2
_OPEN_SIDE = 96  # where a network leaves a side open; Inception takes no fewer than 75 pixels
_DIRECTIONS = 8
# Of the largest output: TensorFloat-32 keeps three digits of the factors, bfloat16 two. Sums in
# another order, as other machines take them, differ by far less.
_ROUNDING, _ROUNDING_OF_HALF = 1e-3, 3e-2

_logger = logging.getLogger("detl")


def output_on_noise(model: keras.Model) -> dict[str, Any]:
    """Return a few numbers that tell what a network computes, see :mod:`detl.storage.rounding`.

    The root mean square of all outputs, and their sums with random signs, divided by the square
    root of how many there are. None where nothing can be told: the network draws anew on every
    call, does not take noise, or overflows on it.
    """
    rounding = _rounding_of(model)
    return {"numbers": _numbers_of_output(model, rounding), "within": rounding}


def _numbers_of_output(model: keras.Model, rounding: float) -> list[float]:
    images = keras.tree.pack_sequence_as(input_structure(model), _noise_for(model))
    with keras.StatelessScope():
        try:
            values = _flat(_run(model, (images,), {}))
            again = _flat(_run(model, (images,), {})) if _may_draw(model) else values
        except Exception as error:  # indices of an embedding, say; what it is made for is not known
            _logger.debug("%s cannot be run on noise: %s", model.name, error)
            return []
    if not (np.isfinite(values).all() and _is_close(again, values, rounding)):
        return []
    generator = np.random.default_rng(0)
    numbers = [np.sqrt(np.mean(np.square(values, dtype=np.float64)))]
    for _ in range(_DIRECTIONS):
        positive = generator.integers(2, size=len(values), dtype="int8").astype(bool)
        difference = 2 * values.sum(where=positive, dtype=np.float64) - values.sum(dtype=np.float64)
        numbers.append(difference / np.sqrt(len(values)))
    return [float(number) for number in numbers]


def _noise_for(model: keras.Model) -> list[Any]:
    """Return images of noise in [0, 255], the same for all networks of the same inputs."""
    generator = np.random.default_rng(0)
    n_images = max([tensor.shape[0] or 0 for tensor in model.inputs]) or _IMAGES
    found = []
    for tensor in model.inputs:
        shape = (n_images, *(side or _OPEN_SIDE for side in tensor.shape[1:]))
        noise = generator.uniform(0, 255, shape).astype("float32")
        if tensor.dtype not in ("uint8", "float16", "bfloat16", "float32", "float64"):
            noise = np.floor(noise / 128)  # indices, of which there may be few
        found.append(keras.ops.convert_to_tensor(noise, dtype=tensor.dtype))
    return found


# ---------------------------------------------------------------------------- the proof of a copy


def needs_proof(model: keras.Model) -> bool:
    """Whether a copy by configurations may compute something else: not of layers of Keras alone."""
    parts = (node.operation for node in model_nodes(model))
    return is_own(model) or any(
        needs_proof(part) if is_graph(part) else has_own_code(part) for part in parts
    )


def check_copy(model: keras.Model, copies: Mapping[int, Any]) -> None:
    """Refuse a copy of a graph of which one layer computes something else than the original.

    Each layer is run on what the original layers below it give, so that the first one that differs
    is found however little of it reaches the output. A layer that draws anew on every call, such as
    dropout at test time, is left out. ``copies`` has the copy of each layer or operation by the
    ``id`` of the original.
    """
    # Nothing that a layer assigns in the scope is kept: seeds and statistics stay as they were.
    with keras.StatelessScope():
        inputs = _noise_for(model)
        try:
            outputs = _checked_outputs(model, inputs, copies)
        except _NotForNoiseError as error:
            _logger.info("%s is copied without a proof: it takes no noise (%s).", model.name, error)
            return
        images = keras.tree.pack_sequence_as(input_structure(model), inputs)
        _check_own_model(model, (images,), {}, outputs)


class _NotForNoiseError(Exception):
    """The network itself cannot be run on noise."""


def _checked_outputs(part: keras.Model, inputs: list[Any], copies: Mapping[int, Any]) -> list[Any]:
    """Run the layers of a graph on numbers, and those that may differ as copies too."""
    order = model_nodes(part)
    last_use = {id(tensor): node for node in order for tensor in node.input_tensors}
    last_use.update({id(tensor): None for tensor in part.outputs})
    values = {id(tensor): value for tensor, value in zip(part.inputs, inputs, strict=True)}
    for node in order:
        if node.is_input:
            continue
        operation = node.operation
        args, kwargs = node.arguments.fill_in(values)
        if is_graph(operation):
            entering = [values[id(tensor)] for tensor in node.input_tensors]
            outputs = _checked_outputs(operation, entering, copies)
            _check_own_model(operation, args, kwargs, outputs)
        else:
            try:
                outputs = _run(operation, args, kwargs)
            except Exception as error:
                message = f"{type(error).__name__} in {operation.name!r}"
                raise _NotForNoiseError(message) from error
            if has_own_code(operation):
                _check_layer(operation, copies[id(operation)], args, kwargs)
        values.update({id(t): value for t, value in zip(node.outputs, outputs, strict=True)})
        for tensor in node.input_tensors:  # kept, the maps of all layers would take gigabytes
            if last_use[id(tensor)] is node:
                values.pop(id(tensor), None)
    return [values[id(tensor)] for tensor in part.outputs]


def _check_layer(layer: Any, copy: Any, args: Any, kwargs: Any) -> None:
    rounding = _rounding_of(layer)
    # On negative numbers too: a ReLU may hide what differs.
    for given in ((args, kwargs), keras.tree.map_structure(_negative, (args, kwargs))):
        try:
            outputs = _run(layer, *given)
        except Exception:  # it takes no negative numbers
            continue
        if _are_close(_run(copy, *given), outputs, rounding):
            continue
        if _are_close(_run(layer, *given), outputs, rounding):  # it does not draw anew
            raise ValueError(
                f"The layer {layer.name!r} ({type(layer).__name__}) cannot be copied: built from "
                "its configuration it computes something else. Have get_config() return every "
                "argument of __init__, and set no attribute later that call() reads."
            )


def _negative(value: Any) -> Any:
    is_float = keras.ops.is_tensor(value) and "float" in keras.backend.standardize_dtype(
        value.dtype
    )
    return -value if is_float else value


def _check_own_model(model: Any, args: Any, kwargs: Any, outputs: list[Any]) -> None:
    if is_own(model) and not _are_close(_run(model, args, kwargs), outputs, _rounding_of(model)):
        raise ValueError(
            f"{model.name!r} is a {type(model).__name__}, which gives something else than the "
            "graph of its layers, and only that is copied. Put what its call() does into a layer, "
            "and build it with keras.Model(inputs, outputs)."
        )


def is_own(thing: Any) -> bool:
    """Whether a layer or model is of a class that is neither Keras's nor detl's."""
    return _is_foreign(type(thing).__module__)


def _is_foreign(module: Any) -> bool:
    return str(module).partition(".")[0] not in ("keras", "detl")


def has_own_code(operation: Any) -> bool:
    """Whether a layer or operation, or what its configuration names, is code of somebody else."""
    functions = [value for value in vars(operation).values() if callable(value)]
    if any(_is_foreign(getattr(function, "__module__", "")) for function in functions):
        return True  # a configuration has the name alone, which one of Keras's may bear as well
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of lambdas: the caller says it in his own words
            return _names_own_code(keras.saving.serialize_keras_object(operation))
    except Exception:  # a get_config that was not written, or that fails
        return True


def _names_own_code(config: Any) -> bool:
    if isinstance(config, dict):
        foreign = _is_foreign(config.get("module", "keras"))
        named = "class_name" in config and "config" in config
        own = named and (foreign or config["class_name"] == "__lambda__")
        return own or any(map(_names_own_code, config.values()))
    return isinstance(config, (list, tuple)) and any(map(_names_own_code, config))


# ----------------------------------------------------------------------------------- how it is run


def _run(operation: Any, args: Any, kwargs: Any) -> list[Any]:
    """Return the outputs of a call in inference mode."""
    if isinstance(operation, keras.Layer):
        kwargs = {**kwargs, "training": False}
    outputs: list[Any] = keras.tree.flatten(operation(*args, **kwargs))
    return outputs


def _are_close(found: list[Any], expected: list[Any], rounding: float) -> bool:
    return len(found) == len(expected) and all(
        _is_close(_numbers(one), _numbers(other), rounding) for one, other in zip(found, expected)
    )


def _is_close(found: np.ndarray, expected: np.ndarray, rounding: float) -> bool:
    if found.shape != expected.shape:
        return False
    size = np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
    return bool(np.allclose(found, expected, rtol=0, atol=rounding * size, equal_nan=True))


def _numbers(tensor: Any) -> np.ndarray:
    array = np.asarray(keras.ops.convert_to_numpy(tensor))
    return array if array.dtype.kind in "biu" else array.astype("float32")


def _flat(tensors: list[Any]) -> np.ndarray:
    return np.concatenate([np.ravel(_numbers(tensor)) for tensor in tensors])


def _rounding_of(part: Any) -> float:
    layers = part._flatten_layers() if isinstance(part, keras.Layer) else []
    half = any(layer.compute_dtype in ("bfloat16", "float16") for layer in layers)
    return _ROUNDING_OF_HALF if half else _ROUNDING


def _may_draw(model: keras.Model) -> bool:
    """Whether a layer may give other outputs when it is called again."""
    return any(
        layer._seed_generators or is_own(layer) or isinstance(layer, keras.layers.Lambda)
        for layer in model._flatten_layers()
    )
