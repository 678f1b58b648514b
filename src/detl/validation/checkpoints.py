"""Finished folds on disk: one file each, whole or not there at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from detl.metrics.fold_scores import check_predictions
from detl.storage.run_directory import RunDirectory
from detl.validation.results import FoldResult

# How the folders begin that workers read from. What else is in the directory is the user's.
WORK = "detl-work-"
# Of the folds that are to be trained, by number: rows that are trained on, tested, and the seed.
Plan = dict[int, tuple[np.ndarray, np.ndarray, int]]


class FoldStore(RunDirectory):
    """Keep the finished folds of one run in a directory of its own."""

    def __init__(self, directory: str | Path, run: Mapping[str, Any]) -> None:
        super().__init__(directory, run, files="fold_*.npz")

    def __enter__(self) -> Self:
        super().__enter__()
        for left in self.directory.glob(f"{WORK}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        return self

    def load(self, plan: Plan, n_classes: int) -> dict[int, FoldResult]:
        """Return the finished folds of the plan; a file that is none of them is warned of."""
        found = {
            number: self.read(
                _file(number),
                partial(_planned, *of_fold, n_classes),
                again="its fold is computed again",
            )
            for number, of_fold in plan.items()
        }
        return {number: fold for number, fold in found.items() if fold is not None}

    def save(self, number: int, fold: FoldResult) -> None:
        """Write one finished fold; a full disk is warned of."""
        fields = asdict(fold)
        arrays = {k: v for k, v in fields.items() if isinstance(v, np.ndarray)}
        rest = {k: v for k, v in fields.items() if k not in arrays}
        self.write(_file(number), arrays, rest, lost=f"fold {number} has to be")


def _file(number: int) -> str:
    return f"fold_{number:03d}.npz"


def _planned(
    train: np.ndarray,
    test: np.ndarray,
    seed: int,
    n_classes: int,
    arrays: dict[str, Any],
    rest: dict[str, Any],
) -> FoldResult:
    """Return the fold that was written, if it is the planned one and whole."""
    fold = FoldResult(**arrays, **rest)
    if not (np.array_equal(fold.train, train) and np.array_equal(fold.test, test)):
        raise ValueError("it is of other rows")
    if fold.seed != seed:
        raise ValueError(f"it is of seed {fold.seed}, not {seed}")
    check_predictions(fold.probabilities, fold.decisions, len(test), n_classes)
    return fold
