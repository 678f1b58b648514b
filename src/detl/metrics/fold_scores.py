"""All scores of one fold, for any weights of its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from detl.metrics.calibration import calibration_error

OVERALL = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "roc_auc",
    "calibration_error",
    "brier_score",
)
_ROUNDING = 0.0501  # of a probability that is written down with one decimal
PER_CLASS = ("sensitivity", "specificity", "precision", "roc_auc")


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
    decisions : numpy.ndarray of int, shape (n,), optional
        Index of the class that was decided for; by default the most probable.
    scored : numpy.ndarray of int, optional
        Indices of the classes over which means over classes are taken; by default all. Without one
        of them no image has such a mean.
    """

    targets: np.ndarray
    probabilities: np.ndarray
    units: np.ndarray
    decisions: np.ndarray | None = None
    scored: np.ndarray | None = None

    @property
    def predicted(self) -> np.ndarray:
        """Index of the class that was decided for, ``(n,)``."""
        if self.decisions is None:
            return np.asarray(self.probabilities.argmax(axis=1))
        return self.decisions


def check_folds(folds: Any) -> list[Predictions]:
    """Return predictions of folds as a list, refusing what is none or does not fit together."""
    found = list(folds) if np.iterable(folds) else []
    if not found or not all(isinstance(fold, Predictions) for fold in found):
        kinds = ", ".join(dict.fromkeys(type(fold).__name__ for fold in found)) or "nothing"
        raise TypeError(
            f"folds is a {type(folds).__name__} of {kinds}; expected a list of Predictions, one "
            "per fold."
        )
    n_classes = np.shape(found[0].probabilities)[-1] if np.ndim(found[0].probabilities) else 0
    for number, fold in enumerate(found):
        n = np.size(fold.targets)
        try:
            check_predictions(fold.probabilities, fold.decisions, n, n_classes)
            if not _are_classes(fold.targets, n, n_classes):
                raise ValueError(f"targets that are not one class of 0 to {n_classes - 1} each")
            if np.shape(fold.units) != (n,):
                raise ValueError(f"units of shape {np.shape(fold.units)} for {n} images")
        except ValueError as error:
            raise ValueError(f"folds[{number}] has {error}.") from None
    return found


def check_predictions(probabilities: Any, decisions: Any, n: int, n_classes: int) -> None:
    """Refuse what no classifier says of ``n`` images, in words for the caller to go on with."""
    probabilities = np.asarray(probabilities)
    if probabilities.shape != (n, n_classes):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} for {n} images and {n_classes} classes"
        )
    if not (probabilities.dtype.kind in "biuf" and (probabilities >= 0).all()):
        raise ValueError("probabilities that are negative or no numbers")
    if not (abs(probabilities.sum(axis=1, dtype=float) - 1) <= n_classes * _ROUNDING).all():
        raise ValueError("probabilities that do not sum to one")
    if decisions is not None and not _are_classes(decisions, n, n_classes):
        raise ValueError("decisions that are not one class for each image")


def _are_classes(indices: Any, n: int, n_classes: int) -> bool:
    indices = np.asarray(indices)
    fits = indices.shape == (n,) and indices.dtype.kind in "iu"
    return fits and bool(np.isin(indices, np.arange(n_classes)).all())


def weighted_scores(fold: Predictions, weights: np.ndarray | None = None) -> np.ndarray:
    """Return all scores of one fold, ``(n_rows, n_scores)``, for each row of weights.

    A weight says how often an image counts; by default there is one row, in which each counts once.
    Scores are in the order ``OVERALL``, then ``PER_CLASS`` for each class.
    """
    targets, probabilities = fold.targets, fold.probabilities.astype(np.float64)
    n, n_classes = probabilities.shape
    weights = np.ones((1, n)) if weights is None else weights
    scored = np.arange(n_classes) if fold.scored is None else fold.scored
    predicted = fold.predicted
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
            sensitivity[:, scored].mean(axis=1),
            f1[:, scored].mean(axis=1),
            area[:, scored].mean(axis=1),
            calibration_error(probabilities, probabilities.argmax(axis=1) == targets, weights),
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
    if not (matrix.dtype.kind in "uif" and (matrix >= 0).all()):
        raise ValueError("confusion_matrix has entries that are no counts; expected numbers >= 0.")
    hits = np.diag(matrix)
    true, predicted, total = matrix.sum(axis=1), matrix.sum(axis=0), matrix.sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "images": true,
            "sensitivity": hits / true,
            "specificity": (total - true - predicted + hits) / (total - true),
            "precision": hits / predicted,
        }
