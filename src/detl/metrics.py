"""Scores and intervals from predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from detl._batches import seed_sequence
from detl._checks import check_labels


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % interval and how it was found."""

    low: float
    high: float
    method: str


def class_table(confusion_matrix: np.ndarray) -> dict[str, np.ndarray]:
    """Return sensitivity, specificity and precision of each class, one against the rest.

    Parameters
    ----------
    confusion_matrix : numpy.ndarray of shape (n_classes, n_classes)
        Counts; rows are true classes, columns predicted ones.

    Returns
    -------
    dict of str to numpy.ndarray of shape (n_classes,)
        ``images``, ``sensitivity``, ``specificity``, ``precision``; NaN where nothing is divided
        (a class that was never predicted has no precision).

    Examples
    --------
    >>> import numpy as np
    >>> from detl.metrics import class_table
    >>> class_table(np.array([[8, 2], [1, 9]]))["sensitivity"].tolist()
    [0.8, 0.9]
    """
    matrix = np.asarray(confusion_matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(
            f"confusion_matrix has shape {matrix.shape}; expected (n_classes, n_classes)."
        )
    hits = np.diag(matrix)
    true, predicted, total = matrix.sum(axis=1), matrix.sum(axis=0), matrix.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "images": true,
            "sensitivity": hits / true,
            "specificity": (total - true - predicted + hits) / (total - true),
            "precision": hits / predicted,
        }


def accuracy_interval(
    correct: np.ndarray,
    *,
    groups: np.ndarray | None = None,
    random_state: Any = None,
) -> Interval:
    """Return a 95 % bootstrap interval of the accuracy.

    Images of one patient are not independent: where groups are given, whole groups are drawn.

    Parameters
    ----------
    correct : numpy.ndarray of bool, shape (n,)
        Whether each out-of-fold prediction was right.
    groups : numpy.ndarray of shape (n,), optional
        Group of each image.
    random_state : int, numpy generator or None
        Seed of the resampling.

    Raises
    ------
    ValueError
        If there are fewer than two images, or groups, to draw from, or the lengths differ.

    References
    ----------
    Efron 1987, "Better Bootstrap Confidence Intervals", JASA; computed by
    :func:`scipy.stats.bootstrap` (percentile method).
    """
    correct = check_labels(correct, name="correct")
    if not np.isin(correct, (0, 1)).all():
        raise ValueError(
            "correct has values other than True and False; give predictions == labels."
        )
    drawn = "images" if groups is None else "groups"
    if groups is None:
        units = np.arange(len(correct))
    else:
        groups = check_labels(groups, len(correct), name="groups")
        units = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(units)
    if len(sizes) < 2:
        raise ValueError(f"{len(sizes)} {drawn}; an interval needs at least two to draw from.")
    hits = np.bincount(units, weights=correct)
    method = f"bootstrap over {len(sizes)} {drawn}, percentile, 9999 draws"

    def accuracy(hits: np.ndarray, sizes: np.ndarray, axis: int) -> np.ndarray:
        return np.asarray(hits.sum(axis=axis) / sizes.sum(axis=axis))

    found = stats.bootstrap(
        (hits, sizes),
        accuracy,
        paired=True,
        method="percentile",
        batch=100,
        rng=np.random.default_rng(seed_sequence(random_state)),
    ).confidence_interval
    return Interval(low=float(found.low), high=float(found.high), method=method)
