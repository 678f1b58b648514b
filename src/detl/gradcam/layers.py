"""Choose the layers whose maps are weighted, from the calls of a model."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from detl.backbones.blocks import convolves, is_convolution
from detl.gradcam.calls import Call
from detl.gradcam.following import is_chained
from detl.gradcam.inputs import input_structure


def check_layer_names(layer: Any) -> list[str] | None:
    """Return the names of layers that a caller gave, or None where he gave none."""
    if layer is None:
        return None
    names = [layer] if isinstance(layer, str) else layer
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"layer is {type(layer).__name__} {layer!r}; expected the name of a layer, or a list "
            "of names."
        )
    if not names:
        raise ValueError("layer is empty; expected the name of a layer, or None for the last maps.")
    return list(names)


# ------------------------------------------------------------------------------------- the default


def last_maps(calls: Sequence[Call], ranks: dict[int, int], network: Any) -> tuple[int, Call]:
    """Return the images' input and the call with the last maps before pooling or flattening.

    ``ranks`` has the number of axes of each input that could be the images.
    """
    if not any(convolves(call.operation) for call in calls):
        raise ValueError(
            f"{network.name!r} has no convolution, and so no maps for Grad-CAM to weigh; "
            "expected a convolutional classifier."
        )
    # Grey images may lack the axis of channels, which a layer then adds.
    for extra, images in itertools.product((0, 1), ranks):
        candidates = _candidates(calls, images, ranks[images] + extra)
        if candidates:
            # Within a residual unit, maps are only a part of the evidence. Where branches never
            # meet again as maps, there is nothing better than the last.
            whole = set(_bottlenecks(calls, images))
            best = [call for call in candidates if call in whole]
            last = (best or candidates)[-1]
            _check_whole(last, calls, network, side_by_side=not best)
            return images, last
    if max(ranks.values()) > 4:
        raise ValueError(
            f"No convolution of {network.name!r} gives maps with the {max(ranks.values())} axes of "
            "its input; where frames go one by one through a network, explain that network, frame "
            "by frame."
        )
    raise ValueError(
        f"No convolution of {network.name!r} gives maps (n, height, width, channels), one per "
        "image and of more than one pixel; use larger images, a network that reduces them less, "
        "or one of a single tile or frame."
    )


def _candidates(calls: Sequence[Call], images: int, rank: int) -> list[Call]:
    """Return the calls that give maps of the images, at or after a convolution, and do not pool."""
    formats = channels_first(calls)
    convolved: set[int] = set()
    candidates = []
    for call in _downstream(calls, images)[0]:
        if convolves(call.operation) or convolved.intersection(call.inputs):
            convolved.update(call.outputs)
            if _gives_maps(call, rank) and not _is_pooling(call.operation):
                space = call.shape[1:] if formats[call.outputs[0]] else call.shape[:-1]
                if any(length != 1 for length in space):
                    candidates.append(call)
    return candidates


def _bottlenecks(calls: Sequence[Call], images: int) -> Iterator[Call]:
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


def _check_whole(last: Call, calls: Sequence[Call], network: Any, *, side_by_side: bool) -> None:
    """Refuse the last of several calls of one layer, if each saw a part of the image."""
    structure = input_structure(network)
    convolutions = {id(part) for part in network._flatten_layers() if convolves(part)}
    handed_again = [call for call in calls if call.operation is None and call.key[1] > 0]
    for call in handed_again:
        # The code of a model may have made it of what the layer gave before, or of the next crop.
        matters = call.key[0] in {*convolutions, last.key[0]}
        if matters and not is_chained(network, structure, *call.key[:2]):
            side_by_side, last = True, call
            break
    n_calls = len({call.key[1] for call in calls if call.key[0] == last.key[0]})
    if n_calls > 1 and side_by_side:
        raise ValueError(
            f"{network.name!r} calls {last.path.removesuffix(' (input)')!r} {n_calls} times side "
            "by side, such as once per crop, and no layer has maps of the whole image. Explain a "
            "model of one crop, or name a layer."
        )


# ----------------------------------------------------------------------------------------- by name


def named(calls: Sequence[Call], name: str, network: Any) -> Call:
    """Return the call of a layer by its path, the end of that, or its name."""
    ending = f"/{name.replace('.', '/')}"
    found = [call for call in calls if call.path == name] or [
        call
        for call in calls
        if getattr(call.operation, "name", None) == name or f"/{call.path}".endswith(ending)
    ]
    if not found:
        maps = [call.path for call in calls if len(call.outputs) == 1 and len(call.shape) >= 2]
        raise ValueError(
            f"layer={name!r} is no layer of {network.name!r}; the nearest are "
            f"{_nearest(name, maps)}."
        )
    if len(found) > 1:
        raise ValueError(
            f"layer={name!r} is called {len(found)} times in {network.name!r}, as "
            f"{', '.join(repr(call.path) for call in found)}; name one that is called once."
        )
    return found[0]


def _nearest(name: str, paths: Sequence[str]) -> str:
    """Name what a caller may have meant, by its path or by the end of it."""
    paths = list(dict.fromkeys(paths))
    ends = {path.rpartition("/")[2]: path for path in paths}
    near = difflib.get_close_matches(name, [*paths, *ends], n=3, cutoff=0.4)
    meant = list(dict.fromkeys(ends.get(match, match) for match in near)) or paths[-3:]
    return ", ".join(map(repr, meant))


def images_of(tapped: Sequence[Call], calls: Sequence[Call], ranks: dict[int, int]) -> int:
    """Return the one input whose maps all the layers give."""
    for extra, images in itertools.product((0, 1), ranks):
        reached = _downstream(calls, images)[1]
        rank = ranks[images] + extra
        if all(_gives_maps(call, rank) and call.outputs[0] in reached for call in tapped):
            return images
    shapes = ", ".join(f"layer={call.path!r} gives {('n', *call.shape)}" for call in tapped)
    raise ValueError(
        f"{shapes}; Grad-CAM weighs maps of shape (n, height, width, channels), all of the same "
        "images. Name a convolution, or what normalises or activates it."
    )


# ---------------------------------------------------------------------------------------- the flow


def _downstream(calls: Sequence[Call], tensor: int) -> tuple[list[Call], set[int]]:
    """Return the calls that depend on a tensor, and all tensors that do."""
    reached = {tensor}
    depending = []
    for call in calls:
        if reached.intersection(call.inputs):
            reached.update(call.outputs)
            depending.append(call)
    return depending, reached


def _gives_maps(call: Call, rank: int) -> bool:
    return len(call.outputs) == 1 and len(call.shape) == rank - 1


def _is_pooling(operation: Any) -> bool:
    """Whether maps are still to be read before this: it pools them, or adds nothing to them."""
    kinds = ("Pool", "Dropout", "Padding")
    return any(kind in base.__name__ for base in type(operation).__mro__ for kind in kinds)


def _own_format(operation: Any) -> str | None:
    """Return the data_format that a convolution or pooling works in; None for other layers."""
    works_on_maps = is_convolution(operation) or _is_pooling(operation)
    return getattr(operation, "data_format", None) if works_on_maps else None


def _moves_axes(operation: Any) -> bool:
    return type(operation).__name__ in ("Permute", "Transpose", "Moveaxis")


def channels_first(calls: Sequence[Call]) -> dict[int, bool]:
    """Return for every tensor computed whether its channels come before its spatial axes."""
    formats: dict[int, bool] = {}
    for call in calls:
        own = _own_format(call.operation)
        before = any(formats.get(number, False) for number in call.inputs)
        first = before != _moves_axes(call.operation) if own is None else own == "channels_first"
        formats.update(dict.fromkeys(call.outputs, first))
    return formats


def images_are_channels_first(calls: Sequence[Call], images: int) -> bool:
    """Return what the first convolution of the images says, where no layer moved their axes."""
    moved = False
    for call in _downstream(calls, images)[0]:
        own = _own_format(call.operation)
        if own is not None:
            return (own == "channels_first") != moved
        moved ^= _moves_axes(call.operation)
    return False
