"""Slopes are those of a logistic regression; a temperature finds how sharp probabilities are."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from detl.metrics import Predictions
from detl.screening.pooling import pooled
from detl.screening.recalibration import recalibration


def found(folds, classes=("a", "b", "c"), **settings):
    return recalibration(folds, classes, **{"unit": "groups", "random_state": 0, **settings})


def test_slope_and_intercept_are_those_of_a_logistic_regression(make_folds):
    folds = make_folds(sharpness=1.5)
    shares = np.concatenate([fold.probabilities[:, 1] for fold in folds])
    true = np.concatenate([fold.targets == 1 for fold in folds])
    logits = np.log(shares / (1 - shares))
    line = LogisticRegression(C=np.inf, tol=1e-10).fit(logits[:, np.newaxis], true)

    def loss(level):
        return log_loss(true, 1 / (1 + np.exp(-(logits + level))))

    result = found(folds)
    assert result.slopes["b"].value == pytest.approx(line.coef_[0, 0], abs=1e-4)
    level = minimize_scalar(loss, bounds=(-3, 3), method="bounded").x
    assert result.intercepts["b"].value == pytest.approx(level, abs=1e-4)
    for estimate in (*result.slopes.values(), *result.intercepts.values()):
        assert estimate.interval.low < estimate.value < estimate.interval.high


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_the_temperature_undoes_what_made_probabilities_too_sharp(make_folds, sharpness):
    folds = make_folds(n=500, sharpness=sharpness)
    result = found(folds)
    assert result.temperature == pytest.approx(sharpness, rel=0.1)
    np.testing.assert_allclose(result.fold_temperatures, sharpness, rtol=0.15)
    right = make_folds(n=500)[0].probabilities
    np.testing.assert_allclose(result.apply(folds[0].probabilities), right, atol=0.04)
    if sharpness == 1:
        assert abs(result.after["log_loss"].value - result.before["log_loss"].value) < 2e-3
    else:
        assert result.after["log_loss"].value < result.before["log_loss"].value
        assert result.after["calibration_error"].value < result.before["calibration_error"].value


def test_the_temperature_of_a_fold_is_found_on_the_others(make_folds):
    folds = make_folds()
    other = make_folds(seed=3, sharpness=5)[0]
    changed = Predictions(
        targets=other.targets, probabilities=other.probabilities, units=folds[0].units
    )
    before, after = found(folds).fold_temperatures, found([changed, *folds[1:]]).fold_temperatures
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_scores_before_are_scikit_learns(make_folds):
    folds = make_folds()
    shares = np.concatenate([fold.probabilities for fold in folds])
    targets = np.concatenate([fold.targets for fold in folds])
    before = found(folds).before
    assert before["log_loss"].value == pytest.approx(log_loss(targets, shares))
    squares = ((shares - np.eye(3)[targets]) ** 2).sum(axis=1).mean()
    assert before["brier_score"].value == pytest.approx(squares)


def test_where_nothing_is_left_to_find_it_on_nothing_is_said_of_after(make_folds):
    result = found(make_folds(n_folds=1))
    assert result.after == {}
    assert str(result).splitlines()[6].endswith(" -")


def test_a_class_that_is_always_told_has_no_slope():
    targets = np.arange(40) % 2
    shares = np.where(targets == 1, 0.9, 0.2) - np.linspace(0, 0.1, 40)
    fold = Predictions(
        targets=targets, probabilities=np.stack([1 - shares, shares], axis=1), units=np.arange(40)
    )
    assert np.isnan(found([fold], ("a", "b")).slopes["b"].value)


def test_the_table_names_what_is_wrong(make_folds):
    result = found(make_folds(n=200, sharpness=2))
    lines = str(result).splitlines()
    assert lines[2].split()[:2] == ["b", f"{result.slopes['b'].value:.3f}"]
    assert (
        f"Temperature {result.temperature:.2f}. The classifier is too sure: a slope is shown to be "
        "below 1." in lines
    )
    assert "The classifier is not sure enough" in str(found(make_folds(n=200, sharpness=0.5)))
    assert "No slope is shown to differ from 1." in str(found(make_folds(n=200)))


def test_probabilities_of_other_classes_are_refused(make_folds):
    with pytest.raises(ValueError, match=r"probabilities has shape \(4, 2\); expected \(n, 3\)"):
        found(make_folds()).apply(np.full((4, 2), 0.5))


@pytest.mark.parametrize("wrong", [[["a", "b", "c"]], [[2.0, -1.0, 0.0]], [[0.5, 0.6, 0.7]]])
def test_what_is_no_probability_is_not_recalibrated(make_folds, wrong):
    with pytest.raises(ValueError, match="These are probabilities that"):
        found(make_folds()).apply(wrong)


def test_a_temperature_that_was_found_elsewhere_is_the_one_that_is_used(make_folds):
    inside = pooled(make_folds(sharpness=3))
    result = found(make_folds(n_folds=1), chosen_on=inside)
    assert result.temperature == result.fold_temperatures[0] == pytest.approx(3, rel=0.3)
