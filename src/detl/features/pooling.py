"""Pool what a layer gives to a row of numbers: maps in the cells of a grid, tokens to one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from detl.networks import graphs


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """Into how many cells a side maps are averaged, and what is taken of tokens."""

    grid: int
    tokens: Literal["mean", "class"]


def n_features(tensor: Any, pooling: Pooling, network: keras.Model) -> int:
    """Return the number of features of a layer, refusing one that cannot be pooled so."""
    grid, shape = pooling.grid, tensor.shape
    name = graphs.layer_of(tensor).name
    if len(shape) == 2:  # a fully connected layer
        return int(shape[1])
    if len(shape) == 3:
        _check_tokens(name, tensor, pooling, network)
        return int(shape[2])
    if len(shape) != 4:
        raise ValueError(
            f"{name!r} gives features of shape {shape}; expected feature maps, (n, height, "
            "width, channels), tokens, (n, tokens, features), or (n, features)."
        )
    if pooling.tokens == "class":
        raise ValueError(
            f"tokens='class' is for layers that give tokens, but {name!r} gives feature maps of "
            f"shape {shape}; leave tokens out, or name a layer above them."
        )
    _, *sides, channels = shape
    if graphs.is_channels_first(tensor, network):
        _, channels, *sides = shape
    if None in sides and grid > 1:
        raise ValueError(
            f"{network.name!r} takes images of any size, so that the cells of grid={grid} have "
            "none; use grid=1, or build the network for one input_shape."
        )
    return int(np.prod([1 if grid == 1 else min(grid, side) for side in sides]) * channels)


def _check_tokens(name: str, tensor: Any, pooling: Pooling, network: keras.Model) -> None:
    _, n_tokens, _ = tensor.shape
    if pooling.grid > 1:
        raise ValueError(
            f"grid={pooling.grid} divides feature maps, but {name!r} gives tokens of shape "
            f"{tensor.shape}; use grid=1, and tokens='mean' or 'class'."
        )
    if pooling.tokens == "mean" or n_tokens is None:
        return
    # The last maps below are those of the patches.
    for node in reversed(graphs.nodes([tensor], list(network.inputs))):
        if len(node.outputs[0].shape) == 4:
            _, *sides, _ = node.outputs[0].shape
            if None not in sides and math.prod(sides) == n_tokens:
                raise ValueError(
                    f"{name!r} gives {n_tokens} tokens, one for each of {sides[0]} x {sides[1]} "
                    "patches, and so no class token; use tokens='mean'."
                )
            return


def pooled(tensor: Any, pooling: Pooling, network: keras.Model) -> Any:
    """Return what a layer gives as ``(n, n_features)``, in float32."""
    width = n_features(tensor, pooling, network)
    first = graphs.is_channels_first(tensor, network)
    tensor = ops.cast(tensor, "float32")
    if len(tensor.shape) == 2:
        return tensor
    if len(tensor.shape) == 3:
        return tensor[:, 0] if pooling.tokens == "class" else ops.mean(tensor, axis=1)
    if first:
        tensor = ops.transpose(tensor, (0, 2, 3, 1))
    if pooling.grid == 1:
        return ops.mean(tensor, axis=(1, 2))
    rows, columns = (_shares(length, pooling.grid) for length in tensor.shape[1:3])
    cells = ops.einsum("nhwc,rh->nrwc", tensor, rows)
    cells = ops.einsum("nrwc,sw->nrsc", cells, columns)
    return ops.reshape(cells, (-1, width))


def _shares(length: int, grid: int) -> np.ndarray:
    """Return each pixel's share in the mean of each cell, ``(cells, length)``.

    Cells differ by a pixel where the length is no multiple of their number.
    """
    cells = min(grid, length)
    starts = np.linspace(0, length, cells + 1).astype(int)
    within = np.arange(length)
    shares = (starts[:-1, None] <= within) & (within < starts[1:, None])
    return (shares / shares.sum(axis=1, keepdims=True)).astype("float32")
