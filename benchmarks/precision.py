"""Time a training step in float32 and in mixed_bfloat16, on this processor.

The last block and what follows it at 224 pixels and full width, then whole networks at 128 pixels
and a quarter of the width; on input drawn at random, in batches of 32. The two take turns; the
ratio is of neighbours.

Run: ``python -m benchmarks.precision``
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import keras
import numpy as np

import detl
from benchmarks.rows import write_rows

BATCH, ROUNDS = 32, 7
PRECISIONS = ("float32", "mixed_bfloat16")
LAST_BLOCK = ("last block, 224 px, full width", "last_block", 224, 1.0)
WHOLE = ("all, 128 px, a quarter of the width", "input", 128, 0.25)


def main() -> None:
    """Time each network and write a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/precision.csv"))
    parsed = parser.parse_args()
    rows = []
    cases = [("vgg16", LAST_BLOCK), ("resnet50", LAST_BLOCK)]
    cases += [(name, WHOLE) for name in ("vgg16", "resnet50", "alexnet")]
    for name, (trained, trainable_from, size, width) in cases:
        source = getattr(detl.backbones, name)((size, size, 1), width=width)
        tails = {
            precision: detl.DomainExtensionTransfer(
                source, precision=precision, trainable_from=trainable_from, random_state=0
            )
            ._extend(np.arange(4))
            .tail.model
            for precision in PRECISIONS
        }
        generator = np.random.default_rng(0)
        shape = tails["float32"].input_shape[1:]
        features = generator.normal(size=(BATCH, *shape)).astype("float32")
        targets = generator.integers(4, size=BATCH)
        seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
        for _ in range(ROUNDS + 1):
            for precision, tail in tails.items():
                started = time.perf_counter()
                tail.train_on_batch(features, targets)
                seconds[precision].append(time.perf_counter() - started)
        single, half = (np.array(seconds[precision][1:]) for precision in PRECISIONS)
        ratios = single / half
        rows.append(
            {
                "network": name,
                "trained": trained,
                "float32, ms an image": f"{1e3 * np.median(single) / BATCH:.1f}",
                "mixed_bfloat16, ms an image": f"{1e3 * np.median(half) / BATCH:.1f}",
                "times faster, median": f"{np.median(ratios):.1f}",
                "lowest to highest": f"{ratios.min():.1f} to {ratios.max():.1f}",
                "bfloat16 units": ", ".join(_units()),
                "Keras": f"{keras.__version__} on {keras.backend.backend()}",
                "machine": platform.machine(),
            }
        )
        print(rows[-1], flush=True)
    write_rows(parsed.output, rows)


def _units() -> list[str]:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    return [unit for unit in ("amx_bf16", "avx512_bf16", "bf16") if unit in flags]


if __name__ == "__main__":
    main()
