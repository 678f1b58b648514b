"""Judge a transfer by k-fold cross-validation: every prediction is of an image not trained on."""

from __future__ import annotations

import copy
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import joblib
import keras
import numpy as np
from sklearn.base import clone

from detl import folds
from detl.checks import check_choice, check_classes, check_count, check_images, check_labels
from detl.networks.digests import graph_digest, weights_digest
from detl.networks.precision import dtype_policy
from detl.networks.probe import output_on_noise
from detl.pretraining.source import load_source
from detl.progress import progress_bar
from detl.seeds import integer_seed, seed_sequence
from detl.storage.digests import array_digest, names_digest
from detl.storage.run_directory import check_repeatable, versions
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.checkpoints import WORK, FoldStore, Plan
from detl.validation.estimators import (
    check_classifier,
    check_decisions,
    check_groups,
    check_picklable,
    described,
    fit_fold,
)
from detl.validation.results import CrossValidationResult, FoldResult
from detl.validation.workers import Said, Work, train_fold, train_in_worker


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


def cross_validate(
    transfer: Any,
    images: Any,
    labels: Any,
    *,
    groups: Any = None,
    n_splits: int | None = None,
    n_repeats: int | None = None,
    cv: Any = None,
    source_groups: Any = None,
    on_leak: Literal["warn", "raise", "ignore"] = "warn",
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: int = 0,
) -> CrossValidationResult:
    """Cross-validate a transfer, by default with stratified folds that keep groups together.

    The frozen trunk runs once for all folds, and one compiled tail is reset before each.

    Parameters
    ----------
    transfer : DomainExtensionTransfer, or another classifier of scikit-learn
        Left unfitted. Its ``random_state`` and ``verbose`` play no part. Another classifier is
        fitted on the images of each fold anew, such as
        ``make_pipeline(FeatureExtractor(source), StandardScaler(), LogisticRegression())``; the
        softmax of its decisions, scaled down where they are large, stands for probabilities that
        it does not give, and is not calibrated. If it splits its training images by group, as
        ``GridSearchCV(..., cv=StratifiedGroupKFold())`` does, it is given their ``groups``.
    images : numpy.ndarray of shape (n, height, width, channels)
        Pixels in [0, 255]; may be a memory map.
    labels : array-like of shape (n,)
        Class of each image, strings or integers.
    groups : array-like of shape (n,), optional
        Patient (or what else repeats) of each image. Give it wherever one patient has several
        images: otherwise the same patient is trained and tested on, and the accuracy flatters.
    n_splits : int, default=5
        Number of folds.
    n_repeats : int, default=1
        How often all images are split anew into ``n_splits`` folds.
    cv : scikit-learn splitter or iterable of (train, test), optional
        Folds of your own in place of ``n_splits`` and ``n_repeats``, such as
        ``StratifiedKFold(5, shuffle=True)`` or what
        :func:`detl.folds.leave_one_collection_out` returns. A splitter without a seed of its own
        draws from ``random_state``.
    source_groups : array-like of shape (n_source,), optional
        Groups (patients) of the images that the source was trained on, so that the audit can tell
        which of them are also tested on here.
    on_leak : {"warn", "raise", "ignore"}, default="warn"
        What to do when the audit finds groups or copies of images on both sides.
    checkpoint_dir : path, optional
        Where each finished fold is written as one file. A run that breaks off goes on from there,
        to the same result. A directory of another run is refused, and so is
        ``random_state=None``, with which no run is ever the same.
    n_jobs : int, optional
        Folds that are trained at a time, each in a process of its own with its share of the
        processor's threads; -1 takes all cores. By default 1, or what
        ``joblib.parallel_config`` says. More than 1 does not pay on a single GPU. Classifiers other
        than a transfer are fitted one after another, and may have an ``n_jobs`` of their own.
    random_state : int, numpy generator or None
        Seeds the folds, augmented views and, spawned from it, each fold's new layer, order of
        images and dropout.
    verbose : int, default=0
        1 shows a progress bar over folds and epochs.

    Returns
    -------
    CrossValidationResult
        Out-of-fold predictions of every image, scores with intervals, and the audit of the folds.

    Raises
    ------
    TypeError
        If ``transfer`` is no classifier, or gives neither probabilities nor decisions.
    ValueError
        If labels, groups or images do not fit, a class has fewer images or groups than
        ``n_splits``, the audit found a leak and ``on_leak="raise"``, or ``checkpoint_dir`` belongs
        to another run. Nothing has been trained then.
    OSError
        If ``checkpoint_dir`` cannot be written to.
    FoldError
        If a fold failed, such as by a training that diverged; the other folds are in it.

    Notes
    -----
    The number of threads decides the order of sums, so that two runs with another ``n_jobs`` agree
    to rounding, and to the last bit where the threads are as many, see the how-to on parallel
    folds.

    References
    ----------
    Basu et al. 2020, sec. IV: stratified 5-fold cross-validation.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import DomainExtensionTransfer, backbones, cross_validate
    >>> images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 1), dtype="uint8")
    >>> labels, patients = ["normal", "covid"] * 6, np.arange(12) // 2
    >>> source = backbones.vgg16((32, 32, 1), width=0.125)  # untrained: only to show the call
    >>> transfer = DomainExtensionTransfer(source, epochs=1)
    >>> result = cross_validate(
    ...     transfer, images, labels, groups=patients, n_splits=3, random_state=0
    ... )
    >>> result.interval.method
    'percentile bootstrap over 6 groups, 2000 draws, too narrow under 20 groups'
    >>> result.predictions.shape
    (12,)
    >>> result.confusion_matrix.sum().item()
    12
    """
    check_choice("on_leak", on_leak, ("warn", "raise", "ignore"))
    prepared = prepare(
        transfer,
        images,
        labels,
        groups=groups,
        n_splits=n_splits,
        n_repeats=n_repeats,
        cv=cv,
        source_groups=source_groups,
        checkpoint_dir=checkpoint_dir,
        n_jobs=n_jobs,
        random_state=random_state,
        audits={},
    )
    react_to_leaks({"": prepared.audit}, on_leak)
    return train_folds(prepared, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose)


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A cross-validation whose arguments are checked and whose folds are drawn and audited."""

    transfer: Any
    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None
    indices: list[folds.Indices]
    fold_seeds: list[int]
    interval_seed: int
    audit: folds.Audit
    seconds: float


def prepare(
    transfer: Any,
    images: Any,
    labels: Any,
    *,
    groups: Any,
    n_splits: int | None,
    n_repeats: int | None,
    cv: Any,
    source_groups: Any,
    checkpoint_dir: str | Path | None,
    n_jobs: int | None,
    random_state: Any,
    audits: dict[str | None, folds.Audit],
) -> Prepared:
    """Do all of :func:`cross_validate` that comes before the training.

    ``audits`` keeps what was found for each ``source_groups``: copies of images take a while to
    find, and another transfer on the same folds has the same.
    """
    check_classifier(transfer, name="transfer")
    check_repeatable(checkpoint_dir, random_state)
    _n_workers(n_jobs)
    started = time.perf_counter()
    transfer = clone(transfer)
    if isinstance(transfer, DomainExtensionTransfer):
        transfer.set_params(verbose=0)
        if isinstance(transfer.source, (str, Path)):
            # Read once: workers may not see the file, or see another one by then.
            transfer.set_params(source=load_source(transfer.source))
        images, labels = transfer.check_data(images, labels, names=("images", "labels"))
    else:
        images = check_images(images)
        labels = check_labels(labels, len(images))
        check_decisions(transfer, len(check_classes(labels)[0]), name="transfer")
        if checkpoint_dir is not None:
            check_picklable(transfer, name="transfer")
    check_classes(labels)
    labels = labels.copy()  # the result is read long after the caller may have changed his
    if groups is not None:
        groups = check_labels(groups, len(images), name="groups").copy()
    check_groups(transfer, groups, name="transfer")
    split_seed, interval_seed, fold_seed = seed_sequence(random_state).spawn(3)
    indices = _indices(labels, groups, n_splits, n_repeats, cv, integer_seed(split_seed))
    *seeds, views_seed = (integer_seed(seed) for seed in fold_seed.spawn(len(indices) + 1))
    if isinstance(transfer, DomainExtensionTransfer):
        transfer.set_params(random_state=views_seed)
    source = None if source_groups is None else names_digest(np.asarray(source_groups))
    if source not in audits:
        audits[source] = folds.audit(
            indices, labels, groups=groups, images=images, source_groups=source_groups
        )
    return Prepared(
        transfer=transfer,
        images=images,
        labels=labels,
        groups=groups,
        indices=indices,
        fold_seeds=seeds,
        interval_seed=integer_seed(interval_seed),
        audit=audits[source],
        seconds=time.perf_counter() - started,
    )


def train_folds(
    prepared: Prepared, *, checkpoint_dir: str | Path | None, n_jobs: int | None, verbose: int
) -> CrossValidationResult:
    """Train every fold that is not finished yet, and collect."""
    started = time.perf_counter() - prepared.seconds
    transfer, images, labels = prepared.transfer, prepared.images, prepared.labels
    indices, seeds = prepared.indices, prepared.fold_seeds
    classes, targets = check_classes(labels)
    training: _Training = (
        _NetworkTraining(prepared, classes, targets, n_jobs, checkpoint_dir)
        if isinstance(transfer, DomainExtensionTransfer)
        else _ClassifierTraining(prepared, classes)
    )
    settings = {
        **training.settings,
        "images": array_digest(images),
        "labels": names_digest(labels),
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
            training.prepare(verbose=verbose)
            seconds["features"] = time.perf_counter() - started
            finished = _train_open_folds(training, plan, finished, targets, store, verbose=verbose)
    seconds["total"] = time.perf_counter() - started
    return CrossValidationResult(
        classes=classes,
        labels=labels,
        groups=prepared.groups,
        folds=tuple(finished[number] for number in range(len(indices))),
        audit=prepared.audit,
        settings=settings,
        versions=versions(),
        seconds=seconds,
    )


def _train_open_folds(
    training: _Training,
    plan: Plan,
    finished: Mapping[int, FoldResult],
    targets: np.ndarray,
    store: FoldStore | None,
    *,
    verbose: int,
) -> dict[int, FoldResult]:
    """Return the finished folds and those of the plan, each of which is written at once."""
    found, errors = dict(finished), {}
    n_steps = len(plan) * training.steps
    with progress_bar(n_steps, verbose=verbose, description="folds", unit=training.unit) as bar:
        for number, outcome in training.outcomes(plan, bar):
            if isinstance(outcome, Exception):
                errors[number] = outcome
                continue
            found[number] = outcome
            if store is not None:
                store.save(number, outcome)
            bar.set_postfix_str(
                f"accuracy {_accuracy_so_far(found, targets):.3f} in {len(found)} folds"
            )
    if errors:
        raise FoldError(errors, found) from errors[min(errors)]
    return found


def _indices(
    labels: np.ndarray,
    groups: np.ndarray | None,
    n_splits: int | None,
    n_repeats: int | None,
    cv: Any,
    seed: int,
) -> list[folds.Indices]:
    if cv is None:
        return folds.stratified_folds(
            labels,
            groups=groups,
            n_splits=5 if n_splits is None else n_splits,
            n_repeats=1 if n_repeats is None else n_repeats,
            random_state=seed,
        )
    for name, value in (("n_splits", n_splits), ("n_repeats", n_repeats)):
        if value is not None:
            raise ValueError(f"{name}={value!r} is given together with cv; leave one of them out.")
    if getattr(cv, "random_state", seed) is None:
        cv = copy.copy(cv)  # the caller's own is not to be seeded
        cv.random_state = seed
    return folds.from_splitter(cv, labels, groups=groups)


def _accuracy_so_far(finished: dict[int, FoldResult], targets: np.ndarray) -> float:
    hits = [fold.probabilities.argmax(axis=1) == targets[fold.test] for fold in finished.values()]
    return float(np.mean([of_fold.mean() for of_fold in hits]))


def leaks_of(audits: Mapping[str, folds.Audit]) -> list[str]:
    """Return each leak once; those that not all have, with the transfers that have them."""
    having: dict[str, list[str]] = {}
    for name, audit in audits.items():
        for leak in audit.leaks:
            having.setdefault(leak, []).append(name)
    return [
        leak if len(names) == len(audits) else f"{leak} (The source of {', '.join(names)}.)"
        for leak, names in having.items()
    ]


def react_to_leaks(audits: Mapping[str, folds.Audit], on_leak: str) -> None:
    """Warn of leaks or refuse them, before anything is trained."""
    leaks = leaks_of(audits)
    if not leaks or on_leak == "ignore":
        return
    message = "The folds leak: " + " ".join(leaks)
    if on_leak == "raise":
        advice = []
        if any(audit.leaks_across for audit in audits.values()):
            advice.append("Give groups, and remove copies, before anything is trained.")
        if any(audit.leaks_from_source for audit in audits.values()):
            advice.append(
                "Train the source without the groups of the target, or leave their images out of "
                "the target."
            )
        raise ValueError(" ".join([message, *advice]))
    warnings.warn(message, UserWarning, stacklevel=3)


def described_transfer(transfer: DomainExtensionTransfer) -> dict[str, Any]:
    """Return the parameters that decide the result, in JSON's terms."""
    parameters = transfer.get_params(deep=False)
    for name in ("source", "random_state", "verbose", "cache_dir"):
        del parameters[name]
    if parameters["augmentation"] is not None:
        parameters["augmentation"] = asdict(parameters["augmentation"])
    weights = parameters["class_weight"]
    if isinstance(weights, dict):
        parameters["class_weight"] = {str(name): float(w) for name, w in weights.items()}
    # A grid search sets numpy's numbers, which JSON does not know.
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in parameters.items()}


def _device() -> str:
    """Return the kind of device that Keras computes on: ``"cpu"``, ``"gpu"`` or ``"tpu"``."""
    name = str(keras.ops.zeros(1).device).lower()
    kinds = {"gpu": "gpu", "cuda": "gpu", "rocm": "gpu", "mps": "gpu", "metal": "gpu", "tpu": "tpu"}
    return next((kind for part, kind in kinds.items() if part in name), "cpu")


# ------------------------------------------------------------------------------- the training

Outcome = tuple[int, "FoldResult | Exception"]


class _Training(Protocol):
    """How the folds of one kind of classifier are trained.

    Attributes
    ----------
    settings : dict
        What decides the result, beside data, folds and seeds.
    steps, unit
        Of the progress bar: steps per fold, and what one is called.
    """

    settings: dict[str, Any]
    steps: int
    unit: str

    def prepare(self, *, verbose: int) -> None:
        """Do what all folds share."""

    def outcomes(self, plan: Plan, bar: Any) -> Iterator[Outcome]:
        """Yield each fold's result, or what went wrong."""


class _NetworkTraining:
    """The folds of a transfer: one trunk, one compiled tail, or several processes."""

    unit = "epoch"

    def __init__(
        self,
        prepared: Prepared,
        classes: np.ndarray,
        targets: np.ndarray,
        n_jobs: int | None,
        folder: str | Path | None,
    ) -> None:
        self.transfer, self.images = prepared.transfer, prepared.images
        self.classes, self.targets = classes, targets
        self.n_jobs, self.folder = n_jobs, folder
        self.steps = self.transfer.epochs
        described = described_transfer(self.transfer)
        # Not by each worker: machines may differ in what "auto" is.
        self.transfer.set_params(precision=dtype_policy(self.transfer.precision))
        self.training = self.transfer.training(classes)
        self.extension = self.transfer.extend(len(classes))
        network = self.extension.network
        below_head = keras.Model(network.input, network.layers[-1].input)
        self.settings = {
            "transfer": described,
            "precision": self.transfer.precision,
            "device": _device(),
            "source": weights_digest(network, but=network.layers[-1]),
            "architecture": graph_digest(network),
            "outputs on noise": output_on_noise(below_head),
            "views_seed": self.transfer.random_state,
        }

    def prepare(self, *, verbose: int) -> None:
        self.features = self.extension.trunk(self.images, verbose=verbose)

    def outcomes(self, plan: Plan, bar: Any) -> Iterator[Outcome]:
        n_workers = min(_n_workers(self.n_jobs), len(plan))
        if n_workers == 1:
            yield from _train_here(
                self.extension, self.training, self.features, self.targets, plan, bar
            )
            return
        for outcome in _train_in_workers(
            self.transfer,
            self.classes,
            self.features,
            self.targets,
            plan,
            n_workers,
            self.n_jobs,
            self.folder,
        ):
            bar.update(self.steps)
            yield outcome


class _ClassifierTraining:
    """The folds of any other classifier of scikit-learn, one after another."""

    unit = "fold"
    steps = 1

    def __init__(self, prepared: Prepared, classes: np.ndarray) -> None:
        self.prepared, self.classes = prepared, classes
        self.settings = {"transfer": described(prepared.transfer), "device": _device()}

    def prepare(self, *, verbose: int) -> None:
        """Nothing is shared; a feature extractor finds again what it has seen."""

    def outcomes(self, plan: Plan, bar: Any) -> Iterator[Outcome]:
        subject = self.prepared
        for number, fold in plan.items():
            outcome: FoldResult | Exception
            try:
                outcome = fit_fold(
                    subject.transfer,
                    subject.images,
                    subject.labels,
                    subject.groups,
                    self.classes,
                    *fold,
                )
            except Exception as error:
                outcome = error
            bar.update()
            yield number, outcome


def _train_here(
    extension: Any,
    training: dict[str, Any],
    features: np.ndarray,
    targets: np.ndarray,
    plan: Plan,
    bar: Any,
) -> Iterator[Outcome]:
    for number, (train, test, seed) in plan.items():
        outcome: FoldResult | Exception
        try:
            outcome = train_fold(
                extension, training, features, targets, train, test, seed, bar.update
            )
        except Exception as error:
            outcome = error
        yield number, outcome


def _train_in_workers(
    transfer: DomainExtensionTransfer,
    classes: np.ndarray,
    features: np.ndarray,
    targets: np.ndarray,
    plan: Plan,
    n_workers: int,
    n_jobs: int | None,
    folder: str | Path | None,
) -> Iterator[Outcome]:
    backend = joblib.parallel.get_active_backend()[0]
    # From Ray all folds come at the end.
    return_as = "generator_unordered" if backend.supports_return_generator else "list"
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as=return_as, pre_dispatch="all")
    with _shared_folder(folder) as shared:
        work = Work(folder=shared, n_workers=n_workers)
        work.write(transfer, classes, features, targets)
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
            warnings.warn(f"Fold {number}: {text}", category, stacklevel=4)
    except Warning as error:
        return error
    return outcome


@contextmanager
def _shared_folder(parent: str | Path | None) -> Iterator[Path]:
    """Make a folder for what workers read; in ``checkpoint_dir``, which a cluster can share."""
    # What a network disk does not let go of at once must not cost the result.
    with tempfile.TemporaryDirectory(prefix=WORK, dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder).absolute()


def _n_workers(n_jobs: int | None) -> int:
    if n_jobs is not None:
        check_count("n_jobs", abs(n_jobs) if isinstance(n_jobs, int | np.integer) else n_jobs)
    n_workers = joblib.effective_n_jobs(n_jobs)
    backend = joblib.parallel.get_active_backend()[0]
    if n_workers > 1 and type(backend).__name__ in ("ThreadingBackend", "MultiprocessingBackend"):
        raise ValueError(
            f"joblib's {type(backend).__name__} would train folds in threads or forked processes, "
            "which Keras does not survive; use the backend 'loky', 'dask' or 'ray'."
        )
    return int(n_workers)
