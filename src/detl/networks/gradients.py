"""Differentiate scores by tensors inside a network: the only code that knows a backend's name.

Where such a tensor is computed, the forward pass hands it to a *tap* and goes on with what the tap
gives back. Only what comes after the first tap is differentiated: nothing is recorded before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import keras

from detl.networks.prediction import in_native_order

Tensor = Any  # of the backend
# (tap, *tensors) -> (scores, *others)
Forward: TypeAlias = Callable[..., tuple[Tensor, ...]]
Run: TypeAlias = Callable[..., tuple[Any, ...]]


def with_gradient(
    forward: Forward, *, inputs: Sequence[Any], variables: Sequence[Any]
) -> Callable[..., tuple[Any, ...]]:
    """Compile a forward pass so that it also returns the gradients of its scores at its taps.

    ``forward(tap, *tensors)`` computes by Keras layers and operations, goes on with ``tap(maps)``
    in the place of each tensor to differentiate by, of which there is at least one, and returns
    ``(scores, *others)``. Row i of the scores, ``(n,)``, depends on row i of the tensors alone.
    ``inputs`` are symbolic tensors like those; the first axis may have any length. ``variables``
    are all that ``forward`` reads, with the values that they have at the time of a call.

    What is returned goes from arrays to ``(maps, gradients, scores, *others)``, numpy arrays. Maps
    and gradients are lists, one entry per call of the tap in their order, in float32; a gradient is
    zero where no score depends on the maps.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        run = _on_tensorflow(forward, inputs)
    elif backend == "jax":
        run = _on_jax(forward, variables)
    elif backend == "torch":
        run = _on_torch(forward)
    else:
        raise NotImplementedError(
            f"Keras runs on {backend!r}, which has no gradients in detl; "
            "set KERAS_BACKEND to 'tensorflow', 'jax' or 'torch' before Keras is imported."
        )

    def compute(*arrays: Any) -> tuple[Any, ...]:
        tensors = (
            keras.ops.convert_to_tensor(in_native_order(array), dtype=spec.dtype)
            for array, spec in zip(arrays, inputs, strict=True)
        )
        maps, gradients, *others = run(*tensors)
        maps, gradients = (
            [keras.ops.cast(part, "float32") for part in parts] for parts in (maps, gradients)
        )
        return keras.tree.map_structure(keras.ops.convert_to_numpy, (maps, gradients, *others))

    return compute


def _on_tensorflow(forward: Forward, inputs: Sequence[Any]) -> Run:
    import tensorflow as tf

    # One trace for batches of every size.
    signature = [tf.TensorSpec((None, *spec.shape[1:]), spec.dtype) for spec in inputs]

    def run(*tensors: Tensor) -> tuple[Any, ...]:
        tapped: list[Tensor] = []
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def tap(maps: Tensor) -> Tensor:
                tape.watch(maps)
                tapped.append(maps)
                return maps

            scores, *others = forward(tap, *tensors)
        gradients = tape.gradient(
            scores, tapped, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return (tapped, gradients, scores, *others)

    # A partial, for TensorFlow counts the traces of a code object, which all functions made here
    # share, and would warn of "retracing" from the fifth on. No autograph: Keras needs none.
    return tf.function(partial(run), input_signature=signature, autograph=False)


def _on_jax(forward: Forward, variables: Sequence[Any]) -> Run:
    import jax
    import jax.numpy as jnp

    def tapped_forward(
        values: list[Tensor], tensors: tuple[Tensor, ...], deltas: list[Tensor] | None
    ) -> tuple[Tensor, tuple[Any, ...]]:
        tapped: list[Tensor] = []

        def tap(maps: Tensor) -> Tensor:
            tapped.append(maps)
            return maps if deltas is None else maps + deltas[len(tapped) - 1]

        # Values that are not arguments would be compiled into the function as constants.
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            scores, *others = forward(tap, *tensors)
        return scores.sum(), (tapped, scores, *others)

    @jax.jit
    def run(values: list[Tensor], tensors: tuple[Tensor, ...]) -> tuple[Any, ...]:
        # The gradient by the maps is the one by a zero that is added to them.
        maps = jax.eval_shape(lambda: tapped_forward(values, tensors, None)[1][0])
        differentiate = jax.grad(tapped_forward, argnums=2, has_aux=True)
        zeros = [jnp.zeros_like(tensor) for tensor in maps]
        gradients, (maps, *others) = differentiate(values, tensors, zeros)
        return (maps, gradients, *others)

    compiled: set[tuple[tuple[int, ...], ...]] = set()

    def run_padded(*tensors: Tensor) -> tuple[Any, ...]:
        # JAX compiles for every shape anew. A smaller batch, such as the last one, borrows the
        # function of one up to twice its size, filled up with its own last row.
        n = len(tensors[0])
        shapes = [tensor.shape[1:] for tensor in tensors]
        known = [size for (size,), *other in compiled if other == shapes and n <= size <= 2 * n]
        rows = min(known, default=n)
        compiled.add(((rows,), *shapes))
        tensors = tuple(
            jnp.concatenate([tensor, jnp.repeat(tensor[-1:], rows - n, axis=0)])
            for tensor in tensors
        )
        found = run([variable.value for variable in variables], tensors)
        return jax.tree.map(lambda tensor: tensor[:n], found)

    return run_padded


def _on_torch(forward: Forward) -> Run:
    import torch

    def run(*tensors: Tensor) -> tuple[Any, ...]:
        tapped = []

        def tap(maps: Tensor) -> Tensor:
            # What depends on an earlier tap is part of its gradient, and stays connected.
            connected = maps.requires_grad
            tapped.append(maps if connected else maps.detach().requires_grad_())
            torch.set_grad_enabled(True)  # until no_grad ends and restores what was before
            return tapped[-1]

        with torch.no_grad():
            scores, *others = forward(tap, *tensors)
            if not scores.requires_grad:  # something after the taps has no derivative
                return (tapped, [torch.zeros_like(maps) for maps in tapped], scores, *others)
            gradients = torch.autograd.grad(
                scores.sum(), tapped, allow_unused=True, materialize_grads=True
            )
        return (tapped, gradients, scores.detach(), *others)

    return run
