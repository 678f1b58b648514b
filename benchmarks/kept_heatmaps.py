"""Time heatmaps of a fitted transfer that start from kept features, against the whole network.

The same 200 noise images are explained by turns: by the network (``GradCAM(transfer.model_)``), by
the transfer, which has the features of its fit (``GradCAM(transfer)``), and by the transfer with
features that were forgotten, so that it runs the frozen layers. Calls are repeated ones, or the
first of a new ``GradCAM``, which compiles. Ratios are of neighbours; the largest difference is that
of two heatmaps, or of two maps before their ReLU over the largest value.

Run: ``python -m benchmarks.kept_heatmaps``
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import detl
from benchmarks.rows import measured_with, spread, write_rows

N, PIXELS, WIDTH = 200, (128, 128, 1), 0.25


def measure(network: str, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each way to start from features."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (N, *PIXELS), dtype="uint8")
    source = getattr(detl.backbones, network)(PIXELS, width=WIDTH)
    transfer = detl.DomainExtensionTransfer.as_published(source, epochs=1, random_state=0)
    transfer.fit(images, np.arange(N) % 3)
    whole, kept = detl.GradCAM(transfer.model_), detl.GradCAM(transfer)

    def forgotten() -> Any:
        detl.features.clear_cache()
        return kept.explain(images)

    ways: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "first call, features of the fit": (
            lambda: detl.GradCAM(transfer.model_).explain(images),
            lambda: detl.GradCAM(transfer).explain(images),
        ),
        "features of the fit": (lambda: whole.explain(images), lambda: kept.explain(images)),
        "features forgotten": (lambda: whole.explain(images), forgotten),
    }
    expected, found = whole.explain(images), kept.explain(images)  # compiled before they are timed
    forgotten()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (before, after) in ways.items():
            seconds[name].append((_seconds(before), _seconds(after)))
            print(network, name, *(f"{value:.2f} s" for value in seconds[name][-1]), flush=True)
    differences = {
        "heatmap difference": np.abs(found.heatmaps - expected.heatmaps).max(),
        "map difference": np.abs(found.raw - expected.raw).max() / np.abs(expected.raw).max(),
    }
    rows = []
    for name, times in seconds.items():
        pairs = np.array(times)
        ratios = pairs[:, 0] / pairs[:, 1]
        rows.append(
            {
                "network": network,
                "heatmaps from": name,
                "ms an image, whole network": f"{np.median(pairs[:, 0]) / N * 1e3:.1f}",
                "ms an image": f"{np.median(pairs[:, 1]) / N * 1e3:.1f}",
                "times as fast, median": f"{np.median(ratios):.2f}",
                "lowest to highest": spread(ratios, ".2f"),
                "rounds": rounds,
                **{what: f"{value:.0e}" for what, value in differences.items()},
                **measured_with("keras", "tensorflow"),
            }
        )
    return rows


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    """Measure each network and write one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["vgg16", "resnet50"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/kept_heatmaps.csv"))
    arguments = parser.parse_args()
    rows = []
    for network in arguments.networks:
        rows += measure(network, arguments.rounds)
        write_rows(arguments.output, rows)


if __name__ == "__main__":
    main()
