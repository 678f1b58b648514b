"""A classifier that hands maps of its layers to a *tap*, see :mod:`detl.networks.gradients`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import keras

from detl.gradcam.calls import Call, record
from detl.gradcam.following import Compute, following, in_inference_mode
from detl.gradcam.inputs import Array, Inputs, input_structure
from detl.gradcam.layers import (
    channels_first,
    images_are_channels_first,
    images_of,
    last_maps,
    named,
)
from detl.networks import graphs
from detl.networks.heads import ends_in_output_function, is_output_function
from detl.networks.pixels import takes_bytes

Tensor = Any  # of the backend
Tap: TypeAlias = Callable[[Tensor], Tensor]
Score: TypeAlias = Callable[[Tensor], Tensor]  # logits (n, classes) -> scores (n,)

PREDICTED = -1  # stands for "the class that the model predicts", or for no class at all

_log = logging.getLogger("detl")


class TappedNetwork:
    """A classifier of any form, and the layers to tap: by default one, that of the last maps.

    ``paths`` are the layers in the order in which they run, ``channels_first`` whether the maps of
    each are ``(n, channels, ...)``, ``n_outputs`` the columns of the logits.
    """

    def __init__(self, network: keras.Model, layers: Sequence[str] | None) -> None:
        self._network = network
        structure = input_structure(network)
        tensors = keras.tree.flatten(structure)
        calls, shapes = record(network, structure)
        ranks = {i: len(t.shape) for i, t in enumerate(tensors) if len(t.shape) >= 3}
        if len(shapes) != 1 or len(shapes[0]) != 2 or not ranks:
            raise ValueError(
                f"{network.name!r} takes {[tensor.shape for tensor in tensors]} and gives "
                f"{[('n', *shape[1:]) for shape in shapes]}; expected images "
                "(n, height, width, channels) and one output (n, classes)."
            )
        self._passed_over, logits = _output_functions(calls, network)
        flow = _needed(calls, logits)
        if layers is None:
            images, call = last_maps(flow, ranks, network)
            tapped = [call]
            _log.info("Grad-CAM of %r explains %r.", network.name, call.path)
        else:
            reached = {number for call in flow for number in call.outputs}
            nested = [c for c in calls if c.is_nested and reached.issuperset(c.outputs)]
            found = [named([*flow, *nested], name, network) for name in layers]
            tapped = [call for call in calls if call in found]  # in the order of their running
            images = images_of(tapped, flow, ranks)
        self._taps = {call.key for call in tapped}
        self.paths = [call.path for call in tapped]
        formats = channels_first(flow)
        self.channels_first = [formats[call.outputs[0]] for call in tapped]
        inputs = Inputs(
            structure=structure,
            images=images,
            has_channels=ranks[images] == len(tapped[0].shape) + 1,
            channels_first=images_are_channels_first(flow, images),
            any_scale=not takes_bytes(network),
        )
        self.inputs = inputs if graphs.is_graph(network) else inputs.with_any_size()
        self.n_outputs: int = shapes[0][-1]
        self.variables: list[Any] = network.variables

    def tensors_for(self, arrays: Sequence[Array]) -> list[Any]:
        """Return shape and dtype, as symbolic tensors, in which the arrays are read."""
        if graphs.is_graph(self._network):
            return self.inputs.tensors
        return [
            keras.KerasTensor(
                # A subclassed model may ask for the shape while it runs. It converts nothing:
                # integers stay for layers that look them up.
                (None, *array.shape[1:]),
                dtype="float32"
                if index == self.inputs.images or array.dtype.kind == "f"
                else "int32",
            )
            for index, array in enumerate(arrays)
        ]

    def logits(self, tap: Tap, *tensors: Tensor) -> Tensor:
        """Run to the logits ``(n, n_outputs)``, in inference mode."""
        with self._followed(tap):
            structure = keras.tree.pack_sequence_as(self.inputs.structure, list(tensors))
            (logits,) = keras.tree.flatten(self._network(structure, training=False))
        return logits

    def all_above(self, entrance: Any) -> bool:
        """Whether the layers to tap, each called once, come after a tensor of the graph."""
        nodes = graphs.nodes(list(self._network.outputs), [entrance])
        above = {id(node.operation) for node in nodes}
        calls = Counter(id(node.operation) for node in graphs.model_nodes(self._network))
        changed = [operation for operation, *_ in (*self._taps, *self._passed_over)]
        return all(operation in above and calls[operation] == 1 for operation in changed)

    def logits_from(self, entrance: Any, tap: Tap, values: Tensor) -> Tensor:
        """Do the same where :meth:`all_above` is true of a tensor, given its values."""
        with self._followed(tap):
            return graphs.run_above(entrance, self._network.outputs[0], values)

    def _followed(self, tap: Tap) -> AbstractContextManager[None]:
        """Tap the layers, and pass over what squashes the logits."""

        def follow(operation: Any, ordinal: int, compute: Compute, args: Any, kwargs: Any) -> Any:
            key = id(operation), ordinal
            operation = self._passed_over.get(key, operation)
            if operation is None:
                return args[0]
            if (*key, True) in self._taps:
                args = (tap(args[0]), *args[1:])
            outputs = compute(operation, *args, **in_inference_mode(operation, kwargs))
            return tap(outputs) if (*key, False) in self._taps else outputs

        return following(follow)


def scores_of(logits: Any, classes: Any, score: Score | None) -> tuple[Any, Any]:
    """Return each image's logit of the wanted class, and that class; or what a callable gives."""
    logits = keras.ops.cast(logits, "float32")
    if logits.shape[-1] == 1:
        logits = keras.ops.concatenate([-logits, logits], axis=-1)
    if score is not None:
        scores = keras.ops.cast(score(logits), "float32")
        if len(scores.shape) != 1:
            raise ValueError(
                f"target_class is a callable that returns shape {tuple(scores.shape)} for logits "
                f"of shape {tuple(logits.shape)}; expected (n,), one score per image."
            )
        return scores, classes
    predicted = keras.ops.cast(keras.ops.argmax(logits, axis=-1), classes.dtype)
    classes = keras.ops.where(classes == PREDICTED, predicted, classes)
    return keras.ops.take_along_axis(logits, classes[:, None], axis=-1)[:, 0], classes


def _output_functions(
    calls: Sequence[Call], network: keras.Model
) -> tuple[dict[tuple[int, int], Any], int]:
    """Return what takes the place of the calls that squash the logits, and the logits' number.

    None stands for nothing: such a call gives what it reads.
    """
    producers = {number: call for call in calls if not call.is_nested for number in call.outputs}
    passed_over: dict[tuple[int, int], Any] = {}
    (output,) = calls[-1].outputs
    if producers[output].operation is network:
        _log.info(
            "%r ends in no layer but in what its call computes; Grad-CAM explains that output, as "
            "no softmax or sigmoid in it can be seen.",
            network.name,
        )
        return passed_over, output
    while is_output_function(producers[output].operation):
        passed_over[producers[output].key[:2]] = None
        output = producers[output].inputs[0]
    call = producers[output]
    if ends_in_output_function(call.operation):
        passed_over[call.key[:2]] = _without_activation(call.operation)
    return passed_over, output


def _needed(calls: Sequence[Call], logits: int) -> list[Call]:
    """Return the calls that the logits need, each after those whose outputs it reads.

    Of branches, the one that is read first comes first, whatever the order in which Keras runs.
    """
    producers = {number: call for call in calls if not call.is_nested for number in call.outputs}
    done: dict[Call, None] = {}
    waiting = [producers[logits]]
    while waiting:
        before = (producers.get(number) for number in waiting[-1].inputs)
        missing = next((call for call in before if call and call not in done), None)
        if missing:
            waiting.append(missing)
        else:
            done[waiting.pop()] = None
    return list(done)


def _without_activation(layer: Any) -> Any:
    """Return a layer that shares everything with the given one but its activation."""
    # Not copy.copy: Keras pickles a layer by saving it, weights and all.
    linear = object.__new__(type(layer))
    linear.__dict__.update(layer.__dict__, activation=keras.activations.linear)
    return linear
