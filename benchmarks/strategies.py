"""Ask whether training on several devices is the training on one: losses epoch by epoch.

Two virtual devices of one processor, the global batch the same; a VGG-16 without dropout and
normalisation, no augmentation, the gradient not clipped: what is left must agree to rounding.
Then, without detl, which batches of a plain Keras model's input are trained on, and whether two
processes on one machine train it under ``MultiWorkerMirroredStrategy``.

Run, where detl, TensorFlow and JAX are installed: ``python -m benchmarks.strategies``
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import write_rows

SETUPS = {
    "JAX, keras.distribution.DataParallel": ("jax", "jax_two"),
    "TensorFlow, tf.distribute.MirroredStrategy": ("tensorflow", "tensorflow_two"),
}
STAGES = ("source stage", "target stage")


def in_a_process(setup: str, *options: str) -> Any:
    """Call this script for one setup, in a process of its own."""
    backend, *two = setup.split("_")
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if two and backend == "jax":
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    command = [sys.executable, __file__, "--train", setup, *options]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(found.stdout.splitlines()[-1])


def scope_of(setup: str) -> Any:
    """Return the scope in which to build models."""
    if setup != "tensorflow_two":
        return contextlib.nullcontext()
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, two)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()


def train(setup: str) -> dict[str, list[float]]:
    """Train both stages on the devices of the setup."""
    scope = scope_of(setup)
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
        transfer = detl.DomainExtensionTransfer.as_published(
            backbone, epochs=3, batch_size=16, learning_rate=1e-2, random_state=0
        )
        transfer.fit(images, labels)
    return dict(zip(STAGES, (source.history["loss"], transfer.history_["loss"])))


def batches_trained_on(setup: str, given_as: str) -> list[int]:
    """Return the numbers of the batches that a plain Keras model trains on, two epochs of four."""
    scope = scope_of(setup)
    import keras

    class Numbered(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            return np.full((16, 1), index, "float32"), np.zeros((16, 1))

    means: list[list[float]] = [[], []]

    class Watch(keras.callbacks.Callback):
        epoch = 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            means[self.epoch].append(float(logs["loss"]))

    endless = (Numbered(workers=1)[number] for number in itertools.count())
    with scope:
        model = keras.Sequential(
            [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")]
        )
        model.compile(keras.optimizers.SGD(0.0), "mae")  # the loss is the number of the batch
        data = {"generator": endless, "PyDataset": Numbered(workers=1)}[given_as]
        model.fit(data, steps_per_epoch=4, epochs=2, callbacks=[Watch()], shuffle=False, verbose=0)
    # Keras gives the mean since the epoch began.
    totals = [np.array(epoch) * np.arange(1, 5) for epoch in means]
    return [round(n) for total in totals for n in np.diff(total, prepend=0.0).tolist()]


def with_two_workers() -> str:
    """Train a plain Keras model under MultiWorkerMirroredStrategy; return what comes of it."""
    workers = ["127.0.0.1:23451", "127.0.0.1:23452"]
    code = (
        "import tensorflow as tf; s = tf.distribute.MultiWorkerMirroredStrategy()\n"
        "import keras, numpy as np\n"
        "with s.scope():\n"
        "    m = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])\n"
        "    m.compile('sgd', 'mse')\n"
        "    m.fit(np.ones((32, 4)), np.ones((32, 1)), batch_size=16, verbose=0)\n"
    )
    running = []
    for index in range(2):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"TF_CONFIG": json.dumps(task), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", code]
        running.append(
            subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        )
    errors = [process.communicate(timeout=300)[1] for process in running]
    if all(process.returncode == 0 for process in running):
        return "trains"
    return next(line for line in errors[0].splitlines() if "Error" in line)[:120]


def main() -> None:
    """Compare two devices with one, and write a row for each stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", choices=[name for pair in SETUPS.values() for name in pair])
    parser.add_argument("--batches", choices=["generator", "PyDataset"])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/strategies.csv"))
    parsed = parser.parse_args()
    if parsed.batches:
        print(json.dumps(batches_trained_on(parsed.train, parsed.batches)))
        return
    if parsed.train:
        print(json.dumps(train(parsed.train)))
        return
    rows = []
    for title, (one, two) in SETUPS.items():
        alone, shared = in_a_process(one), in_a_process(two)
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
    write_rows(parsed.output, rows)
    numbered = [
        {
            "plain Keras model, TensorFlow": f"{given_as}, {devices}",
            "batches trained on": " ".join(map(str, in_a_process(setup, "--batches", given_as))),
        }
        for given_as in ("generator", "PyDataset")
        for devices, setup in (("one device", "tensorflow"), ("two devices", "tensorflow_two"))
    ]
    numbered.append(
        {
            "plain Keras model, TensorFlow": "array, two processes, MultiWorkerMirroredStrategy",
            "batches trained on": with_two_workers(),
        }
    )
    for row in numbered:
        print(*row.values(), flush=True)
    write_rows(parsed.output.with_name("strategies_batches.csv"), numbered)


if __name__ == "__main__":
    main()
