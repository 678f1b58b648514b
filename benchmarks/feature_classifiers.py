"""Time a cross-validation of a classifier on features against training the last block.

Both on the same images, folds and network, in turns, nothing remembered from one to the next. The
images are noise: what is computed does not depend on what they show, but for how long a support
vector machine takes to converge, and noise is the harder case.

Run: ``python -m benchmarks.feature_classifiers``
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import detl
from benchmarks.rows import write_rows
from detl import DomainExtensionTransfer, FeatureExtractor, backbones

SIZE, WIDTH, N_CLASSES, N_SPLITS, EPOCHS, ROUNDS = 128, 0.25, 4, 5, 30, 3
BACKBONES = ("alexnet", "resnet50")
TRAINED = f"last block trained, {EPOCHS} epochs"
OTHERS = {
    "SVM on block 3, grid 2": CalibratedClassifierCV(SVC(), ensemble=False),
    "logistic regression on block 3, grid 2": LogisticRegression(C=0.01, max_iter=2000),
}


def main() -> None:
    """Measure, print, and write the table after every network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/feature_classifiers.csv")
    )
    parsed = parser.parse_args()
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (parsed.images, SIZE, SIZE, 1), dtype="uint8")
    labels = np.arange(parsed.images) % N_CLASSES
    rows: list[dict[str, Any]] = []
    for name in BACKBONES:
        network = getattr(backbones, name)((SIZE, SIZE, 1), width=WIDTH)
        ways = {TRAINED: DomainExtensionTransfer.as_published(network, epochs=EPOCHS)} | {
            way: make_pipeline(
                FeatureExtractor(network, layers="block3", grid=2), StandardScaler(), classifier
            )
            for way, classifier in OTHERS.items()
        }
        seconds = timed(ways, images, labels, parsed.rounds)
        for way in OTHERS:
            ratios = [a / b for a, b in zip(seconds[TRAINED], seconds[way], strict=True)]
            rows.append(
                {
                    "network": name,
                    "classifier": way,
                    "seconds": f"{statistics.median(seconds[way]):.1f}",
                    f"seconds, {TRAINED}": f"{statistics.median(seconds[TRAINED]):.1f}",
                    "ratio (each round)": f"{statistics.median(ratios):.1f} "
                    f"({', '.join(f'{ratio:.1f}' for ratio in ratios)})",
                }
            )
            print(rows[-1], flush=True)
        write_rows(parsed.output, rows)


def timed(
    ways: dict[str, Any], images: np.ndarray, labels: np.ndarray, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of each cross-validation, round by round, each way in turn."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, classifier in ways.items():
            detl.features.clear_cache()
            started = time.perf_counter()
            detl.cross_validate(
                classifier, images, labels, n_splits=N_SPLITS, on_leak="ignore", random_state=0
            )
            seconds[way].append(time.perf_counter() - started)
    return seconds


if __name__ == "__main__":
    main()
