"""Count the cases of a fault that hold, on a small source, images and folds of noise.

``faults.py`` damages files, ``collisions.py`` lets processes meet; both take from here.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.dummy import DummyClassifier

from benchmarks.rows import measured_with, write_rows
from detl import CrossValidationResult, SourceModel, backbones, cross_validate

LABELS = np.array(["dim", "bright"] * 15)
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 1)).astype("uint8")
# The number of threads decides the order of sums, and so the last bits.
ONE_THREAD = dict.fromkeys(
    ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
)
Cases = Iterator[bool]
Fault = Callable[[Path, int], Cases]  # is given an empty folder, and how often to try


def source() -> SourceModel:
    """Return a small one, the same in every process."""
    model = backbones.vgg16((32, 32, 1), width=0.0625)
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.01, 0.1, w.shape) for w in model.get_weights()])
    head = keras.layers.Dense(2, activation="softmax", kernel_initializer="ones", name="head")
    model = keras.Model(model.input, head(model.output))
    return SourceModel(model=model, classes=np.unique(LABELS), history={}, best_epoch=0)


def validated(
    classifier: Any | None = None, checkpoint_dir: Path | None = None
) -> CrossValidationResult:
    """Cross-validate with three folds, which are the same every time."""
    return cross_validate(
        DummyClassifier() if classifier is None else classifier,
        PIXELS,
        LABELS,
        n_splits=3,
        random_state=0,
        checkpoint_dir=checkpoint_dir,
    )


def is_refused(read: Callable[[], object], *parts: str) -> bool:
    """Whether a file is refused with these parts in the message."""
    try:
        read()
    except ValueError as error:
        return all(part in str(error) for part in parts)
    return False


def report(faults: Mapping[Fault, int], *, description: str, output: str) -> None:
    """Try each fault as often as it says, and write a row for it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--share", type=float, default=1.0, help="of the cases, to be quick")
    parser.add_argument("--only", help="name of one fault, such as flips_in_results")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results") / output)
    parsed = parser.parse_args()
    os.environ |= ONE_THREAD
    rows = []
    for fault, times in faults.items():
        if parsed.only not in (None, fault.__name__):
            continue
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="detl-faults-") as folder:
            held = list(fault(Path(folder), max(2, round(parsed.share * times))))
        rows.append(
            {
                "fault": str(fault.__doc__).splitlines()[0].rstrip("."),
                "tried": len(held),
                "held": sum(held),
                "seconds": f"{time.perf_counter() - started:.0f}",
                **measured_with("keras", "tensorflow", "numpy"),
            }
        )
        print(*rows[-1].values(), flush=True)
        write_rows(parsed.output, rows)
