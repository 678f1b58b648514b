"""Ask how far a training step of the tail is from the least that this machine could need.

The floor of a part is the longer of two times: its floating-point operations over the matrix peak,
and its bytes over the memory's bandwidth; both are measured between the parts, in the same run. The
tail is that of VGG-16 at 224 pixels, full width, batches of 32.

Run: ``python -m benchmarks.tail_floor``
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

import detl
from benchmarks.rows import measured_with, write_rows

BATCH = 32
MATRIX = 4096
PASSED = 120_000_000  # numbers that the bandwidth is measured with
# Of one image: operations (a multiplication and an addition are two) of the three convolutions and
# of the two wide fully connected layers, forward; and the numbers that the latter hold.
CONVOLUTION = 2 * 3 * 3 * 512 * 512 * 14 * 14
N_DENSE = 25088 * 4096 + 4096 * 4096
N_CONVOLUTIONS = 3 * 3 * 3 * 512 * 512
# What a training step is made of; its parts follow one another.
STEP = ("convolutions, forward and back", "fully connected, forward and back", "optimizer")


def timed(call: Callable[[], Any]) -> float:
    """Return the seconds of a call that gives a tensor, until its values are there."""
    started = time.perf_counter()
    for tensor in tf.nest.flatten(call()):
        tensor.numpy()
    return time.perf_counter() - started


def parts_of(model: Any) -> dict[str, Callable[[], Any]]:
    """Return functions that run parts of a training step on one batch."""
    generator = np.random.default_rng(0)
    features = tf.constant(generator.random((BATCH, *model.input_shape[1:]), dtype="float32"))
    targets = tf.constant(generator.integers(4, size=BATCH))
    convolutions = [layer for layer in model.layers[1:] if layer.name.startswith("block5")]
    dense = [layer for layer in model.layers[1:] if not layer.name.startswith("block5")]
    pooled = tf.random.normal((BATCH, 7, 7, 512))

    def run(layers: list[Any], inputs: Any) -> Any:
        for layer in layers:
            inputs = layer(inputs)
        return tf.cast(inputs, "float32")

    def gradients(layers: list[Any], inputs: Any, *, of_inputs: bool) -> Any:
        weights = [weight.value for layer in layers for weight in layer.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(run(layers, inputs) ** 2)
        found = tape.gradient(loss, [*weights, *([inputs] if of_inputs else [])])
        # One number of each, so that nothing large is handed over, and nothing left out.
        return [tf.reshape(gradient, [-1])[0] for gradient in found]

    ones = [tf.ones_like(weight.value) for weight in model.trainable_variables]

    def update() -> Any:
        model.optimizer.apply(ones, model.trainable_variables)
        return tf.constant(0)

    calls: dict[str, Callable[[], Any]] = {
        "convolutions, forward": lambda: tf.reduce_sum(run(convolutions, features)),
        "convolutions, forward and back": lambda: gradients(
            convolutions, features, of_inputs=False
        ),
        "fully connected, forward": lambda: tf.reduce_sum(run(dense, pooled)),
        "fully connected, forward and back": lambda: gradients(dense, pooled, of_inputs=True),
        "optimizer": update,
        "training step": lambda: model.train_step((features, targets)),
    }
    return {name: tf.function(call, autograph=False) for name, call in calls.items()}


def machine_limits(half: bool) -> dict[str, Callable[[], Any]]:
    """Return functions that measure the matrix peak and the memory's bandwidth."""
    matrix = tf.cast(tf.random.normal((MATRIX, MATRIX)), "bfloat16" if half else "float32")
    numbers, sums = tf.random.normal((PASSED,)), tf.Variable(tf.zeros(PASSED))

    def add() -> Any:
        sums.assign_add(numbers)  # in place: two are read and one is written
        return tf.constant(0)

    return {
        "peak": tf.function(lambda: tf.matmul(matrix, matrix)[0, 0], autograph=False),
        "bandwidth": tf.function(add, autograph=False),
    }


def work(name: str, half: bool) -> tuple[float, float]:
    """Return operations of a batch, and bytes that must pass through memory."""
    read = 2 if half else 4  # bytes of a weight as it is multiplied
    written = 4
    convolutions = {"forward": 3, "forward and back": 8}
    # Three numbers are read for each weight (gradient, velocity, weight), two are written.
    optimizer = 5 * written * (N_DENSE + N_CONVOLUTIONS)
    if name == "optimizer":
        return 0, optimizer
    if name == "training step":
        operations, passed = zip(*(work(part, half) for part in STEP))
        return sum(operations), sum(passed)
    layers, way = name.split(", ", 1)
    if layers == "convolutions":
        return convolutions[way] * CONVOLUTION * BATCH, 0
    if way == "forward":
        return 2 * N_DENSE * BATCH, N_DENSE * read
    return 6 * N_DENSE * BATCH, N_DENSE * (2 * read + written)


def least_seconds(name: str, half: bool, peak: float, bandwidth: float) -> float:
    """Return the floor of a part."""
    operations, passed = work(name, half)
    return max(operations / peak, passed / bandwidth)


def measure(precision: str, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each part."""
    half = precision == "mixed_bfloat16"
    source = detl.backbones.vgg16((224, 224, 1), normalization=None)
    transfer = detl.DomainExtensionTransfer.as_published(
        source, precision=precision, random_state=0
    )
    calls = machine_limits(half) | parts_of(transfer._extend(np.arange(4)).tail.model)
    for call in calls.values():
        timed(call)  # traced before it is timed
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(timed(call))
    median = {name: float(np.median(times)) for name, times in seconds.items()}
    peak = 2 * MATRIX**3 / median.pop("peak")
    bandwidth = 3 * 4 * PASSED / median.pop("bandwidth")
    rows = []
    for name, found in median.items():
        operations, passed = work(name, half)
        parts = STEP if name == "training step" else (name,)
        floor = sum(least_seconds(part, half, peak, bandwidth) for part in parts)
        rows.append(
            {
                "precision": precision,
                "part": name,
                "ms an image, median": f"{1e3 * found / BATCH:.2f}",
                "fastest to slowest": " to ".join(
                    f"{1e3 * edge / BATCH:.2f}" for edge in (min(seconds[name]), max(seconds[name]))
                ),
                "GFLOP an image": f"{operations / BATCH / 1e9:.2f}",
                "GB a batch": f"{passed / 1e9:.2f}",
                "floor, ms an image": f"{1e3 * floor / BATCH:.2f}",
                "over the floor": f"{found / floor:.2f}",
                "peak, GFLOP/s": f"{peak / 1e9:.0f}",
                "bandwidth, GB/s": f"{bandwidth / 1e9:.0f}",
                "rounds": rounds,
                **measured_with("keras", "tensorflow"),
            }
        )
        print(*rows[-1].values(), flush=True)
    return rows


def main() -> None:
    """Measure in both number formats and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/tail_floor.csv"))
    parsed = parser.parse_args()
    rows = [
        row
        for precision in ("float32", "mixed_bfloat16")
        for row in measure(precision, parsed.rounds)
    ]
    write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
