"""Time the linear probe with one thread and with as many as there are cores.

By turns, alone and beside a busy process for each core. Features are noise with a trace of the
class in them, in two sizes: those of a few hundred images in a narrow network, and of 3,000 in a
wide one.

Run: ``python -m benchmarks.probe_threads``
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.rows import measured_with, spread, write_rows
from detl.transfer import linear_probe

SIZES = ((500, 512), (1000, 1024), (3000, 4096))  # images, features
N_CLASSES, ROUNDS = 4, 7


def main() -> None:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/probe_threads.csv"))
    parsed = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for busy in (0, os.cpu_count() or 1):
        others = [multiprocessing.Process(target=work, daemon=True) for _ in range(busy)]
        for other in others:
            other.start()
        for n, n_features in SIZES:
            rows.append(measured(n, n_features, busy, parsed.rounds))
            print(rows[-1], flush=True)
        for other in others:
            other.terminate()
    write_rows(parsed.output, rows)


def work() -> None:
    """Keep a core busy."""
    while True:
        pass


def measured(n: int, n_features: int, busy: int, rounds: int) -> dict[str, Any]:
    """Return a row: seconds of both ways, and their ratio round by round."""
    generator = np.random.default_rng(0)
    targets = generator.integers(N_CLASSES, size=n)
    features = np.maximum(generator.standard_normal((n, n_features), dtype="float32"), 0)
    features += 0.3 * (targets[:, np.newaxis] == np.arange(n_features) % N_CLASSES)
    seconds = [
        [timed(features, targets, limited=limited) for limited in (True, False)]
        for _ in range(rounds)
    ]
    one, all_of_them = np.array(seconds).T
    return {
        "images": n,
        "features": n_features,
        "busy processes beside it": busy,
        "one thread, s": f"{np.median(one):.3f}",
        "a thread for each core, s": f"{np.median(all_of_them):.3f}",
        "one thread, times as fast": f"{np.median(all_of_them / one):.1f} "
        f"({spread(all_of_them / one, '.1f')})",
        "rounds": rounds,
        **measured_with("scikit-learn", "scipy", "numpy"),
    }


def timed(features: np.ndarray, targets: np.ndarray, *, limited: bool) -> float:
    """Return the seconds of one probe, which by itself takes one thread."""
    unlimited = contextlib.nullcontext()
    with contextlib.ExitStack() as stack:
        if not limited:
            free = mock.patch.object(linear_probe, "threadpool_limits", return_value=unlimited)
            stack.enter_context(free)
        started = time.perf_counter()
        linear_probe.linear_probe(features, targets, N_CLASSES)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
