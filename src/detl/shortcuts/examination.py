"""A classifier under examination, and what was found so far."""

from __future__ import annotations

from typing import Any

import numpy as np

from detl.checks import check_images, check_number
from detl.shortcuts.regions import Array
from detl.shortcuts.baseline_classifiers import LINEAR, Predict, fitted, on_the_folds_of
from detl.shortcuts.shares import shares, units_of, units_per_class
from detl.shortcuts.verdicts import Figure, ShortcutReport, ShortcutTest, listed, verdict_of
from detl.storage.digests import array_digest
from detl.validation.differences import compare_results
from detl.validation.results import CrossValidationResult

# Finds a marker in half of the images of a class, see studies/are_planted_shortcuts_found.
THRESHOLD = 0.33


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
        """Return all that was found."""
        return ShortcutReport(tests=self.tests, results=self.results)

    def add_test(
        self, name: str, question: str, measure: str, figures: dict[Any, Figure], note: str
    ) -> None:
        """Add a test whose figures are suspicious above the threshold."""
        self.tests[name] = ShortcutTest(
            question=question,
            measure=measure,
            figures=figures,
            threshold=self.threshold,
            verdict=verdict_of(figures, threshold=self.threshold, suspicious="above"),
            note=note,
        )

    def add_blind(self, name: str, question: str, result: CrossValidationResult) -> None:
        """Add a result of what cannot see the object: what it tells, it tells by a shortcut."""
        figures, untold = shares(result, self.network)
        note = ""
        if untold:
            note = f"Not judged, for the network hardly tells them: {listed(untold)}."
        measure = "share of the network's ROC AUC above 1/2 that is kept"
        self.results[name] = result
        self.add_test(name, question, measure, figures, note)

    def add_linear(self, name: str, question: str, features: Array) -> None:
        """Add a logistic regression on what cannot see the object."""
        predict = fitted(LINEAR, features, self.network)
        self.add_blind(name, question, on_the_folds_of(self.network, name, predict))

    def add_rival(self, name: str, question: str, predict: Predict) -> None:
        """Add what sees the whole image: it is a rival, and no shortcut."""
        result = on_the_folds_of(self.network, name, predict)
        compared = compare_results({"network": self.network, name: result}, score="roc_auc")
        (difference,) = compared.differences
        figure = Figure(
            value=difference.mean,
            low=difference.interval.low,
            high=difference.interval.high,
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
