"""Try to make the tail's training step faster, and write down what was expected beforehand.

VGG-16 without normalisation and ResNet-50 at 224 pixels, full width, batches of 32, in both number
formats; every trial takes turns with the tail as it was before, an epoch of two batches each.

Run: ``python -m benchmarks.tail_trials``
"""

from __future__ import annotations

import argparse
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import measured_with, spread, write_rows
from benchmarks.turns import FOREVER, OnEpoch, Recipe, take_turns

BATCH, N, N_CLASSES = 32, 64, 4
RATE, MOMENTUM = 1e-4, 0.9
AS_IT_WAS = "as it was"

# What was expected before the first run: how much faster.
EXPECTED = {
    "XLA": "5 %: what is done number by number becomes one pass",
    "one kernel for the optimizer": "3 %: five passes over the weights instead of about nine",
    "gradient of the inputs as W dy^T": "7 %: the other product runs at a fifth of the peak",
    "two steps per call": "less than 1 %: a call takes a millisecond, a step a second or two",
    "features kept as bfloat16": "1 %: half the bytes to copy",
    "features on disk, memory-mapped": "none: the file stays in the system's cache",
    "one kernel for normalisation": "10 % in bfloat16, as in the source stage",
    "two threads become one": "twice as slow; two folds side by side are then as fast as in turn",
}


def trial(on_epoch: OnEpoch, *, network: str, precision: str, change: str) -> None:
    """Fit the tail with one thing changed."""
    if change == "two threads become one":
        os.sched_setaffinity(0, {0})
    import keras

    import detl
    from detl.networks import copying
    from detl.networks.normalization import with_plain_layers
    from detl.transfer.tail import Tail

    options = {"normalization": None} if network == "vgg16" else {}
    source = getattr(detl.backbones, network)((224, 224, 1), **options)
    transfer = detl.DomainExtensionTransfer.as_published(
        source, learning_rate=RATE, momentum=MOMENTUM, precision=precision
    )
    tail = transfer._extend(np.arange(N_CLASSES)).tail
    model = tail.model
    if change != "one kernel for normalisation":  # which was kept: the others are without it
        model = with_plain_layers(model)
    if change == "gradient of the inputs as W dy^T":
        model = copying.copy_model(model, replacing={keras.layers.Dense: dense_of_other_layout()})
    if model is not tail.model:
        tail = Tail(model, learning_rate=RATE, momentum=MOMENTUM)
    if change == "XLA":
        tail.model.jit_compile = True
    if change == "two steps per call":
        tail.model.steps_per_execution = 2
    if change == "one kernel for the optimizer":
        use_one_kernel(tail.model)
    generator = np.random.default_rng(0)
    features = generator.random((N, *tail.model.input_shape[1:]), dtype="float32")
    if change == "features kept as bfloat16":
        import ml_dtypes

        features = features.astype(ml_dtypes.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        if change == "features on disk, memory-mapped":
            np.save(f"{folder}/features.npy", features)
            features = np.load(f"{folder}/features.npy", mmap_mode="r")
        tail.fit(
            features,
            generator.integers(N_CLASSES, size=N),
            rows=np.arange(N),
            epochs=FOREVER,
            batch_size=BATCH,
            class_weight=None,
            seed=np.random.SeedSequence(0),
            on_epoch=on_epoch,
        )


def use_one_kernel(model: Any) -> None:
    """Give a model the optimizer that TensorFlow has as one kernel."""
    import keras
    import tensorflow as tf

    class OneKernel(keras.optimizers.SGD):
        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            velocity = self.momentums[self._get_variable_index(variable)]
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle,  # already TensorFlow's own
                accum=velocity.value.handle,
                lr=tf.cast(learning_rate, "float32"),
                grad=tf.cast(gradient, "float32"),
                momentum=self.momentum,
            )

    optimizer = OneKernel(RATE, momentum=MOMENTUM)
    model.compile(optimizer, model.loss, metrics=["accuracy"], auto_scale_loss=False)
    optimizer.build(model.trainable_variables)


def dense_of_other_layout() -> type:
    """Return a fully connected layer that multiplies from the other side on the way back."""
    import keras
    import tensorflow as tf

    @tf.custom_gradient
    def product(inputs: Any, kernel: Any) -> Any:
        def gradients(upstream: Any) -> Any:
            of_inputs = tf.transpose(tf.matmul(kernel, upstream, transpose_b=True))
            return of_inputs, tf.matmul(inputs, upstream, transpose_a=True)

        return tf.matmul(inputs, kernel), gradients

    class OtherLayout(keras.layers.Dense):
        def call(self, inputs: Any, training: bool | None = None) -> Any:
            kernel = tf.cast(self.kernel, self.compute_dtype)
            return product(inputs, kernel) + tf.cast(self.bias, self.compute_dtype)

    return OtherLayout


def trials_of(network: str) -> list[str]:
    """Return the trials that make sense for a network."""
    if network == "resnet50":
        return ["one kernel for normalisation", "XLA"]
    return [change for change in EXPECTED if change != "one kernel for normalisation"]


def rows_of(
    seconds: dict[str, np.ndarray], *, network: str, precision: str
) -> list[dict[str, Any]]:
    """Return a row for each trial."""
    return [
        {
            "network": network,
            "precision": precision,
            "trial": change,
            "expected gain": EXPECTED.get(change, ""),
            "ms an image, median": f"{1e3 * np.median(mine) / N:.1f}",
            "fastest to slowest": spread(1e3 * mine / N, ".1f"),
            "speed, as it was = 1": f"{np.median(seconds[AS_IT_WAS] / mine):.2f}",
            "lowest to highest": spread(seconds[AS_IT_WAS] / mine, ".2f"),
            "rounds": len(mine),
            **measured_with("keras", "tensorflow"),
        }
        for change, mine in seconds.items()
    ]


def main() -> None:
    """Run all trials and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/tail_trials.csv"))
    parsed = parser.parse_args()
    rows = []
    for network in ("vgg16", "resnet50"):
        for precision in ("float32", "mixed_bfloat16"):
            changes = [
                change
                for change in trials_of(network)
                if change != "features kept as bfloat16" or precision == "mixed_bfloat16"
            ]
            # Three at a time beside the tail as it was: all at once would not fit into memory.
            for start in range(0, len(changes), 3):
                recipes: dict[str, Recipe] = {
                    change: partial(trial, network=network, precision=precision, change=change)
                    for change in (AS_IT_WAS, *changes[start : start + 3])
                }
                seconds = take_turns(recipes, parsed.rounds)
                rows += rows_of(seconds, network=network, precision=precision)
                write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
