"""Time an epoch of the source stage: plain Keras, PyTorch by hand, and detl.pretrain.

VGG-16 with batch normalisation, Adam with its gradient clipped, every image turned, scaled and
mirrored at random. Plain Keras augments with its own layers in the input pipeline, in parallel. The
recipes take turns, an epoch of noise each. Sizes that are not asked for keep their rows.

Run, where detl, TensorFlow and PyTorch are installed: ``python -m benchmarks.source_speed``
"""

from __future__ import annotations

import argparse
import csv
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import measured_with, spread, write_rows
from benchmarks.turns import FOREVER, OnEpoch, Recipe, take_turns

N_CLASSES = 2
RATE, CLIP = 1e-3, 1.0
ROTATION, SCALING = 10.0, 0.1  # degrees, share
# Pixels, width, images of an epoch and of a batch: what a laptop trains, and the network as
# published, in smaller batches, for the memory of the recipes that wait.
SIZES = {
    "128 px, a quarter of the width": (128, 0.25, 256, 32),
    "224 px, full width": (224, 1.0, 32, 16),
}
REFERENCE = "Keras, float32"


def images_and_targets(pixels: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return noise."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (n, pixels, pixels, 1), dtype="uint8")
    return images, np.arange(n) % N_CLASSES


def keras_recipe(on_epoch: OnEpoch, *, size: str, precision: str) -> None:
    """Train as Keras's own tutorials do."""
    import keras
    import tensorflow as tf

    from detl import backbones

    keras.config.set_dtype_policy(precision)
    pixels, width, n, batch_size = SIZES[size]
    base = backbones.vgg16((pixels, pixels, 1), width=width)
    logits = keras.layers.Dense(N_CLASSES, dtype="float32")(base.output)
    model = keras.Model(base.input, logits)
    model.compile(
        keras.optimizers.Adam(RATE, global_clipnorm=CLIP),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    augment = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal", dtype="float32"),
            keras.layers.RandomRotation(ROTATION / 360, dtype="float32"),
            keras.layers.RandomZoom(SCALING, dtype="float32"),
        ]
    )
    data = (
        tf.data.Dataset.from_tensor_slices(images_and_targets(pixels, n))
        .shuffle(n)
        .batch(batch_size)
        .map(lambda x, y: (augment(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
        .prefetch(tf.data.AUTOTUNE)
    )
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch())
    model.fit(data, epochs=FOREVER, callbacks=[after], verbose=0)


def detl_recipe(on_epoch: OnEpoch, *, size: str, precision: str) -> None:
    """Train with ``detl.pretrain``; two images are validated after every epoch."""
    import keras

    import detl

    pixels, width, n, batch_size = SIZES[size]
    images, targets = images_and_targets(pixels, n)
    detl.pretrain(
        detl.backbones.vgg16((pixels, pixels, 1), width=width),
        images,
        targets,
        validation_data=(images[:N_CLASSES], targets[:N_CLASSES]),
        epochs=FOREVER,
        batch_size=batch_size,
        learning_rate=RATE,
        gradient_clip=CLIP,
        augmentation=detl.Augmentation(rotation=ROTATION, scaling=SCALING),
        precision=precision,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch())],
        verbose=0,
    )


def torch_recipe(on_epoch: OnEpoch, *, size: str, bfloat16: bool) -> None:
    """Train by hand, in ``channels_last``, the images augmented as one batch."""
    import torch
    from torch import nn

    from benchmarks import by_hand

    torch.set_num_threads(os.cpu_count() or 1)
    pixels, width, n, batch_size = SIZES[size]
    network = by_hand.vgg16(pixels, width, N_CLASSES)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    images, targets = images_and_targets(pixels, n)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    wanted = torch.from_numpy(targets)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)
    for _ in range(FOREVER):
        for rows in torch.randperm(n).split(batch_size):
            batch = by_hand.augmented(pictures[rows], ROTATION, SCALING)
            batch = batch.to(memory_format=torch.channels_last)
            with autocast:
                outputs = network(batch / 127.5 - 1)
            loss = nn.functional.cross_entropy(outputs.float(), wanted[rows])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
        on_epoch()


def recipes(size: str) -> dict[str, Recipe]:
    """Return all recipes for a size, the reference first."""
    return {
        REFERENCE: partial(keras_recipe, size=size, precision="float32"),
        "Keras, bfloat16": partial(keras_recipe, size=size, precision="mixed_bfloat16"),
        "PyTorch, float32": partial(torch_recipe, size=size, bfloat16=False),
        "PyTorch, bfloat16": partial(torch_recipe, size=size, bfloat16=True),
        "detl, float32": partial(detl_recipe, size=size, precision="float32"),
        "detl, bfloat16": partial(detl_recipe, size=size, precision="mixed_bfloat16"),
    }


def in_groups(size: str) -> list[dict[str, Recipe]]:
    """Return what runs at once: not all, where networks are large, or memory would not do."""
    found = recipes(size)
    if SIZES[size][1] < 1:
        return [found]
    return [
        {REFERENCE: found[REFERENCE]} | {name: found[name] for name in found if ending in name}
        for ending in ("float32", "bfloat16")
    ]


def kept(path: Path, sizes: list[str]) -> list[dict[str, Any]]:
    """Return the rows of an earlier run that are of other sizes."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["size"] not in sizes]


def main() -> None:
    """Measure both sizes, and write a row for each recipe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/source_speed.csv"))
    parsed = parser.parse_args()
    rows = kept(parsed.output, parsed.sizes)
    groups = [(size, together) for size in parsed.sizes for together in in_groups(size)]
    for size, together in groups:
        n = SIZES[size][2]
        seconds = take_turns(together, parsed.rounds)
        for recipe, mine in seconds.items():
            ratios = seconds[REFERENCE] / mine
            rows.append(
                {
                    "size": size,
                    "recipe": recipe,
                    "ms an image, median": f"{1e3 * np.median(mine) / n:.1f}",
                    "fastest to slowest": spread(1e3 * mine / n, ".1f"),
                    "speed, Keras in float32 is 1": f"{np.median(ratios):.2f}",
                    "lowest to highest": spread(ratios, ".2f"),
                    "rounds": parsed.rounds,
                    **measured_with("keras", "tensorflow", "torch"),
                }
            )
        write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
