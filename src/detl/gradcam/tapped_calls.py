"""Run a subclassed classifier with taps at some of its layers, by standing in for their ``call``.

A subclassed model, or one nested in another, has no graph: what it computes is known only while it
runs. So it runs once on
black images, while every layer reports its calls; afterwards, whenever the model runs, the ``call``
of the layers concerned is another for the duration.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras

from detl.backbones.blocks import is_convolution
from detl.gradcam.taps import (
    Array,
    Inputs,
    Tap,
    Tensor,
    is_pooling,
    is_single_pixel,
    refuse_unknown,
    without_activation,
)
from detl.networks import graphs
from detl.networks.heads import ends_in_output_function, is_output_function

_log = logging.getLogger("detl")

_ANY_SIZE = 64  # pixels of the black images along axes that take any length

Compute: TypeAlias = Callable[..., Any]
# (layer, how often it was called before, its call, *args, **kwargs) -> its output
StandIn: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Call:
    """One call of one layer, as it was seen."""

    layer: Any
    ordinal: int  # how often the layer had been called before
    input: Any  # the first argument
    output: Any

    @property
    def key(self) -> tuple[int, int]:
        return id(self.layer), self.ordinal


class TappedCalls:
    """A classifier of any form; a subclassed one has been called on images, or built for them.

    See :class:`detl.gradcam.taps.TappedNetwork`.
    """

    def __init__(self, network: keras.Model, layers: Sequence[str] | None) -> None:
        self._network = network
        self._layers = list(dict.fromkeys(network._flatten_layers(include_self=False)))
        structure = _structure_of(network)
        calls, output = self._trace(structure)
        if len(getattr(output, "shape", ())) != 2:
            raise ValueError(
                f"{network.name!r} gives {type(output).__name__} of shape "
                f"{getattr(output, 'shape', None)}; expected one output (n, classes)."
            )
        paths = _paths(network)
        tensors = keras.tree.flatten(structure)
        if layers is None:
            tapped = [_last_maps(calls, tensors, network)]
        else:
            named = dict.fromkeys(_named(calls, paths, name, network) for name in layers)
            tapped = [(call, False) for call in named]
            tapped.sort(key=lambda tap: calls.index(tap[0]))
        self._taps = {call.key: reads for call, reads in tapped}
        maps = [call.input if reads else call.output for call, reads in tapped]
        images = _images_of(maps[0], tensors)
        self.paths = [
            f"{paths[id(call.layer)]} (input)" if reads else paths[id(call.layer)]
            for call, reads in tapped
        ]
        self._check_maps(maps, tensors[images])
        self.channels_first = [_is_channels_first(_until(calls, call)) for call, _ in tapped]
        self.inputs = Inputs(
            structure=_of_any_size(structure, images, first=_is_channels_first(calls[::-1])),
            images=images,
            has_channels=len(tensors[images].shape) == len(maps[0].shape),
            channels_first=_is_channels_first(calls[::-1]),
        )
        self._passed_over = _output_functions(calls, output, network)
        self.n_outputs: int = output.shape[-1]
        self.variables: list[Any] = network.variables
        if layers is None:
            _log.info("Grad-CAM of %r explains %r.", network.name, self.paths[0])

    def tensors_for(self, arrays: Sequence[Array]) -> list[Any]:
        """Return the shapes of the arrays: a subclassed model may ask for them while it runs."""
        return [
            keras.KerasTensor(
                (None, *array.shape[1:]),
                # A subclassed model converts nothing: integers stay for layers that look them up.
                dtype="float32"
                if index == self.inputs.images or array.dtype.kind == "f"
                else "int32",
            )
            for index, array in enumerate(arrays)
        ]

    def logits(self, tap: Tap, *tensors: Tensor) -> Tensor:
        """Run to the logits."""

        def stand_in(layer: Any, ordinal: int, compute: Compute, *args: Any, **kwargs: Any) -> Any:
            key = id(layer), ordinal
            if key in self._passed_over:
                replacement = self._passed_over[key]
                return args[0] if replacement is None else replacement(*args, **kwargs)
            if key not in self._taps:
                return compute(*args, **kwargs)
            if self._taps[key]:
                return compute(tap(args[0]), *args[1:], **kwargs)
            return tap(compute(*args, **kwargs))

        concerned = {layer for layer, _ in (*self._taps, *self._passed_over)}
        layers = [layer for layer in self._layers if id(layer) in concerned]
        with _standing_in(layers, stand_in):
            return self._run(tensors)

    def _run(self, tensors: Sequence[Tensor]) -> Tensor:
        structure = keras.tree.pack_sequence_as(self._structure, list(tensors))
        return self._network(structure, training=False)

    def _trace(self, structure: Any) -> tuple[list[_Call], Any]:
        """Run once on black images, and return the calls in the order of their ends."""
        self._structure = structure
        calls = []

        def stand_in(layer: Any, ordinal: int, compute: Compute, *args: Any, **kwargs: Any) -> Any:
            output = compute(*args, **kwargs)
            first = args[0] if args else next(iter(kwargs.values()), None)
            calls.append(_Call(layer=layer, ordinal=ordinal, input=first, output=output))
            return output

        black = [
            keras.ops.zeros([_ANY_SIZE if n is None else n for n in (1, *tensor.shape[1:])])
            for tensor in keras.tree.flatten(structure)
        ]
        with _standing_in(self._layers, stand_in):
            return calls, self._run(black)

    def _check_maps(self, maps: Sequence[Any], images: Any) -> None:
        ranks = (len(images.shape), len(images.shape) + 1)
        for path, tensor in zip(self.paths, maps):
            shape = tuple(getattr(tensor, "shape", ()))
            if len(shape) not in ranks or len(shape) != len(maps[0].shape):
                raise ValueError(
                    f"layer={path!r} gives {('n', *shape[1:])}; Grad-CAM weighs maps of shape "
                    "(n, height, width, channels), all of the same images. Name a convolution, or "
                    "what normalises or activates it."
                )


@contextmanager
def _standing_in(layers: Sequence[Any], stand_in: StandIn) -> Iterator[None]:
    """Let a function stand in for the ``call`` of layers, for the duration."""
    own = [vars(layer).get("call") for layer in layers]
    counts: dict[int, int] = {}

    def around(layer: Any, compute: Compute) -> Compute:
        def call(*args: Any, **kwargs: Any) -> Any:
            ordinal = counts.get(id(layer), 0)
            counts[id(layer)] = ordinal + 1
            return stand_in(layer, ordinal, compute, *args, **kwargs)

        return call

    try:
        for layer in layers:
            layer.call = around(layer, layer.call)
        yield
    finally:
        for layer, before in zip(layers, own):
            if before is not None:
                layer.call = before
            elif "call" in vars(layer):
                del layer.call


# -------------------------------------------------------------------------------------- the inputs


def _structure_of(network: keras.Model) -> Any:
    """Return the inputs that a model was built for, as symbolic tensors."""
    if graphs.is_graph(network):
        return graphs.input_structure(network)
    shapes = network.get_build_config() or {} if network.built else {}
    if set(shapes) != {"input_shape"} or not network.variables:
        raise ValueError(
            f"{network.name!r} is a subclassed model that has not been called on one array, list "
            "or dictionary of inputs yet, so that its layers are not known; call it on a batch "
            "first."
        )

    def tensor(shape: Sequence[Any], name: str) -> Any:
        return keras.KerasTensor((None, *shape[1:]), name=name)

    shape = shapes["input_shape"]
    if isinstance(shape, Mapping):
        return {key: tensor(part, key) for key, part in shape.items()}
    if all(n is None or isinstance(n, int) for n in shape):
        return tensor(shape, "images")
    return [tensor(part, f"input {index}") for index, part in enumerate(shape)]


def _images_of(maps: Any, tensors: Sequence[Any]) -> int:
    """Return the first input with as many axes as the maps; grey images may lack their channels."""
    rank = len(getattr(maps, "shape", ()))
    for wanted in (rank, rank - 1):
        for index, tensor in enumerate(tensors):
            if len(tensor.shape) == wanted >= 3:
                return index
    return max(range(len(tensors)), key=lambda index: len(tensors[index].shape))


def _of_any_size(structure: Any, images: int, *, first: bool) -> Any:
    """Return the structure with images of any size: what a size must be, the layers know."""
    tensors = keras.tree.flatten(structure)
    shape = tensors[images].shape
    free = (None,) * (len(shape) - 2)
    shape = (None, shape[1], *free) if first else (None, *free, shape[-1])
    tensors[images] = keras.KerasTensor(shape, name=tensors[images].name)
    return keras.tree.pack_sequence_as(structure, tensors)


# -------------------------------------------------------------------------------------- the layers


def _paths(network: keras.Model) -> dict[int, str]:
    """Return the path of every layer: attributes, and in a nested graph names of layers."""
    paths: dict[int, str] = {}

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
        if attribute in ("_layers", "_tracker", "_modules"):
            continue
        items: list[tuple[Any, Any]] = [("", value)]
        if isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        elif isinstance(value, Mapping):
            items = list(value.items())
        for key, layer in items:
            if isinstance(layer, keras.Layer):
                found.setdefault(id(layer), attribute if key == "" else f"{attribute}/{key}")
    return found


def _named(calls: Sequence[_Call], paths: Mapping[int, str], name: str, network: Any) -> _Call:
    """Return the call of a layer by its name, its path, or the end of it."""
    wanted = name.replace(".", "/")
    found = [
        call
        for call in calls
        if name == call.layer.name or f"/{paths[id(call.layer)]}".endswith(f"/{wanted}")
    ]
    if not found:
        maps = [paths[id(call.layer)] for call in calls if len(_shape(call.output)) >= 3]
        raise refuse_unknown(name, maps, network)
    if len(found) > 1:
        raise ValueError(
            f"layer={name!r} is called {len(found)} times in {network.name!r}, as "
            f"{', '.join(repr(paths[id(call.layer)]) for call in found)}; name one that is called "
            "once."
        )
    return found[0]


def _shape(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, "shape", ()))


def _until(calls: Sequence[_Call], last: _Call) -> Sequence[_Call]:
    return calls[: calls.index(last) + 1]


def _last_maps(
    calls: Sequence[_Call], tensors: Sequence[Any], network: keras.Model
) -> tuple[_Call, bool]:
    """Return the call with the last maps before pooling or flattening.

    And whether they are what it reads, as they come from no layer but, say, from a sum.
    """
    convolutions = [index for index, call in enumerate(calls) if is_convolution(call.layer)]
    if not convolutions:
        raise ValueError(
            f"{network.name!r} calls no convolution, and so has no maps for Grad-CAM to weigh; "
            "expected a convolutional classifier."
        )
    convolved = calls[convolutions[0] :]
    # Of maps with as many axes as the images, so that tokens are none.
    ranks = {len(tensor.shape) for tensor in tensors if len(tensor.shape) >= 3}
    producers = {id(call.output): call for call in reversed(convolved)}  # the innermost of a nest
    reducing = [
        call
        for call in convolved
        if _is_map(call.input, ranks, convolved)
        and not _is_map(call.output, ranks, convolved)
        and not list(call.layer._flatten_layers(include_self=False))
    ]
    if reducing:
        return _maps_read_by(reducing[-1], producers)
    maps = [call for call in convolved if _is_map(call.output, ranks, convolved)]
    if not maps:
        raise ValueError(
            f"No layer of {network.name!r} gives maps (n, height, width, channels) of more than "
            "one pixel; use larger images, or a network that reduces them less."
        )
    return _maps_read_by(maps[-1], producers) if is_pooling(maps[-1].layer) else (maps[-1], False)


def _maps_read_by(call: _Call, producers: Mapping[int, _Call]) -> tuple[_Call, bool]:
    """Return the call that gives what a call reads, pooling passed over, or what reads them."""
    while True:
        producer = producers.get(id(call.input))
        if producer is None:
            return call, True
        if not is_pooling(producer.layer):
            return producer, False
        call = producer


def _is_map(value: Any, ranks: set[int], calls: Sequence[_Call]) -> bool:
    shape = _shape(value)
    first = _is_channels_first(calls)
    return len(shape) in ranks and not is_single_pixel(shape[1:], channels_first=first)


def _is_channels_first(calls: Sequence[_Call]) -> bool:
    """Return the data_format of the last convolution or pooling among the calls."""
    for call in reversed(calls):
        if is_convolution(call.layer) or is_pooling(call.layer):
            data_format = getattr(call.layer, "data_format", None)
            if data_format is not None:
                return data_format == "channels_first"
    return False


def _output_functions(
    calls: Sequence[_Call], output: Any, network: keras.Model
) -> dict[tuple[int, int], Compute | None]:
    """Return what the calls that squash the logits do instead; None stands for nothing."""
    passed_over: dict[tuple[int, int], Compute | None] = {}
    while True:
        producer = next((call for call in calls if call.output is output), None)
        if producer is None:
            _log.info(
                "%r ends in no layer but in what its call computes; Grad-CAM explains that output, "
                "as no softmax or sigmoid in it can be seen.",
                network.name,
            )
            return passed_over
        if not is_output_function(producer.layer):
            if ends_in_output_function(producer.layer):
                passed_over[producer.key] = without_activation(producer.layer).call
            return passed_over
        passed_over[producer.key] = None
        output = producer.input
