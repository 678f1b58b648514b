"""Folds that are made up, and what scikit-learn says of them."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from detl.metrics import OVERALL, PER_CLASS, Predictions


@pytest.fixture(scope="session")
def predictions():
    """Return a function that makes a fold."""

    def predictions(n=60, n_classes=3, *, decimals=None, n_units=None, seed=0):
        """Return a fold that is right more often than not; rounded probabilities have ties."""
        rng = np.random.default_rng(seed)
        targets = np.arange(n) % n_classes
        probabilities = rng.dirichlet(np.ones(n_classes), n) + 0.5 * np.eye(n_classes)[targets]
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        if decimals is not None:
            probabilities = probabilities.round(decimals)
        units = np.arange(n) if n_units is None else rng.integers(0, n_units, n)
        return Predictions(targets=targets, probabilities=probabilities, units=units)

    return predictions


@pytest.fixture(scope="session")
def right_or_wrong():
    """Return a function that makes five folds of two classes."""

    def right_or_wrong(correct, units=None):
        """Return folds of two classes, one image in five each, that are right where told."""
        n = len(correct)
        targets = np.arange(n) // 2 % 2
        predicted = np.where(correct, targets, 1 - targets)
        units = np.arange(n) if units is None else units
        return [
            Predictions(
                targets=targets[rows], probabilities=np.eye(2)[predicted][rows], units=units[rows]
            )
            for rows in np.array_split(np.random.default_rng(0).permutation(n), 5)
        ]

    return right_or_wrong


@pytest.fixture(scope="session")
def named():
    """Return a function that puts scores under their names."""

    def named(values):
        """Return scores under their names; those of classes as (name, class)."""
        names = [*OVERALL]
        names += [(name, k) for k in range((len(values) - len(OVERALL)) // 4) for name in PER_CLASS]
        return dict(zip(names, values, strict=True))

    return named


@pytest.fixture(scope="session")
def scikit_learns():
    """Return a function that gives scikit-learn's value of every score."""

    def scikit_learns(fold, weights):
        """Return scikit-learn's value of every score."""
        predicted = fold.probabilities.argmax(axis=1)
        n_classes = fold.probabilities.shape[1]
        every = list(range(n_classes))
        weighted = {"sample_weight": weights}
        per_class = {"average": None, "labels": every, **weighted}
        sensitivity = sklearn_metrics.recall_score(fold.targets, predicted, **per_class)
        precision = sklearn_metrics.precision_score(fold.targets, predicted, **per_class)
        found = {
            "accuracy": sklearn_metrics.accuracy_score(fold.targets, predicted, **weighted),
            "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(
                fold.targets, predicted, **weighted
            ),
            "macro_f1": sklearn_metrics.f1_score(
                fold.targets, predicted, average="macro", **weighted
            ),
        }
        for k in every:
            found["sensitivity", k] = sensitivity[k]
            found["precision", k] = precision[k]
            found["specificity", k] = sklearn_metrics.recall_score(
                fold.targets != k, predicted != k, **weighted
            )
            found["roc_auc", k] = sklearn_metrics.roc_auc_score(
                fold.targets == k, fold.probabilities[:, k], **weighted
            )
        found["roc_auc"] = np.mean([found["roc_auc", k] for k in every])
        found["brier_score"] = sum(
            sklearn_metrics.brier_score_loss(
                fold.targets == k, fold.probabilities[:, k], scale_by_half=True, **weighted
            )
            for k in every
        )
        return found

    return scikit_learns
