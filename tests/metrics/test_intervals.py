"""Intervals equal what redrawing by hand gives."""

import itertools

import numpy as np
import pytest
from scipy import stats

from detl.metrics import Predictions, roc_curves, scores
from detl.metrics.intervals import quantiles, redrawn
from detl.metrics.scoring import redrawn_scores


def by_hand(fold, rows):
    """Return accuracy, and sensitivity and area of each class, of these rows, image by image."""
    targets, probabilities = fold.targets[rows], fold.probabilities[rows]
    right = [int(np.argmax(p) == t) for t, p in zip(targets, probabilities, strict=True)]
    found = [np.mean(right) if right else np.nan]
    for k in range(probabilities.shape[1]):
        of_class = [hit for hit, t in zip(right, targets, strict=True) if t == k]
        found.append(np.mean(of_class) if of_class else np.nan)
        scores, others = probabilities[targets == k, k], probabilities[targets != k, k]
        pairs = [(a > b) + (a == b) / 2 for a in scores for b in others]
        found.append(np.mean(pairs) if pairs else np.nan)
    return found


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_draws_are_those_of_whole_units_redrawn_by_hand(predictions, named):
    # Four units can be drawn in 4^4 ways, all equally likely: the whole distribution is known.
    folds = [predictions(9, decimals=1, n_units=4, seed=seed) for seed in (4, 5)]
    expected = []
    for drawn in itertools.product(range(4), repeat=4):
        rows = [
            np.concatenate([np.flatnonzero(fold.units == unit) for unit in drawn]) for fold in folds
        ]
        values = np.array([by_hand(*pair) for pair in zip(folds, rows, strict=True)])
        # All folds have nine images: each counts by how many were drawn from it.
        known = np.where(np.isnan(values), np.nan, np.array([[len(one)] for one in rows]))
        total = np.nansum(known, axis=0)
        mean = np.nansum(known * values, axis=0) / np.where(total > 0, total, np.nan)
        expected.append(mean)
    draws, method = redrawn_scores(folds, unit="groups", random_state=0)
    names = list(named(draws))
    chosen = ["accuracy", *((n, k) for k in range(3) for n in ("sensitivity", "roc_auc"))]
    found = draws[[names.index(name) for name in chosen]].T

    def as_set(rows):
        return {tuple(row) for row in np.nan_to_num(np.round(rows, 9), nan=-1.0).tolist()}

    assert as_set(found) <= as_set(expected)
    assert len(as_set(found)) > 0.95 * len(as_set(expected)) > 25
    error = np.nanstd(expected, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.nanmean(found, axis=0) - np.nanmean(expected, axis=0)) < 4 * error).all()
    assert method == "percentile bootstrap over 4 groups, 2000 draws, too narrow under 20 groups"


def accuracy_interval(folds, unit="images"):
    return scores(folds, unit=unit, random_state=0)[0]["accuracy"].interval


def test_the_interval_of_single_images_is_that_of_a_binomial_share(right_or_wrong):
    found = accuracy_interval(right_or_wrong(np.arange(400) % 4 > 0))
    low, high = stats.binom.ppf([0.025, 0.975], 400, 0.75) / 400
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)
    assert found.method == "percentile bootstrap over 400 images, 2000 draws"


def test_groups_of_equal_images_widen_the_interval_by_the_root_of_their_size(right_or_wrong):
    correct, groups = np.repeat(np.arange(60) % 4 > 0, 9), np.arange(540) // 9
    alone = accuracy_interval(right_or_wrong(correct))
    together = accuracy_interval(right_or_wrong(correct, groups), unit="groups")
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(3, rel=0.1)
    assert together.method == "percentile bootstrap over 60 groups, 2000 draws"


@pytest.mark.parametrize(
    ("n", "method"),
    [
        (19, "percentile bootstrap over 19 images, 2000 draws, too narrow under 20 images"),
        (20, "percentile bootstrap over 20 images, 2000 draws"),
    ],
)
def test_an_interval_over_few_says_that_it_is_too_narrow(n, method, right_or_wrong):
    assert accuracy_interval(right_or_wrong(np.arange(n) % 4 > 0)).method == method


def test_about_95_percent_of_intervals_hold_the_true_share():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        right = rng.random(120) < 0.8
        fold = Predictions(targets=None, probabilities=None, units=np.arange(120))

        def share(fold, weights, right=right):
            return (weights @ right / weights.sum(axis=1))[:, np.newaxis]

        drawn, _ = redrawn([fold], share, 400, unit="images", random_state=0)
        low, high = quantiles(drawn)[:, 0]
        hits += low <= 0.8 <= high
    assert 90 <= hits <= 99


def test_an_image_in_several_repeats_is_one_image(right_or_wrong):
    correct = np.arange(200) % 4 > 0
    once = right_or_wrong(correct)
    one, three = accuracy_interval(once), accuracy_interval(3 * once)
    assert (one.low, one.high) == pytest.approx((three.low, three.high))


def test_no_error_at_all_gives_an_interval_without_width(right_or_wrong):
    overall, per_class = scores(right_or_wrong(np.ones(20, bool)), random_state=0)
    for score in (overall["accuracy"], overall["roc_auc"], per_class[1]["precision"]):
        assert (score.mean, score.interval.low, score.interval.high) == (1, 1, 1)


def test_units_that_no_fold_tests_are_not_drawn(right_or_wrong):
    every = right_or_wrong(np.arange(40) % 4 > 0)
    shifted = [
        Predictions(targets=f.targets, probabilities=f.probabilities, units=1000 + 7 * f.units)
        for f in every
    ]
    assert accuracy_interval(shifted) == accuracy_interval(every)


def test_one_group_has_scores_but_no_interval(predictions):
    fold = predictions(6, n_units=1)
    overall, per_class = scores([fold], unit="groups")
    for name, score in (*overall.items(), *per_class[0].items()):
        assert np.isfinite(score.mean), name
        assert np.isnan([score.interval.low, score.interval.high]).all()
    assert overall["accuracy"].interval.method == "none: 1 of groups is too few"
    curve = roc_curves([fold], unit="groups")[0]
    assert np.isfinite(curve.mean).all()
    assert np.isnan([curve.low, curve.high]).all()


@pytest.mark.parametrize("n_folds", [3, 30], ids=["ten groups a fold", "one group a fold"])
def test_the_interval_is_as_wide_however_few_groups_a_fold_has(n_folds):
    rng = np.random.default_rng(0)
    correct = rng.random((30, 4)) < rng.beta(4, 2, (30, 1))  # patients differ
    targets = np.tile([0, 1, 0, 1], (30, 1))
    folds = [
        Predictions(
            targets=targets[rows].ravel(),
            probabilities=np.eye(2)[np.where(correct, targets, 1 - targets)[rows].ravel()],
            units=np.repeat(rows, 4),
        )
        for rows in np.array_split(np.arange(30), n_folds)
    ]
    found = accuracy_interval(folds, unit="groups")
    shares = correct.mean(axis=1)
    slow = [shares[rng.integers(0, 30, 30)].mean() for _ in range(4000)]
    low, high = np.quantile(slow, (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.012)
