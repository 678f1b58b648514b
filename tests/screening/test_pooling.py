"""Predictions of all folds in one, and intervals of what follows from them."""

import numpy as np
import pytest

from detl.metrics import Interval
from detl.screening import Estimate
from detl.screening.pooling import draws, interval_of, pooled


def test_the_folds_follow_one_another(make_folds):
    folds = make_folds()
    pool = pooled(folds)
    np.testing.assert_array_equal(pool.targets[40:80], folds[1].targets)
    np.testing.assert_array_equal(pool.units[80:], folds[2].units)
    np.testing.assert_array_equal(pool.predicted[:40], folds[0].probabilities.argmax(axis=1))


def test_a_mean_has_the_interval_of_its_normal_distribution(make_folds):
    pool = pooled(make_folds(n=400))
    correct = (pool.predicted == pool.targets).astype(float)
    values, drawn, method = draws(
        pool,
        lambda weights: (weights @ correct / weights.sum(axis=1))[:, np.newaxis],
        unit="groups",
        random_state=0,
    )
    assert values == [correct.mean()]
    of_units = correct.reshape(-1, 2).mean(axis=1)
    expected = correct.mean() + 1.96 * of_units.std() / np.sqrt(600) * np.array([-1, 1])
    found = interval_of(drawn[0], method)
    np.testing.assert_allclose((found.low, found.high), expected, atol=0.003)
    assert found.method == "percentile bootstrap over 600 groups, 2000 draws"


def test_an_interval_may_end_at_infinity_and_skips_draws_without_the_value():
    drawn = np.r_[np.arange(60.0), [np.inf] * 40, [np.nan] * 100]
    assert interval_of(drawn, "m") == Interval(low=2, high=np.inf, method="m")
    nothing = interval_of(np.full(4, np.nan), "m")
    assert np.isnan([nothing.low, nothing.high]).all()


def test_a_wider_interval_holds_the_narrower():
    drawn = np.arange(1001.0)
    wide, narrow = (interval_of(drawn, "m", level=level) for level in (0.01, 0.05))
    assert (wide.low, wide.high) == (5, 995)
    assert (narrow.low, narrow.high) == (25, 975)


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.500 (0.250 to 0.750)"), (np.nan, "-")])
def test_an_estimate_reads_as_value_and_interval(value, text):
    assert str(Estimate(value=value, interval=Interval(low=0.25, high=0.75, method="m"))) == text
