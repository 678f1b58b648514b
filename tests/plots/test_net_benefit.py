"""The decision curve shows the classifier, acting on all, and on none."""

import numpy as np
import pytest

from detl import plots
from detl.screening import DecisionCurve


@pytest.fixture
def curve():
    """Return a curve of nine thresholds, the first six of use."""
    at = np.arange(1, 10) / 10
    benefit = 0.3 - 0.4 * at
    return DecisionCurve(
        class_name="covid $x",
        thresholds=at,
        net_benefit=benefit,
        low=benefit - 0.05,
        high=benefit + 0.05,
        treat_all=0.3 - 0.7 * at / (1 - at),
        useful=at < 0.65,
        prevalence=0.3,
        method="bootstrap",
    )


def test_the_lines_are_those_of_the_curve(curve):
    (axis,) = plots.net_benefit(curve).axes
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    np.testing.assert_allclose(lines["act on the classifier"][:, 1], curve.net_benefit)
    np.testing.assert_allclose(lines["act on all"][:, 1], curve.treat_all)
    assert set(lines["act on none"][:, 1]) == {0}
    np.testing.assert_allclose(lines["classifier shown to be best"][:, 0], curve.thresholds[:6])
    assert axis.get_title() == "acting on covid $x"


def test_what_nobody_would_do_does_not_squeeze_the_picture(curve):
    (axis,) = plots.net_benefit(curve).axes
    assert curve.treat_all.min() < -5
    low, high = axis.get_ylim()
    assert low == pytest.approx(-0.075)
    assert high == pytest.approx(1.1 * 0.31)


def test_only_a_decision_curve_is_drawn(result):
    with pytest.raises(TypeError, match=r"curve is CrossValidationResult; .* result.net_benefit"):
        plots.net_benefit(result)


def test_on_axes_of_ones_own_the_lines_are_the_same(curve, axes):
    plots.net_benefit(curve, ax=axes)
    (new,) = plots.net_benefit(curve).axes
    for mine, other in zip(axes.lines, new.lines, strict=True):
        np.testing.assert_array_equal(mine.get_xydata(), other.get_xydata())
