"""Weigh what each ``fit`` leaves in memory, with a rate and a seed of its own as in a grid search.

Beside detl stands the same training with Keras's own optimizer, all else equal. Every case runs in
a process of its own.

Run: ``python -m benchmarks.memory_of_fits`` (an hour and 12 GB)
"""

from __future__ import annotations

import argparse
import csv
import gc
import multiprocessing
import resource
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import measured_with, write_rows

# Width of the VGG-16, pixels of a side, fits.
CASES = {"eighth VGG-16 at 32 px": (0.125, 32, 40), "full VGG-16 at 224 px": (1.0, 224, 20)}
STAGES = ("fit", "pretrain")
OPTIMIZERS = ("detl", "Keras's own")


def megabytes_after_fits(
    stage: str, optimizer: str, width: float, pixels: int, n_fits: int
) -> list[float]:
    """Return the resident memory of this process after each fit."""
    import keras

    from detl import Augmentation, DomainExtensionTransfer, backbones, pretrain
    from detl.pretraining import optimizer as pretraining_optimizer
    from detl.transfer import tail

    if optimizer != "detl":
        pretraining_optimizer.Adam, tail.SGD = keras.optimizers.Adam, keras.optimizers.SGD
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (10, pixels, pixels, 1), dtype="uint8")
    labels = np.arange(len(images)) % 2
    source = backbones.vgg16((pixels, pixels, 1), width=width)
    found = []
    for seed in range(n_fits):
        options = {"epochs": 1, "learning_rate": 1e-4 * (seed + 1), "random_state": seed}
        if stage == "fit":
            DomainExtensionTransfer(source, **options).fit(images, labels)
        else:
            pretrain(source, images, labels, augmentation=Augmentation(), verbose=0, **options)
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        found.append(pages * resource.getpagesize() / 1e6)
    return found


def kept(path: Path, cases: list[str], stages: list[str]) -> list[dict[str, Any]]:
    """Return the rows of an earlier run that are of other cases or stages."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            row
            for row in csv.DictReader(file)
            if row["network"] not in cases or row["stage"] not in stages
        ]


def main() -> None:
    """Run every case in a fresh process, and write a row for each; other rows stay."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    parser.add_argument("--fits", type=int, help="at most, 3 or more, to be quick")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/memory_of_fits.csv")
    )
    parsed = parser.parse_args()
    rows = kept(parsed.output, parsed.cases, parsed.stages)
    for case in parsed.cases:
        width, pixels, n_fits = CASES[case]
        for stage in parsed.stages:
            for optimizer in OPTIMIZERS:
                # Keras's own ends the process where 20 fits of a full VGG-16 leave 1 GB each.
                n = n_fits if (stage, optimizer) == ("fit", "detl") else min(n_fits, 6)
                n = min(n, parsed.fits or n)
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    after = pool.apply(megabytes_after_fits, (stage, optimizer, width, pixels, n))
                rows.append(
                    {
                        "network": case,
                        "stage": stage,
                        "optimizer": optimizer,
                        "fits": n,
                        "MB after the second": f"{after[1]:.0f}",
                        "MB after the last": f"{after[-1]:.0f}",
                        "MB a fit after the second": f"{(after[-1] - after[1]) / (n - 2):.1f}",
                        **measured_with("keras", "tensorflow", "numpy"),
                    }
                )
                print(*list(rows[-1].values())[:-2], flush=True)
                write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
