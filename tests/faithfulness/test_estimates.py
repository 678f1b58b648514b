"""Means and intervals are over what has a value, drawn as a whole."""

import numpy as np
import pytest

from detl.faithfulness.estimates import estimates


def random_values(n, known):
    values = np.full((1, n), np.nan)
    values[0, known] = np.random.default_rng(0).normal(size=len(known))
    return values


@pytest.mark.parametrize("unit", ["images", "groups"])
def test_what_has_no_value_is_not_drawn(unit):
    known = np.arange(0, 50, 2)
    values, seed = random_values(50, known), np.random.SeedSequence(4)
    groups = {"groups": np.arange(50) // 2, "images": None}[unit]
    [found] = estimates(values, groups=groups, seed=seed)
    [alone] = estimates(values[:, known], groups=None, seed=seed)
    assert (found.mean, found.interval.low, found.interval.high) == pytest.approx(
        (alone.mean, alone.interval.low, alone.interval.high)
    )
    assert found.interval.method == f"percentile bootstrap over 25 {unit}, 2000 draws"


def test_what_weighs_nothing_is_not_drawn():
    values = np.random.default_rng(0).normal(size=(1, 50))
    weights, seed = np.arange(50) % 2, np.random.SeedSequence(4)
    [found] = estimates(values, groups=None, seed=seed, weights=weights)
    [alone] = estimates(values[:, 1::2], groups=None, seed=seed)
    assert found.interval.low == pytest.approx(alone.interval.low)
    assert found.interval.method == alone.interval.method


@pytest.mark.parametrize("known", [[], [17], [17, 18]])
def test_one_value_among_many_images_has_no_interval(known):
    groups = np.arange(50) // 5  # 17 and 18 are of one
    values = random_values(50, np.array(known, int))
    for of, n in ((None, len(known)), (groups, min(1, len(known)))):
        [found] = estimates(values, groups=of, seed=np.random.SeedSequence(4))
        if n < 2:
            unit = "images" if of is None else "groups"
            assert found.interval.method == f"none: {n} of {unit} is too few"
            assert np.isnan([found.interval.low, found.interval.high]).all()
        assert np.isnan(found.mean) == (not known)


def test_each_row_is_drawn_from_what_has_a_value_in_it():
    values = np.random.default_rng(0).normal(size=(3, 40))
    values[1, 5:] = np.nan
    seed = np.random.SeedSequence(4)
    found = estimates(values, groups=None, seed=seed)
    for row, estimate in zip(values, found, strict=True):
        [alone] = estimates(row[np.newaxis], groups=None, seed=seed)
        assert estimate.mean == pytest.approx(alone.mean)
        assert estimate.interval.low == pytest.approx(alone.interval.low)
        assert estimate.interval.method == alone.interval.method
    assert [estimate.interval.method for estimate in found] == [
        "percentile bootstrap over 40 images, 2000 draws",
        "percentile bootstrap over 5 images, 2000 draws, too narrow under 20 images",
        "percentile bootstrap over 40 images, 2000 draws",
    ]
