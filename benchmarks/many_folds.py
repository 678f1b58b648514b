"""Memory over many folds, and the time of five folds against five fits.

Run: ``python -m benchmarks.many_folds``
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks.rows import write_rows
from detl import DomainExtensionTransfer, backbones, cross_validate
from detl.validation.workers import train_fold

SIZE, WIDTH, N = 64, 0.25, 320
ROUNDS = 3


def resident_mib() -> float:
    """Return the memory that this process has in use now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


def memory(transfer: DomainExtensionTransfer, images: np.ndarray, labels: np.ndarray) -> list[dict]:
    """Train fifty folds with one tail and return the memory after each."""
    classes, targets = np.unique(labels, return_inverse=True)
    extension = transfer._extend(classes)
    features = extension.trunk(images)
    rng = np.random.default_rng(0)
    rows = []
    for fold in range(50):
        order = rng.permutation(len(images))
        train_fold(
            extension, features, targets,
            np.sort(order[64:]), np.sort(order[:64]), seed=fold,
        )  # fmt: skip
        rows.append({"what": "memory", "number": fold + 1, "value": round(resident_mib(), 1)})
    return rows


def times(transfer: DomainExtensionTransfer, images: np.ndarray, labels: np.ndarray) -> list[dict]:
    """Time five folds and five fits on as many images, in turn."""
    rows = []
    for number in range(ROUNDS):
        started = time.perf_counter()
        found = cross_validate(transfer, images, labels, random_state=number, on_leak="ignore")
        rows.append(_row("five folds", number, started))
        started = time.perf_counter()
        for fold, (train, test) in enumerate(found.indices):
            transfer.set_params(random_state=found.fold_seeds[fold])
            transfer.fit(images[train], labels[train]).predict_proba(images[test])
        rows.append(_row("five fits", number, started))
    return rows


def _row(what: str, number: int, started: float) -> dict:
    return {"what": what, "number": number + 1, "value": round(time.perf_counter() - started, 2)}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/many_folds.csv"))
    parsed = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE, 1)).astype("uint8")
    labels = np.arange(N) % 4
    source = backbones.resnet50((SIZE, SIZE, 1), width=WIDTH)
    transfer = DomainExtensionTransfer.as_published(source, epochs=3)
    rows = times(transfer, images, labels) + memory(transfer, images, labels)
    write_rows(parsed.output, rows)
    text = summary(rows)
    print(text)
    parsed.output.with_suffix(".txt").write_text(f"{text}\n")


def summary(rows: list[dict]) -> str:
    """Return what the rows say, in three lines."""
    values = {
        what: [float(row["value"]) for row in rows if row["what"] == what]
        for what in ("five folds", "five fits", "memory")
    }
    folds, fits = (statistics.median(values[what]) for what in ("five folds", "five fits"))
    used = values["memory"]
    return (
        f"ResNet-50, width {WIDTH}, {SIZE} px, {N} images, 3 epochs; Keras {keras.__version__} on "
        f"{keras.backend.backend()}, {platform.machine()}\n"
        f"five folds {folds:.1f} s, five fits {fits:.1f} s, ratio {fits / folds:.1f} (medians of "
        f"{ROUNDS})\n"
        f"memory after fold 1: {used[0]:.0f} MiB, 10: {used[9]:.0f}, 50: {used[49]:.0f}, "
        f"or {(used[49] - used[9]) / 40:.1f} MiB a fold"
    )


if __name__ == "__main__":
    main()
