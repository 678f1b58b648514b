"""The last fully connected layer: take it off, put another one on."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import keras
from keras import layers

from detl.networks import graphs

# What a classifier may end in, as its functions, layers and operations are called.
_OUTPUT_FUNCTIONS = ("softmax", "logsoftmax", "sigmoid", "logsigmoid")
_POOLING = ("Pool", "Flatten", "Reshape", "Mean", "Max", "Squeeze")
_SCALING = (
    "Normalization",
    "Dropout",
    "Rescaling",
    "Multiply",
    "Divide",
    "Add",
    "Subtract",
    "Clip",
)


def features_of(model: keras.Model) -> Any:
    """Return the tensor that the last fully connected layer reads, ``(n, features)``.

    That is a Dense layer, or a 1x1 convolution with a map for each class. It is the last layer with
    weights, but for normalisation, and a softmax or sigmoid makes probabilities of what it gives. A
    model that ends otherwise (in pooling, or in a hidden layer with ReLU) is a backbone: its output
    is taken, with a warning where that could be scores of classes.
    """
    if len(model.outputs) != 1:
        raise ValueError(f"{model.name!r} has {len(model.outputs)} outputs; expected one.")
    tensor = model.outputs[0]
    passed, node = _down_to_weights(tensor)
    last = _without_wrapper(node.operation)
    is_head = _units_of(last) == tensor.shape[-1]
    if is_head and (_is_plain(passed, node) or any(map(_squashes, [*passed, last]))):
        tensor = _flat(node.input_tensors[0], model)
    elif len(tensor.shape) == 2 and _may_be_scores(passed, last, is_head=is_head):
        warnings.warn(
            f"{model.name!r} ends in no classifier that is recognised: all of it stays, and the "
            f"new layer reads its {tensor.shape[-1]} outputs. If they are scores of classes, give "
            f"the network below {node.operation.name!r} ({type(last).__name__}) as the source: "
            f"keras.Model(model.input, model.get_layer({node.operation.name!r}).input).",
            UserWarning,
            stacklevel=3,
        )
    if len(tensor.shape) != 2:
        raise ValueError(
            f"{model.name!r} gives features of shape {tensor.shape}; expected (n, features). "
            "End the network with Flatten or GlobalAveragePooling2D."
        )
    return tensor


def _down_to_weights(output: Any) -> tuple[list[Any], Any]:
    """Return what follows the last layer with weights, from the output down, and its call."""
    passed: list[Any] = []
    node = graphs.node_of(output)
    while len(node.input_tensors) == 1 and (
        not getattr(node.operation, "weights", [])
        or _is_one_of(_without_wrapper(node.operation), ("Normalization",))
    ):
        passed.append(node.operation)
        node = graphs.node_of(node.input_tensors[0])
    return passed, node


def _without_wrapper(operation: Any) -> Any:
    return operation.layer if isinstance(operation, layers.Wrapper) else operation


def _units_of(layer: Any) -> int | None:
    """Return how many numbers a layer makes of each pixel alone; None if it looks at others."""
    if isinstance(layer, layers.Dense):
        return int(layer.units)
    kinds = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
    return layer.filters if isinstance(layer, kinds) and set(layer.kernel_size) == {1} else None


def _is_plain(passed: list[Any], node: Any) -> bool:
    """Whether it gives the outputs as they are, or those of a single pixel, flattened."""
    shape = node.input_tensors[0].shape
    flattens = (layers.Flatten, layers.Reshape) if shape[1:-1] == (1, 1) else ()
    return ends_in_output_function(_without_wrapper(node.operation)) and all(
        is_output_function(part) or isinstance(part, flattens) for part in passed
    )


def _may_be_scores(passed: list[Any], last: Any, *, is_head: bool) -> bool:
    """Whether the outputs may be scores of classes, though no classifier was recognised."""
    at_the_end = itertools.takewhile(lambda part: not _is_one_of(part, _POOLING), passed)
    only_scaled = all(
        is_output_function(part) or _is_one_of(part, _POOLING + _SCALING) for part in passed
    )
    return any(map(_squashes, at_the_end)) or (
        is_head and only_scaled and ends_in_output_function(last)
    )


def _is_one_of(operation: Any, kinds: tuple[str, ...]) -> bool:
    return any(kind in type(operation).__name__ for kind in kinds)


def _flat(tensor: Any, model: keras.Model) -> Any:
    """Return features as rows; of maps, the average over their pixels."""
    rank = len(tensor.shape)
    if rank == 2 or len(model.outputs[0].shape) != 2:
        return tensor
    # float32 whatever the policy, as what reads it.
    settings = {"dtype": "float32", "name": _free_name("features", model, below=tensor)}
    if tensor.shape[1:-1] == (1, 1):
        return layers.Flatten(**settings)(tensor)
    kind = getattr(layers, f"GlobalAveragePooling{rank - 2}D")
    first = rank > 3 and graphs.is_channels_first(tensor, model)
    data_format = "channels_first" if first else "channels_last"
    return kind(data_format=data_format, **settings)(tensor)


def with_logits(model: keras.Model, n_classes: int, seed: int) -> keras.Model:
    """Replace the last fully connected layer by a new one: from pixels to ``(n, n_classes)``."""
    features = features_of(model)
    # float32 whatever the policy: the loss is taken of these numbers.
    logits = layers.Dense(
        n_classes,
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed),
        dtype="float32",
        name=_free_name("logits", model, below=features),
    )
    return keras.Model(model.input, logits(features), name=model.name)


def with_probabilities(model: keras.Model) -> keras.Model:
    """Put a softmax behind the logits; the layers are shared."""
    logits = model.outputs[0]
    name = _free_name("probabilities", model, below=logits)
    softmax = layers.Softmax(dtype="float32", name=name)
    return keras.Model(model.input, softmax(logits), name=model.name)


def ends_in_output_function(operation: Any) -> bool:
    """Whether a layer or operation ends in what makes probabilities of logits, or in nothing."""
    return _squashes(operation) or _function_of(operation) == "linear"


def is_output_function(operation: Any) -> bool:
    """Whether that is all it does: a softmax, but not a Dense layer with a softmax."""
    return ends_in_output_function(operation) and not getattr(operation, "weights", [])


def _squashes(operation: Any) -> bool:
    return _function_of(operation) in _OUTPUT_FUNCTIONS


def _function_of(operation: Any) -> str:
    function = getattr(operation, "activation", operation)
    name = str(getattr(function, "__name__", type(function).__name__))
    return name.lower().replace("_", "")


def _free_name(name: str, model: keras.Model, *, below: Any) -> str:
    """Return the name, with underscores until no layer of the model below that tensor has it."""
    taken = {node.operation.name for node in graphs.nodes([below], list(model.inputs))}
    taken |= {graphs.layer_of(tensor).name for tensor in model.inputs}
    while name in taken:
        name = f"{name}_"
    return name
