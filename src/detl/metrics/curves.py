"""ROC curves and their bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from detl.metrics.fold_scores import Predictions, check_folds
from detl.metrics.intervals import mean_over_folds, quantiles, redrawn

# A band is looked at, not read off.
_CURVE_DRAWS = 500
_RATES = np.linspace(0, 1, 101)


@dataclass(frozen=True, kw_only=True, eq=False)
class RocCurve:
    """Sensitivity over the false positive rate for one class against the rest.

    Attributes
    ----------
    false_positive_rate : numpy.ndarray of shape (n_points,)
        From 0 to 1.
    folds : numpy.ndarray of shape (n_folds, n_points)
        Sensitivity at each false positive rate in each fold, linear between thresholds; NaN where
        the fold lacks the class, or any other.
    low, high : numpy.ndarray of shape (n_points,)
        Pointwise 95 % band of the mean; NaN where no fold has the curve.
    method : str
        How the band was found.
    """

    false_positive_rate: np.ndarray
    folds: np.ndarray
    low: np.ndarray
    high: np.ndarray
    method: str

    @cached_property
    def mean(self) -> np.ndarray:
        """Mean sensitivity over the folds that have the curve, ``(n_points,)``; or NaN."""
        return mean_over_folds(self.folds)

    @cached_property
    def n_missing(self) -> int:
        """Number of folds without the curve."""
        return int(np.isnan(self.folds).any(axis=1).sum())


def roc_curves(
    folds: Sequence[Predictions], *, unit: str = "images", random_state: Any = None
) -> list[RocCurve]:
    """Trace each class's sensitivity over its false positive rate, one class against the rest.

    Parameters
    ----------
    folds, unit, random_state
        As for :func:`scores`.

    Returns
    -------
    list of RocCurve, one per class
        Curves are averaged over folds at 101 false positive rates.

    References
    ----------
    Fawcett 2006, "An Introduction to ROC Analysis", sec. 7.1: vertical averaging.
    """
    folds = check_folds(folds)
    n_classes = folds[0].probabilities.shape[1]
    per_fold = np.stack(
        [_sensitivities(fold, np.ones((1, len(fold.targets))))[0] for fold in folds]
    )
    drawn, method = redrawn(
        folds, _sensitivities, _CURVE_DRAWS, unit=unit, random_state=random_state
    )
    ends = quantiles(drawn).reshape(2, n_classes, -1)
    return [
        RocCurve(false_positive_rate=_RATES, folds=curves, low=low, high=high, method=method)
        for curves, low, high in zip(
            per_fold.reshape(len(folds), n_classes, -1).swapaxes(0, 1), *ends, strict=True
        )
    ]


def _sensitivities(fold: Predictions, weights: np.ndarray) -> np.ndarray:
    """Return the sensitivity at each of ``_RATES`` for each class, one row per row of weights."""
    n_classes = fold.probabilities.shape[1]
    found = np.full((len(weights), n_classes, len(_RATES)), np.nan)
    for k in range(n_classes):
        scores, positive = fold.probabilities[:, k], (fold.targets == k).astype(float)
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # ties are one threshold
        ordered = np.pad(weights[:, order], ((0, 0), (1, 0)))  # nothing is above all thresholds
        ends, is_hit = np.r_[0, ends + 1], np.r_[0, positive[order]]
        hits = np.cumsum(ordered * is_hit, axis=1)[:, ends]
        alarms = np.cumsum(ordered * (1 - is_hit), axis=1)[:, ends]
        for row in np.flatnonzero((hits[:, -1] > 0) & (alarms[:, -1] > 0)):
            rates = alarms[row] / alarms[row, -1]
            found[row, k] = np.interp(_RATES, rates, hits[row] / hits[row, -1])
    return found.reshape(len(weights), -1)
