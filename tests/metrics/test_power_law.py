"""A power law is found again, and what more images would add follows from it."""

import numpy as np
import pytest

from detl.metrics.power_law import gains, law_at

SIZES = np.array([50.0, 100, 200, 400])


@pytest.mark.parametrize(
    ("limit", "loss", "exponent"), [(0.9, 2.0, 0.5), (0.7, 0.5, 0.3), (0.95, 3.0, 1.0)]
)
def test_the_gain_is_that_of_the_law(limit, loss, exponent):
    def law(n):
        return limit - loss * n**-exponent

    (found,) = gains(SIZES, law(SIZES)[:, np.newaxis], factor=2)
    assert found == pytest.approx(law(800) - law(400), abs=1e-3)


def test_no_score_ends_above_one():
    scores = np.array([0.6, 0.75, 0.9, 0.98])[:, np.newaxis]  # straight ahead would be 1.1
    (found,) = gains(SIZES, scores, factor=1000)
    assert 0 < found <= 0.06


def test_a_score_that_falls_loses_more():
    (found,) = gains(SIZES, np.array([0.8, 0.75, 0.7, 0.65])[:, np.newaxis], factor=2)
    assert found < -0.01


def test_a_score_that_stays_gains_nothing():
    (found,) = gains(SIZES, np.full((4, 1), 0.8), factor=2)
    assert found == pytest.approx(0, abs=1e-12)


def test_each_draw_has_its_own_law():
    scores = np.stack([0.9 - 2 * SIZES**-0.5, 0.8 - SIZES**-0.5], axis=1)
    one, two = (gains(SIZES, scores[:, [k]], factor=2)[0] for k in (0, 1))
    np.testing.assert_allclose(gains(SIZES, scores, factor=2), [one, two])


def test_the_law_is_found_again_at_other_sizes():
    def law(n):
        return 0.9 - 2 * n**-0.5

    at = np.array([75.0, 400, 900])
    found = law_at(SIZES, law(SIZES)[:, np.newaxis], at)
    np.testing.assert_allclose(found[:, 0], law(at), atol=1e-6)


def test_the_gain_is_the_laws_own():
    scores = np.array([0.6, 0.75, 0.9, 0.98])[:, np.newaxis]
    now, then = law_at(SIZES, scores, np.array([400.0, 800.0]))
    np.testing.assert_allclose(then - now, gains(SIZES, scores, factor=2))
