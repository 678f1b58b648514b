"""A classifier under examination: what was found so far, and how to train it once more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from sklearn.base import clone

from detl.checks import check_images, check_positive
from detl.networks.digests import weights_digest
from detl.pretraining.source import load_source
from detl.shortcuts.rival_classifiers import Predict, linear, on_the_folds_of
from detl.shortcuts.verdicts import (
    Figure,
    ShortcutReport,
    ShortcutTest,
    listed,
    shares,
    units_per_class,
    verdict_of,
)
from detl.storage.digests import array_digest, names_digest
from detl.storage.run_directory import differences
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation import estimators
from detl.validation.comparison import compare_results
from detl.validation.cross_validation import (
    Prepared,
    cross_validate,
    described_transfer,
    train_folds,
)
from detl.validation.estimators import check_classifier, fit_fold
from detl.validation.results import CrossValidationResult, FoldResult

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


class Examination:
    """Collect tests of one classifier, all on the folds on which it was cross-validated.

    Parameters
    ----------
    network : CrossValidationResult
        The classifier under examination.
    images : array-like of shape (n, height, width, channels)
        Those that were cross-validated; others are refused.
    threshold : float
        For tests of what cannot see the object.

    Attributes
    ----------
    targets : numpy.ndarray of int, shape (n,)
        Index of the class of each image.
    units : numpy.ndarray of shape (n,)
        Group of each image, or its number.
    tests, results : dict
        What was found so far, as in :class:`detl.shortcuts.ShortcutReport`.
    """

    def __init__(self, network: Any, images: Any, *, threshold: float) -> None:
        if not isinstance(network, CrossValidationResult):
            raise TypeError(
                f"result is {type(network).__name__}; expected what detl.cross_validate returns."
            )
        check_positive("threshold", threshold)
        self.network = network
        self.images: Array = check_images(images)
        self.threshold = threshold
        if array_digest(self.images) != network.settings["images"]:
            raise ValueError(
                f"images of shape {self.images.shape} are not those that were cross-validated; "
                "give the same, in the same order and of the same type."
            )
        self.targets = np.searchsorted(network.classes, network.labels)
        self.units = np.arange(len(self.targets)) if network.groups is None else network.groups
        self.tests: dict[str, ShortcutTest] = {}
        self.results: dict[str, CrossValidationResult] = {"network": network}

    def report(self) -> ShortcutReport:
        """Return all that was found."""
        return ShortcutReport(tests=self.tests, results=self.results)

    def add_blind(self, name: str, question: str, result: CrossValidationResult) -> None:
        """Add a result of what cannot see the object: what it tells, it tells by a shortcut."""
        figures, untold = shares(result, self.network)
        note = ""
        if untold:
            note = f"Not judged, for the network does not tell them: {listed(untold)}."
        self.results[name] = result
        self.tests[name] = ShortcutTest(
            question=question,
            measure="share of the network's ROC AUC above 1/2 that is kept",
            figures=figures,
            threshold=self.threshold,
            verdict=verdict_of(figures, threshold=self.threshold, suspicious="above"),
            note=note,
        )

    def add_linear(self, name: str, question: str, features: Array) -> None:
        """Add a logistic regression on what cannot see the object."""
        predict = linear(features, self.targets, len(self.network.classes))
        self.add_blind(name, question, on_the_folds_of(self.network, name, predict))

    def add_rival(self, name: str, question: str, predict: Predict) -> None:
        """Add what sees the whole image: it is a rival, and no shortcut."""
        result = on_the_folds_of(self.network, name, predict)
        compared = compare_results({"network": self.network, name: result}, score="roc_auc")
        (difference,) = compared.differences
        interval = difference.interval
        figure = Figure(
            value=difference.mean,
            low=interval.low,
            high=interval.high,
            units=min(units_per_class(result).values()),
        )
        better = {"above": "network is better", "below": f"{name} is better"}
        self.results[name] = result
        self.tests[name] = ShortcutTest(
            question=question,
            measure="ROC AUC of the network less that of the rival, mean over classes",
            figures={"all": figure},
            threshold=None,
            suspicious="below",
            verdict=better.get(figure.lies(0), "no difference shown"),
        )

    def add_classifier(self, name: str, question: str, classifier: Any, features: Array) -> None:
        """Add a classifier of scikit-learn, which sees the whole image in features ``(n, ...)``."""
        network = self.network

        def predict(fold: FoldResult) -> Array:
            labels, groups, classes = network.labels, network.groups, network.classes
            rows = (fold.train, fold.test)
            found = fit_fold(classifier, features, labels, groups, classes, *rows, fold.seed)
            return found.probabilities

        self.add_rival(name, question, predict)


class Trainer:
    """Train the network under examination once more, on other images, labels or folds.

    Parameters
    ----------
    examination : Examination
        What it is trained for.
    transfer : DomainExtensionTransfer, or another classifier of scikit-learn
        The one that was cross-validated; another is refused.
    checkpoint_dir, n_jobs, verbose
        As for :func:`detl.cross_validate`; each training has a folder of its own.
    """

    def __init__(
        self,
        examination: Examination,
        transfer: Any,
        *,
        checkpoint_dir: str | Path | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        network = examination.network
        _check_same(transfer, network.settings["transfer"])
        transfer = clone(transfer)
        if isinstance(transfer, DomainExtensionTransfer):
            transfer.set_params(verbose=0, random_state=int(network.settings["views_seed"]))
            if isinstance(transfer.source, str | Path):
                transfer.set_params(source=load_source(transfer.source))
            _check_same_source(transfer, network)
        self.transfer = transfer
        self._subject = Prepared(
            transfer=transfer,
            images=examination.images,
            labels=network.labels,
            groups=network.groups,
            indices=network.indices,
            fold_seeds=network.fold_seeds,
            interval_seed=int(network.settings["interval_seed"]),
            audit=network.audit,
            seconds=0.0,
        )
        self._checkpoint_dir = checkpoint_dir
        self._n_jobs = n_jobs
        self.verbose = verbose

    def on_images(self, name: str, images: Array) -> CrossValidationResult:
        """Repeat the cross-validation on changed images: same folds, same seeds."""
        return train_folds(
            replace(self._subject, images=images),
            checkpoint_dir=self._folder(name),
            n_jobs=self._n_jobs,
            verbose=self.verbose,
        )

    def on_labels(
        self, name: str, labels: Array, *, rows: Array | None = None, cv: Any = None
    ) -> CrossValidationResult:
        """Cross-validate for other labels of these rows, or on other folds."""
        subject, transfer = self._subject, self.transfer
        rows = np.arange(len(subject.labels)) if rows is None else rows
        weights = getattr(transfer, "class_weight", None)
        if isinstance(weights, dict) and labels is not subject.labels:
            # Weights of the classes are none of other labels.
            transfer = clone(transfer).set_params(class_weight="balanced")
        return cross_validate(
            transfer,
            subject.images[rows],
            labels[rows],
            groups=None if subject.groups is None else subject.groups[rows],
            cv=cv,
            on_leak="ignore",  # the audit of the result under examination has said it
            checkpoint_dir=self._folder(name),
            n_jobs=self._n_jobs,
            random_state=subject.interval_seed,
            verbose=self.verbose,
        )

    def _folder(self, name: str) -> Path | None:
        if self._checkpoint_dir is None:
            return None
        folder = "".join(c if c.isalnum() else "_" for c in name)
        if folder != name.replace(" ", "_"):  # "T+" and "T-" are not to share one
            folder += f"_{names_digest(np.array([name]))[:8]}"
        return Path(self._checkpoint_dir) / folder


def _check_same(transfer: Any, described: dict[str, Any]) -> None:
    """Refuse another classifier than was cross-validated, as far as its parameters tell."""
    if not isinstance(transfer, DomainExtensionTransfer):
        check_classifier(transfer, name="transfer")
        if any(differences(described, estimators.described(transfer))):
            raise ValueError(
                f"transfer is {transfer!r}, but {described} was cross-validated; give the same "
                "classifier."
            )
        return
    parameters = json.loads(json.dumps(described_transfer(transfer)))
    for name, value in json.loads(json.dumps(described)).items():
        if not hasattr(transfer, name):  # of an average, of a rival, or of another classifier
            raise ValueError(
                f"The result's settings have {name!r}, which is no parameter of a transfer: it is "
                "not of one transfer alone; give the result that cross_validate returned for it."
            )
        if parameters.get(name) != value:
            raise ValueError(
                f"transfer has {name}={getattr(transfer, name)!r}, but {value!r} was "
                "cross-validated; give the same transfer."
            )


def _check_same_source(transfer: DomainExtensionTransfer, network: CrossValidationResult) -> None:
    """Refuse a network with other weights than the one that was cross-validated."""
    copied = clone(transfer).set_params(precision=network.settings["precision"])
    extended = copied.extend(len(network.classes)).network
    if weights_digest(extended, but=extended.layers[-1]) != network.settings["source"]:
        raise ValueError(
            "transfer has a source with other weights than the one that was cross-validated; give "
            "the same source."
        )
