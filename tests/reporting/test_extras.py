"""What was given beside the result is shown, each with a sentence."""

import dataclasses

import numpy as np
import pytest

import detl
from detl.reporting import extras
from detl.shortcuts import Estimate, ShortcutReport, ShortcutTest
from detl.validation.learning_curves import curve_of


def test_each_analysis_has_its_section(result):
    views = np.where(np.arange(120) % 2, "AP", "PA")
    groups = result.subgroups({"view": views})
    point = result.operating_point("covid", sensitivity=0.9)
    curve = result.net_benefit("covid")
    sections = [extras.of_analysis(found) for found in (groups, point, curve)]
    assert [one.title for one in sections] == [
        "Subgroups",
        "Threshold for covid",
        "Net benefit of acting on covid",
    ]
    values, differences = sections[0].tables
    assert values.rows[0][:3] == ("view AP", "60", "40")
    assert "Sensitivity and specificity are means over all classes." in sections[0].says
    assert [len(one.pictures) for one in sections] == [1, 0, 1]
    assert differences.rows[0][1].startswith(
        f"{100 * groups.subgroups[0].differences['accuracy'].value:+.1f}"
    )
    assert sections[1].tables[0].rows[0] == ("sensitivity", str(point.sensitivity))
    assert f"{point.counts[0, 0]} of 40 images are found" in sections[1].says
    assert sections[2].says.endswith(curve.verdict)
    assert "No threshold was chosen on images" in sections[1].says
    given = extras.of_analysis(result.operating_point("covid", threshold=0.3))
    assert "(given)" in given.says
    assert "No threshold was chosen" not in given.says


def test_a_learning_curve_has_its_verdict(make_result):
    labels = np.array(["a", "b"])[np.arange(80) // 2 % 2]
    halves = [np.arange(40), np.arange(40, 80)]
    results = [
        make_result(
            labels,
            groups=np.arange(80) // 2,
            indices=[(np.setdiff1d(np.arange(80), test)[:size], test) for test in halves],
        )
        for size in (10, 20, 40)
    ]
    curve = curve_of(results, (0.25, 0.5, 1.0), "accuracy")
    section = extras.of_analysis(curve)
    assert section.says.startswith(curve.verdict)
    assert len(section.pictures) == 1
    assert [row[:2] for row in section.tables[0].rows] == [("5", "10"), ("10", "20"), ("20", "40")]


def test_what_is_no_analysis_is_refused(result):
    with pytest.raises(TypeError, match="analyses has a CrossValidationResult; expected what"):
        extras.of_analysis(result)


@pytest.fixture
def evaluation(result):
    """Return an evaluation with a label that nobody knows and a leak."""
    labels = np.array(["covid", "normal", "other", "flu"])[np.arange(40) % 4]
    return detl.Evaluation(
        classes=result.classes,
        labels=labels,
        groups=None,
        probabilities=np.random.default_rng(0).dirichlet([1, 1, 1], 40).astype("float32"),
        decisions=None,
        leaks=("2 groups were trained on.",),
        internal=result,
        settings={"interval_seed": 0},
    )


def test_an_evaluation_shows_what_is_lost_and_what_is_wrong(evaluation):
    found = extras.external(evaluation)
    change = 100 * evaluation.changes["accuracy"].value
    assert f"a change of {change:+.1f} (" in found.says
    assert found.tables[0].rows[0][2] == f"{evaluation.internal_scores['accuracy']:.3f}"
    assert [row[0] for row in found.tables[2].rows] == ["covid", "normal", "other", "flu"]
    assert found.points[-1] == "LEAK: 2 groups were trained on."


def test_a_comparison_shows_each_pair(result, make_result):
    shares = np.random.default_rng(1).dirichlet([1, 1, 1], 120)
    other = make_result(
        result.labels,
        groups=result.groups,
        indices=result.indices,
        probabilities=[shares[test] for _, test in result.indices],
    )
    compared = detl.compare_results({"network": result, "noise": other})
    found = extras.comparison(compared)
    assert found.says == f"network and noise: {compared.differences[0].verdict}."
    assert found.tables[1].rows[0][0] == "network - noise"
    assert len(found.pictures) == 1
    assert found.tables[1].rows[0][1].startswith(f"{100 * compared.differences[0].mean:+.1f} (")


def test_shortcut_tests_show_their_verdicts(result):
    estimates = {name: Estimate(value=0.6, low=0.5, high=0.7, units=50) for name in result.classes}
    test = ShortcutTest(
        question="Does the border tell the class?",
        measure="share",
        estimates=estimates,
        threshold=0.33,
        verdict="shortcut likely",
    )
    results = {"network": result, "border": result}
    report = ShortcutReport(tests={"border": test}, results=results)
    found = extras.shortcuts(report)
    assert found.says.endswith("A shortcut is likely in 1 of 1 tests.")
    assert found.tables[0].rows == (("Does the border tell the class?", "shortcut likely"),)
    assert len(found.pictures) == 1
    harmless = dataclasses.replace(test, verdict="no shortcut found")
    report = ShortcutReport(tests={"border": harmless}, results=results)
    assert extras.verdict_on(report) == "None of 1 tests found a shortcut to be likely."


def test_heatmaps_are_of_the_first_images_of_each_class(result, images):
    maps = np.random.default_rng(0).uniform(size=(120, 16, 16)).astype("float32")
    maps[0] = np.nan  # tested by no fold
    chosen = extras._examples(result, np.isfinite(maps).all(axis=(1, 2)))
    assert chosen == [3, 6, 9, 1, 4, 7, 2, 5, 8]
    section = extras.heatmaps(result, images, maps, np.zeros(120, int))
    assert len(section.pictures) == 1


def test_a_class_keeps_its_name_in_the_section_of_subgroups(make_result):
    labels = np.array(["COVID-19", "Normal"])[np.arange(80) % 2]
    found = make_result(labels).subgroups(
        {"view": np.where(np.arange(80) < 40, "AP", "PA")}, class_name="COVID-19"
    )
    assert extras.subgroups(found).says.endswith("Sensitivity and specificity of 'COVID-19'.")
