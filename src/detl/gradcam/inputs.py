"""What a classifier reads: images, maybe with other inputs beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import keras
import numpy as np

from detl.checks import check_images
from detl.networks import graphs

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def input_structure(network: keras.Model) -> Any:
    """Return the inputs that a model was built for, as symbolic tensors."""
    if graphs.is_graph(network):
        return graphs.input_structure(network)
    if isinstance(network, keras.Sequential):
        raise TypeError(
            f"model is the Sequential {network.name!r}, which is not built; begin it with "
            "keras.layers.Input, or call it on a batch."
        )
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Inputs:
    """What a model reads, and which of it are the images."""

    structure: Any  # of symbolic tensors: one, a list or tuple, or a dictionary
    images: int  # place of the images among the flattened structure
    has_channels: bool  # grey images may come without that axis
    channels_first: bool
    any_scale: bool  # whether pixels of other ranges than 0 to 255 may be meant

    @property
    def tensors(self) -> list[Any]:
        """The symbolic tensors in the order of :meth:`arrays_of`."""
        return keras.tree.flatten(self.structure)

    def with_any_size(self) -> Inputs:
        """Return the same with images of any size: what a size must be, the layers know."""
        tensors = self.tensors
        shape = tensors[self.images].shape
        free = (None,) * (len(shape) - 2)
        shape = (None, shape[1], *free) if self.channels_first else (None, *free, shape[-1])
        tensors[self.images] = keras.KerasTensor(shape, name=tensors[self.images].name)
        return replace(self, structure=keras.tree.pack_sequence_as(self.structure, tensors))

    def arrays_of(self, given: Any) -> list[Array]:
        """Return what a caller gave as one array per tensor, refusing what does not fit."""
        parts = self._parts_of(given)
        arrays = [
            _checked(part, tensor, index == self.images, any_scale=self.any_scale)
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
        if len(names) == 1:
            rank = len(self.tensors[0].shape)
            is_list = isinstance(given, (list, tuple)) and len(given) == 1
            return [given[0] if is_list and np.ndim(given[0]) == rank else given]
        if not isinstance(given, (list, tuple)) or len(given) != len(names):
            raise ValueError(
                f"images is {type(given).__name__} for a model of the {len(names)} inputs {names}; "
                "expected a list of one array per input, or a dictionary."
            )
        return list(given)


def _checked(given: Any, tensor: Any, is_image: bool, *, any_scale: bool) -> Array:
    """Return one input as an array that fits its symbolic tensor."""
    if is_image and len(tensor.shape) == 4:
        return check_images(given, shape=tensor.shape[1:], any_scale=any_scale)
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
