"""ROC curves equal scikit-learn's; bands come from redrawn groups."""

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from detl.metrics import Predictions, roc_curves, scores
from detl.metrics.curves import _sensitivities


def scikit_learns_curve(fold, k, weights=None):
    rates, sensitivity, _ = sklearn_metrics.roc_curve(
        fold.targets == k, fold.probabilities[:, k], sample_weight=weights
    )
    return np.interp(np.linspace(0, 1, 101), rates, sensitivity)


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
def test_the_curve_of_a_fold_is_scikit_learns(decimals, predictions):
    folds = [predictions(70, decimals=decimals, seed=seed) for seed in (0, 1)]
    curves = roc_curves(folds, random_state=0)
    assert len(curves) == 3
    for k, curve in enumerate(curves):
        np.testing.assert_allclose(curve.false_positive_rate, np.linspace(0, 1, 101))
        expected = [scikit_learns_curve(fold, k) for fold in folds]
        np.testing.assert_allclose(curve.folds, expected)
        np.testing.assert_allclose(curve.mean, np.mean(expected, axis=0))


def test_redrawn_curves_are_scikit_learns_with_weights(predictions):
    fold = predictions(70, decimals=1)
    weights = np.random.default_rng(0).integers(0, 3, (5, 70)).astype(float)
    found = _sensitivities(fold, weights).reshape(5, 3, 101)
    for row, curves in zip(weights, found, strict=True):
        for k in range(3):
            np.testing.assert_allclose(curves[k], scikit_learns_curve(fold, k, row))


def test_the_area_below_the_mean_curve_is_the_mean_area(predictions):
    folds = [predictions(200, seed=seed) for seed in (0, 1)]
    _, per_class = scores(folds, random_state=0)
    for curve, found in zip(roc_curves(folds, random_state=0), per_class, strict=True):
        area = np.trapezoid(curve.mean, curve.false_positive_rate)
        assert area == pytest.approx(found["roc_auc"].mean, abs=0.005)
        low, high = (np.trapezoid(c, curve.false_positive_rate) for c in (curve.low, curve.high))
        assert low < found["roc_auc"].interval.low  # a band is wider than what is within it
        assert found["roc_auc"].interval.high < high


def test_bands_hold_the_mean_and_come_from_groups(predictions):
    groups = np.repeat(np.arange(60), 4)
    one = predictions(60)
    copies = Predictions(
        targets=one.targets[groups], probabilities=one.probabilities[groups], units=groups
    )
    together = roc_curves([copies], unit="groups", random_state=0)[0]
    alone = roc_curves([one], random_state=0)[0]
    np.testing.assert_allclose(together.low, alone.low)
    np.testing.assert_allclose(together.high, alone.high)
    assert ((together.low <= together.mean) & (together.mean <= together.high)).mean() > 0.95
    assert together.method == "percentile bootstrap over 60 groups, 500 draws"


def test_folds_without_the_class_or_without_others_have_no_curve():
    probabilities = np.eye(3)[[0, 0, 1, 1]]
    folds = [
        Predictions(targets=np.array(targets), probabilities=probabilities, units=np.arange(4))
        for targets in ([0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0])
    ]
    first, second, third = roc_curves(folds, random_state=0)
    assert [curve.n_missing for curve in (first, second, third)] == [1, 1, 3]
    assert np.isnan(first.folds[1]).all()
    np.testing.assert_allclose(first.mean, (1 + first.folds[2]) / 2)
    for values in (third.mean, third.low, third.high):
        assert np.isnan(values).all()


def test_a_perfect_classifier_finds_all_without_a_false_alarm(right_or_wrong):
    curve = roc_curves(right_or_wrong(np.ones(20, bool)), random_state=0)[0]
    for values in (curve.mean, curve.low, curve.high):
        np.testing.assert_array_equal(values, 1)
