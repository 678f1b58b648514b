"""Scores over the folds of a cross-validation, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from detl.metrics.fold_scores import (
    OVERALL,
    PER_CLASS,
    Predictions,
    check_folds,
    weighted_scores,
)
from detl.metrics.intervals import Interval, quantiles, redrawn

# Percentiles of 2,000 draws vary by a few hundredths of the interval's width.
_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Score:
    """One score over the folds of a cross-validation.

    Attributes
    ----------
    folds : tuple of float
        The score in each fold; NaN where the fold lacks what the score needs, such as a class.
    interval : Interval
        95 % interval of the mean.
    """

    folds: tuple[float, ...]
    interval: Interval

    @cached_property
    def mean(self) -> float:
        """Mean over the folds that have the score; NaN if none has."""
        known = self._known()
        return float(known.mean()) if len(known) else np.nan

    @cached_property
    def std(self) -> float:
        """Sample standard deviation (n - 1) over the folds that have the score."""
        known = self._known()
        return float(known.std(ddof=1)) if len(known) > 1 else np.nan

    @cached_property
    def n_missing(self) -> int:
        """Number of folds without the score."""
        return len(self.folds) - len(self._known())

    def _known(self) -> np.ndarray:
        folds = np.asarray(self.folds)
        return folds[~np.isnan(folds)]


def scores(
    folds: Sequence[Predictions], *, unit: str = "images", random_state: Any = None
) -> tuple[dict[str, Score], list[dict[str, Score]]]:
    """Score every fold, and give each score's mean an interval.

    Parameters
    ----------
    folds : sequence of Predictions
        One per fold. Units have the same number in all folds.
    unit : str
        What a unit is called in the intervals' method: ``"images"`` or ``"groups"``.
    random_state : int, numpy generator or None
        Seed of the resampling.

    Returns
    -------
    overall : dict of str to Score
        ``accuracy``; ``balanced_accuracy``, the mean sensitivity; ``macro_f1``; ``roc_auc``, the
        mean over classes of the area under the curve of one against the rest;
        ``calibration_error``, the expected calibration error of the most probable class in 15 bins
        of equal width; ``brier_score``, the mean squared distance of the probabilities from the
        truth, summed over classes, in [0, 2], the less the better. All others are in [0, 1].
    per_class : list of dict of str to Score, one per class
        ``sensitivity``, ``specificity``, ``precision``, ``roc_auc``, one class against the rest.

    Notes
    -----
    A fold that lacks a class has no ``balanced_accuracy``, ``macro_f1`` and ``roc_auc``, and of
    that class only its specificity; a class that it never predicted has no precision. Such entries
    are NaN, and means are over the other folds.

    Chance alone raises the calibration error: a perfectly calibrated classifier has about 0.08 with
    200 images in a fold. Redrawing raises it once more, so its draws are moved to where the mean
    is.

    In a draw, each fold counts by the share of its images that were drawn; otherwise the intervals
    of leave-one-patient-out would be a quarter too narrow. Scores without variation, such as no
    error at all, have an interval of no width. Fewer than two units give no interval, and fewer
    than 20 one that is too narrow, which its method says.

    References
    ----------
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", ch. 13, by
    :func:`scipy.stats.bootstrap` (percentile method). Guo et al. 2017, "On Calibration of Modern
    Neural Networks", eq. 3. Brier 1950, "Verification of Forecasts Expressed in Terms of
    Probability".
    """
    folds = check_folds(folds)
    per_fold = np.stack([weighted_scores(fold)[0] for fold in folds])
    drawn, method = redrawn_scores(folds, unit=unit, random_state=random_state)
    methods = [method] * len(drawn)
    row = OVERALL.index("calibration_error")
    drawn[row] = np.maximum(drawn[row] + per_fold[:, row].mean() - drawn[row].mean(), 0)
    methods[row] = f"{method}, centred on the mean"
    low, high = quantiles(drawn)
    found = [
        Score(
            folds=tuple(values.tolist()),
            interval=Interval(low=float(low[i]), high=float(high[i]), method=methods[i]),
        )
        for i, values in enumerate(per_fold.T)
    ]
    overall = dict(zip(OVERALL, found))
    rest = found[len(OVERALL) :]
    per_class = [
        dict(zip(PER_CLASS, rest[start : start + len(PER_CLASS)]))
        for start in range(0, len(rest), len(PER_CLASS))
    ]
    return overall, per_class


def redrawn_scores(
    folds: Sequence[Predictions], *, unit: str, random_state: Any
) -> tuple[np.ndarray, str]:
    """Return the means over folds of all scores, ``(n_scores, n_draws)``, and the method's name.

    Scores are in the order of :func:`weighted_scores`. Equal seeds and units give equal draws, so
    that two results can be compared draw by draw.
    """
    return redrawn(folds, weighted_scores, _DRAWS, unit=unit, random_state=random_state)
