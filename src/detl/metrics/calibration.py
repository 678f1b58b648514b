"""How sure a classifier is, and how often it is right."""

from __future__ import annotations

from typing import Any

import numpy as np

from detl.checks import check_count, check_labels

_BINS = 15


def calibration_error(
    probabilities: np.ndarray, correct: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the expected calibration error of the predicted class for each row of weights."""
    confidence = probabilities.max(axis=1)
    gaps = np.eye(_BINS)[_bin_of(confidence, _BINS)] * (correct - confidence)[:, None]
    return np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)


def _bin_of(confidence: np.ndarray, n_bins: int) -> np.ndarray:
    return np.minimum((confidence * n_bins).astype(int), n_bins - 1)


def reliability(
    correct: Any, confidence: Any, *, n_bins: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare how sure a classifier is with how often it is right.

    Parameters
    ----------
    correct : array-like of bool, shape (n,)
        Whether each prediction was right.
    confidence : array-like of shape (n,)
        Probability of the predicted class, in [0, 1].
    n_bins : int, default=10
        Bins of equal width between 0 and 1.

    Returns
    -------
    confidence, accuracy, images : numpy.ndarray of shape (n_filled,)
        Mean confidence, share of right predictions and number of images of each bin that has any.

    References
    ----------
    Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 1 and 2.

    Examples
    --------
    >>> from detl.metrics import reliability
    >>> [values.tolist() for values in reliability([True, False, False], [0.75, 0.75, 0.5])]
    [[0.5, 0.75], [0.0, 0.5], [1, 2]]
    """
    return reliability_by_bin(correct, confidence, n_bins)[1:]


def reliability_by_bin(
    correct: Any, confidence: Any, n_bins: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the indices of the bins that have images, then what :func:`reliability` returns."""
    check_count("n_bins", n_bins)
    correct = check_labels(correct, name="correct")
    confidence = check_labels(confidence, len(correct), name="confidence")
    if not np.isin(correct, (0, 1)).all():
        raise ValueError(
            "correct has values other than True and False; give predictions == labels."
        )
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("confidence has values outside [0, 1]; give probabilities.max(axis=1).")
    bins = _bin_of(confidence, n_bins)
    counts = np.bincount(bins, minlength=n_bins)
    filled = np.flatnonzero(counts)
    sums = [np.bincount(bins, weights=values, minlength=n_bins) for values in (confidence, correct)]
    mean_confidence, accuracy = (values[filled] / counts[filled] for values in sums)
    return filled, mean_confidence, accuracy, counts[filled]
