"""Time a target epoch after the first: the usual Keras recipe, PyTorch's, skorch's, and detl.

And, from the same epochs, a whole cross-validation, which nobody waits for with the first recipe.

224 pixels, full width, everything below the last block frozen, SGD with momentum, batches of 32.
VGG-16 as in Simonyan & Zisserman 2015 (no normalisation), and ResNet-50. The recipes take turns, an
epoch of two batches each. In PyTorch the network is written by hand: the frozen part under
``no_grad``, in ``channels_last`` and under bfloat16 autocast in turn, and on features that were
kept by hand; skorch freezes with its ``Freezer``.

Run, where detl, TensorFlow, PyTorch and skorch are installed: ``python -m benchmarks.target_stage``
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import measured_with, spread, write_rows
from benchmarks.turns import FOREVER, OnEpoch, Recipe, take_turns

BATCH, N, N_CLASSES = 32, 64, 4
PIXELS = (224, 224, 1)
RATE, MOMENTUM = 1e-4, 0.9
N_IMAGES, N_FOLDS, N_EPOCHS = 1277, 5, 20  # of the whole cross-validation
FORMATS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}


def images_and_targets() -> tuple[np.ndarray, np.ndarray]:
    """Return two batches of noise."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (N, *PIXELS)).astype("float32")
    return images, generator.integers(N_CLASSES, size=N)


def backbone(name: str) -> Any:
    """Return the untrained network that Keras and detl train."""
    from detl import backbones

    if name == "vgg16":
        return backbones.vgg16(PIXELS, normalization=None)
    return backbones.resnet50(PIXELS)


def keras_recipe(on_epoch: OnEpoch, *, network: str, precision: str) -> None:
    """Freeze layers and fit: what is copied most."""
    import keras

    keras.config.set_dtype_policy(precision)
    base = backbone(network)
    names = [layer.name for layer in base.layers]
    first = next(index for index, name in enumerate(names) if name.startswith("block5"))
    for index, layer in enumerate(base.layers):
        layer.trainable = index >= first
    logits = keras.layers.Dense(N_CLASSES, dtype="float32")(base.output)
    model = keras.Model(base.input, logits)
    model.compile(
        keras.optimizers.SGD(RATE, momentum=MOMENTUM),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    images, targets = images_and_targets()
    after = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: on_epoch())
    model.fit(images, targets, batch_size=BATCH, epochs=FOREVER, callbacks=[after], verbose=0)


def detl_recipe(on_epoch: OnEpoch, *, network: str, precision: str) -> None:
    """Fit the tail on the features of the trunk, which ran before."""
    import detl

    transfer = detl.DomainExtensionTransfer.as_published(
        backbone(network), learning_rate=RATE, momentum=MOMENTUM, precision=precision
    )
    extension = transfer._extend(np.arange(N_CLASSES))
    images, targets = images_and_targets()
    extension.tail.fit(
        extension.trunk(images),
        targets,
        rows=np.arange(N),
        epochs=FOREVER,
        batch_size=BATCH,
        class_weight=None,
        seed=np.random.SeedSequence(0),
        on_epoch=on_epoch,
    )


def trunk_recipe(on_epoch: OnEpoch, *, precision: str, forgotten: bool) -> None:
    """Run the frozen layers of VGG-16 on the images, or find what came out again."""
    import detl

    transfer = detl.DomainExtensionTransfer.as_published(backbone("vgg16"), precision=precision)
    extension = transfer._extend(np.arange(N_CLASSES))
    images, _ = images_and_targets()
    for _ in range(FOREVER):
        if forgotten:
            detl.features.clear_cache()
        extension.trunk(images)
        on_epoch()


def torch_network() -> Any:
    """Return VGG-16 in its two parts, ``trunk`` and ``tail``."""
    from torch import nn

    def block(channels: int, wide: int, depth: int) -> list[nn.Module]:
        found: list[nn.Module] = []
        for index in range(depth):
            found += [nn.Conv2d(wide if index else channels, wide, 3, padding=1), nn.ReLU(True)]
        return [*found, nn.MaxPool2d(2)]

    trunk = nn.Sequential(*block(1, 64, 2), *block(64, 128, 2), *block(128, 256, 3))
    trunk.extend(block(256, 512, 3))
    tail = nn.Sequential(
        *block(512, 512, 3),
        nn.Flatten(),
        *(nn.Linear(25088, 4096), nn.ReLU(True), nn.Dropout()),
        *(nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout()),
        nn.Linear(4096, N_CLASSES),
    )
    network = nn.Sequential()
    network.add_module("trunk", trunk)
    network.add_module("tail", tail)
    return network


def torch_images_and_targets() -> tuple[Any, Any]:
    """Return the two batches as PyTorch wants them."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    images, targets = (torch.from_numpy(array) for array in images_and_targets())
    return (images / 127.5 - 1).permute(0, 3, 1, 2).contiguous(), targets


def torch_recipe(on_epoch: OnEpoch, *, channels_last: bool, bfloat16: bool, kept: bool) -> None:
    """Train by hand: trunk under no_grad, or its features kept."""
    import torch
    from torch import nn

    network = torch_network()
    trunk, tail = network.trunk.eval(), network.tail
    images, targets = torch_images_and_targets()
    if channels_last:
        trunk, tail = (part.to(memory_format=torch.channels_last) for part in (trunk, tail))
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(tail.parameters(), RATE, MOMENTUM)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)

    def features_of(batch: Any) -> Any:
        with torch.no_grad(), autocast:
            return trunk(batch)

    known = [features_of(batch) for batch in images.split(BATCH)] if kept else None
    for _ in range(FOREVER):
        for index, (batch, wanted) in enumerate(zip(images.split(BATCH), targets.split(BATCH))):
            features = features_of(batch) if known is None else known[index]
            with autocast:
                loss = nn.functional.cross_entropy(tail(features).float(), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        on_epoch()


def skorch_recipe(on_epoch: OnEpoch) -> None:
    """Freeze with skorch's callback and fit."""
    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Callback, Freezer

    class AfterEpoch(Callback):
        def on_epoch_end(self, net: Any, **unused: Any) -> None:
            on_epoch()

    images, targets = torch_images_and_targets()
    classifier = NeuralNetClassifier(
        torch_network(),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=MOMENTUM,
        lr=RATE,
        batch_size=BATCH,
        max_epochs=FOREVER,
        train_split=None,
        callbacks=[Freezer("trunk.*"), AfterEpoch()],
        verbose=0,
    )
    classifier.fit(images, targets)


def keras_and_detl(network: str) -> dict[str, Recipe]:
    """Return the four recipes that train one of detl's own networks."""
    return {
        f"{title}, {name}": partial(recipe, network=network, precision=precision)
        for title, recipe in (
            ("Keras, frozen layers in fit", keras_recipe),
            ("detl", detl_recipe),
        )
        for name, precision in FORMATS.items()
    }


def in_torch(*, kept: bool) -> dict[str, Recipe]:
    """Return the recipes written by hand in PyTorch."""
    start = "PyTorch, features kept" if kept else "PyTorch, frozen part under no_grad"
    return {
        f"{start}, {'bfloat16' if half else 'float32'}{', channels_last' if last else ''}": partial(
            torch_recipe, channels_last=last, bfloat16=half, kept=kept
        )
        for half in (False, True)
        for last in (False, True)
    }


def only(word: str, recipes: dict[str, Recipe]) -> dict[str, Recipe]:
    """Return the recipes that have a word in their name."""
    return {name: recipe for name, recipe in recipes.items() if word in name}


VGG16 = keras_and_detl("vgg16")
ONCE = {
    f"detl, the trunk, once, {name}": partial(trunk_recipe, precision=precision, forgotten=True)
    for name, precision in FORMATS.items()
} | {"detl, found again": partial(trunk_recipe, precision="float32", forgotten=False)}
BESIDE_KERAS = "VGG-16 beside Keras"
TRUNK = "VGG-16, the trunk"
# One group after the other, the first recipe of each the one to compare with: all processes at
# once would not fit into memory.
GROUPS: dict[str, dict[str, Recipe]] = {
    BESIDE_KERAS: VGG16,
    TRUNK: ONCE,
    "VGG-16 beside PyTorch, float32": only("detl, float32", VGG16)
    | only("float32", in_torch(kept=False))
    | {"skorch, Freezer, float32": skorch_recipe},
    "VGG-16 beside PyTorch, bfloat16": only("detl", VGG16) | only("bfloat16", in_torch(kept=False)),
    "VGG-16 beside PyTorch, features kept": only("detl", VGG16) | in_torch(kept=True),
    "ResNet-50 beside Keras": keras_and_detl("resnet50"),
}


def rows_of(group: str, seconds: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Return a row for each recipe."""
    first = next(iter(seconds.values()))
    return [
        {
            "group": group,
            "recipe": recipe,
            "ms an image, median": f"{1e3 * np.median(mine) / N:.1f}",
            "fastest to slowest": spread(1e3 * mine / N, ".1f"),
            "speed, the group's first is 1": f"{np.median(first / mine):.2f}",
            "lowest to highest": spread(first / mine, ".2f"),
            "fastest against the first's fastest": f"{first.min() / mine.min():.2f}",
            "rounds": len(mine),
            **measured_with("keras", "tensorflow", "torch", "skorch"),
        }
        for recipe, mine in seconds.items()
    ]


def whole_cross_validation(
    epochs: dict[str, np.ndarray], once: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Return what five folds of 20 epochs take, extrapolated; the recipe's tests are left out."""
    trained = N_EPOCHS * N_IMAGES * (N_FOLDS - 1)  # images, over all folds
    hours = {name: trained * seconds / N / 3600 for name, seconds in epochs.items()}
    for name in FORMATS:
        # Once by the trunk, and tested by the tail: no more than a third of a training step.
        frozen, test = once[f"detl, the trunk, once, {name}"], epochs[f"detl, {name}"] / 3
        hours[f"detl, {name}"] += N_IMAGES * (np.median(frozen) + test) / N / 3600
    first = next(iter(hours.values()))
    return [
        {
            "recipe": recipe,
            "hours, median": f"{np.median(mine):.2f}",
            "fewest to most": spread(mine, ".2f"),
            "speed, the first is 1": f"{np.median(first / mine):.1f}",
            "lowest to highest": spread(first / mine, ".1f"),
            "fastest against the first's fastest": f"{first.min() / mine.min():.1f}",
        }
        for recipe, mine in hours.items()
    ]


def main() -> None:
    """Measure the groups asked for; the rows of the others stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--group", nargs="+", choices=list(GROUPS), default=list(GROUPS))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/target_stage.csv"))
    parsed = parser.parse_args()
    known: dict[str, list[dict[str, Any]]] = {group: [] for group in GROUPS}
    if parsed.output.exists():
        with parsed.output.open(newline="") as file:
            for row in csv.DictReader(file):
                known.get(row.get("group", ""), []).append(row)
    seconds = {}
    for group in parsed.group:
        seconds[group] = take_turns(GROUPS[group], parsed.rounds)
        known[group] = rows_of(group, seconds[group])
        write_rows(parsed.output, list(itertools.chain.from_iterable(known.values())))
        if {BESIDE_KERAS, TRUNK} <= set(seconds):
            whole = whole_cross_validation(seconds[BESIDE_KERAS], seconds[TRUNK])
            write_rows(parsed.output.with_name("whole_cross_validation.csv"), whole)


if __name__ == "__main__":
    main()
