"""The network under examination, trained once more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from detl.networks.digests import weights_digest
from detl.pretraining.source import load_source
from detl.shortcuts.examination import Examination
from detl.shortcuts.regions import Array
from detl.storage.digests import names_digest
from detl.storage.run_directory import differences
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.cross_validation import cross_validate
from detl.validation.estimators import check_classifier, described
from detl.validation.fold_training import train_folds
from detl.validation.preparation import Prepared
from detl.validation.results import CrossValidationResult


class Trainer:
    """Train the network under examination once more, on other images, labels or folds.

    Each training has a folder of its own in ``checkpoint_dir``.
    """

    def __init__(
        self,
        examination: Examination,
        classifier: Any,
        *,
        checkpoint_dir: str | Path | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        network = examination.network
        _check_same(classifier, network.settings["transfer"])
        classifier = clone(classifier)
        if isinstance(classifier, DomainExtensionTransfer):
            classifier.set_params(verbose=0, random_state=int(network.settings["views_seed"]))
            if isinstance(classifier.source, str | Path):
                classifier.set_params(source=load_source(classifier.source))
            _check_same_source(classifier, network)
        self.classifier = classifier
        self._subject = Prepared(
            classifier=classifier,
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
        subject, classifier = self._subject, self.classifier
        rows = np.arange(len(subject.labels)) if rows is None else rows
        weights = getattr(classifier, "class_weight", None)
        if isinstance(weights, dict) and labels is not subject.labels:
            # Weights of the classes are none of other labels.
            classifier = clone(classifier).set_params(class_weight="balanced")
        return cross_validate(
            classifier,
            subject.images[rows],
            labels[rows],
            groups=None if subject.groups is None else subject.groups[rows],
            cv=cv,
            on_leak="ignore",  # the audit of the result under examination warned already
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


def _check_same(classifier: Any, validated: dict[str, Any]) -> None:
    """Refuse another classifier than was cross-validated, as far as its parameters tell."""
    check_classifier(classifier, name="classifier")
    given, expected = (
        json.loads(json.dumps(words)) for words in (described(classifier), validated)
    )
    missing = sorted(expected.keys() - given.keys())
    if missing:
        raise ValueError(
            f"classifier is {classifier!r}, but the result is an average or belongs to another "
            f"kind of classifier: its settings have {', '.join(missing)}. Give the result that "
            "cross_validate returned for this classifier."
        )
    for name, value in expected.items():
        if any(differences(value, given[name])):
            raise ValueError(
                f"classifier has {name}={given[name]!r}, but {value!r} was cross-validated; give "
                "the same classifier."
            )


def _check_same_source(classifier: DomainExtensionTransfer, network: CrossValidationResult) -> None:
    """Refuse a network with other weights than the one that was cross-validated."""
    copied = clone(classifier).set_params(precision=network.settings["precision"])
    extended = copied._extend(network.classes).network
    if weights_digest(extended, but=extended.layers[-1]) != network.settings["source"]:
        raise ValueError(
            "The source of classifier has other weights than the one that was cross-validated; "
            "give that one."
        )
