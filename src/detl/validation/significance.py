"""Tests of differences over folds."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from detl.checks import check_number

# Differences of scores that agree but for this are equal: 0.9 - 0.8 is not quite 0.8 - 0.7.
_ROUNDING = 1e-12


def corrected_t_test(differences: Any, *, test_share: float) -> float:
    """Return the two-sided p-value of the corrected resampled t-test.

    Folds share most of their training images, so that their scores vary less than those of
    independent experiments; a plain paired t-test takes noise for a difference far too often.

    Parameters
    ----------
    differences : array-like of shape (n_folds,)
        Difference of two scores in each fold.
    test_share : float
        Number of test images over number of training images of a fold: 0.25 with five folds.

    Returns
    -------
    float
        1 if all differences are zero. NaN where there is no spread to test against: with fewer than
        two folds, or if all differences are equal and not zero, as coarse scores of few images are.

    References
    ----------
    Nadeau & Bengio 2003, "Inference for the Generalization Error", sec. 4: the variance of the
    mean is ``(1 / n_folds + test_share) * variance``, with ``n_folds - 1`` degrees of freedom.

    Examples
    --------
    >>> from detl.validation import corrected_t_test
    >>> round(corrected_t_test([0.04, 0.02, 0.05, 0.01, 0.03], test_share=0.25), 3)
    0.047
    """
    differences = np.asarray(differences)
    if differences.ndim != 1 or differences.dtype.kind not in "biuf":
        raise TypeError(
            f"differences has shape {differences.shape} and dtype {differences.dtype}; expected "
            "(n_folds,) numbers."
        )
    check_number("test_share", test_share, at_least=0)
    differences = differences.astype(float)
    if len(differences) > 1 and (abs(differences) < _ROUNDING).all():
        return 1.0
    error = _standard_error(differences, test_share)
    if np.isnan(error):
        return np.nan
    return float(2 * stats.t.sf(abs(differences.mean()) / error, df=len(differences) - 1))


def smallest_detectable(differences: np.ndarray, *, test_share: float, n_pairs: int) -> float:
    """Return the mean from which on the test finds p < 0.05, for this spread and so many pairs.

    NaN where there is no spread to test against.
    """
    error = _standard_error(differences, test_share)
    return float(stats.t.isf(0.05 / n_pairs / 2, df=len(differences) - 1) * error)


def _standard_error(differences: np.ndarray, test_share: float) -> float:
    """Return the corrected standard error of the mean; NaN without a spread."""
    n = len(differences)
    if n < 2 or np.ptp(differences) < _ROUNDING:
        return np.nan
    return float(np.sqrt((1 / n + test_share) * differences.var(ddof=1)))


def holm(p_values: list[float]) -> list[float]:
    """Return the p-values after Holm's step-down correction."""
    order = np.argsort(p_values)
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()
