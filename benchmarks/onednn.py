"""Time both stages with and without oneDNN, Intel's kernels inside TensorFlow.

TensorFlow takes them by itself on some processors only; ``TF_ENABLE_ONEDNN_OPTS=1``, set before
Python starts, asks for them on any. The variable is read once, so each setting has processes of its
own, which take turns.

Run: ``python -m benchmarks.onednn``
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import detl
from benchmarks.rows import write_rows
from detl import DomainExtensionTransfer, backbones

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
BATCH, N_CLASSES, ROUNDS, EPOCHS = 32, 4, 3, 3
# Network, pixels, width, images.
CASES: dict[str, tuple[str, int, float, int]] = {
    "alexnet, 128 px, a quarter of the width": ("alexnet", 128, 0.25, 128),
    "vgg16, 128 px, a quarter of the width": ("vgg16", 128, 0.25, 128),
    "resnet50, 128 px, a quarter of the width": ("resnet50", 128, 0.25, 128),
    "vgg16, 224 px, full width": ("vgg16", 224, 1.0, 32),
    "resnet50, 224 px, full width": ("resnet50", 224, 1.0, 32),
}
SOURCE, TRUNK, TAIL = "source stage", "trunk, once", "target stage, an epoch"


class Epochs(keras.callbacks.Callback):
    """Write down the seconds of every epoch."""

    seconds: list[float]

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begin anew."""
        self.seconds = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Stop it."""
        self.seconds.append(time.perf_counter() - self.started)


def source_stage(network: keras.Model, images: np.ndarray) -> float:
    """Return the seconds of an epoch."""
    clock = Epochs()
    labels = np.arange(len(images)) % 2
    detl.pretrain(
        network,
        images,
        labels,
        validation_data=(images[:2], labels[:2]),  # one of each class: validation is not training
        epochs=EPOCHS,
        batch_size=BATCH,
        callbacks=[clock],
        random_state=0,
        verbose=0,
    )
    return statistics.median(clock.seconds[1:])


def stages(case: str) -> dict[str, float]:
    """Return milliseconds an image of each stage, the first epoch left out."""
    name, pixels, width, n_images = CASES[case]
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (n_images, pixels, pixels, 1), dtype="uint8")
    targets = generator.integers(0, N_CLASSES, n_images)
    network = getattr(backbones, name)((pixels, pixels, 1), width=width)
    found = {}

    if width < 1:  # at full width the source stage is not for a laptop
        found[SOURCE] = source_stage(network, images)

    extension = DomainExtensionTransfer.as_published(
        network, batch_size=BATCH, random_state=0
    )._extend(np.arange(N_CLASSES))
    extension.trunk(images[:BATCH], verbose=0)
    detl.features.clear_cache()
    started = time.perf_counter()
    features = extension.trunk(images, verbose=0)
    found[TRUNK] = time.perf_counter() - started

    steps = Epochs()
    model = extension.tail.model
    model.fit(features, targets, batch_size=BATCH, epochs=EPOCHS, callbacks=[steps], verbose=0)
    found[TAIL] = statistics.median(steps.seconds[1:])
    return {stage: 1000 * seconds / n_images for stage, seconds in found.items()}


def default() -> str:
    """Return what TensorFlow decides by itself on this processor."""
    from tensorflow.python.util import _pywrap_util_port  # it has no public name

    return "on" if _pywrap_util_port.IsMklEnabled() else "off"


def run(command: list[str], setting: str | None) -> Any:
    """Run this script in a process with the variable set, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE}
    if setting is not None:
        environment[VARIABLE] = setting
    printed = subprocess.run(
        [sys.executable, "-m", "benchmarks.onednn", *command],
        check=True,
        stdout=subprocess.PIPE,
        env=environment,
    )
    return json.loads(printed.stdout.splitlines()[-1])


def processor() -> str:
    """Return the processor's name, as Linux has it."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def main() -> None:
    """Let the processes take turns and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/onednn.csv"))
    parser.add_argument("--one", choices=[*CASES, "default"], help="in this process alone")
    parsed = parser.parse_args()
    if parsed.one:
        print(json.dumps(default() if parsed.one == "default" else stages(parsed.one)))
        return

    by_itself = run(["--one", "default"], None)
    rows = []
    for case in CASES:
        found: dict[str, list[dict[str, float]]] = {"0": [], "1": []}
        for _ in range(ROUNDS):
            for setting, measured in found.items():
                measured.append(run(["--one", case], setting))
        for stage in found["0"][0]:
            without, with_it = ([one[stage] for one in found[setting]] for setting in "01")
            rows.append(
                {
                    "network": case,
                    "what": stage,
                    "without, ms an image": f"{statistics.median(without):.2f}",
                    "with oneDNN": f"{statistics.median(with_it):.2f}",
                    "ratio": f"{statistics.median(without) / statistics.median(with_it):.2f}",
                    "ratio of the rounds": " ".join(
                        f"{slow / fast:.2f}" for slow, fast in zip(without, with_it, strict=True)
                    ),
                    "TensorFlow by itself": by_itself,
                    "cores": len(os.sched_getaffinity(0)),
                    "processor": processor(),
                }
            )
            print(rows[-1], flush=True)
        write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
