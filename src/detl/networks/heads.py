"""The last fully connected layer: take it off, put another one on."""

from __future__ import annotations

from typing import Any

import keras

from detl.networks import graphs

# What a classifier may end in, as its functions, layers and operations are called.
_OUTPUT_FUNCTIONS = ("linear", "softmax", "logsoftmax", "sigmoid", "logsigmoid")


def features_of(model: keras.Model) -> Any:
    """Return the tensor that the last fully connected layer reads, ``(n, features)``.

    A classifier ends in a Dense layer, or in a 1x1 convolution of a 1x1 map that is then flattened
    (MobileNet), followed by nothing but a softmax or sigmoid. A model that ends otherwise (in
    pooling, or in a hidden layer with ReLU) is a backbone: its output is taken.
    """
    if len(model.outputs) != 1:
        raise ValueError(f"{model.name!r} has {len(model.outputs)} outputs; expected one.")
    tensor = model.outputs[0]
    while is_output_function(graphs.layer_of(tensor)):
        tensor = _read_for(tensor)
    last = graphs.layer_of(tensor)
    if isinstance(last, keras.layers.Dense) and ends_in_output_function(last):
        tensor = _read_for(tensor)
    elif isinstance(last, keras.layers.Flatten | keras.layers.Reshape):
        maps = _read_for(tensor)
        if _is_fully_connected(graphs.node_of(maps)):
            pixel = _read_for(maps)
            name = _free_name("features", model, below=pixel)
            # float32 whatever the policy, as what reads it.
            tensor = keras.layers.Flatten(dtype="float32", name=name)(pixel)
    if len(tensor.shape) != 2:
        raise ValueError(
            f"{model.name!r} gives features of shape {tensor.shape}; expected (n, features). "
            "End the network with Flatten or GlobalAveragePooling2D."
        )
    return tensor


def with_logits(model: keras.Model, n_classes: int, seed: int) -> keras.Model:
    """Replace the last fully connected layer by a new one: from pixels to ``(n, n_classes)``."""
    features = features_of(model)
    # float32 whatever the policy: the loss is taken of these numbers.
    logits = keras.layers.Dense(
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
    softmax = keras.layers.Softmax(dtype="float32", name=name)
    return keras.Model(model.input, softmax(logits), name=model.name)


def ends_in_output_function(operation: Any) -> bool:
    """Whether a layer or operation ends in what makes probabilities of logits, or in nothing."""
    function = getattr(operation, "activation", operation)
    name = str(getattr(function, "__name__", type(function).__name__))
    return name.lower().replace("_", "") in _OUTPUT_FUNCTIONS


def is_output_function(operation: Any) -> bool:
    """Whether that is all it does: a softmax, but not a Dense layer with a softmax."""
    return ends_in_output_function(operation) and not getattr(operation, "weights", [])


def _is_fully_connected(node: Any) -> bool:
    """Whether a call is the last layer of a classifier in the form of a 1x1 convolution."""
    layer = node.operation
    return (
        isinstance(layer, keras.layers.Conv2D)
        and layer.kernel_size == (1, 1)
        and node.input_tensors[0].shape[1:3] == (1, 1)
        and ends_in_output_function(layer)
    )


def _read_for(tensor: Any) -> Any:
    """Return what the operation that gave a tensor read."""
    return graphs.node_of(tensor).input_tensors[0]


def _free_name(name: str, model: keras.Model, *, below: Any) -> str:
    """Return the name, with underscores until no layer of the model below that tensor has it."""
    taken = {node.operation.name for node in graphs.nodes([below], list(model.inputs))}
    taken |= {graphs.layer_of(tensor).name for tensor in model.inputs}
    while name in taken:
        name = f"{name}_"
    return name
