"""Verdicts follow from figures, units and thresholds; shares have closed forms."""

import json
import re

import numpy as np
import pytest

from detl.shortcuts.shares import shares, units_per_class
from detl.shortcuts.verdicts import (
    LIKELY,
    NONE_FOUND,
    UNTOLD,
    Figure,
    ShortcutReport,
    ShortcutTest,
    verdict_of,
)


def figure(low, high, units=50):
    return Figure(value=(low + high) / 2, low=low, high=high, units=units)


def made_up_test(figures, *, threshold=0.3, suspicious="above"):
    return ShortcutTest(
        question="Is it?",
        measure="a number",
        figures=figures,
        threshold=threshold,
        suspicious=suspicious,
        verdict=verdict_of(figures, threshold=threshold, suspicious=suspicious),
    )


@pytest.mark.parametrize(
    ("intervals", "suspicious", "verdict"),
    [
        ([(0.4, 0.6)], "above", LIKELY),
        ([(0.4, 0.6)], "below", NONE_FOUND),
        ([(0.0, 0.2)], "above", NONE_FOUND),
        ([(0.0, 0.2)], "below", LIKELY),
        ([(0.2, 0.4)], "above", UNTOLD),
        ([(0.0, 0.2), (0.0, 0.1)], "above", NONE_FOUND),
        ([(0.0, 0.2), (0.2, 0.4)], "above", UNTOLD),
        ([(0.0, 0.2), (0.2, 0.4), (0.4, 0.6)], "above", LIKELY),
        ([(np.nan, np.nan)], "above", UNTOLD),
        ([(0.3, 0.5)], "above", UNTOLD),  # touches the threshold
        ([], "above", UNTOLD),
    ],
)
def test_the_verdict_takes_whole_intervals(intervals, suspicious, verdict):
    figures = {number: figure(*ends) for number, ends in enumerate(intervals)}
    assert verdict_of(figures, threshold=0.3, suspicious=suspicious) == verdict


def test_of_few_patients_nothing_is_concluded():
    def verdict(units):
        figures = {"a": figure(0.4, 0.6, units=units)}
        return verdict_of(figures, threshold=0.3, suspicious="above")

    assert verdict(9) == UNTOLD
    assert verdict(10) == LIKELY


def test_the_threshold_decides():
    figures = {"a": figure(0.4, 0.6)}
    verdicts = [verdict_of(figures, threshold=t, suspicious="above") for t in (0.3, 0.5, 0.7)]
    assert verdicts == [LIKELY, UNTOLD, NONE_FOUND]


def test_the_worst_class_is_the_one_surest_to_be_suspicious():
    figures = {"a": figure(0.1, 0.9), "b": figure(0.35, 0.4), "c": figure(0.0, 0.1)}
    assert made_up_test(figures).worst == "b"
    assert made_up_test(figures, suspicious="below").worst == "c"
    assert made_up_test({}).worst is None


# -------------------------------------------------------------------------------------- shares


@pytest.fixture
def labels():
    return np.repeat(["a", "b", "c"], 40)


def result_with(make_result, labels, scores, groups=None):
    """Return a result whose probabilities are those of all images, ``(n, 3)``."""
    indices = [(np.arange(1, len(labels), 2), np.arange(0, len(labels), 2))]
    indices.append(indices[0][::-1])
    result = make_result(
        labels,
        groups=groups,
        indices=indices,
        probabilities=[scores[test] for _, test in indices],
    )
    result.settings.update(labels="", groups="", folds="", interval_seed=0)
    return result


def test_who_knows_all_of_it_has_a_share_of_one_and_who_guesses_has_none(make_result, labels):
    truth = np.eye(3)[np.searchsorted(["a", "b", "c"], labels)]
    whole = result_with(make_result, labels, truth)
    same, untold = shares(whole, whole)
    assert untold == []
    assert [(f.value, f.low, f.high, f.units) for f in same.values()] == [(1, 1, 1, 40)] * 3
    nothing, _ = shares(result_with(make_result, labels, np.full((120, 3), 1 / 3)), whole)
    assert [(f.value, f.low, f.high) for f in nothing.values()] == [(0, 0, 0)] * 3


def test_a_mark_on_half_of_a_class_gives_half_of_that_class(make_result, labels):
    truth = np.eye(3)[np.searchsorted(["a", "b", "c"], labels)]
    marked = (labels == "a") & (np.arange(120) // 2 % 2 == 0)  # half of it in each fold
    part = np.where(marked[:, None], [0.98, 0.01, 0.01], [0.3, 0.35, 0.35])
    figures, _ = shares(
        result_with(make_result, labels, part), result_with(make_result, labels, truth)
    )
    # Of pairs with another class half are in order and half are ties: the AUC is 3/4.
    assert figures["a"].value == pytest.approx(0.5)
    assert figures["a"].low < 0.5 < figures["a"].high
    # The classes without it have an AUC of 1/2 + 1/8: a quarter of the others is ruled out.
    assert figures["b"].value == pytest.approx(0.25)


def test_a_class_that_the_network_does_not_tell_is_not_judged(make_result, labels):
    truth = np.eye(3)[np.searchsorted(["a", "b", "c"], labels)]
    only_a = np.where(truth[:, :1] == 1, [1, 0, 0], [0, 0.5, 0.5])
    whole = result_with(make_result, labels, np.full((120, 3), 1 / 3))
    figures, untold = shares(result_with(make_result, labels, only_a), whole)
    assert figures == {}
    assert untold == ["a", "b", "c"]


def test_classes_that_no_fold_tells_from_others_are_not_judged(make_result, labels):
    indices = [(np.flatnonzero(labels != name), np.flatnonzero(labels == name)) for name in "abc"]
    whole = make_result(labels, indices=indices)  # each fold tests one class
    whole.settings.update(interval_seed=0)
    assert shares(whole, whole) == ({}, ["a", "b", "c"])


def test_units_are_groups_where_groups_are_known(make_result, labels):
    groups = np.arange(120) // 2
    assert units_per_class(make_result(labels)) == {"a": 40, "b": 40, "c": 40}
    assert units_per_class(make_result(labels, groups=groups)) == {"a": 20, "b": 20, "c": 20}


# -------------------------------------------------------------------------------------- report


def test_a_report_passes_unless_a_test_finds_something(make_result, labels):
    clean = made_up_test({"a": figure(0.0, 0.2)})
    found = made_up_test({"a": figure(0.4, 0.6)})
    results = {"network": make_result(labels)}
    assert ShortcutReport(tests={"x": clean}, results=results).passed
    report = ShortcutReport(tests={"x": clean, "y": found}, results=results)
    assert not report.passed
    assert report.findings == ["y"]


def test_the_report_says_figure_interval_threshold_and_verdict(make_result, labels):
    tests = {"border": made_up_test({"covid": figure(0.4, 0.6)})}
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
    tests = {"border": made_up_test({"a": figure(np.nan, 0.6)})}
    record = ShortcutReport(tests=tests, results={"network": make_result(labels)}).to_dict()
    read = json.loads(json.dumps(record, allow_nan=False))
    assert read["tests"]["border"]["figures"] == [
        {"class": "a", "value": None, "low": None, "high": 0.6, "units": 50}
    ]
    assert read["passed"] is True
