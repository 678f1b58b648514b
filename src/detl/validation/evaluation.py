"""How well a fitted classifier does on images from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from detl import metrics
from detl.metrics import OVERALL, PER_CLASS
from detl.metrics.fold_scores import weighted_scores
from detl.metrics.intervals import mean_over_folds, quantiles, units_of
from detl.metrics.scoring import redrawn_scores
from detl.screening.pooling import Estimate, pooled
from detl.validation.analyses import PredictionAnalyses
from detl.validation.evaluation_table import table_of
from detl.validation.patients import Join, joined, name_of, rows_of_groups
from detl.validation.results import CrossValidationResult


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation(PredictionAnalyses):
    """What :func:`evaluate` found; ``print`` it for a table.

    Attributes
    ----------
    classes : numpy.ndarray of shape (n_classes,)
        Classes that the classifier knows, sorted.
    labels : numpy.ndarray of shape (n,)
        Label of each image. Images of a label that is no class are in ``confusion_matrix``, and in
        no score.
    groups : numpy.ndarray of shape (n,) or None
        Group of each image, where groups were given.
    probabilities : numpy.ndarray of shape (n, n_classes)
        Of each image, float32.
    decisions : numpy.ndarray of int, shape (n,), or None
        Index of the class that was decided for, where that is not always the most probable.
    leaks : tuple of str
        What of these images the classifier was trained on, one sentence each.
    internal : CrossValidationResult or None
        What the classifier is held against.
    settings : dict
        ``interval_seed``, the seed of the bootstrap draws; ``by_group`` after :meth:`by_group`.
    """

    classes: np.ndarray
    labels: np.ndarray = field(repr=False)
    groups: np.ndarray | None = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    decisions: np.ndarray | None = field(repr=False)
    leaks: tuple[str, ...]
    internal: CrossValidationResult | None = field(repr=False)
    settings: dict[str, Any] = field(repr=False)

    @cached_property
    def predictions(self) -> np.ndarray:
        """Class that was decided for, ``(n,)``."""
        return self.classes[self._decided]

    @property
    def _decided(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1) if self.decisions is None else self.decisions

    @cached_property
    def predicted_rows(self) -> np.ndarray:
        """Rows of the images whose label is a class, in the order of ``fold_predictions``."""
        return np.flatnonzero(np.isin(self.labels, self.classes))

    @cached_property
    def fold_predictions(self) -> list[metrics.Predictions]:
        """Predictions of the images whose label is a class, in one piece."""
        rows = self.predicted_rows
        targets = np.searchsorted(self.classes, self.labels[rows])
        units = np.arange(len(self.labels))
        if self.groups is not None:
            units = np.unique(self.groups, return_inverse=True)[1]
        return [
            metrics.Predictions(
                targets=targets,
                probabilities=self.probabilities[rows],
                units=units[rows],
                decisions=None if self.decisions is None else self.decisions[rows],
                scored=np.unique(targets),
            )
        ]

    @property
    def absent(self) -> list[Any]:
        """Classes of the classifier of which there is no image."""
        return [name for name in self.classes.tolist() if not (self.labels == name).any()]

    @property
    def unknown(self) -> list[Any]:
        """Labels that the classifier does not know."""
        return [name for name in np.unique(self.labels).tolist() if name not in self.classes]

    @cached_property
    def confusion_matrix(self) -> np.ndarray:
        """Counts ``(n_labels, n_classes)``.

        Rows are the classes, then the ``unknown`` labels; columns are predicted classes.
        """
        n_classes = len(self.classes)
        return np.stack(
            [
                np.bincount(self._decided[self.labels == true], minlength=n_classes)
                for true in [*self.classes.tolist(), *self.unknown]
            ]
        )

    # ------------------------------------------------------------- against the internal result

    @cached_property
    def internal_scores(self) -> dict[str, float]:
        """Internal scores, over the classes of which there are images here too.

        Over all internal predictions at once, areas under ROC curves as means over folds.
        """
        return {name: values[0] for name, values in self._changes[0].items()}

    @cached_property
    def changes(self) -> dict[str, Estimate]:
        """Each score here less the internal one; empty without an internal result.

        The two are redrawn apart, each over its own groups.
        """
        return {name: values[1] for name, values in self._changes[0].items()}

    @cached_property
    def class_changes(self) -> dict[Any, dict[str, Estimate]]:
        """The same for the scores of each class of which there are images here."""
        return {
            label: {name: values[1] for name, values in of_class.items()}
            for label, of_class in self._changes[1].items()
        }

    @cached_property
    def _changes(self) -> tuple[dict[str, Any], dict[Any, dict[str, Any]]]:
        if self.internal is None:
            return {}, {}
        (mine,) = self.fold_predictions
        present = np.unique(mine.targets)
        theirs = [
            _of_classes(fold, present)
            for fold in self.internal.fold_predictions
            if np.isin(fold.targets, present).any()
        ]
        here = weighted_scores(mine)[0]
        drawn, method = redrawn_scores([mine], unit=self.unit, random_state=self._draw_seed)
        there, of_internal = self._internally(theirs, self.internal.unit)
        changes = drawn - of_internal
        # Redrawing raises the calibration error of the smaller set more.
        row = OVERALL.index("calibration_error")
        changes[row] += here[row] - there[row] - changes[row].mean()
        low, high = quantiles(changes)
        n_units = len(units_of(theirs))
        method = f"{method}, and over {n_units} {self.internal.unit} internally"

        def change(i: int) -> tuple[float, Estimate]:
            interval = metrics.Interval(low=float(low[i]), high=float(high[i]), method=method)
            return float(there[i]), Estimate(value=float(here[i] - there[i]), interval=interval)

        overall = {name: change(i) for i, name in enumerate(OVERALL)}
        per_class = {
            label: {
                name: change(len(OVERALL) + k * len(PER_CLASS) + i)
                for i, name in enumerate(PER_CLASS)
            }
            for k, label in enumerate(self.classes.tolist())
            if label not in self.absent
        }
        return overall, per_class

    def _internally(
        self, folds: list[metrics.Predictions], unit: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the internal scores and their draws, all predictions in one as they are here.

        A score of small folds has another expectation than one of many images. Only areas under ROC
        curves are means over folds, because ranks of different networks do not compare.
        """
        one = replace(pooled(folds), scored=folds[0].scored)
        # Another seed: the two sets have nothing in common.
        seed = self._draw_seed + 1
        drawn, _ = redrawn_scores([one], unit=unit, random_state=seed)
        of_folds, _ = redrawn_scores(folds, unit=unit, random_state=seed)
        values = weighted_scores(one)[0]
        means = mean_over_folds([weighted_scores(fold)[0] for fold in folds])
        n_classes = len(self.classes)
        is_area = np.array([*OVERALL, *PER_CLASS * n_classes]) == "roc_auc"
        return (
            np.where(is_area, means, values),
            np.where(is_area[:, np.newaxis], of_folds, drawn),
        )

    @property
    def _chosen_on(self) -> metrics.Predictions | None:
        return None if self.internal is None else pooled(self.internal.fold_predictions)

    # ------------------------------------------------------------------------- other forms

    def by_group(
        self, join: Join = "mean", *, several_labels: Literal["raise", "split"] = "raise"
    ) -> Evaluation:
        """Return the evaluation of groups, such as patients: one row each.

        As :meth:`CrossValidationResult.by_group`, which is done to the internal result too.
        """
        if self.internal is not None and self.groups is not None and self.internal.groups is None:
            raise ValueError(
                "The internal result has no groups; give groups= to cross_validate too, or "
                "evaluate without internal."
            )
        first, row_of = rows_of_groups(self.labels, self.groups, several_labels=several_labels)
        probabilities, decisions = joined(self.probabilities, self.decisions, row_of, join)
        internal = self.internal
        return replace(
            self,
            labels=self.labels[first],
            groups=None if self.groups is None else self.groups[first],
            probabilities=probabilities,
            decisions=decisions,
            internal=None
            if internal is None
            else internal.by_group(join, several_labels=several_labels),
            settings={**self.settings, "by_group": name_of(join, several_labels=several_labels)},
        )

    def __str__(self) -> str:
        """Return the table as text."""
        return table_of(self)


def _of_classes(fold: metrics.Predictions, scored: np.ndarray) -> metrics.Predictions:
    """Return the predictions of images of some classes alone."""
    rows = np.isin(fold.targets, scored)
    return metrics.Predictions(
        targets=fold.targets[rows],
        probabilities=fold.probabilities[rows],
        units=fold.units[rows],
        decisions=None if fold.decisions is None else fold.decisions[rows],
        scored=scored,
    )
