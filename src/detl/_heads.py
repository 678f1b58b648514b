"""The last fully connected layer: take it off, put another one on."""

from __future__ import annotations

from typing import Any

import keras

from detl import _graphs

_OUTPUT_ACTIVATIONS = ("linear", "softmax", "sigmoid")


def features_of(model: keras.Model) -> Any:
    """Return the tensor that the last fully connected layer reads.

    A classifier ends in a Dense layer, followed by nothing but a softmax or sigmoid. A model that
    ends otherwise (in pooling, or in a hidden layer with ReLU) is a backbone: its output is taken.
    """
    if len(model.outputs) != 1:
        raise ValueError(f"{model.name!r} has {len(model.outputs)} outputs; expected one.")
    tensor = model.outputs[0]
    while _is_output_activation(_graphs.layer_of(tensor)):
        tensor = _graphs.node_of(tensor).input_tensors[0]
    last = _graphs.layer_of(tensor)
    if isinstance(last, keras.layers.Dense) and _activation_of(last) in _OUTPUT_ACTIVATIONS:
        tensor = _graphs.node_of(tensor).input_tensors[0]
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


def _is_output_activation(layer: Any) -> bool:
    if isinstance(layer, keras.layers.Softmax):
        return True
    return (
        isinstance(layer, keras.layers.Activation) and _activation_of(layer) in _OUTPUT_ACTIVATIONS
    )


def _activation_of(layer: Any) -> str:
    return str(getattr(layer.activation, "__name__", layer.activation))


def _free_name(name: str, model: keras.Model, *, below: Any) -> str:
    """Return the name, with underscores until no layer of the model below that tensor has it."""
    taken = {node.operation.name for node in _graphs.nodes([below], list(model.inputs))}
    taken |= {_graphs.layer_of(tensor).name for tensor in model.inputs}
    while name in taken:
        name = f"{name}_"
    return name
