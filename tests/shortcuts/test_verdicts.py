"""Verdicts follow from estimates, units and thresholds; shares have closed forms."""

import json
import re

import matplotlib.figure
import numpy as np
import pytest

from detl.shortcuts.verdicts import (
    INCONCLUSIVE,
    LIKELY,
    NONE_FOUND,
    Estimate,
    ShortcutReport,
    ShortcutTest,
    verdict_of,
)


def estimate(low, high, units=50):
    return Estimate(value=(low + high) / 2, low=low, high=high, units=units)


def made_up_test(estimates, *, threshold=0.3, suspicious="above"):
    return ShortcutTest(
        question="Is it?",
        measure="a number",
        estimates=estimates,
        threshold=threshold,
        suspicious=suspicious,
        verdict=verdict_of(estimates, threshold=threshold, suspicious=suspicious),
    )


@pytest.mark.parametrize(
    ("intervals", "suspicious", "verdict"),
    [
        ([(0.4, 0.6)], "above", LIKELY),
        ([(0.4, 0.6)], "below", NONE_FOUND),
        ([(0.0, 0.2)], "above", NONE_FOUND),
        ([(0.0, 0.2)], "below", LIKELY),
        ([(0.2, 0.4)], "above", INCONCLUSIVE),
        ([(0.0, 0.2), (0.0, 0.1)], "above", NONE_FOUND),
        ([(0.0, 0.2), (0.2, 0.4)], "above", INCONCLUSIVE),
        ([(0.0, 0.2), (0.2, 0.4), (0.4, 0.6)], "above", LIKELY),
        ([(np.nan, np.nan)], "above", INCONCLUSIVE),
        ([(0.3, 0.5)], "above", INCONCLUSIVE),  # touches the threshold
        ([], "above", INCONCLUSIVE),
    ],
)
def test_the_verdict_takes_whole_intervals(intervals, suspicious, verdict):
    estimates = {number: estimate(*ends) for number, ends in enumerate(intervals)}
    assert verdict_of(estimates, threshold=0.3, suspicious=suspicious) == verdict


def test_of_few_patients_nothing_is_concluded():
    def verdict(units):
        estimates = {"a": estimate(0.4, 0.6, units=units)}
        return verdict_of(estimates, threshold=0.3, suspicious="above")

    assert verdict(9) == INCONCLUSIVE
    assert verdict(10) == LIKELY


def test_the_threshold_decides():
    estimates = {"a": estimate(0.4, 0.6)}
    verdicts = [verdict_of(estimates, threshold=t, suspicious="above") for t in (0.3, 0.5, 0.7)]
    assert verdicts == [LIKELY, INCONCLUSIVE, NONE_FOUND]


def test_the_worst_class_is_the_one_surest_to_be_suspicious():
    estimates = {"a": estimate(0.1, 0.9), "b": estimate(0.35, 0.4), "c": estimate(0.0, 0.1)}
    assert made_up_test(estimates).worst == "b"
    assert made_up_test(estimates, suspicious="below").worst == "c"
    assert made_up_test({}).worst is None


# -------------------------------------------------------------------------------------- report


@pytest.fixture
def labels():
    return np.repeat(["a", "b", "c"], 40)


def test_a_report_passes_unless_a_test_finds_something(make_result, labels):
    clean = made_up_test({"a": estimate(0.0, 0.2)})
    found = made_up_test({"a": estimate(0.4, 0.6)})
    results = {"network": make_result(labels)}
    assert ShortcutReport(tests={"x": clean}, results=results).passed
    report = ShortcutReport(tests={"x": clean, "y": found}, results=results)
    assert not report.passed
    assert report.findings == ["y"]


def test_the_report_says_figure_interval_threshold_and_verdict(make_result, labels):
    tests = {"border": made_up_test({"covid": estimate(0.4, 0.6)})}
    text = str(ShortcutReport(tests=tests, results={"network": make_result(labels)}))
    (row,) = [line for line in text.splitlines() if line.startswith("border  ")]
    assert re.split(" {2,}", row) == [
        "border",
        "shortcut likely",
        "covid",
        "0.50 (0.40 to 0.60)",
        "0.3",
    ]
    assert "SHORTCUT LIKELY: border." in text
    assert "not for clinical use" in text


def test_json_holds_a_report(make_result, labels):
    tests = {"border": made_up_test({"a": estimate(np.nan, 0.6)})}
    record = ShortcutReport(tests=tests, results={"network": make_result(labels)}).to_dict()
    read = json.loads(json.dumps(record, allow_nan=False))
    assert read["tests"]["border"]["estimates"] == [
        {"class": "a", "value": None, "low": None, "high": 0.6, "units": 50}
    ]
    assert read["passed"] is True


def test_a_report_draws_itself(make_result):
    network = make_result(np.arange(80) % 2)
    report = ShortcutReport(
        tests={"border": made_up_test({"a": estimate(0.4, 0.6)})},
        results={"network": network, "border": network},
    )
    axes = matplotlib.figure.Figure().subplots()
    assert report.plot(ax=axes) is axes.figure
    assert axes.get_yticklabels()[1].get_text() == f"border\n{LIKELY}"
    drawn = report.plot(figsize=(8, 4))
    assert drawn.get_size_inches().tolist() == [8, 4]
    assert [axis.get_xlabel() for axis in drawn.axes] == ["ROC AUC, mean over classes", "a number"]
