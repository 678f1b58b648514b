"""Time a target epoch after the first: the usual Keras recipe, PyTorch's, and detl.

VGG-16 as in Simonyan & Zisserman 2015 (no normalisation), 224 pixels, everything below the last
block frozen, SGD with momentum, batches of 32. Every recipe is a process of its own that trains on
two batches when its turn comes; so the rounds interleave, and the ratios are of neighbours. In
PyTorch the network is written by hand: the frozen part under ``no_grad``, in ``channels_last`` and
under bfloat16 autocast in turn, and on features that were kept by hand.

Run, where detl, TensorFlow and PyTorch are installed: ``python benchmarks/target_stage.py``
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

BATCH, N, N_CLASSES = 32, 64, 4
PIXELS = (224, 224, 1)
RATE, MOMENTUM = 1e-4, 0.9
REFERENCE = "Keras, frozen layers in fit, float32"


def images_and_targets() -> tuple[np.ndarray, np.ndarray]:
    """Return two batches of noise."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (N, *PIXELS)).astype("float32")
    return images, generator.integers(N_CLASSES, size=N)


def keras_recipe(precision: str) -> Callable[[], object]:
    """Freeze layers and fit: what is copied most."""
    import keras

    from detl import backbones

    keras.config.set_dtype_policy(precision)
    base = backbones.vgg16(PIXELS, normalization=None)
    for layer in base.layers:
        layer.trainable = layer.name.startswith(("block5", "fc"))
    logits = keras.layers.Dense(N_CLASSES, dtype="float32")(base.output)
    model = keras.Model(base.input, logits)
    model.compile(
        keras.optimizers.SGD(RATE, momentum=MOMENTUM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    images, targets = images_and_targets()
    return lambda: model.fit(images, targets, batch_size=BATCH, verbose=0)


def detl_recipe(precision: str) -> Callable[[], object]:
    """Fit the tail on the features of the trunk, which ran before."""
    import detl

    source = detl.backbones.vgg16(PIXELS, normalization=None)
    transfer = detl.DomainExtensionTransfer(
        source, learning_rate=RATE, momentum=MOMENTUM, precision=precision, random_state=0
    )
    extension = transfer.extend(N_CLASSES)
    images, targets = images_and_targets()
    features = extension.trunk(images)
    # Not Tail.fit, which puts the weights back first: once per fit, not once per epoch.
    model = extension.tail.model
    return lambda: model.fit(features, targets, batch_size=BATCH, verbose=0)


def torch_recipe(*, channels_last: bool, bfloat16: bool, kept: bool) -> Callable[[], object]:
    """Train by hand: trunk under no_grad, or its features kept."""
    import torch
    from torch import nn

    def block(channels: int, wide: int, depth: int) -> list[nn.Module]:
        found: list[nn.Module] = []
        for index in range(depth):
            found += [nn.Conv2d(wide if index else channels, wide, 3, padding=1), nn.ReLU(True)]
        return [*found, nn.MaxPool2d(2)]

    trunk = nn.Sequential(*block(1, 64, 2), *block(64, 128, 2), *block(128, 256, 3))
    trunk.extend(block(256, 512, 3)).eval()
    tail = nn.Sequential(
        *block(512, 512, 3),
        nn.Flatten(),
        *(nn.Linear(25088, 4096), nn.ReLU(True), nn.Dropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout()),
        nn.Linear(4096, N_CLASSES),
    )
    images, targets = (torch.from_numpy(array) for array in images_and_targets())
    images = (images / 127.5 - 1).permute(0, 3, 1, 2).contiguous()
    if channels_last:
        trunk, tail = (part.to(memory_format=torch.channels_last) for part in (trunk, tail))
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(tail.parameters(), RATE, MOMENTUM)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)

    def features_of(batch: Any) -> Any:
        with torch.no_grad(), autocast:
            return trunk(batch)

    known = [features_of(batch) for batch in images.split(BATCH)] if kept else None

    def epoch() -> None:
        for index, (batch, wanted) in enumerate(zip(images.split(BATCH), targets.split(BATCH))):
            features = features_of(batch) if known is None else known[index]
            with autocast:
                loss = nn.functional.cross_entropy(tail(features).float(), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    REFERENCE: ("keras_recipe", {"precision": "float32"}),
    "Keras, frozen layers in fit, bfloat16": ("keras_recipe", {"precision": "mixed_bfloat16"}),
    **{
        f"PyTorch, {'features kept' if kept else 'frozen part under no_grad'}, "
        f"{'bfloat16' if half else 'float32'}{', channels_last' if last else ''}": (
            "torch_recipe",
            {"channels_last": last, "bfloat16": half, "kept": kept},
        )
        for kept in (False, True)
        for half in (False, True)
        for last in (False, True)
    },
    "detl, float32": ("detl_recipe", {"precision": "float32"}),
    "detl, bfloat16": ("detl_recipe", {"precision": "mixed_bfloat16"}),
}

GROUPS = [
    [recipe for recipe in RECIPES if recipe.startswith(start) and recipe != REFERENCE]
    for start in (("Keras", "detl"), "PyTorch, frozen", "PyTorch, features")
]


def serve(name: str, settings: dict[str, Any], pipe: Any) -> None:
    """Train one epoch whenever asked, and say how long it took."""
    epoch = globals()[name](**settings)
    epoch()  # compiled before it is timed
    pipe.send("ready")
    while pipe.recv():
        started = time.perf_counter()
        epoch()
        pipe.send(time.perf_counter() - started)


def main() -> None:
    """Let the recipes take turns, and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("docs/results/target_stage.csv"))
    parsed = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for group in GROUPS:  # one after the other: all processes at once would not fit into memory
        rows += measure([REFERENCE, *group], parsed.rounds)[bool(rows) :]
        with parsed.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def measure(recipes: list[str], rounds: int) -> list[dict[str, Any]]:
    """Let the recipes take turns, and return a row for each."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for recipe in recipes:
        here, there = context.Pipe()
        processes.append(context.Process(target=serve, args=(*RECIPES[recipe], there)))
        processes[-1].start()
        here.recv()
        pipes[recipe] = here
    seconds: dict[str, list[float]] = {recipe: [] for recipe in recipes}
    load = []
    for _ in range(rounds):
        for recipe, pipe in pipes.items():
            pipe.send(True)
            seconds[recipe].append(pipe.recv())
            print(f"{recipe}: {1e3 * seconds[recipe][-1] / N:.1f} ms an image", flush=True)
        load.append(os.getloadavg()[0])
    for pipe, process in zip(pipes.values(), processes):
        pipe.send(False)
        process.join()
    return [row_of(recipe, seconds, float(np.median(load))) for recipe in recipes]


def row_of(recipe: str, seconds: dict[str, list[float]], load: float) -> dict[str, Any]:
    """Return the median and the ratios of neighbours."""
    ratios = np.array(seconds[REFERENCE]) / np.array(seconds[recipe])
    versions = ", ".join(
        f"{name} {metadata.version(name)}" for name in ("keras", "tensorflow", "torch")
    )
    return {
        "recipe": recipe,
        "ms an image, median": f"{1e3 * np.median(seconds[recipe]) / N:.1f}",
        "times faster than the first, median": f"{np.median(ratios):.1f}",
        "lowest to highest": f"{ratios.min():.1f} to {ratios.max():.1f}",
        "rounds": len(ratios),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}",
        "versions": versions,
    }


if __name__ == "__main__":
    main()
