"""Heatmaps that know nothing like no place better, or the centre alone."""

import numpy as np
from scipy import stats

from detl.faithfulness.baselines import centre_maps, random_maps


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
