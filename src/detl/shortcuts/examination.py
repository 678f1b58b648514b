"""The classifier under examination, and the results so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from detl.checks import check_images, check_number
from detl.shortcuts.baseline_classifiers import LINEAR, Predict, fitted, on_the_folds_of
from detl.shortcuts.regions import Array
from detl.shortcuts.shares import shares, units_of, units_per_class
from detl.shortcuts.verdicts import Estimate, ShortcutReport, ShortcutTest, listed, verdict_of
from detl.storage.digests import array_digest
from detl.validation.differences import compare_results
from detl.validation.results import CrossValidationResult

# Finds a marker in half of the images of a class, see studies/are_planted_shortcuts_found.
THRESHOLD = 0.33
REMAINS = "share of the network's ROC AUC above 1/2 that remains"


class Examination:
    """Collect tests of one classifier, all on the folds on which it was cross-validated.

    ``targets`` has the index of the class of each image, ``units`` its group, or its number.
    """

    def __init__(self, network: Any, images: Any, *, threshold: float) -> None:
        if not isinstance(network, CrossValidationResult):
            raise TypeError(
                f"result is {type(network).__name__}; expected what detl.cross_validate returns."
            )
        check_number("threshold", threshold, above=0, at_most=1)
        self.network = network
        self.images: Array = check_images(images, any_scale=True)  # they have been trained on
        self.threshold = threshold
        if array_digest(self.images) != network.settings["images"]:
            raise ValueError(
                f"images of shape {self.images.shape} are not those that were cross-validated; "
                "give the same, in the same order and of the same type."
            )
        self.targets = np.searchsorted(network.classes, network.labels)
        self.units = units_of(network)
        self.tests: dict[str, ShortcutTest] = {}
        self.results: dict[str, CrossValidationResult] = {"network": network}

    def report(self) -> ShortcutReport:
        """Return the report of all tests so far."""
        return ShortcutReport(tests=self.tests, results=self.results)

    def add_test(
        self, name: str, question: str, measure: str, estimates: dict[Any, Estimate], note: str
    ) -> None:
        """Add a test in which an estimate above the threshold suggests a shortcut."""
        self.tests[name] = ShortcutTest(
            question=question,
            measure=measure,
            estimates=estimates,
            threshold=self.threshold,
            verdict=verdict_of(estimates, threshold=self.threshold, suspicious="above"),
            note=note,
        )

    def add_blind(self, name: str, question: str, result: CrossValidationResult) -> None:
        """Add the result of a classifier that cannot see the object: its skill is a shortcut."""
        estimates, unskilled = shares(result, self.network)
        note = ""
        if unskilled:
            note = f"Not judged, because the network hardly recognizes them: {listed(unskilled)}."
        self.results[name] = result
        self.add_test(name, question, REMAINS, estimates, note)

    def add_linear(self, name: str, question: str, features: Array) -> None:
        """Add a logistic regression on features that do not show the object."""
        predict = fitted(LINEAR, features, self.network)
        self.add_blind(name, question, on_the_folds_of(self.network, name, predict))

    def add_baseline(self, name: str, question: str, predict: Predict) -> None:
        """Add a baseline that sees the whole image: a good score does not mean a shortcut."""
        result = on_the_folds_of(self.network, name, predict)
        compared = compare_results({"network": self.network, name: result}, score="roc_auc")
        (difference,) = compared.differences
        estimate = Estimate(
            value=difference.mean,
            low=difference.interval.low,
            high=difference.interval.high,
            units=min(units_per_class(result).values()),
        )
        better = {"above": "network is better", "below": f"{name} is better"}
        self.results[name] = result
        self.tests[name] = ShortcutTest(
            question=question,
            measure="ROC AUC of the network minus that of the baseline, mean over classes",
            estimates={"all": estimate},
            threshold=None,
            suspicious="below",
            verdict=better.get(estimate.lies(0), "no difference shown"),
        )
