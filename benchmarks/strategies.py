"""Ask whether training on several devices is the training on one: losses epoch by epoch.

Two virtual devices of one processor, the global batch the same; a VGG-16 without dropout and
normalisation, no augmentation, the gradient not clipped: what is left must agree to rounding.

Run, where detl, TensorFlow and JAX are installed: ``python -m benchmarks.strategies``
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

SETUPS = {
    "JAX, keras.distribution.DataParallel": ("jax", "jax_two"),
    "TensorFlow, tf.distribute.MirroredStrategy": ("tensorflow", "tensorflow_two"),
}
STAGES = ("source stage", "target stage")


def losses(setup: str) -> dict[str, list[float]]:
    """Train both stages in a process of its own, and return the loss of each epoch."""
    backend, *two = setup.split("_")
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if two and backend == "jax":
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    command = [sys.executable, __file__, "--train", setup]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def train(setup: str) -> dict[str, list[float]]:
    """Train both stages on the devices of the setup."""
    scope: Any = contextlib.nullcontext()
    if setup == "tensorflow_two":
        import tensorflow as tf

        (processor,) = tf.config.list_physical_devices("CPU")
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(processor, two)
        scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()
    if setup == "jax_two":
        import keras

        keras.distribution.set_distribution(keras.distribution.DataParallel())
    import keras

    import detl

    keras.utils.set_random_seed(0)  # of the untrained network's weights
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 1), dtype="uint8")
    labels = np.arange(64) % 2
    images[labels == 1, :8] = 255
    with scope:
        backbone = detl.backbones.vgg16((32, 32, 1), width=0.125, normalization=None, dropout=0.0)
        source = detl.pretrain(
            backbone,
            images,
            labels,
            validation_data=(images, labels),
            epochs=3,
            batch_size=16,
            augmentation=None,
            gradient_clip=None,
            random_state=0,
            verbose=0,
        )
        # From the untrained network: what the source stage makes different is not counted twice.
        transfer = detl.DomainExtensionTransfer(
            backbone, epochs=3, batch_size=16, learning_rate=1e-2, random_state=0
        )
        transfer.fit(images, labels)
    return dict(zip(STAGES, (source.history["loss"], transfer.history_["loss"])))


def main() -> None:
    """Compare two devices with one, and write a row for each stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", choices=[name for pair in SETUPS.values() for name in pair])
    parser.add_argument("--output", type=Path, default=Path("docs/results/strategies.csv"))
    parsed = parser.parse_args()
    if parsed.train:
        print(json.dumps(train(parsed.train)))
        return
    rows = []
    for title, (one, two) in SETUPS.items():
        alone, shared = losses(one), losses(two)
        for stage in STAGES:
            difference = np.abs(np.array(alone[stage]) - np.array(shared[stage])).max()
            rows.append(
                {
                    "strategy": title,
                    "stage": stage,
                    "losses on one device": " ".join(f"{loss:.6f}" for loss in alone[stage]),
                    "losses on two": " ".join(f"{loss:.6f}" for loss in shared[stage]),
                    "greatest difference": f"{difference:.1e}",
                }
            )
            print(*rows[-1].values(), flush=True)
    with parsed.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
