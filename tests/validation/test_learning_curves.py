"""A curve has the scores of its results, and a forecast that says when it knows nothing."""

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure

from detl.metrics import Interval
from detl.metrics.power_law import gains
from detl.metrics.scoring import redrawn_scores
from detl.screening import Estimate
from detl.validation.learning_curves import curve_of

LABELS = np.array(["covid", "normal"])[np.arange(200) // 2 % 2]
GROUPS = np.arange(200) // 2
SHARES = (0.25, 0.5, 1.0)


@pytest.fixture(scope="module")
def results(make_result):
    """Return results of three shares: of 0.25, 0.5 and all of the groups, better and better."""
    found = []
    generator = np.random.default_rng(0)
    halves = [np.arange(100), np.arange(100, 200)]
    for share, skill in zip(SHARES, (0.2, 0.8, 1.2), strict=True):
        indices = [
            (np.setdiff1d(np.arange(200), test)[: int(100 * share)], test) for test in halves
        ]
        noise = generator.normal(size=200)
        shares = 1 / (1 + np.exp(-(noise + skill * np.where(LABELS == "normal", 1, -1))))
        both = np.stack([1 - shares, shares], axis=1)
        found.append(
            make_result(
                LABELS, groups=GROUPS, indices=indices, probabilities=[both[t] for t in halves]
            )
        )
    return found


def test_sizes_are_those_of_the_folds(results):
    curve = curve_of(results, SHARES, "accuracy")
    assert curve.n_images == (25, 50, 100)
    assert curve.n_units == (13, 25, 50)
    assert curve.unit == "groups"


def test_the_gain_is_that_of_a_power_law_and_its_interval_that_of_paired_draws(results):
    curve = curve_of(results, SHARES, "roc_auc")
    scores = np.array([[result.scores["roc_auc"].mean] for result in results])
    assert curve.gain.value == gains(np.array([13, 25, 50]), scores, factor=2)[0]
    drawn = [
        redrawn_scores(result.fold_predictions, unit="groups", random_state=0)[0][3]
        for result in results
    ]
    expected = np.quantile(gains(np.array([13, 25, 50]), np.stack(drawn), factor=2), [0.025, 0.975])
    np.testing.assert_allclose([curve.gain.interval.low, curve.gain.interval.high], expected)


def test_the_table_has_a_row_for_each_share(results):
    lines = str(curve_of(results, SHARES, "accuracy")).splitlines()
    assert lines[0] == "groups  images  accuracy (95 % interval)"
    assert lines[1].split()[:3] == ["13", "25", f"{results[0].accuracy:.3f}"]
    assert lines[-1].startswith("A power law over 3 shares of the training groups; intervals: perc")


def with_gain(results, value, low, high):
    curve = curve_of(results, SHARES, "accuracy")
    interval = Interval(low=low, high=high, method="m")
    return dataclasses.replace(curve, gain=Estimate(value=value, interval=interval))


def test_the_forecast_says_what_is_gained_or_that_it_cannot_be_told(results):
    assert with_gain(results, 0.015, 0.002, 0.029).verdict == (
        "About +1.5 points (0.2 to 2.9) from twice as many patients (groups)."
    )
    assert with_gain(results, 0.015, -0.01, 0.03).verdict == (
        "The data do not show whether twice as many patients (groups) would help: +1.5 points, "
        "with an interval from -1.0 to +3.0."
    )
    assert with_gain(results, np.nan, np.nan, np.nan).verdict.startswith("No forecast: some share")


def test_a_curve_draws_its_scores_and_its_forecast(results):
    curve = curve_of(results, SHARES, "accuracy")
    axes = Figure().subplots()
    assert curve.plot(ax=axes) is axes.figure
    law, measured, forecast = axes.lines
    expected = [[n, found.accuracy] for n, found in zip(curve.n_units, results, strict=True)]
    np.testing.assert_allclose(measured.get_xydata(), expected)
    np.testing.assert_allclose(forecast.get_xydata()[0], law.get_xydata()[-1])
    assert curve.plot(figsize=(5, 4)).get_size_inches().tolist() == [5, 4]
