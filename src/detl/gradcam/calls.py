"""The calls of a model: which layers and operations run, on what, and with what result."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras

from detl.backbones.blocks import convolves, is_convolution
from detl.gradcam.following import Compute, following, in_inference_mode, of_one_image
from detl.networks import graphs
from detl.networks.probe import is_own

Key: TypeAlias = tuple[int, int, bool]  # see Call


@dataclass(frozen=True, kw_only=True, eq=False)
class Call:
    """One call of a layer or operation; or what a layer reads, where no call gives it.

    Tensors have numbers, those of the model's inputs 0, 1, ....
    """

    path: str  # "block5_conv3"; in a nested model "vgg16/block5_conv3"; "pool (input)"
    key: Key  # layer or operation by its id, how often it was called before, whether it reads this
    operation: Any  # None of what a layer reads
    inputs: list[int]
    outputs: list[int]
    shape: tuple[int, ...]  # of the first output, without the images' axis
    is_nested: bool = False  # gives what calls inside it gave, as a nested model does


def record(network: keras.Model, structure: Any) -> tuple[list[Call], list[tuple[int, ...]]]:
    """Follow a model of any form, its layers built, on the shapes of one image.

    Returns the calls in the order of their ends, the last being that of the model, and the shapes
    of its outputs. Nothing is computed.
    """
    if not _needs_a_run(network):
        return _calls_of_graph(network), [tuple(tensor.shape) for tensor in network.outputs]
    run = _Run(network)
    outputs = run.compute_output_spec(keras.tree.map_structure(of_one_image, structure))
    return run.calls, [tuple(tensor.shape) for tensor in keras.tree.flatten(outputs)]


def _needs_a_run(network: Any) -> bool:
    """Whether a graph does not tell all: code of somebody else, and what may put tiles in rows."""
    if not graphs.is_graph(network) or is_own(network):
        return True
    return any(
        _needs_a_run(node.operation)
        if graphs.is_graph(node.operation)
        else _is_opened(node.operation) or _may_move_rows(node)
        for node in graphs.model_nodes(network)
    )


def _may_move_rows(node: Any) -> bool:
    is_layer = isinstance(node.operation, keras.Layer)
    if node.is_input or (is_layer and not isinstance(node.operation, keras.layers.Lambda)):
        return False
    return any(tensor.shape != node.outputs[0].shape for tensor in node.input_tensors)


def _calls_of_graph(network: keras.Model) -> list[Call]:
    """Return what a run would give, from the graph: a run takes twenty times as long."""
    paths = _paths(network)
    numbers = itertools.count(len(network.inputs))
    ordinals: Counter[int] = Counter()
    calls: list[Call] = []

    def add(operation: Any, inputs: list[int], tensors: list[Any]) -> list[int]:
        key = (id(operation), ordinals[id(operation)], False)
        ordinals[id(operation)] += 1
        is_nested = graphs.is_graph(operation)
        outputs = walk(operation, inputs) if is_nested else [next(numbers) for _ in tensors]
        calls.append(
            Call(
                path=paths.get(id(operation), operation.name),
                key=key,
                operation=operation,
                inputs=inputs,
                outputs=outputs,
                shape=tuple(tensors[0].shape[1:]),
                is_nested=is_nested,
            )
        )
        return outputs

    def walk(part: keras.Model, inputs: list[int]) -> list[int]:
        known = {id(tensor): number for tensor, number in zip(part.inputs, inputs, strict=True)}
        for node in graphs.running_order(part):
            read = [known[id(tensor)] for tensor in node.input_tensors]
            given = add(node.operation, read, node.outputs)
            known.update({id(t): number for t, number in zip(node.outputs, given, strict=True)})
        return [known[id(tensor)] for tensor in part.outputs]

    add(network, list(range(len(network.inputs))), network.outputs)
    return calls


class _Run(keras.Operation):
    """One run of a model.

    Keras asks an operation for the shapes of its outputs by running it without values: in a graph
    of its own on TensorFlow, by abstract values on JAX, on the device "meta" of PyTorch.
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__(name="run")
        self.network = network
        self.calls: list[Call] = []

    def call(self, structure: Any) -> Any:
        recorder = _Recorder(_paths(self.network), keras.tree.flatten(structure))
        with following(recorder):
            outputs = self.network(structure, training=False)
        self.calls = recorder.calls  # of the last run, should there be several
        return outputs


@dataclass(kw_only=True, eq=False)
class _Running:
    """A call that has not ended."""

    operation: Any
    is_opened: bool  # whether the calls inside it are written down
    inputs: list[int]
    unread: list[int]  # what came up inside it, and no call there has read


class _Recorder:
    """Writes down the calls of one run.

    The code of a subclassed model computes tensors that no call gives. Such a tensor is taken to be
    made of all that no call has read yet.
    """

    def __init__(self, paths: Mapping[int, str], tensors: list[Any]) -> None:
        self.calls: list[Call] = []
        self._paths = paths
        self._numbers: dict[int, int] = {}  # by the id of a tensor
        self._tensors: list[Any] = []  # all are kept: no id is given twice
        inputs = [self._number(tensor) for tensor in tensors]
        self._running = [_Running(operation=None, is_opened=True, inputs=inputs, unread=inputs)]

    def __call__(
        self,
        operation: Any,
        ordinal: int,
        compute: Compute,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        outer = self._running[-1]
        kwargs = in_inference_mode(operation, kwargs)
        if not outer.is_opened:
            return compute(operation, *args, **kwargs)
        path, key = self._paths.get(id(operation), operation.name), (id(operation), ordinal)
        if args and self._is_new(args[0]) and not graphs.is_graph(outer.operation):
            self._add_read(args[0], outer, key, path)
        inputs = self._read(args, kwargs, outer)
        inner = _Running(
            operation=operation,
            is_opened=_is_opened(operation),
            inputs=inputs.copy(),
            unread=inputs,
        )
        n_before = len(self.calls)
        self._running.append(inner)
        outputs = compute(operation, *args, **kwargs)
        self._running.pop()

        tensors, has_inner = _tensors_in(outputs), len(self.calls) > n_before
        is_nested = has_inner and not any(map(self._is_new, tensors))
        for tensor in tensors:
            if not has_inner or self._is_new(tensor):
                self._number(tensor)  # also of what a layer hands on as it is
        call = Call(
            path=path,
            key=(*key, False),
            operation=operation,
            inputs=inner.unread,
            outputs=[self._numbers[id(tensor)] for tensor in tensors],
            shape=_shape_of(tensors),
            is_nested=is_nested,
        )
        self.calls.append(call)
        outer.unread = [n for n in outer.unread if n not in inputs] + call.outputs
        return outputs

    def _is_new(self, value: Any) -> bool:
        return keras.ops.is_tensor(value) and id(value) not in self._numbers

    def _number(self, tensor: Any) -> int:
        """Give a tensor a number of its own."""
        self._numbers[id(tensor)] = len(self._tensors)
        self._tensors.append(tensor)
        return self._numbers[id(tensor)]

    def _add_read(self, tensor: Any, outer: _Running, key: tuple[int, int], path: str) -> None:
        """Write down what a layer is about to read, and what no call gave."""
        call = Call(
            path=f"{path} (input)",
            key=(*key, True),
            operation=None,
            inputs=outer.unread,
            outputs=[self._number(tensor)],
            shape=_shape_of([tensor]),
        )
        self.calls.append(call)
        outer.unread = call.outputs

    def _read(self, args: Any, kwargs: Any, outer: _Running) -> list[int]:
        """Return the numbers of what a call reads."""
        inputs: list[int] = []
        for tensor in _tensors_in([args, kwargs]):
            if not self._is_new(tensor):
                inputs.append(self._numbers[id(tensor)])
            elif graphs.is_graph(outer.operation):
                inputs += self._before_conversion(tensor, outer)
            else:
                inputs += outer.unread
        return inputs

    def _before_conversion(self, tensor: Any, outer: _Running) -> list[int]:
        """Return the input of a graph that it has converted to another type; or a constant's."""
        for number in outer.inputs:
            if self._tensors[number].shape == tensor.shape:
                outer.inputs.remove(number)
                self._tensors.append(tensor)
                self._numbers[id(tensor)] = number
                return [number]
        return []


def _tensors_in(structure: Any) -> list[Any]:
    return [part for part in keras.tree.flatten(structure) if keras.ops.is_tensor(part)]


def _shape_of(tensors: list[Any]) -> tuple[int, ...]:
    """Return the shape without the images' axis; nothing where it holds more than one image."""
    is_of_one = bool(tensors) and tuple(tensors[0].shape[:1]) in ((1,), (None,))
    return tuple(tensors[0].shape[1:]) if is_of_one else ()


def _is_opened(operation: Any) -> bool:
    """Whether calls inside a call matter.

    A layer of Keras is one piece, its activation included, unless it wraps a convolution.
    """
    if isinstance(operation, keras.Model):
        return True
    if not isinstance(operation, keras.Layer) or is_convolution(operation):
        return False
    return convolves(operation) or not type(operation).__module__.startswith("keras.")


def _paths(network: keras.Model) -> dict[int, str]:
    """Return the path of every layer: attributes, and in a nested graph names of layers."""
    paths = {id(network): network.name}

    def walk(owner: Any, prefix: str) -> None:
        named = {} if graphs.is_graph(owner) else _attributes(owner)
        for layer in owner._flatten_layers(include_self=False, recursive=False):
            if id(layer) not in paths:
                paths[id(layer)] = f"{prefix}{named.get(id(layer), layer.name)}"
                walk(layer, f"{paths[id(layer)]}/")

    walk(network, "")
    return paths


def _attributes(owner: Any) -> dict[int, str]:
    """Return the attribute under which an object keeps each of its layers."""
    # On PyTorch, layers are not among the variables of an object, but registered beside them.
    found: dict[int, str] = {}
    for attribute, value in {**vars(owner), **vars(owner).get("_modules", {})}.items():
        if attribute in ("_layers", "_tracker", "_modules") or attribute.startswith("_self_"):
            continue  # Keras's and TensorFlow's own lists
        items: list[tuple[Any, Any]] = [("", value)]
        if isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        elif isinstance(value, Mapping):
            items = list(value.items())
        for key, layer in items:
            if isinstance(layer, keras.Layer):
                found.setdefault(id(layer), attribute if key == "" else f"{attribute}/{key}")
    return found
