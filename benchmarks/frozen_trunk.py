"""Time a trunk that runs once against frozen layers inside ``fit``, and compare the results.

The usual Keras recipe sets ``trainable = False`` below the last block and fits the whole network;
detl runs the frozen part once and fits the rest on its output. Both get the same starting weights
and the same batches, one epoch of one and one epoch of the other in turn, in one process. At the
end their predictions are compared.

    python -m benchmarks.frozen_trunk --output benchmarks/results/frozen_trunk.csv
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from benchmarks.rows import write_rows
from detl import DomainExtensionTransfer, backbones
from detl.networks.normalization import with_plain_layers

N_CLASSES = 4
BATCH = 32


def batches(inputs: np.ndarray, targets: np.ndarray, round_: int) -> Iterator[tuple]:
    """Yield one epoch in an order that depends on the round alone."""
    order = np.random.default_rng(round_).permutation(len(inputs))
    for start in range(0, len(order), BATCH):
        rows = order[start : start + BATCH]
        yield inputs[rows], targets[rows]


def frozen_below(model: keras.Model, trained: set[str]) -> keras.Model:
    """Compile the whole network with everything but the trained layers frozen."""
    for layer in model.layers:
        layer.trainable = layer.name in trained
    model.compile(
        keras.optimizers.SGD(1e-4, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def measure(name: str, size: int, width: float, n_images: int, rounds: int, precision: str) -> dict:
    """Return the times and the difference of the predictions for one backbone."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (n_images, size, size, 1)).astype("uint8")
    targets = generator.integers(0, N_CLASSES, n_images)
    # Without dropout: its noise would hide whether the two are the same.
    options = {} if name == "resnet50" else {"dropout": 0.0}
    source = getattr(backbones, name)((size, size, 1), width=width, **options)
    transfer = DomainExtensionTransfer.as_published(source, random_state=0, precision=precision)
    extension = transfer._extend(np.arange(N_CLASSES))
    tail = extension.tail.model

    plain = with_plain_layers(extension.network)  # Keras's own normalisation, as usual
    usual = keras.models.clone_model(plain)
    usual.set_weights(plain.get_weights())
    usual = frozen_below(usual, {layer.name for layer in tail.layers})

    before = keras.ops.softmax(usual.predict(images, verbose=0))
    extension.trunk(images[:BATCH])  # compiled before it is timed
    started = time.perf_counter()
    features = extension.trunk(images)
    extraction = time.perf_counter() - started

    seconds: dict[str, list[float]] = {"usual": [], "tail": []}
    for round_ in range(rounds + 1):
        for key, model, inputs in (("usual", usual, images), ("tail", tail, features)):
            started = time.perf_counter()
            model.fit(
                batches(inputs, targets, round_),
                steps_per_epoch=-(-n_images // BATCH),
                shuffle=False,
                verbose=0,
            )
            seconds[key].append(time.perf_counter() - started)

    # Round 0 compiles and is left out.
    usual_ms, tail_ms = (
        [1000 * s / n_images for s in seconds[key][1:]] for key in ("usual", "tail")
    )
    after_usual = keras.ops.softmax(usual.predict(images, verbose=0))
    after_tail = keras.ops.softmax(extension.network.predict(images, verbose=0))
    difference = float(keras.ops.max(keras.ops.abs(after_usual - after_tail)))
    learned = float(keras.ops.max(keras.ops.abs(after_usual - before)))
    return {
        "backbone": name,
        "image": size,
        "width": width,
        "precision": precision,
        "images": n_images,
        "batch": BATCH,
        "rounds": rounds,
        "usual_ms_per_image": round(statistics.median(usual_ms), 2),
        "usual_fastest": round(min(usual_ms), 2),
        "usual_slowest": round(max(usual_ms), 2),
        "tail_ms_per_image": round(statistics.median(tail_ms), 2),
        "tail_fastest": round(min(tail_ms), 2),
        "tail_slowest": round(max(tail_ms), 2),
        "trunk_once_ms_per_image": round(1000 * extraction / n_images, 2),
        "ratio": round(statistics.median(usual_ms) / statistics.median(tail_ms), 2),
        "greatest_probability_difference": f"{difference:.1e}",
        "greatest_change_by_training": f"{learned:.1e}",
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "cores": os.cpu_count(),
        "machine": platform.processor() or platform.machine(),
    }


def main() -> None:
    """Measure every backbone and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/frozen_trunk.csv"))
    parser.add_argument("--backbones", nargs="+", default=["alexnet", "vgg16", "resnet50"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="float32")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.backbones:
        rows.append(
            measure(
                name,
                arguments.size,
                arguments.width,
                arguments.images,
                arguments.rounds,
                arguments.precision,
            )
        )
        print(rows[-1])
    write_rows(arguments.output, rows)


if __name__ == "__main__":
    main()
