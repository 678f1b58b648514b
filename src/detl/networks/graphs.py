"""Walk and cut the graph of a Keras model: its *nodes* are calls, each of one layer.

Whatever detl does to a model, it builds a new one from that graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

Tensor = Any  # a symbolic keras.KerasTensor
Node = Any  # keras.src.ops.node.Node: one call of one layer


def node_of(tensor: Tensor) -> Node:
    """Return the call that produced a symbolic tensor."""
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


def running_order(model: keras.Model) -> list[Node]:
    """Return the calls in the order in which Keras makes them."""
    by_depth = getattr(model, "_functional", model)._nodes_by_depth
    ordered = (node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth])
    return [node for node in ordered if not node.is_input]


def is_graph(model: Any) -> bool:
    """Whether this is a functional or built Sequential model, whose graph can be walked."""
    return isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))


def input_structure(model: keras.Model) -> Any:
    """Return the symbolic inputs of a graph in the form in which it takes them."""
    # A Sequential model has one input, and denies having it where it was never called.
    return model.inputs[0] if isinstance(model, keras.Sequential) else model.input


def bottlenecks(model: keras.Model) -> Iterator[tuple[Tensor, list[Node]]]:
    """Yield the tensors that everything passes through, with the calls that come after each.

    Such a tensor cuts the graph in two; a skip connection runs beside those inside its block.
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
    return keras.Model(start, run_above(entrance, output, start))


def run_above(entrance: Tensor, output: Tensor, value: Any) -> Any:
    """Return the value of a tensor, given that of one that everything before it passes through."""
    known = {id(entrance): value}
    for node in nodes([output], [entrance]):
        args, kwargs = node.arguments.fill_in(known)
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        known.update({id(old): new for old, new in zip(node.outputs, outputs, strict=True)})
    return known[id(output)]


def is_channels_first(tensor: Any, model: keras.Model) -> bool:
    """Whether the last convolution or pooling under a tensor works on ``(n, channels, ...)``."""
    for node in reversed(nodes([tensor], list(model.inputs))):
        data_format = getattr(node.operation, "data_format", None)
        if data_format is not None:
            return bool(data_format == "channels_first")
    return False
