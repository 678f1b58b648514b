"""Time fits of 64 images, which are mostly building, tracing and copying: now, and before.

VGG-16 of full width at 224 pixels, 134 million weights, one epoch; two steps and the trunk are part
of each fit. A process of its own fits three times, one from ``src`` as it is, one from that of an
earlier checkout, by turns. The third fit finds the features of the first.

Run: ``python -m benchmarks.fixed_costs --before CHECKOUT/src``
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import measured_with, spread, write_rows

N, SIZE, FITS = 64, 224, 3


def fits() -> dict[str, Any]:
    """Fit three times and return the seconds of each and the peak of memory."""
    import detl

    source = detl.backbones.vgg16((SIZE, SIZE, 1))
    images = np.random.default_rng(0).integers(0, 256, (N, SIZE, SIZE, 1), dtype="uint8")
    transfer = detl.DomainExtensionTransfer.as_published(
        source, epochs=1, random_state=0, verbose=0
    )
    seconds = []
    for _ in range(FITS):
        started = time.perf_counter()
        transfer.fit(images, np.arange(N) % 4)
        seconds.append(time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "memory": peak}


def in_a_process(source: Path) -> dict[str, Any]:
    """Fit in a process that imports detl from a folder."""
    variables = {"PYTHONPATH": str(source), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.fixed_costs", "--fits"]
    done = subprocess.run(
        command, env=os.environ | variables, check=True, stdout=subprocess.PIPE, text=True
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(source, told, flush=True)
    return told


def main() -> None:
    """Let both take turns and write a row for the first and the last fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, help="src of an earlier checkout")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/fixed_costs.csv"))
    parser.add_argument("--fits", action="store_true", help="of a process here")
    parsed = parser.parse_args()
    if parsed.fits:
        print(json.dumps(fits()))
        return
    if parsed.before is None:
        parser.error("--before is needed: a checkout to compare with, such as git worktree makes")
    now = Path(__file__).parents[1] / "src"
    turns = [(in_a_process(parsed.before), in_a_process(now)) for _ in range(parsed.rounds)]
    rows = []
    for which, name in ((0, "first fit"), (FITS - 1, "third fit")):
        times = np.array([[told["seconds"][which] for told in turn] for turn in turns])
        ratios = times[:, 1] / times[:, 0]
        row: dict[str, Any] = {
            "64 images": name,
            "before, s": f"{np.median(times[:, 0]):.1f}",
            "now, s": f"{np.median(times[:, 1]):.1f}",
            "share of before, median": f"{np.median(ratios):.2f}",
            "lowest to highest": spread(ratios, ".2f"),
            "before, GiB": f"{min(turn[0]['memory'] for turn in turns):.1f}",
            "now, GiB": f"{min(turn[1]['memory'] for turn in turns):.1f}",
            "rounds": parsed.rounds,
        }
        rows.append(row | measured_with("keras", "tensorflow"))
    write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
