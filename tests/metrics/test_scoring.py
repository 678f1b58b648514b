"""Means over folds, under their names, each with its interval."""

import numpy as np
import pytest

from detl.metrics import OVERALL, PER_CLASS, Interval, Predictions, Score, scores
from detl.metrics.scoring import redrawn_scores


def test_means_are_over_the_folds_that_have_the_score():
    interval = Interval(low=0.0, high=1.0, method="")
    score = Score(folds=(0.5, np.nan, 0.7, 0.9), interval=interval)
    assert score.mean == pytest.approx(0.7)
    assert score.std == pytest.approx(0.2)
    assert score.n_missing == 1


@pytest.mark.parametrize(("folds", "mean"), [((np.nan, np.nan), np.nan), ((0.4, np.nan), 0.4)])
def test_fewer_than_two_folds_have_no_deviation(folds, mean):
    score = Score(folds=folds, interval=Interval(low=0.0, high=1.0, method=""))
    np.testing.assert_equal((score.mean, score.std), (mean, np.nan))


def test_scores_are_found_under_their_names(predictions, scikit_learns):
    folds = [predictions(seed=seed) for seed in (0, 1)]
    overall, per_class = scores(folds, random_state=0)
    assert tuple(overall) == OVERALL
    assert [tuple(scores) for scores in per_class] == [PER_CLASS] * 3
    for number, fold in enumerate(folds):
        for name, value in scikit_learns(fold, None).items():
            score = overall[name] if isinstance(name, str) else per_class[name[1]][name[0]]
            assert score.folds[number] == pytest.approx(value), name


def test_a_score_that_no_fold_has_has_no_interval():
    fold = Predictions(
        targets=np.zeros(4, int), probabilities=np.eye(2)[[0, 0, 0, 1]], units=np.arange(4)
    )
    overall, per_class = scores([fold, fold], random_state=0)
    assert np.isnan(overall["macro_f1"].interval.low)
    assert np.isnan(per_class[1]["sensitivity"].interval.high)
    assert 0 <= overall["accuracy"].interval.low < 0.75


def test_the_interval_of_a_calibration_error_is_around_it():
    # Redrawn images raise the error of a calibrated classifier by a third.
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5] * 3, 500)
    targets = (rng.random((500, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    folds = [
        Predictions(targets=targets[k::5], probabilities=probabilities[k::5], units=units)
        for k, units in enumerate(np.arange(500).reshape(100, 5).T)
    ]
    draws, _ = redrawn_scores(folds, unit="images", random_state=0)
    score = scores(folds, random_state=0)[0]["calibration_error"]
    row = OVERALL.index("calibration_error")
    assert draws[row].mean() > 1.2 * score.mean
    ends = np.quantile(draws[row], (0.025, 0.975)) - draws[row].mean() + score.mean
    assert (score.interval.low, score.interval.high) == pytest.approx(tuple(ends))
    assert score.interval.method == (
        "percentile bootstrap over 500 images, 2000 draws, centred on the mean"
    )


def test_equal_seeds_give_equal_draws_and_others_do_not(predictions):
    folds = [predictions(seed=seed) for seed in (0, 1)]
    first, again, other = (
        redrawn_scores(folds, unit="images", random_state=seed)[0] for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_two_classifiers_are_scored_on_the_same_draws(right_or_wrong):
    correct = np.random.default_rng(0).random(200) < 0.7
    draws = [
        redrawn_scores(right_or_wrong(one), unit="images", random_state=0)[0][0]
        for one in (correct, ~correct)
    ]
    # In each draw, and in each fold, what one has right the other has wrong.
    np.testing.assert_allclose(draws[0] + draws[1], 1)
