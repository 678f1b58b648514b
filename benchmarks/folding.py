"""Time a trunk whose normalisations are folded into its convolutions against one as it is.

Both run the frozen layers (all but the last block) on the same 256 noise images, by turns, with
weights and statistics drawn at random. The difference is the largest of their features over the
largest feature.

Run: ``python -m benchmarks.folding``
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np

import detl
from benchmarks.rows import measured_with, spread, write_rows
from detl.backbones.blocks import entrance_of
from detl.networks.folding import folded

N, BATCH = 256, 32
CASES = (
    ("vgg16", 0.25, 128),
    ("resnet50", 0.25, 128),
    ("alexnet", 0.25, 128),
    ("resnet50", 1, 224),
)


def measure(name: str, width: float, size: int, rounds: int) -> dict[str, Any]:
    """Return a row for one network."""
    generator = np.random.default_rng(0)
    network = getattr(detl.backbones, name)((size, size, 1), width=width)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    trunk = keras.Model(network.input, entrance_of(network, "last_block"))
    images = generator.integers(0, 256, (N, size, size, 1), dtype="uint8")
    both = trunk, folded(trunk)
    expected, found = (one.predict_on_batch(images[:BATCH]) for one in both)  # compiled before
    seconds: list[list[float]] = []
    for _ in range(rounds):
        seconds.append([])
        for one in both:
            started = time.perf_counter()
            for start in range(0, N, BATCH):
                one.predict_on_batch(images[start : start + BATCH])
            seconds[-1].append(time.perf_counter() - started)
    times = np.array(seconds)
    ratios = times[:, 0] / times[:, 1]
    row = {
        "network": name,
        "width": width,
        "pixels": size,
        "ms an image": f"{np.median(times[:, 0]) / N * 1e3:.2f}",
        "ms an image, folded": f"{np.median(times[:, 1]) / N * 1e3:.2f}",
        "times as fast, median": f"{np.median(ratios):.2f}",
        "lowest to highest": spread(ratios, ".2f"),
        "rounds": rounds,
        "difference": f"{np.abs(found - expected).max() / np.abs(expected).max():.0e}",
    }
    return row | measured_with("keras", "tensorflow")


def main() -> None:
    """Measure every network and write one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/folding.csv"))
    parsed = parser.parse_args()
    rows = []
    for name, width, size in CASES:
        rows.append(measure(name, width, size, parsed.rounds))
        print(rows[-1], flush=True)
        write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
