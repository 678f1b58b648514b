"""A score over the number of training images, and the law through it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from detl import plots
from detl.metrics import Interval
from detl.metrics.power_law import gains
from detl.screening import Estimate
from detl.validation.learning_curves import LearningCurve

SIZES, MEANS = (50.0, 100.0, 200.0), (0.6, 0.7, 0.76)


@pytest.fixture
def curve():
    """Return a curve of three sizes, with the gain that a power law forecasts."""
    (gain,) = gains(np.array(SIZES), np.array(MEANS)[:, np.newaxis], factor=2)
    results = [
        SimpleNamespace(
            unit="groups",
            scores={
                "macro_f1": SimpleNamespace(
                    mean=mean, interval=Interval(low=mean - 0.1, high=mean + 0.05, method="m")
                )
            },
        )
        for mean in MEANS
    ]
    return LearningCurve(
        score="macro_f1",
        shares=(0.25, 0.5, 1.0),
        n_images=SIZES,
        n_units=SIZES,
        results=tuple(results),
        gain=Estimate(
            value=float(gain), interval=Interval(low=float(gain) - 0.02, high=0.09, method="m")
        ),
    )


def test_points_are_the_scores_with_their_intervals(curve):
    (axis,) = plots.training_sizes(curve).axes
    measured = axis.lines[1]
    np.testing.assert_allclose(measured.get_xydata(), np.c_[SIZES, MEANS])
    segments = axis.collections[0].get_segments()
    expected = [[[n, m - 0.1], [n, m + 0.05]] for n, m in zip(SIZES, MEANS, strict=True)]
    np.testing.assert_allclose(segments, expected)
    assert (axis.get_xlabel(), axis.get_ylabel()) == (
        "training groups (mean over folds)",
        "macro f1",
    )


def test_the_law_ends_at_twice_as_many_with_the_gain_and_its_interval(curve):
    (axis,) = plots.training_sizes(curve).axes
    law, _, forecast = axis.lines
    x, y = law.get_data()
    assert (x[0], x[-1]) == (50, 400)
    at_all = np.interp(200, x, y)
    assert y[-1] - at_all == pytest.approx(curve.gain.value, abs=1e-4)
    np.testing.assert_allclose(forecast.get_xydata(), [[400, y[-1]]])
    [(low, high)] = axis.collections[1].get_segments()
    assert low[1] == pytest.approx(y[-1] - 0.02)
    assert high[1] == pytest.approx(y[-1] - curve.gain.value + 0.09)


def test_without_a_forecast_there_are_the_points_alone(curve, axes):
    unknown = Estimate(value=np.nan, interval=Interval(low=np.nan, high=np.nan, method="m"))
    plots.training_sizes(dataclasses.replace(curve, gain=unknown), ax=axes)
    assert len(axes.lines) == 2
    named = [text.get_text() for text in axes.get_legend().get_texts()]
    assert named == ["power law", "measured, 95 % interval"]


def test_only_learning_curves_are_drawn(result):
    with pytest.raises(TypeError, match="curve is CrossValidationResult; expected a LearningCurve"):
        plots.training_sizes(result)
