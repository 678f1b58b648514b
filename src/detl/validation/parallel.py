"""Folds in processes of their own, on this machine or a cluster."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from detl.caller import stacklevel_of_caller
from detl.checks import check_count
from detl.storage.shared_folders import shared_folder
from detl.validation.checkpoints import WORK, Plan
from detl.validation.results import FoldResult
from detl.validation.workers import Said, Work, train_in_worker

Outcome = tuple[int, "FoldResult | Exception"]


def train_in_workers(
    shared: tuple[tuple[Any, ...], np.ndarray, np.ndarray],
    plan: Plan,
    n_jobs: int | None,
    n_workers: int,
    folder: str | Path | None,
) -> Iterator[Outcome]:
    """Yield what each fold found, as it comes, or what went wrong with it.

    ``shared`` has the transfer with classes and groups, the features and the targets.
    """
    backend = joblib.parallel.get_active_backend()[0]
    # From Ray all folds come at the end.
    return_as = "generator_unordered" if backend.supports_return_generator else "list"
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as=return_as, pre_dispatch="all")
    with shared_folder(folder, WORK) as made:  # in checkpoint_dir, which a cluster can share
        work = Work(folder=made, n_workers=n_workers)
        work.write(*shared)
        pending = set(plan)
        try:
            for number, outcome, said in parallel(
                joblib.delayed(train_in_worker)(work, number, *fold)
                for number, fold in plan.items()
            ):
                pending.discard(number)
                yield number, _say_again(said, number, outcome)
        except Exception as error:
            lost = _in_words(error, n_workers)
            for number in sorted(pending):
                kept = work.kept(number)
                yield number, lost if kept is None else _say_again(kept[2], number, kept[1])


def _in_words(error: Exception, n_workers: int) -> Exception:
    """Return an error that says what to do, where a worker died."""
    # Dask has an error of its own for that.
    if not isinstance(error, BrokenExecutor) and type(error).__name__ != "KilledWorker":
        return error
    died = ChildProcessError(
        f"a worker process died ({type(error).__name__}), most often killed by the system for want "
        f"of memory. Train fewer than n_jobs={n_workers} folds at a time, or with a smaller "
        "batch_size; with checkpoint_dir, finished folds are on disk and the next run goes on from "
        "there."
    )
    died.__cause__ = error
    return died


def _say_again(said: Said, number: int, outcome: FoldResult | Exception) -> FoldResult | Exception:
    """Warn of what a worker warned of; return the warning if it is to be an error here."""
    try:
        for category, text in said:
            warnings.warn(f"Fold {number}: {text}", category, stacklevel=stacklevel_of_caller())
    except Warning as error:
        return error
    return outcome


def n_workers_of(n_jobs: int | None) -> int:
    """Return how many folds are trained at a time; threads and forks are refused."""
    if n_jobs is not None:
        counted = isinstance(n_jobs, int | np.integer) and not isinstance(n_jobs, bool)
        check_count("n_jobs", abs(n_jobs) if counted else n_jobs)
    n_workers = joblib.effective_n_jobs(n_jobs)
    backend = joblib.parallel.get_active_backend()[0]
    if n_workers > 1 and type(backend).__name__ in ("ThreadingBackend", "MultiprocessingBackend"):
        raise ValueError(
            f"joblib's {type(backend).__name__} would train folds in threads or forked processes, "
            "which Keras does not survive; use the backend 'loky', 'dask' or 'ray'."
        )
    return int(n_workers)
