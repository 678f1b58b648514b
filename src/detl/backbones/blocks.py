"""Named blocks of a network: which there are, where one begins and where it ends."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import keras

from detl.networks import graphs

# How the families of networks name their blocks, detl's own and those of keras.applications.
_BLOCK_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(block\d+_\d+)(?:_|$)",  # Inception-ResNet
        r"(block\d+)[a-z]?_",  # detl, VGG, Xception, EfficientNet
        r"(conv\d+)_block\d+_",  # ResNet, DenseNet
        r"(expanded_conv(?:_\d+)?|block_\d+)_",  # MobileNetV2, MobileNetV3
        r"(conv_dw_\d+)",  # MobileNet
        r"(mixed\d+)$",  # Inception
        r"(.*stage_\d+)_block_\d+_",  # ConvNeXt
        r"((?:.*_)?(?:encoder|transformer)_?(?:block|layer)_?\d+)(?:_|$)",  # vision transformers
    )
)


def block_names(model: keras.Model) -> list[str]:
    """Return the names of a model's convolutional blocks, from input to output.

    Parameters
    ----------
    model : keras.Model
        A backbone, or any functional or Sequential network.

    Returns
    -------
    list of str
        Empty where the layers' names follow no known family; there, layers can be named instead.

    Examples
    --------
    >>> from detl import backbones
    >>> backbones.block_names(backbones.vgg16((32, 32, 1), width=0.125))
    ['block1', 'block2', 'block3', 'block4', 'block5']
    """
    if not graphs.is_graph(model):
        raise TypeError(
            f"model is {type(model).__name__}; expected a functional or built Sequential "
            "keras.Model, whose layers can be followed from its input to its output."
        )
    return list(_blocks(graphs.model_nodes(model)))


def _blocks(order: Sequence[Any], at_least: int = 2) -> dict[str, list[Any]]:
    """Return the calls of each block by its name, in their order."""
    for pattern in _BLOCK_NAMES:
        blocks: dict[str, list[Any]] = {}
        for node in order:
            if match := pattern.match(node.operation.name):
                blocks.setdefault(match[1], []).append(node)
        if len(blocks) >= at_least:
            return blocks
    return {}


def entrance_of(model: keras.Model, trainable_from: str) -> Any:
    """Return the tensor of a flat graph at which training begins: the last that all depends on.

    ``trainable_from`` is ``"last_block"`` (without known names, the last convolution), ``"input"``,
    or the name of a block, of a unit in it, or of a layer. Where that lies inside a residual or
    dense block, the tensor is the one that enters the block: a graph can be cut in two only where
    nothing runs beside it. Pooling between two blocks, and what DenseNet and ConvNeXt reduce the
    image with between theirs, comes before the cut; what a block reduces the image with itself, as
    in ResNet and EfficientNet, after it.
    """
    if not isinstance(trainable_from, str):
        raise TypeError(
            f"trainable_from is {type(trainable_from).__name__} {trainable_from!r}; expected the "
            "name of a block or a layer, or 'last_block'."
        )
    entrance = model.inputs[0]
    if trainable_from == "input":
        return entrance
    named = {id(node) for node in _named_nodes(model, trainable_from)}
    for tensor, after in graphs.bottlenecks(model):
        if not named <= {id(node) for node in after}:
            break
        entrance = tensor
    return entrance


def exit_of(model: keras.Model, name: str) -> Any:
    """Return the tensor in which a block, a unit or a layer ends; also of ``"last_block"``.

    Where tokens are pooled, as in a vision transformer, the last block ends with the last tokens:
    its only convolution may be the one that cuts the image into patches.
    """
    if name == "last_block":
        features = [n.outputs[0] for n in graphs.model_nodes(model) if _gives_maps_or_tokens(n)]
        if features and len(features[-1].shape) == 3:
            return features[-1]
    last = _named_nodes(model, name, "layers")[-1]
    if last.operation.name in (name, name.rpartition("/")[2], name.replace("/", "_")):
        return last.outputs[0]
    # A residual sum that is written with "+" belongs to the block, but does not have its name.
    end = id(last.outputs[0])
    readers = [n for n in graphs.model_nodes(model) if end in map(id, n.input_tensors)]
    is_summed = len(readers) == 1 and type(readers[0].operation).__name__ == "Add"
    return (readers[0] if is_summed else last).outputs[0]


def _gives_maps_or_tokens(node: Any) -> bool:
    return not node.is_input and len(node.outputs[0].shape) in (3, 4)


def _named_nodes(model: keras.Model, name: str, argument: str = "trainable_from") -> Sequence[Any]:
    """Return the calls of a block, a unit or a layer, in their order."""
    order = graphs.model_nodes(model)
    names = [node.operation.name for node in order if not node.is_input]
    if name == "last_block":
        convolutions = [node for node in order if convolves(node.operation)]
        if not convolutions:
            raise ValueError(
                f"The source {model.name!r} has no convolution, so it has no last block; "
                f"name a layer ({argument}), one of {names}."
            )
        blocks = _blocks(order) or _last_that_stays(order, convolutions[-1])
        return list(blocks.values())[-1] if blocks else convolutions[-1:]
    blocks = _blocks(order)
    if name in blocks:
        return blocks[name]
    exact = [node for node in order if node.operation.name == name]
    if exact:
        return exact
    # "block7" stands for block7_conv and block7a_conv, but not for block70_conv.
    prefix = re.compile(re.escape(name) + r"(?:(?<=\d)[a-z])?_")
    members = [node for node in order if prefix.match(node.operation.name)]
    if not members and "/" in name:
        members = _at_path(order, name, argument)
    if not members:
        known = [*block_names(model), *names]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[-5:]
        raise ValueError(
            f"{argument}={name!r} names neither a block nor a layer of {model.name!r}; "
            f"the nearest are {', '.join(map(repr, near))}, or use 'last_block'."
        )
    return members


def _last_that_stays(order: Sequence[Any], last_convolution: Any) -> dict[str, list[Any]]:
    """Return the only block of a network that was cut above it, if no convolution is above it."""
    block = _blocks(order, at_least=1)
    members = [node for nodes in block.values() for node in nodes]
    places = {id(node): place for place, node in enumerate(order)}
    ends = max((places[id(node)] for node in members), default=-1)
    return block if places[id(last_convolution)] <= ends else {}


def _at_path(order: Sequence[Any], path: str, argument: str) -> list[Any]:
    """Return the calls at a path as GradCAM gives it, such as "vgg16/block5_conv3".

    In a flat copy, a layer of a nested model has its own name, or its path with underscores. What
    lies inside a layer stands for that layer: it is not cut.
    """
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        for name in ("_".join(parts[:end]), parts[end - 1]):
            found = [node for node in order if node.operation.name == name]
            if found and end < len(parts) and argument == "layers":
                inside = found[0].operation
                if not isinstance(inside, keras.layers.Wrapper):
                    raise ValueError(
                        f"layers={path!r} lies inside {name!r}, a {type(inside).__name__} with "
                        f"code of its own, and cannot be read; name {name!r}."
                    )
            if found:
                return found
    return []


def convolves(operation: Any) -> bool:
    """Whether an operation is a convolution, or a layer that has one inside."""
    layers = operation._flatten_layers() if isinstance(operation, keras.Layer) else []
    return any(map(is_convolution, layers))


def is_convolution(layer: Any) -> bool:
    """Whether a layer is a convolution of any kind (depthwise and separable ones included)."""
    kinds = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv", "SeparableConv")
    return any(kind.__name__.startswith(kinds) for kind in type(layer).__mro__)
