"""Differentiate scores by a tensor inside a network: the only code that knows a backend's name.

Where the tensor is computed, the forward pass hands it to a *tap* and goes on with what the tap
gives back. Only what comes after the tap is differentiated: nothing is recorded before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Tensor = Any  # of the backend
# (tap, *tensors) -> (scores, *others)
Forward: TypeAlias = Callable[..., tuple[Tensor, ...]]
Run: TypeAlias = Callable[..., tuple[Tensor, ...]]


def with_gradient(
    forward: Forward, *, inputs: Sequence[Any], variables: Sequence[Any]
) -> Callable[..., tuple[Array, ...]]:
    """Compile a forward pass so that it also returns the gradient of its scores at the tap.

    Parameters
    ----------
    forward : callable
        ``forward(tap, *tensors)`` computes by Keras layers and operations, calls ``tap(maps)``
        once, uses what that returns instead of ``maps``, and returns ``(scores, *others)``. Row i
        of the scores, ``(n,)``, depends on row i of the tensors alone.
    inputs : sequence of keras.KerasTensor
        Shape and dtype of each tensor; the first axis may have any length.
    variables : sequence of keras.Variable
        All that ``forward`` reads. Their values at the time of a call count, not those at the time
        of compilation.

    Returns
    -------
    callable
        From arrays to ``(maps, gradient, scores, *others)``, numpy arrays. Maps and gradient have
        the same shape and are float32; the gradient is zero where no score depends on the maps.
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

    def compute(*arrays: Any) -> tuple[Array, ...]:
        tensors = (
            keras.ops.convert_to_tensor(array, dtype=spec.dtype)
            for array, spec in zip(arrays, inputs, strict=True)
        )
        maps, gradient, *others = run(*tensors)
        halves = (keras.ops.cast(tensor, "float32") for tensor in (maps, gradient))
        return tuple(keras.ops.convert_to_numpy(tensor) for tensor in (*halves, *others))

    return compute


def _on_tensorflow(forward: Forward, inputs: Sequence[Any]) -> Run:
    import tensorflow as tf

    # One trace for batches of every size.
    signature = [tf.TensorSpec((None, *spec.shape[1:]), spec.dtype) for spec in inputs]

    @tf.function(input_signature=signature, autograph=False)  # as Keras runs its layers
    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        tapped = []
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def tap(maps: Tensor) -> Tensor:
                tape.watch(maps)
                tapped.append(maps)
                return maps

            scores, *others = forward(tap, *tensors)
        gradient = tape.gradient(
            scores, tapped[0], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return (tapped[0], gradient, scores, *others)

    return run


def _on_jax(forward: Forward, variables: Sequence[Any]) -> Run:
    import jax
    import jax.numpy as jnp

    def tapped_forward(
        values: list[Tensor], tensors: tuple[Tensor, ...], delta: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        tapped = []

        def tap(maps: Tensor) -> Tensor:
            tapped.append(maps)
            return maps if delta is None else maps + delta

        # Values that are not arguments would be compiled into the function as constants.
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            scores, *others = forward(tap, *tensors)
        return scores.sum(), (tapped[0], scores, *others)

    @jax.jit
    def run(values: list[Tensor], tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        # The gradient by the maps is the one by a zero that is added to them.
        maps = jax.eval_shape(lambda: tapped_forward(values, tensors, None)[1][0])
        differentiate = jax.grad(tapped_forward, argnums=2, has_aux=True)
        gradient, (maps, *others) = differentiate(values, tensors, jnp.zeros_like(maps))
        return (maps, gradient, *others)

    compiled: set[tuple[int, ...]] = set()

    def run_padded(*tensors: Tensor) -> tuple[Tensor, ...]:
        # JAX compiles for every shape anew. A smaller batch, such as the last one, borrows the
        # function of one up to twice its size, filled up with its own last row.
        n, *rest = tensors[0].shape
        known = [size for size, *other in compiled if other == rest and n <= size <= 2 * n]
        rows = min(known, default=n)
        compiled.add((rows, *rest))
        tensors = tuple(
            jnp.concatenate([tensor, jnp.repeat(tensor[-1:], rows - n, axis=0)])
            for tensor in tensors
        )
        return tuple(
            tensor[:n] for tensor in run([variable.value for variable in variables], tensors)
        )

    return run_padded


def _on_torch(forward: Forward) -> Run:
    import torch

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        tapped = []

        def tap(maps: Tensor) -> Tensor:
            tapped.append(maps.detach().requires_grad_())
            torch.set_grad_enabled(True)  # until no_grad ends and restores what was before
            return tapped[0]

        with torch.no_grad():
            scores, *others = forward(tap, *tensors)
            maps = tapped[0]
            if not scores.requires_grad:  # something after the tap has no derivative
                return (maps, torch.zeros_like(maps), scores, *others)
            (gradient,) = torch.autograd.grad(
                scores.sum(), maps, allow_unused=True, materialize_grads=True
            )
        return (maps, gradient, scores.detach(), *others)

    return run
