"""A gap is filled from what is around it."""

import numpy as np
import pytest

from detl.faithfulness.filling import noisy_linear


def test_a_gap_is_filled_so_that_each_pixel_is_the_mean_of_its_neighbours():
    generator = np.random.default_rng(0)
    image, gap = generator.random((7, 6, 2)), generator.random((7, 6)) < 0.7
    places = [tuple(place) for place in np.argwhere(gap)]
    system, known = np.zeros((len(places),) * 2), np.zeros((len(places), 2))
    for equation, (row, column) in enumerate(places):
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                place = row + down, column + right
                if (down, right) == (0, 0) or not (0 <= place[0] < 7 and 0 <= place[1] < 6):
                    continue
                weight = 1 / 6 if 0 in (down, right) else 1 / 12
                system[equation, equation] += weight
                if gap[place]:
                    system[equation, places.index(place)] -= weight
                else:
                    known[equation] += weight * image[place]
    expected = image.copy()
    expected[gap] = np.linalg.solve(system, known)

    np.testing.assert_allclose(noisy_linear(image, gap, 0, generator), expected, rtol=1e-9)


def test_a_gap_in_a_ramp_is_filled_with_the_ramp():
    ramp = np.add.outer(2 * np.arange(9.0), np.arange(9.0))[..., None]
    gap = np.zeros((9, 9), bool)
    gap[2:7, 1:8] = True

    filled = noisy_linear(ramp, gap, 0, np.random.default_rng(0))
    noisy = noisy_linear(ramp, gap, 0.1, np.random.default_rng(0))

    np.testing.assert_allclose(filled, ramp, atol=1e-12)
    assert (noisy - ramp)[gap].std() == pytest.approx(0.1, rel=0.3)
    np.testing.assert_array_equal(noisy[~gap], ramp[~gap])
