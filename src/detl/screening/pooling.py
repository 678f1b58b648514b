"""The predictions of all folds in one, and estimates over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detl.metrics import Score
from detl.metrics.fold_scores import Predictions
from detl.metrics.intervals import Interval, redrawn

N_DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    interval: Interval

    def __str__(self) -> str:
        """Return value and interval."""
        if np.isnan(self.value):
            return "-"
        return f"{self.value:.3f} ({self.interval.low:.3f} to {self.interval.high:.3f})"


def estimate_of(score: Score) -> Estimate:
    """Return the mean of a score over folds with its interval."""
    return Estimate(value=score.mean, interval=score.interval)


def pooled(folds: Sequence[Predictions]) -> Predictions:
    """Return the predictions of all folds, one after another."""
    return Predictions(
        targets=np.concatenate([fold.targets for fold in folds]),
        probabilities=np.concatenate([fold.probabilities for fold in folds]).astype(np.float64),
        units=np.concatenate([fold.units for fold in folds]),
        decisions=np.concatenate([fold.predicted for fold in folds]),
    )


def draws(
    pool: Predictions,
    values_of: Callable[[np.ndarray], np.ndarray],
    *,
    unit: str,
    random_state: Any,
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return values, the same on redrawn units ``(n_values, n_draws)``, and the method's name.

    ``values_of`` takes rows of weights ``(n_rows, n)``, one for each prediction of the pool, and
    returns ``(n_rows, n_values)``.
    """

    def of_weights(_: Predictions, weights: np.ndarray) -> np.ndarray:
        return values_of(weights)

    drawn, method = redrawn([pool], of_weights, N_DRAWS, unit=unit, random_state=random_state)
    return values_of(np.ones((1, len(pool.targets))))[0], drawn, method


def interval_of(drawn: np.ndarray, method: str, *, level: float = 0.05) -> Interval:
    """Return the percentile interval of one value's draws; NaN where no draw has the value."""
    known = drawn[~np.isnan(drawn)]
    # "nearest" because a likelihood ratio may be infinite, and means of infinities are NaN.
    ends = (level / 2, 1 - level / 2)
    low, high = (
        np.quantile(known, ends, method="nearest").tolist() if len(known) else (np.nan, np.nan)
    )
    return Interval(low=low, high=high, method=method)
