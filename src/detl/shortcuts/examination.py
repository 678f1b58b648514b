"""A classifier under examination, and what was found so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from detl.checks import check_images, check_positive
from detl.shortcuts.regions import Array
from detl.shortcuts.rival_classifiers import Predict, linear, on_the_folds_of
from detl.shortcuts.shares import shares, units_per_class
from detl.shortcuts.verdicts import Figure, ShortcutReport, ShortcutTest, listed, verdict_of
from detl.storage.digests import array_digest
from detl.validation.comparison import compare_results
from detl.validation.estimators import fit_fold
from detl.validation.results import CrossValidationResult, FoldResult

# Finds a marker in half of the images of a class, see studies/are_planted_shortcuts_found.
THRESHOLD = 0.33


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
