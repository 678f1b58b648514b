"""What a network with tapped layers is, whether it is run along its graph or by its calls.

A *tap* is a function that is handed the maps of a layer while the network runs, and gives back what
the network goes on with: see :mod:`detl.networks.gradients`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import keras
import numpy as np

from detl.checks import check_images

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Tensor = Any  # of the backend
Tap: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What a model reads, and which of it are the images."""

    structure: Any  # of symbolic tensors: one, a list or tuple, or a dictionary
    images: int  # place of the images among the flattened structure
    has_channels: bool  # grey images may come without that axis
    channels_first: bool

    @property
    def tensors(self) -> list[Any]:
        """The symbolic tensors in the order of :meth:`arrays_of`."""
        return keras.tree.flatten(self.structure)

    def arrays_of(self, given: Any) -> list[Array]:
        """Return what a caller gave as one array per tensor, refusing what does not fit."""
        parts = self._parts_of(given)
        arrays = [
            _checked(part, tensor, is_image=index == self.images)
            for index, (part, tensor) in enumerate(zip(parts, self.tensors, strict=True))
        ]
        n = len(arrays[self.images])
        for array, tensor in zip(arrays, self.tensors, strict=True):
            if len(array) != n:
                raise ValueError(
                    f"input {tensor.name!r} has {len(array)} rows for {n} images; "
                    "expected one per image."
                )
        return arrays

    def size_of(self, images: Array) -> tuple[int, ...]:
        """Return the lengths of the spatial axes: (height, width) of ordinary images."""
        shape = images.shape[1:]
        if not self.has_channels:
            return shape
        return shape[1:] if self.channels_first else shape[:-1]

    def masked(self, images: Array, masks: Array) -> Array:
        """Multiply images by masks ``(n, *size)`` of their spatial axes."""
        if self.has_channels:
            masks = np.expand_dims(masks, 1 if self.channels_first else -1)
        return images * masks

    def _parts_of(self, given: Any) -> list[Any]:
        names = [tensor.name for tensor in self.tensors]
        if isinstance(given, Mapping):
            # A dictionary is flattened in the order of its keys.
            keys = sorted(self.structure) if isinstance(self.structure, Mapping) else names
            if set(given) != set(keys):
                raise ValueError(
                    f"images has the keys {sorted(map(str, given))}; the model takes {keys}."
                )
            return [given[key] for key in keys]
        if len(names) == 1 and not isinstance(self.structure, (Mapping, list, tuple)):
            return [given]
        if not isinstance(given, (list, tuple)) or len(given) != len(names):
            raise ValueError(
                f"images is {type(given).__name__} for a model of the {len(names)} inputs {names}; "
                "expected a list of one array per input, or a dictionary."
            )
        return list(given)


class TappedNetwork(Protocol):
    """A classifier that hands the maps of some of its layers to a tap."""

    paths: list[str]  # the layers, in the order in which they run
    channels_first: list[bool]  # whether the maps of each are (n, channels, ...)
    inputs: Inputs
    n_outputs: int
    variables: list[Any]

    def tensors_for(self, arrays: Sequence[Array]) -> list[Any]:
        """Return shape and dtype, as symbolic tensors, in which the arrays are read."""

    def logits(self, tap: Tap, *tensors: Tensor) -> Tensor:
        """Run to the logits ``(n, n_outputs)``, in inference mode."""


def _checked(given: Any, tensor: Any, *, is_image: bool) -> Array:
    """Return one input as an array that fits its symbolic tensor."""
    if is_image and len(tensor.shape) == 4:
        return check_images(given, shape=tensor.shape[1:], any_scale=True)
    name = "images" if is_image else f"input {tensor.name!r}"
    array = np.asarray(given)
    wanted = ", ".join("any" if length is None else str(length) for length in tensor.shape[1:])
    if array.dtype.kind not in "uifb":
        raise TypeError(f"{name} has dtype {array.dtype}; expected numbers of shape (n, {wanted}).")
    fits = array.ndim == len(tensor.shape) and all(
        length in (None, got) for length, got in zip(tensor.shape[1:], array.shape[1:])
    )
    if not fits or len(array) == 0:
        raise ValueError(f"{name} has shape {array.shape}, but the model takes (n, {wanted}).")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains NaN or infinity; drop or repair such rows.")
    return array


def without_activation(layer: Any) -> Any:
    """Return a layer that shares everything with the given one but its activation."""
    # Not copy.copy: Keras pickles a layer by saving it, weights and all.
    linear = object.__new__(type(layer))
    linear.__dict__.update(layer.__dict__, activation=keras.activations.linear)
    return linear


def is_single_pixel(shape: Sequence[Any], *, channels_first: bool) -> bool:
    """Whether the spatial axes of maps of that shape, images' axis left out, are of length 1."""
    return all(length == 1 for length in (shape[1:] if channels_first else shape[:-1]))


def is_pooling(operation: Any) -> bool:
    """Whether maps are still to be read before this: it pools them, or adds nothing to them."""
    kinds = ("Pool", "Dropout", "Padding")
    return any(kind in base.__name__ for base in type(operation).__mro__ for kind in kinds)


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


def nearest(name: str, paths: Iterable[str]) -> str:
    """Name what a caller may have meant, by its path or by the end of it."""
    paths = list(dict.fromkeys(paths))
    ends = {path.rpartition("/")[2]: path for path in paths}
    near = difflib.get_close_matches(name, [*paths, *ends], n=3, cutoff=0.4)
    meant = list(dict.fromkeys(ends.get(match, match) for match in near)) or paths[-3:]
    return ", ".join(map(repr, meant))


def refuse_unknown(name: str, known: Iterable[str], model: Any) -> ValueError:
    """Return the error for a layer that is not there."""
    return ValueError(
        f"layer={name!r} is no layer of {model.name!r}; the nearest are {nearest(name, known)}."
    )
