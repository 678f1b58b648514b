"""Scores and analyses that follow from predictions, for results and evaluations alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from detl import metrics, plots
from detl.notebook import details, with_matrix
from detl.screening import (
    DecisionCurve,
    OperatingPoint,
    Recalibration,
    Subgroups,
    decision_curves,
    operating_points,
)
from detl.screening import recalibration as recalibrations
from detl.screening import subgroups as subgroup_scores
from detl.screening.pooling import pooled
from detl.validation import suspects as suspect_images

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from detl.validation.suspects import Suspects


class PredictionAnalyses(ABC):
    """What a cross-validation result and an evaluation inherit: scores, analyses, a picture.

    Each method works on predictions that are there; nothing is trained or predicted anew.
    """

    classes: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None
    settings: dict[str, Any]

    @property
    @abstractmethod
    def fold_predictions(self) -> list[metrics.Predictions]:
        """Predictions of each fold, for :mod:`detl.metrics`."""

    @property
    @abstractmethod
    def predicted_rows(self) -> np.ndarray:
        """Row of the image of each prediction, in the order of ``fold_predictions``."""

    @property
    @abstractmethod
    def confusion_matrix(self) -> np.ndarray:
        """Counts; rows are true classes, columns predicted ones."""

    @property
    def unit(self) -> str:
        """What an interval redraws as a whole: ``"images"`` or ``"groups"``."""
        return "images" if self.groups is None else "groups"

    @property
    def row_unit(self) -> str:
        """What a row is: ``"images"``, or ``"groups"`` after ``by_group``."""
        return "groups" if "by_group" in self.settings else "images"

    @property
    def _counted(self) -> str:
        """What a prediction is of; where some rows have several, predictions are counted."""
        repeats = len(np.unique(self.predicted_rows)) < len(self.predicted_rows)
        return "predictions" if repeats else self.row_unit

    @property
    def _draw_seed(self) -> int:
        return int(self.settings["interval_seed"])

    @property
    def _chosen_on(self) -> metrics.Predictions | None:
        """Predictions to choose thresholds and temperatures on, where these are not the folds."""
        return None

    @cached_property
    def scores(self) -> dict[str, metrics.Score]:
        """Scores over all classes of which there are images, see :func:`detl.metrics.scores`."""
        return self._all_scores[0]

    @cached_property
    def class_scores(self) -> dict[Any, dict[str, metrics.Score]]:
        """Scores of each class against the rest, see :func:`detl.metrics.scores`."""
        return dict(zip(self.classes.tolist(), self._all_scores[1], strict=True))

    @cached_property
    def _all_scores(self) -> tuple[dict[str, metrics.Score], list[dict[str, metrics.Score]]]:
        return metrics.scores(self.fold_predictions, unit=self.unit, random_state=self._draw_seed)

    @property
    def accuracy(self) -> float:
        """Share of right predictions, in [0, 1]; of several folds, the mean of their accuracies."""
        return self.scores["accuracy"].mean

    @property
    def interval(self) -> metrics.Interval:
        """95 % interval of the accuracy, and how it was found."""
        return self.scores["accuracy"].interval

    def operating_point(
        self,
        class_name: Any,
        *,
        sensitivity: float | None = None,
        specificity: float | None = None,
        threshold: float | None = None,
        prevalence: float | None = None,
    ) -> OperatingPoint:
        """Call a class from some probability on, and see what is called rightly and wrongly.

        The threshold of each fold is chosen on the predictions of the other folds, so that no image
        is judged by a threshold that was chosen on it. That of an evaluation is chosen on the
        internal result.

        Parameters
        ----------
        class_name : str, int or float
            The class to call.
        sensitivity, specificity : float in (0, 1], optional
            What the threshold has to reach where it is chosen: the highest that has this
            sensitivity, or the lowest that has this specificity.
        threshold : float in (0, 1], optional
            One of your own in place of these, for all folds.
        prevalence : float in (0, 1), optional
            Share of the class among those whom the classifier is meant for, for the predictive
            values. By default that of the images, which is rarely that of a clinic.

        Returns
        -------
        OperatingPoint
            Rates, predictive values and likelihood ratios with intervals; ``print`` it.

        Raises
        ------
        ValueError
            If the class is unknown, not exactly one of the three is given, or a rate is reached
            only where every image is called, or none.
        """
        target = self._target(class_name)
        return operating_points.operating_point(
            self.fold_predictions,
            target,
            self.classes.tolist()[target],
            sensitivity=sensitivity,
            specificity=specificity,
            threshold=threshold,
            prevalence=prevalence,
            chosen_on=self._chosen_on,
            counted=self._counted,
            unit=self.unit,
            random_state=self._draw_seed,
        )

    def net_benefit(self, class_name: Any, *, thresholds: Any = None) -> DecisionCurve:
        """Return the net benefit of acting on a class, against acting on all images and on none.

        Parameters
        ----------
        class_name : str, int or float
            The class to act on.
        thresholds : array-like of float in (0, 1), optional
            Probabilities from which on one would act; by default 0.01 to 0.99.

        References
        ----------
        Vickers, Elkin 2006, "Decision Curve Analysis".
        """
        target = self._target(class_name)
        return decision_curves.decision_curve(
            self.fold_predictions,
            target,
            self.classes.tolist()[target],
            thresholds=thresholds,
            unit=self.unit,
            random_state=self._draw_seed,
        )

    def recalibration(self) -> Recalibration:
        """Ask whether probabilities can be taken at their word, and find a temperature that helps.

        The temperature of each fold is found on the other folds; that of an evaluation, on the
        internal result.
        """
        return recalibrations.recalibration(
            self.fold_predictions,
            self.classes.tolist(),
            chosen_on=self._chosen_on,
            unit=self.unit,
            random_state=self._draw_seed,
        )

    def subgroups(self, attributes: Mapping[str, Any], *, class_name: Any = None) -> Subgroups:
        """Score subgroups of the images, each against all others.

        Parameters
        ----------
        attributes : dict of str to array-like of shape (n,)
            What is known of each image, such as ``{"view": views, "sex": sexes, "age": bins}``.
            Numbers need bins.
        class_name : str, int or float, optional
            Class whose sensitivity and specificity are measured. By default, their means over all
            classes are.

        Returns
        -------
        Subgroups
            Accuracy, sensitivity and specificity over the predictions of all folds, with intervals,
            and differences to all others, corrected for their number. Subgroups that are too small
            are shown and not judged.
        """
        known = subgroup_scores.check_attributes(attributes, len(self.labels), rows=self.row_unit)
        rows = self.predicted_rows
        target = None if class_name is None else self._target(class_name)
        return subgroup_scores.subgroups(
            pooled(self.fold_predictions),
            {name: values[rows] for name, values in known.items()},
            target,
            None if target is None else self.classes.tolist()[target],
            counted=self._counted,
            unit=self.unit,
            random_state=self._draw_seed,
        )

    def suspects(self, n: int = 20, *, names: Sequence[Any] | None = None) -> Suspects:
        """Return the images whose label is doubted most.

        They are wrong labels, bad images, or what the classifier cannot do.
        :func:`detl.plots.most_confused` shows them.

        Parameters
        ----------
        n : int, default=20
            Number of images; fewer where no more are taken for another class.
        names : sequence of shape (n_images,), optional
            File name of each image, such as ``loaded.paths`` of :func:`detl.images.load`.
        """
        return suspect_images.suspects(self, n=n, names=names)

    def plot(
        self,
        *,
        normalize: bool = False,
        ax: Axes | None = None,
        figsize: tuple[float, float] | None = None,
    ) -> Figure:
        """Draw the confusion matrix with :func:`detl.plots.confusion_matrix`.

        ROC curves, calibration, mistakes and more are in :mod:`detl.plots`.

        Parameters
        ----------
        normalize : bool, default=False
            Whether colours show shares of the true class instead of counts.
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default, those of a new figure.
        figsize : tuple of (float, float), optional
            Width and height of a new figure in inches.

        Returns
        -------
        matplotlib.figure.Figure

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.dummy import DummyClassifier
        >>> from detl import evaluate
        >>> images, labels = np.zeros((4, 8, 8, 1), dtype="uint8"), ["covid"] * 3 + ["normal"]
        >>> found = evaluate(DummyClassifier().fit(images, labels), images, labels, random_state=0)
        >>> figure = found.plot()
        >>> figure.axes[0].get_xlabel()
        'predicted class'
        """
        return plots.confusion_matrix(self, normalize=normalize, ax=ax, figsize=figsize)

    def _repr_html_(self) -> str:
        """Show the headline, the confusion matrix, and the table behind a line to open it."""
        lines = str(self).splitlines()
        rows = [*self.classes.tolist(), *getattr(self, "unknown", [])]
        shown = with_matrix(lines[0], self.confusion_matrix, rows, self.classes.tolist())
        return f"{shown}\n<p>{lines[1]}</p>\n{details('All scores', str(self))}"

    def _target(self, class_name: Any) -> int:
        """Return the column of a class."""
        found = [i for i, name in enumerate(self.classes.tolist()) if name == class_name]
        if not found:
            raise ValueError(
                f"class_name={class_name!r} is no class of this result; expected one of "
                f"{self.classes.tolist()}."
            )
        return found[0]
