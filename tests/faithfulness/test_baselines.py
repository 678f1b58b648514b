"""Heatmaps that know nothing like no place better, or the centre alone."""

import numpy as np
import pytest
from scipy import stats

from detl.faithfulness.baselines import centre_maps, other_images, random_maps


def test_a_random_map_is_smooth_and_likes_no_place_better_than_another():
    maps = random_maps(3000, (24, 40), np.random.default_rng(0))

    assert maps.shape == (3000, 24, 40)
    assert 0 <= maps.min() < 0.01
    assert 0.99 < maps.max() <= 1
    np.testing.assert_allclose(maps.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(maps.std(axis=0), maps.std(), rtol=0.1)
    assert np.abs(np.diff(maps, axis=2)).max() <= 1 / 5 + 1e-6  # five pixels from cell to cell
    highest = maps.reshape(3000, -1).argmax(axis=1)
    counts = np.bincount(highest // 40 // 6 * 4 + highest % 40 // 10, minlength=16)
    assert stats.chisquare(counts).pvalue > 0.01


def test_the_centre_prior_fits_every_size():
    maps = centre_maps(2, (6, 10))

    assert maps.shape == (2, 6, 10)
    np.testing.assert_allclose(maps, maps[:, ::-1, ::-1])
    assert maps[0, 2, 4] == maps.max() == maps[0, 3, 5]


@pytest.mark.parametrize(
    "groups", [None, ["a", "b", "c", "a"] * 5, ["a"] * 5 + ["b"] * 3 + ["c"] * 2]
)
def test_every_image_meets_one_of_another_group_and_is_met_once(groups):
    groups = None if groups is None else np.array(groups)
    n = 20 if groups is None else len(groups)
    units = np.arange(n) if groups is None else groups
    draws = other_images(n, groups, np.random.default_rng(0), 50)
    for others in draws:
        assert sorted(others) == list(range(n))
        assert (units[others] != units).all()
    met = np.array(draws)
    for image in range(n):  # each that may be met is, sooner or later
        assert len(set(met[:, image])) > (units != units[image]).sum() / 2


@pytest.mark.parametrize(("n", "groups"), [(1, None), (3, ["a", "a", "b"])])
def test_there_is_no_other_image_where_one_group_has_most(n, groups):
    groups = None if groups is None else np.array(groups)
    assert other_images(n, groups, np.random.default_rng(0), 10) == []
