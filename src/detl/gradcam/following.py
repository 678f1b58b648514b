"""Follow the calls of layers and operations while a model runs.

Once this module is loaded, ``keras.Layer.__call__`` and ``keras.Operation.__call__`` ask whether
calls are followed in the thread that they run in, and if so hand the call to the function that
follows. So a model of any form is followed alike, no layer of a caller is touched, and other
threads notice nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import keras
import numpy as np

Compute: TypeAlias = Callable[..., Any]
# (operation, how often it was called before, what computes the call, args, kwargs) -> outputs
Follower: TypeAlias = Callable[[Any, int, Compute, tuple[Any, ...], dict[str, Any]], Any]

_OPEN_LENGTH = 256  # stands for an axis of any length

_follower: ContextVar[Callable[..., Any] | None] = ContextVar("follower", default=None)


@contextmanager
def following(follower: Follower) -> Iterator[None]:
    """Hand every call in this thread to a function, which gives the outputs back.

    It may run ``compute(operation, *args, **kwargs)`` on other arguments, with another layer, or
    not at all.
    """
    counts: Counter[int] = Counter()

    def follow(operation: Any, *rest: Any) -> Any:
        ordinal = counts[id(operation)]
        counts[id(operation)] += 1
        return follower(operation, ordinal, *rest)

    before = _follower.set(follow)
    try:
        yield
    finally:
        _follower.reset(before)


def _followed(kind: Any) -> Compute:
    """Return the ``__call__`` of layers or operations that asks whether calls are followed."""
    compute = kind.__call__

    @functools.wraps(compute)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        follow = _follower.get()
        # A layer is an operation as well, and comes by a second time.
        if follow is None or (kind is keras.Operation and isinstance(self, keras.Layer)):
            return compute(self, *args, **kwargs)
        return follow(self, compute, args, kwargs)

    return call


for _kind in (keras.Operation, keras.Layer):
    _kind.__call__ = _followed(_kind)


def in_inference_mode(operation: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call without training, even where the model asks for it."""
    if "training" in inspect.signature(operation.call).parameters:
        return {**kwargs, "training": False}
    return dict(kwargs)


def of_one_image(tensor: Any) -> Any:
    """Return a symbolic tensor of one row and no open axis."""
    shape = (_OPEN_LENGTH if length is None else length for length in tensor.shape[1:])
    return keras.KerasTensor((1, *shape), dtype=tensor.dtype, name=tensor.name)


def is_chained(network: keras.Model, structure: Any, layer: int, ordinal: int) -> bool:
    """Whether what a layer reads when it is called again depends on what it gave before.

    The model runs twice on noise, the second time with other outputs of that layer.
    """
    generator = np.random.default_rng(0)
    read: list[Any] = []

    def follow(operation: Any, count: int, compute: Compute, args: Any, kwargs: Any) -> Any:
        is_asked = id(operation) == layer
        if is_asked and count == ordinal:
            read.append(keras.ops.convert_to_numpy(args[0]))
        outputs = compute(operation, *args, **in_inference_mode(operation, kwargs))
        if is_asked and count < ordinal and len(read) == 1:
            # As large as the outputs: an activation might hide less.
            scale = 1 + np.abs(keras.ops.convert_to_numpy(outputs)).max()
            others = generator.normal(scale=scale, size=outputs.shape)
            outputs = outputs + keras.ops.cast(others, outputs.dtype)
        return outputs

    def noise(tensor: Any) -> Any:
        shape = of_one_image(tensor).shape
        return keras.ops.cast(np.random.default_rng(0).uniform(0, 255, shape), tensor.dtype)

    images = keras.tree.map_structure(noise, structure)
    for _ in range(2):
        with following(follow):
            network(images, training=False)
    return not np.array_equal(*read)
