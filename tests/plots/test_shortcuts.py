"""The picture of a shortcut report names its tests, verdicts and classes."""

import matplotlib
import numpy as np
import pytest

from detl import plots
from detl.plots import theme
from detl.shortcuts import Estimate, ShortcutReport, ShortcutTest


def report(result, **tests):
    return ShortcutReport(tests=tests, results={"network": result, "border": result})


def made_up(measure, threshold, suspicious="above"):
    estimates = {
        label: Estimate(value=value, low=value - 0.1, high=value + 0.1, units=50)
        for label, value in (("covid", 0.6), ("normal", 0.1), ("other", 0.35), ("rare", np.nan))
    }
    return ShortcutTest(
        question="Is it?",
        measure=measure,
        estimates=estimates,
        threshold=threshold,
        suspicious=suspicious,
        verdict="shortcut likely",
    )


def test_the_picture_names_tests_verdicts_and_classes(result):
    figure = plots.shortcut_report(
        report(result, border=made_up("share", 0.33), heatmaps=made_up("energy", 0.5, "below"))
    )
    figure.draw_without_rendering()
    texts = {text.get_text() for text in figure.findobj(matplotlib.text.Text)}
    assert {"border: shortcut likely", "covid", "normal", "network"} <= texts
    thresholds = [
        line.get_xdata()[0]
        for axis in figure.axes[1:]
        for line in axis.lines
        if line.get_linestyle() == "--"
    ]
    assert thresholds == [0.33, 0.5]


def test_red_is_beyond_the_threshold_and_blue_on_its_other_side(result):
    above, below = (
        plots.shortcut_report(report(result, x=made_up("share", 0.33, suspicious))).axes[1]
        for suspicious in ("above", "below")
    )
    red, blue, grey = theme.ALARM, theme.MAIN, theme.NEUTRAL
    for axis, colours in ((above, [red, blue, grey]), (below, [blue, red, grey])):
        points = [line for line in axis.lines if line.get_marker() == "o"]
        assert [line.get_color() for line in points] == colours
        assert [text.get_text() for text in axis.texts] == ["not known"]  # of "rare"
        np.testing.assert_allclose([line.get_xdata() for line in points], [[0.6], [0.1], [0.35]])


def test_tests_of_another_measure_have_a_panel_that_names_it(result):
    tests = {"a": made_up("share", 0.3), "b": made_up("twice the area", 0.3)}
    tests |= {"c": made_up("energy", 0.5), "baseline": made_up("difference", None)}
    axes = plots.shortcut_report(report(result, **tests)).axes
    assert [axis.get_xlabel() for axis in axes[1:]] == ["share", "twice the area", "energy"]


def test_of_many_classes_the_most_suspicious_are_shown(result):
    values = np.random.default_rng(0).permutation(60) / 60
    estimates = {
        f"class {k}": Estimate(value=v, low=v - 0.1, high=v + 0.1, units=50)
        for k, v in enumerate(values)
    }
    test = ShortcutTest(
        question="", measure="share", estimates=estimates, threshold=0.3, verdict="shortcut likely"
    )
    figure = plots.shortcut_report(report(result, x=test))
    assert max(figure.get_size_inches()) < 12
    shown = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert shown[0] == "x: shortcut likely (worst 12 classes)"
    assert sorted(shown[1:]) == sorted(f"class {k}" for k in np.argsort(-values)[:12])


def test_only_reports_are_drawn(result):
    with pytest.raises(TypeError, match="report is CrossValidationResult; expected a Sho"):
        plots.shortcut_report(result)


def test_on_axes_of_ones_own_are_the_areas_with_the_verdicts(result, axes):
    found = report(result, border=made_up("share", 0.33))
    assert plots.shortcut_report(found, ax=axes) is axes.figure
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["network", "border\nshortcut likely"]
    area = result.scores["roc_auc"]
    points = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert points == [area.mean] * 2
    ends = [line.get_xdata() for line in axes.lines if line.get_linestyle() == "-"]
    assert [area.interval.low, area.interval.high] in [list(x) for x in ends]
