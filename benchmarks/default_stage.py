"""Time the target stage as it stands against the paper's, and against training every layer.

Cross-validations in five folds of the same 200 noise images: the default (30 epochs from a linear
probe), the paper's rate and 50 epochs (the default until it was changed), and the default from the
input on. They take turns, and each begins with an empty cache of features. Linear probes are part
of the time.

Run: ``python -m benchmarks.default_stage``
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

import detl
from benchmarks.rows import measured_with, spread, write_rows

N, PIXELS, WIDTH, N_FOLDS = 200, (128, 128, 1), 0.25, 5
PUBLISHED = "as published, 50 epochs"


def transfers(source: Any) -> dict[str, detl.DomainExtensionTransfer]:
    """Return the target stages that take turns."""
    return {
        "default": detl.DomainExtensionTransfer(source),
        PUBLISHED: detl.DomainExtensionTransfer.as_published(source),
        "default, every layer": detl.DomainExtensionTransfer(source, trainable_from="input"),
    }


def measure(network: str, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each target stage."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (N, *PIXELS), dtype="uint8")
    labels = np.arange(N) % 3
    source = getattr(detl.backbones, network)(PIXELS, width=WIDTH)
    seconds: dict[str, list[float]] = {name: [] for name in transfers(source)}
    for _ in range(rounds):
        for name, transfer in transfers(source).items():
            detl.features.clear_cache()
            started = time.perf_counter()
            detl.cross_validate(transfer, images, labels, n_splits=N_FOLDS, random_state=0)
            seconds[name].append(time.perf_counter() - started)
            print(network, name, f"{seconds[name][-1]:.1f} s", flush=True)
    published = np.array(seconds[PUBLISHED])
    rows = []
    for name, found in seconds.items():
        ratios = np.array(found) / published
        rows.append(
            {
                "network": network,
                "target stage": name,
                "seconds, median": f"{np.median(found):.1f}",
                "over the published, median": f"{np.median(ratios):.2f}",
                "lowest to highest": spread(ratios, ".2f"),
                "rounds": rounds,
                **measured_with("keras", "tensorflow"),
            }
        )
    return rows


def main() -> None:
    """Let the target stages take turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=("alexnet", "vgg16", "resnet50"), default="alexnet")
    parser.add_argument("--rounds", type=int, default=3)
    parsed = parser.parse_args()
    rows = measure(parsed.network, parsed.rounds)
    write_rows(Path(__file__).parent / "results" / "default_stage.csv", rows)


if __name__ == "__main__":
    main()
