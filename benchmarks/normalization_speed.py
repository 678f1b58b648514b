"""Time a training step without normalisation, with Keras's layer, and with the fused kernel.

Steps of the three take turns in one process.

Run: ``python -m benchmarks.normalization_speed``
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks.rows import write_rows
from detl import backbones
from detl.networks import copying
from detl.networks.heads import with_logits
from detl.networks.normalization import fused_layers

BATCH, ROUNDS = 32, 12


def network(name: str, kind: str, *, size: int, width: float, precision: str) -> keras.Model:
    """Compile a classifier of two classes as ``pretrain`` does."""
    options = {} if name == "resnet50" else {"normalization": None if kind == "none" else "batch"}
    plain = with_logits(getattr(backbones, name)((size, size, 1), width=width, **options), 2, 0)
    replacing = fused_layers() if kind == "fused" else {}
    model = copying.copy_model(plain, dtype_policy=precision, replacing=replacing)
    model.compile(
        keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def measure(name: str, *, size: int, width: float, precision: str) -> list[dict]:
    """Return the milliseconds per image of each kind."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, size, size, 1)).astype("float32")
    targets = rng.integers(0, 2, BATCH)
    kinds = ("keras", "fused") if name == "resnet50" else ("none", "keras", "fused")
    models = {
        kind: network(name, kind, size=size, width=width, precision=precision) for kind in kinds
    }
    for model in models.values():
        model.train_on_batch(images, targets)  # compiled before it is timed
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, model in models.items():
            started = time.perf_counter()
            model.train_on_batch(images, targets)
            times[kind].append((time.perf_counter() - started) / BATCH * 1000)
    keras_median = statistics.median(times["keras"])
    return [
        {
            "network": name,
            "pixels": size,
            "width": width,
            "precision": precision,
            "normalisation": kind,
            "ms per image": f"{statistics.median(found):.1f}",
            "fastest": f"{min(found):.1f}",
            "slowest": f"{max(found):.1f}",
            "ratio to Keras's": f"{keras_median / statistics.median(found):.2f}",
            "cores": os.cpu_count(),
            "keras": keras.__version__,
        }
        for kind, found in times.items()
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/normalization_speed.csv")
    )
    parsed = parser.parse_args()
    rows = [
        row
        for name in ("alexnet", "vgg16", "resnet50")
        for precision in ("float32", "mixed_bfloat16")
        for row in measure(name, size=128, width=0.25, precision=precision)
    ]
    write_rows(parsed.output, rows)
    for row in rows:
        print(*row.values())


if __name__ == "__main__":
    main()
