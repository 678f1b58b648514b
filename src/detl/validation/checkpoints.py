"""Finished folds on disk: one file each, whole or not there at all."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from detl.storage.run_directory import DAMAGED, RunDirectory
from detl.validation.results import FoldResult

# How the folders begin that workers read from. What else is in the directory is the user's.
WORK = "detl-work-"


class FoldStore(RunDirectory):
    """Keep the finished folds of one run in a directory of its own."""

    def __init__(self, directory: str | Path, run: Mapping[str, Any]) -> None:
        super().__init__(directory, run, files="fold_*.npz")
        for left in self.directory.glob(f"{WORK}*"):  # by a run that was killed
            shutil.rmtree(left, ignore_errors=True)

    def load(self) -> dict[int, FoldResult]:
        """Return the finished folds by number; a damaged file is warned of and left out."""
        found = {}
        for path in sorted(self.directory.glob(self.files)):
            try:
                with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                    arrays = {name: file[name] for name in ("train", "test", "probabilities")}
                    fold = FoldResult(**arrays, **json.loads(str(file["rest"])))
                number = int(path.stem.removeprefix("fold_"))
            except DAMAGED as error:
                warnings.warn(
                    f"{path} is damaged ({error}); its fold is computed again.",
                    UserWarning,
                    stacklevel=3,
                )
                continue
            found[number] = fold
        return found

    def save(self, number: int, fold: FoldResult) -> None:
        """Write one finished fold; a full disk is warned of."""
        rest = {k: v for k, v in asdict(fold).items() if not isinstance(v, np.ndarray)}
        arrays = {name: getattr(fold, name) for name in ("train", "test", "probabilities")}
        arrays["rest"] = np.array(json.dumps(rest))
        self.write(f"fold_{number:03d}.npz", arrays, lost=f"fold {number} has to be")
