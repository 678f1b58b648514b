"""Scores and intervals from predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy import stats

from detl.checks import check_count, check_labels
from detl.seeds import seed_sequence

# Percentiles of 2,000 draws vary by a few hundredths of the interval's width.
_DRAWS = 2000
# Under so many groups (or images) a percentile interval is too narrow to be called 95 %: simulated,
# it holds the true accuracy 65 to 83 times in 100 over 5 groups, 84 to 90 over 10, 86 to 92 over 20
# (benchmarks/interval_coverage.py).
FEW_UNITS = 20
# A band is looked at, not read off.
_CURVE_DRAWS = 500
_RATES = np.linspace(0, 1, 101)
_BINS = 15

OVERALL = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "roc_auc",
    "calibration_error",
    "brier_score",
)
PER_CLASS = ("sensitivity", "specificity", "precision", "roc_auc")


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % interval and how it was found; the ends are NaN where nothing could be computed."""

    low: float
    high: float
    method: str


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """The predictions of one fold.

    Attributes
    ----------
    targets : numpy.ndarray of int, shape (n,)
        Index of each image's true class.
    probabilities : numpy.ndarray of shape (n, n_classes)
        Predicted probability of each class.
    units : numpy.ndarray of int, shape (n,)
        Number of the group of each image, or of the image itself: what is redrawn as a whole.
    """

    targets: np.ndarray
    probabilities: np.ndarray
    units: np.ndarray


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
        return _mean_over_folds(self.folds)

    @cached_property
    def n_missing(self) -> int:
        """Number of folds without the curve."""
        return int(np.isnan(self.folds).any(axis=1).sum())


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
        ``calibration_error``, the expected calibration error of the predicted class in 15 bins of
        equal width; ``brier_score``, the mean squared distance of the probabilities from the truth,
        summed over classes, in [0, 2], the less the better. All others are in [0, 1].
    per_class : list of dict of str to Score, one per class
        ``sensitivity``, ``specificity``, ``precision``, ``roc_auc``, one class against the rest.

    Notes
    -----
    A fold that lacks a class has no ``balanced_accuracy``, ``macro_f1`` and ``roc_auc``, and of
    that class only its specificity: the other entries are NaN, and means are over the other folds.
    So is the precision of a class that the fold never predicted.

    The calibration error is never negative, so that chance alone raises it: a perfectly calibrated
    classifier has about 0.08 with 200 images in a fold. Redrawn images, some of them twice, raise
    once more; its draws are therefore moved to where the mean is.

    In a draw, each fold counts by the share of its images that were drawn: otherwise a fold of one
    patient would count as much if that patient was drawn three times as if once, and the intervals
    of leave-one-patient-out would be a quarter too narrow. Scores that have no variation in the
    data, such as no error at all, have an interval of no width; with fewer than two units there is
    none, and with fewer than 20 it is too narrow, which its method says.

    References
    ----------
    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", ch. 13, by
    :func:`scipy.stats.bootstrap` (percentile method). Guo et al. 2017, "On Calibration of Modern
    Neural Networks", eq. 3. Brier 1950, "Verification of Forecasts Expressed in Terms of
    Probability".
    """
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
    """Return the means over folds of all scores in each bootstrap draw, and the method's name.

    Equal seeds and units give equal draws, so that two results can be compared draw by draw.

    Returns
    -------
    draws : numpy.ndarray of shape (n_scores, n_draws)
        In the order ``OVERALL``, then ``PER_CLASS`` for each class.
    method : str
        For :class:`Interval`.
    """
    return _redrawn(folds, weighted_scores, _DRAWS, unit=unit, random_state=random_state)


def _redrawn(
    folds: Sequence[Predictions],
    values_of: Callable[[Predictions, np.ndarray], np.ndarray],
    n_draws: int,
    *,
    unit: str,
    random_state: Any,
) -> tuple[np.ndarray, str]:
    """Return the means over folds of some values, ``(n_values, n_draws)``, and the method's name.

    ``values_of`` takes a fold and a row of weights for each draw, and returns a row of values.
    """
    tested = np.unique(np.concatenate([fold.units for fold in folds]))
    n_units = len(tested)
    units = [np.searchsorted(tested, fold.units) for fold in folds]

    def mean_over_folds(drawn: np.ndarray, axis: int) -> np.ndarray:
        drawn = np.atleast_2d(drawn).astype(np.int64)
        offset = n_units * np.arange(len(drawn))[:, None]
        counts = np.bincount((drawn + offset).ravel(), minlength=len(drawn) * n_units)
        counts = counts.reshape(len(drawn), n_units).astype(np.float64)
        weights = [counts[:, unit] for unit in units]
        values = [values_of(fold, w) for fold, w in zip(folds, weights, strict=True)]
        # A fold of a single patient, drawn twice, is two pieces of evidence.
        return _mean_over_folds(values, [w.mean(axis=1) for w in weights]).T

    if n_units < 2:
        # There is nothing to redraw, but the scores themselves are not to be lost.
        n_values = len(mean_over_folds(np.arange(n_units), axis=-1))
        return np.full((n_values, n_draws), np.nan), f"none: {n_units} of {unit} is too few"
    with warnings.catch_warnings():
        # All draws alike, as of a classifier that is never wrong: the interval has no width.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (np.arange(n_units),),
            mean_over_folds,
            n_resamples=n_draws,
            batch=50,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(seed_sequence(random_state)),
        )
    method = f"percentile bootstrap over {n_units} {unit}, {n_draws} draws"
    if n_units < FEW_UNITS:
        method += f", too narrow under {FEW_UNITS} {unit}"
    return np.asarray(found.bootstrap_distribution), method


def _mean_over_folds(values: Any, weights: Any = None) -> np.ndarray:
    """Return the mean over the folds that have each value, NaN where none has.

    Parameters
    ----------
    values : array-like of shape (n_folds, ..., n_values)
        NaN where a fold has no value.
    weights : array-like of shape (n_folds, ...), optional
        Of the folds; equal by default.
    """
    values = np.asarray(values)
    shares = np.ones(values.shape[:-1]) if weights is None else np.asarray(weights)
    known = ~np.isnan(values) * shares[..., np.newaxis]
    with np.errstate(invalid="ignore"):
        return (known * np.nan_to_num(values)).sum(axis=0) / known.sum(axis=0)


def quantiles(drawn: np.ndarray, level: float = 0.05) -> np.ndarray:
    """Return the ends of the interval of each row of draws, by default of 95 %, NaN where all are.

    A draw can miss a class altogether; such draws say nothing about that class's scores.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanquantile(drawn, (level / 2, 1 - level / 2), axis=1)


def weighted_scores(fold: Predictions, weights: np.ndarray | None = None) -> np.ndarray:
    """Return all scores of one fold for each row of weights, ``(n_rows, n_scores)``.

    Parameters
    ----------
    fold : Predictions
        The fold.
    weights : numpy.ndarray of shape (n_rows, n), optional
        How often each image counts; by default once, which makes one row.
    """
    targets, probabilities = fold.targets, fold.probabilities.astype(np.float64)
    n, n_classes = probabilities.shape
    weights = np.ones((1, n)) if weights is None else weights
    predicted = probabilities.argmax(axis=1)
    is_true, is_called = np.eye(n_classes)[targets], np.eye(n_classes)[predicted]
    true, called, hits = (weights @ share for share in (is_true, is_called, is_true * is_called))
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = hits / true
        specificity = (total[:, None] - true - called + hits) / (total[:, None] - true)
        precision = np.where(true > 0, hits / called, np.nan)
        f1 = np.where(true > 0, 2 * hits / (true + called), np.nan)
        area = np.stack(
            [
                _roc_auc(probabilities[:, k], (targets == k).astype(float), weights)
                for k in range(n_classes)
            ],
            axis=1,
        )
        overall = [
            hits.sum(axis=1) / total,
            sensitivity.mean(axis=1),
            f1.mean(axis=1),
            area.mean(axis=1),
            _calibration_error(probabilities, predicted == targets, weights),
            weights @ ((probabilities - is_true) ** 2).sum(axis=1) / total,
        ]
    per_class = np.stack([sensitivity, specificity, precision, area], axis=2)
    return np.concatenate([np.stack(overall, axis=1), per_class.reshape(len(weights), -1)], axis=1)


def _roc_auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted share of pairs that are in the right order, ties counting half."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    ordered = weights[:, order]
    positives = np.add.reduceat(ordered * positive[order], starts, axis=1)
    negatives = np.add.reduceat(ordered * (1 - positive[order]), starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    return (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))


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
    n_classes = folds[0].probabilities.shape[1]
    per_fold = np.stack(
        [_sensitivities(fold, np.ones((1, len(fold.targets))))[0] for fold in folds]
    )
    drawn, method = _redrawn(
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


def _calibration_error(
    probabilities: np.ndarray, correct: np.ndarray, weights: np.ndarray
) -> np.ndarray:
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
