"""Time the splitting and the full audit of 10,000 images of 3,000 groups, with a source as large.

The images are drawn alike, as radiographs are, so that every image has its five nearest looked at
in detail. They lie in memory-mapped files; the greatest memory of the process is measured. Where
other programs keep the machine busy, ``cpu_seconds`` says what the step itself needs.

    python -m benchmarks.audit_time --output benchmarks/results/audit_time.csv
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.rows import write_rows
from detl import folds


def draw(path: Path, n: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """Return a memory map of images that differ in detail only."""
    rows, columns = np.mgrid[:size, :size] / size
    template = 128 + 100 * np.sin(6 * rows) * np.cos(5 * columns)
    pixels = np.lib.format.open_memmap(path, "w+", "uint8", (n, size, size, 1))
    for i in range(n):
        detail = gaussian_filter(generator.normal(size=(size, size)), 1.5)
        pixels[i, ..., 0] = np.clip(template + 60 * detail, 0, 255)
    pixels.flush()
    return np.load(path, mmap_mode="r")


def main() -> None:
    """Measure each step and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n-images", type=int, default=10_000)
    parser.add_argument("--n-groups", type=int, default=3_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/audit_time.csv"))
    arguments = parser.parse_args()
    n = arguments.n_images
    generator = np.random.default_rng(0)
    groups = generator.integers(0, arguments.n_groups, n)
    labels = generator.choice(["covid-19", "normal", "other", "pneumonia"], n)
    with tempfile.TemporaryDirectory() as folder:
        images = draw(Path(folder) / "images.npy", n, arguments.size, generator)
        source = draw(Path(folder) / "source.npy", n, arguments.size, generator)
        indices = folds.stratified_folds(labels, groups=groups, random_state=0)
        source_groups = arguments.n_groups + groups
        steps = {
            "split into 5 folds, groups together": lambda: folds.stratified_folds(
                labels, groups=groups, random_state=0
            ),
            "split into 5 folds, 10 times": lambda: folds.stratified_folds(
                labels, groups=groups, n_repeats=10, random_state=0
            ),
            "audit of the groups": lambda: folds.audit(indices, labels, groups=groups),
            "audit with images": lambda: folds.audit(indices, labels, groups=groups, images=images),
            "audit with images and source images": lambda: folds.audit(
                indices,
                labels,
                groups=groups,
                images=images,
                source_groups=source_groups,
                source_images=source,
            ),
        }
        table = []
        for name, step in steps.items():
            started, started_cpu = time.perf_counter(), time.process_time()
            step()
            table.append(
                {
                    "step": name,
                    "images": n,
                    "pixels": f"{arguments.size} x {arguments.size}",
                    "groups": arguments.n_groups,
                    "seconds": round(time.perf_counter() - started, 2),
                    "cpu_seconds": round(time.process_time() - started_cpu, 2),
                    "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                    "cores": os.cpu_count(),
                    "machine": platform.processor() or platform.machine(),
                }
            )
            print(table[-1])
    write_rows(arguments.output, table)


if __name__ == "__main__":
    main()
