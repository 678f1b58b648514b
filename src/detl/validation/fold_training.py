"""Train the folds that are not finished yet, here or in processes of their own."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from detl.caller import stacklevel_of_caller
from detl.checks import check_classes
from detl.metrics.learning import advice
from detl.networks.devices import device_kind
from detl.networks.digests import graph_digest, weights_digest
from detl.networks.precision import dtype_policy
from detl.networks.probe import output_on_noise
from detl.progress import progress_bar
from detl.storage.digests import array_digest, names_digest
from detl.storage.run_directory import versions
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.checkpoints import FoldStore, Plan
from detl.validation.estimators import described, fit_fold
from detl.validation.parallel import Outcome, n_workers_of, train_in_workers
from detl.validation.preparation import Prepared
from detl.validation.results import CrossValidationResult, FoldResult
from detl.validation.tables import unlearned
from detl.validation.workers import train_fold


class FoldError(RuntimeError):
    """Some folds failed; the others were finished first.

    Attributes
    ----------
    errors : dict of int to Exception
        What went wrong in each fold that failed.
    finished : dict of int to FoldResult
        The folds that did not. With ``checkpoint_dir`` they are on disk too, and the next run
        goes on from there.
    """

    def __init__(self, errors: dict[int, Exception], finished: dict[int, FoldResult]) -> None:
        first = min(errors)
        super().__init__(
            f"Fold {first} failed with {type(errors[first]).__name__}: {errors[first]} "
            f"(failed: {sorted(errors)}; finished and kept in `finished`: {sorted(finished)})"
        )
        self.errors = errors
        self.finished = finished

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes: a whole cross-validation may be a worker's job."""
        return type(self), (self.errors, self.finished)


def train_folds(
    prepared: Prepared,
    *,
    checkpoint_dir: str | Path | None,
    n_jobs: int | None,
    verbose: int,
    description: str = "folds",
) -> CrossValidationResult:
    """Train every fold that is not finished yet, and collect; ``description`` names the bar."""
    started = time.perf_counter() - prepared.seconds
    indices, seeds = prepared.indices, prepared.fold_seeds
    classes, targets = check_classes(prepared.labels)
    training = (
        _NetworkTraining(prepared, n_jobs, checkpoint_dir)
        if isinstance(prepared.classifier, DomainExtensionTransfer)
        else _ClassifierTraining(prepared)
    )
    settings = {
        **training.settings,
        "images": array_digest(prepared.images),
        "labels": names_digest(prepared.labels),
        "groups": None if prepared.groups is None else names_digest(prepared.groups),
        "folds": array_digest(np.concatenate([np.r_[-1, a, -2, b] for a, b in indices])),
        "fold_seeds": seeds,
        "interval_seed": prepared.interval_seed,
    }
    plan = {number: (*of_fold, seeds[number]) for number, of_fold in enumerate(indices)}
    finished: dict[int, FoldResult] = {}
    seconds = {"features": 0.0}
    store = None
    if checkpoint_dir is not None:
        store = FoldStore(checkpoint_dir, {**settings, "versions": versions()})
    with store or nullcontext():
        if store is not None:
            finished = store.load(plan, len(classes))
        plan = {number: of_fold for number, of_fold in plan.items() if number not in finished}
        if plan:
            if store is not None:
                store.check_writable()
            training.run_trunk(verbose=verbose)
            seconds["features"] = time.perf_counter() - started
            n_steps = len(plan) * training.steps
            with progress_bar(
                n_steps, verbose=verbose, description=description, unit=training.unit
            ) as bar:
                finished = _train_open_folds(training, plan, finished, targets, store, bar)
    seconds["total"] = time.perf_counter() - started
    result = CrossValidationResult(
        classes=classes,
        labels=prepared.labels,
        groups=prepared.groups,
        folds=tuple(finished[number] for number in range(len(indices))),
        audit=prepared.audit,
        settings=settings,
        versions=versions(),
        seconds=seconds,
    )
    reason = unlearned(result)
    if reason is not None and plan:
        warnings.warn(
            f"{reason}. {advice(prepared.classifier)}",
            ConvergenceWarning,
            stacklevel=stacklevel_of_caller(),
        )
    return result


def _train_open_folds(
    training: _NetworkTraining | _ClassifierTraining,
    plan: Plan,
    finished: Mapping[int, FoldResult],
    targets: np.ndarray,
    store: FoldStore | None,
    bar: Any,
) -> dict[int, FoldResult]:
    """Return the finished folds and those of the plan, each of which is written at once."""
    found, errors = dict(finished), {}
    for number, outcome in training.outcomes(plan, bar):
        if isinstance(outcome, Exception):
            errors[number] = outcome
            continue
        found[number] = outcome
        if store is not None:
            store.save(number, outcome)
        hits = [(fold.predicted == targets[fold.test]).mean() for fold in found.values()]
        bar.set_postfix_str(f"accuracy {np.mean(hits):.3f} in {len(found)} folds")
    if errors:
        raise FoldError(errors, found) from errors[min(errors)]
    return found


class _NetworkTraining:
    """The folds of a classifier: one trunk, one compiled tail, or several processes."""

    unit = "epoch"

    def __init__(self, prepared: Prepared, n_jobs: int | None, folder: str | Path | None) -> None:
        self.classifier, self.images = prepared.classifier, prepared.images
        self.classes, self.targets = check_classes(prepared.labels)
        self.n_jobs, self.folder = n_jobs, folder
        self.steps = self.classifier.epochs
        parameters = described(self.classifier)
        # Not by each worker: machines may differ in what "auto" is.
        self.classifier.set_params(precision=dtype_policy(self.classifier.precision))
        self.extension = self.classifier._extend(self.classes)
        self.extension.training["groups"] = prepared.groups
        network = self.extension.network
        below_head = keras.Model(network.input, network.layers[-1].input)
        self.settings = {
            "transfer": parameters,
            "precision": self.classifier.precision,
            "device": device_kind(),
            "source": weights_digest(network, but=network.layers[-1]),
            "architecture": graph_digest(network),
            "outputs on noise": output_on_noise(below_head),
            "views_seed": self.classifier.random_state,
        }

    def run_trunk(self, *, verbose: int) -> None:
        """Compute the features, which all folds share."""
        self.features = self.extension.trunk(self.images, verbose=verbose)

    def outcomes(self, plan: Plan, bar: Any) -> Iterator[Outcome]:
        """Yield each fold's result, or what went wrong."""
        n_workers = min(n_workers_of(self.n_jobs), len(plan))
        if n_workers == 1:
            shared = self.extension, self.features, self.targets
            yield from _one_by_one(
                plan,
                lambda train, test, seed: train_fold(
                    *shared, train, test, seed, on_epoch=bar.update
                ),
            )
            return
        extended = self.classifier, self.classes, self.extension.training["groups"]
        work = extended, self.features, self.targets
        for outcome in train_in_workers(work, plan, self.n_jobs, n_workers, self.folder):
            bar.update(self.steps)
            yield outcome


class _ClassifierTraining:
    """The folds of any other classifier of scikit-learn, one after another."""

    unit = "fold"
    steps = 1

    def __init__(self, prepared: Prepared) -> None:
        classes, _ = check_classes(prepared.labels)
        data = prepared.images, prepared.labels, prepared.groups, classes
        self.fit = lambda *fold: fit_fold(prepared.classifier, *data, *fold)
        self.settings = {"transfer": described(prepared.classifier), "device": device_kind()}

    def run_trunk(self, *, verbose: int) -> None:
        """Nothing is shared; a feature extractor finds again what it has seen."""

    def outcomes(self, plan: Plan, bar: Any) -> Iterator[Outcome]:
        """Yield each fold's result, or what went wrong."""
        for outcome in _one_by_one(plan, self.fit):
            bar.update()
            yield outcome


def _one_by_one(plan: Plan, train: Callable[..., FoldResult]) -> Iterator[Outcome]:
    for number, fold in plan.items():
        outcome: FoldResult | Exception
        try:
            outcome = train(*fold)
        except Exception as error:
            outcome = error
        yield number, outcome
