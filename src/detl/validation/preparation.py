"""What comes before the training: arguments are checked, folds are drawn and audited."""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from detl import folds
from detl.checks import check_classes, check_images, check_labels
from detl.pretraining.source import load_source
from detl.seeds import integer_seed, seed_sequence
from detl.storage.digests import names_digest
from detl.storage.run_directory import check_repeatable
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.estimators import (
    check_classifier,
    check_decisions,
    check_groups,
    check_picklable,
)
from detl.validation.parallel import n_workers_of


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A cross-validation whose arguments are checked and whose folds are drawn and audited."""

    classifier: Any
    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None
    indices: list[folds.Indices]
    fold_seeds: list[int]
    interval_seed: int
    audit: folds.Audit
    seconds: float


def prepare(
    classifiers: Mapping[str, Any],
    images: Any,
    labels: Any,
    *,
    groups: Any,
    n_splits: int | None,
    n_repeats: int | None,
    cv: Any,
    source_groups: Sequence[Any],
    checkpoint_dir: str | Path | None,
    n_jobs: int | None,
    random_state: Any,
) -> list[Prepared]:
    """Do all that comes before the training, on the same folds and seeds for all classifiers.

    ``classifiers`` are named as messages call them; each has its ``source_groups``.
    """
    started = time.perf_counter()
    for name, classifier in classifiers.items():
        check_classifier(classifier, name=name)
    check_repeatable(checkpoint_dir, random_state)
    n_workers_of(n_jobs)
    cloned = {name: _cloned(classifier) for name, classifier in classifiers.items()}
    for name, classifier in cloned.items():
        if isinstance(classifier, DomainExtensionTransfer):
            images, labels = classifier._check_data(images, labels, names=("images", "labels"))
        else:
            images = check_images(images, any_scale=True)
            labels = check_labels(labels, len(images))
            check_decisions(classifier, len(check_classes(labels)[0]), name=name)
            if checkpoint_dir is not None:
                check_picklable(classifier, name=name)
    check_classes(labels)
    labels = labels.copy()  # the result is read long after the caller may have changed his
    if groups is not None:
        groups = check_labels(groups, len(images), name="groups").copy()
    for name, classifier in cloned.items():
        check_groups(classifier, groups, name=name)
    split_seed, interval_seed, fold_seed = seed_sequence(random_state).spawn(3)
    indices = _indices(labels, groups, n_splits, n_repeats, cv, integer_seed(split_seed))
    *seeds, views_seed = (integer_seed(seed) for seed in fold_seed.spawn(len(indices) + 1))
    audits: dict[str | None, folds.Audit] = {}  # copies of images take a while to find
    prepared = []
    for classifier, of_source in zip(cloned.values(), source_groups, strict=True):
        if isinstance(classifier, DomainExtensionTransfer):
            classifier.set_params(random_state=views_seed)
        source = None
        if of_source is not None:
            of_source = check_labels(of_source, name="source_groups", of="images of the source")
            source = names_digest(of_source)
        if source not in audits:
            audits[source] = folds.audit(
                indices, labels, groups=groups, images=images, source_groups=of_source
            )
        prepared.append(
            Prepared(
                classifier=classifier,
                images=images,
                labels=labels,
                groups=groups,
                indices=indices,
                fold_seeds=seeds,
                interval_seed=integer_seed(interval_seed),
                audit=audits[source],
                seconds=time.perf_counter() - started,
            )
        )
    return prepared


def _cloned(classifier: Any) -> Any:
    classifier = clone(classifier)
    if isinstance(classifier, DomainExtensionTransfer):
        classifier.set_params(verbose=0)
        if isinstance(classifier.source, (str, Path)):
            # Read once: workers may not see the file, or see another one by then.
            classifier.set_params(source=load_source(classifier.source))
    return classifier


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
