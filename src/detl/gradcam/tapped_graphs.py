"""Run a functional or Sequential classifier along its graph, with taps at some of its layers."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Call:
    """One call of one layer, in a graph whose nested models are dissolved.

    Tensors have numbers here: a model that is nested twice computes the same symbolic tensors
    twice, with different values.
    """

    path: str  # "block5_conv3"; in a nested model "vgg16/block5_conv3"
    operation: Any
    node: graphs.Node
    inputs: list[int]
    outputs: list[int]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of the first output, without the images' axis."""
        return tuple(self.node.outputs[0].shape[1:])

    def run(self, values: dict[int, Any]) -> Iterator[tuple[int, Any]]:
        """Compute the outputs, in inference mode."""
        known = {id(t): values[i] for t, i in zip(self.node.input_tensors, self.inputs)}
        args, kwargs = self.node.arguments.fill_in(known)
        if "training" in inspect.signature(self.operation.call).parameters:
            kwargs = {**kwargs, "training": False}
        return zip(self.outputs, keras.tree.flatten(self.operation(*args, **kwargs)))


def shows_all_convolutions(network: keras.Model) -> bool:
    """Whether a model is a graph, and so are the models nested in it that convolve."""
    if not graphs.is_graph(network):
        return False
    return all(
        graphs.is_graph(layer) or not any(map(is_convolution, layer._flatten_layers()))
        for layer in network._flatten_layers(include_self=False)
        if not is_convolution(layer)
    )


class TappedGraph:
    """A functional or Sequential classifier; models may be nested in it.

    See :class:`detl.gradcam.taps.TappedNetwork`.
    """

    def __init__(self, network: keras.Model, layers: Sequence[str] | None) -> None:
        tensors = list(network.inputs)
        _check_ends(network)
        self._calls, self._logits = _calls_to_logits(network)
        if layers is None:
            images, call = _last_maps(self._calls, network)
            tapped = [call]
        else:
            tapped = [_named(self._calls, name, network) for name in layers]
            images = _images_of(tapped, self._calls, network)
        tapped = [call for call in self._calls if call in tapped]  # in the order of their running
        self._tapped = tapped
        self.paths = [call.path for call in tapped]
        formats = _channels_first(self._calls)
        self.channels_first = [formats[call.outputs[0]] for call in tapped]
        self.inputs = Inputs(
            structure=graphs.input_structure(network),
            images=images,
            has_channels=len(tensors[images].shape) == len(tapped[0].shape) + 1,
            channels_first=_images_are_channels_first(self._calls, images),
        )
        self.n_outputs: int = network.outputs[0].shape[-1]
        self.variables: list[Any] = network.variables

    def tensors_for(self, arrays: Sequence[Array]) -> list[Any]:
        """Return the model's own inputs, whatever arrays come."""
        return self.inputs.tensors

    def logits(self, tap: Tap, *tensors: Tensor) -> Tensor:
        """Run to the logits."""
        values = dict(enumerate(tensors))
        for call in self._calls:
            values.update(call.run(values))
            if call in self._tapped:
                values[call.outputs[0]] = tap(values[call.outputs[0]])
        return values[self._logits]


# ------------------------------------------------------------------------------- following a graph


def _check_ends(network: keras.Model) -> None:
    outputs = [tensor.shape for tensor in network.outputs]
    if len(outputs) != 1 or len(outputs[0]) != 2 or not _spatial_inputs(network):
        raise ValueError(
            f"{network.name!r} takes {[t.shape for t in network.inputs]} and gives {outputs}; "
            "expected images (n, height, width, channels) and one output (n, classes)."
        )


def _spatial_inputs(network: keras.Model) -> list[int]:
    return [i for i, tensor in enumerate(network.inputs) if len(tensor.shape) >= 3]


def _calls_to_logits(network: keras.Model) -> tuple[list[_Call], int]:
    """Return the calls from the inputs, tensors 0, 1, ..., to the logits, and their number."""
    inputs = list(range(len(network.inputs)))
    calls, (output,) = _unfold(network, inputs, itertools.count(len(inputs)), "")
    producers = {number: call for call in calls for number in call.outputs}
    while is_output_function(producers[output].operation):
        output = producers[output].inputs[0]
    needed = {output}
    used: list[_Call] = []
    for call in reversed(calls):  # what only the squashing, or an output unused, needs is left out
        if needed.intersection(call.outputs):
            needed.update(call.inputs)
            used.insert(0, call)
    if ends_in_output_function(used[-1].operation):
        used[-1] = replace(used[-1], operation=without_activation(used[-1].operation))
    return used, output


def _unfold(
    model: keras.Model, inputs: list[int], numbers: Iterator[int], prefix: str
) -> tuple[list[_Call], list[int]]:
    """Return the calls of a model, nested models dissolved, and the numbers of its outputs."""
    number_of = dict(zip(map(id, model.inputs), inputs, strict=True))
    calls = []
    for node in graphs.model_nodes(model):
        path = f"{prefix}{node.operation.name}"
        arguments = [number_of[id(tensor)] for tensor in node.input_tensors]
        if graphs.is_graph(node.operation):
            inner, outputs = _unfold(node.operation, arguments, numbers, f"{path}/")
            calls += inner
        else:
            outputs = [next(numbers) for _ in node.outputs]
            calls.append(
                _Call(
                    path=path,
                    operation=node.operation,
                    node=node,
                    inputs=arguments,
                    outputs=outputs,
                )
            )
        number_of.update(zip(map(id, node.outputs), outputs, strict=True))
    return calls, [number_of[id(tensor)] for tensor in model.outputs]


def _downstream(calls: Sequence[_Call], tensor: int) -> tuple[list[_Call], set[int]]:
    """Return the calls that depend on a tensor, and all tensors that do."""
    reached = {tensor}
    depending = []
    for call in calls:
        if reached.intersection(call.inputs):
            reached.update(call.outputs)
            depending.append(call)
    return depending, reached


# -------------------------------------------------------------------------------------- the layers


def _last_maps(calls: Sequence[_Call], network: keras.Model) -> tuple[int, _Call]:
    """Return the images' input and the call with the last maps before pooling or flattening."""
    if not any(is_convolution(call.operation) for call in calls):
        raise ValueError(
            f"{network.name!r} has no convolution, and so no maps for Grad-CAM to weigh; "
            "expected a convolutional classifier."
        )
    # Grey images may lack the axis of channels, which a layer then adds.
    for extra, images in itertools.product((0, 1), _spatial_inputs(network)):
        rank = len(network.inputs[images].shape) + extra
        candidates = _candidates(calls, images, rank)
        if candidates:
            # Within a residual unit, maps are only a part of the evidence. Where branches never
            # meet again as maps, there is nothing better than the last.
            whole = set(_bottlenecks(calls, images))
            best = [call for call in candidates if call in whole] or candidates
            return images, best[-1]
    raise ValueError(
        f"No convolution of {network.name!r} gives maps (n, height, width, channels) of more "
        "than one pixel; use larger images, or a network that reduces them less."
    )


def _candidates(calls: Sequence[_Call], images: int, rank: int) -> list[_Call]:
    """Return the calls that give maps of the images, at or after a convolution, and do not pool."""
    formats = _channels_first(calls)
    convolved: set[int] = set()
    candidates = []
    for call in _downstream(calls, images)[0]:
        if is_convolution(call.operation) or convolved.intersection(call.inputs):
            convolved.update(call.outputs)
            single = is_single_pixel(call.shape, channels_first=formats[call.outputs[0]])
            if _gives_maps(call, rank) and not single and not is_pooling(call.operation):
                candidates.append(call)
    return candidates


def _bottlenecks(calls: Sequence[_Call], images: int) -> Iterator[_Call]:
    """Yield the calls whose output all that follows of the images depends on, and on no earlier."""
    depending, reached = _downstream(calls, images)
    last_use = {
        number: index
        for index, call in enumerate(depending)
        for number in call.inputs
        if number in reached
    }
    reach = last_use[images]
    for index, call in enumerate(depending):
        if reach <= index:
            yield call
        reach = max(reach, *(last_use.get(number, -1) for number in call.outputs))


def _named(calls: Sequence[_Call], name: str, network: keras.Model) -> _Call:
    """Return the call of a layer by its name or path."""
    found = [call for call in calls if name in (call.path, call.path.rpartition("/")[2])]
    if not found:
        maps = [call.path for call in calls if len(call.outputs) == 1 and len(call.shape) >= 2]
        raise refuse_unknown(name, maps, network)
    if len(found) > 1:
        raise ValueError(
            f"layer={name!r} is called {len(found)} times in {network.name!r}, as "
            f"{', '.join(repr(call.path) for call in found)}; name one that is called once."
        )
    return found[0]


def _images_of(tapped: Sequence[_Call], calls: Sequence[_Call], network: keras.Model) -> int:
    """Return the one input whose maps all the layers give."""
    for extra, images in itertools.product((0, 1), _spatial_inputs(network)):
        rank = len(network.inputs[images].shape) + extra
        depending = _downstream(calls, images)[0]
        if all(call in depending and _gives_maps(call, rank) for call in tapped):
            return images
    shapes = ", ".join(f"layer={call.path!r} gives {('n', *call.shape)}" for call in tapped)
    raise ValueError(
        f"{shapes}; Grad-CAM weighs maps of shape (n, height, width, channels), all of the same "
        "images. Name a convolution, or what normalises or activates it."
    )


def _gives_maps(call: _Call, rank: int) -> bool:
    return len(call.outputs) == 1 and len(call.shape) == rank - 1


# ------------------------------------------------------------------------------------- the channels


def _own_format(operation: Any) -> str | None:
    """Return the data_format that a convolution or pooling works in; None for other layers."""
    works_on_maps = is_convolution(operation) or is_pooling(operation)
    return getattr(operation, "data_format", None) if works_on_maps else None


def _moves_axes(operation: Any) -> bool:
    return type(operation).__name__ in ("Permute", "Transpose", "Moveaxis")


def _channels_first(calls: Sequence[_Call]) -> dict[int, bool]:
    """Return for every tensor computed whether its channels come before its spatial axes."""
    formats: dict[int, bool] = {}
    for call in calls:
        own = _own_format(call.operation)
        before = any(formats.get(number, False) for number in call.inputs)
        first = before != _moves_axes(call.operation) if own is None else own == "channels_first"
        formats.update(dict.fromkeys(call.outputs, first))
    return formats


def _images_are_channels_first(calls: Sequence[_Call], images: int) -> bool:
    """Return what the first convolution of the images says, where no layer moved their axes."""
    moved = False
    for call in _downstream(calls, images)[0]:
        own = _own_format(call.operation)
        if own is not None:
            return (own == "channels_first") != moved
        moved ^= _moves_axes(call.operation)
    return False
