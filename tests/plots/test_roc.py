"""ROC curves are those of the metrics, drawn for each class."""

import numpy as np
import pytest

from detl import metrics, plots
from detl.plots import theme

LABELS = np.array(["covid", "normal", "other", "pneumonia"])[np.arange(200) % 4]


def curves_with(axis, width):
    return [line for line in axis.lines if line.get_linewidth() == width]


def test_each_class_has_its_panel_with_folds_mean_and_band(result):
    figure = plots.roc_curves(result)
    assert [axis.get_title() for axis in figure.axes] == ["covid", "normal", "other", "pneumonia"]
    expected = metrics.roc_curves(result.fold_predictions, unit="groups", random_state=0)
    for axis, curve in zip(figure.axes, expected, strict=True):
        assert (axis.get_xlabel(), axis.get_ylabel()) == ("1 - specificity", "sensitivity")
        rates = np.r_[0, curve.false_positive_rate]
        thin, [mean] = curves_with(axis, 0.6), curves_with(axis, 2)
        for line, fold in zip(thin, curve.folds, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), np.c_[rates, np.r_[0, fold]])
        np.testing.assert_array_equal(mean.get_xydata(), np.c_[rates, np.r_[0, curve.mean]])
        band = {tuple(point) for point in axis.collections[0].get_paths()[0].vertices.tolist()}
        for ends in (curve.low, curve.high):
            assert {*zip(curve.false_positive_rate.tolist(), ends.tolist(), strict=True)} <= band


def test_each_panel_has_the_diagonal_and_the_area_with_its_interval(result):
    panels = plots.roc_curves(result).axes
    for axis, scores in zip(panels, result.class_scores.values(), strict=True):
        assert axis.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
        area = scores["roc_auc"]
        [text] = axis.get_legend().get_texts()
        assert text.get_text() == (
            f"mean of 5 folds\nAUC {area.mean:.3f} "
            f"({area.interval.low:.3f} to {area.interval.high:.3f})"
        )


def test_the_figure_says_how_the_band_was_found(result, make_result):
    for one, unit in ((result, "40 groups"), (make_result(LABELS), "200 images")):
        assert plots.roc_curves(one).get_supxlabel() == (
            "thin lines: folds; AUC with 95 % interval\n"
            f"band: 95 %, percentile bootstrap over {unit}, 500 draws"
        )


def test_folds_without_a_class_are_left_out_and_a_class_in_none_says_so(make_result):
    rows = np.arange(200)
    tests = [rows[:60], rows[60:120][LABELS[60:120] != "covid"], rows[120:160]]
    tests = [test[LABELS[test] != "other"] for test in tests]
    result = make_result(LABELS, indices=[(np.setdiff1d(rows, test), test) for test in tests])
    covid, normal, other, _ = plots.roc_curves(result).axes
    legends = [axis.get_legend().get_texts()[0].get_text() for axis in (covid, normal)]
    assert [text.split("\n")[0] for text in legends] == ["mean of 2 of 3 folds", "mean of 3 folds"]
    assert [len(curves_with(axis, 0.6)) for axis in (covid, normal, other)] == [2, 3, 0]
    assert [text.get_text() for text in other.texts] == [
        "no fold tests both images\nof this class and others"
    ]
    assert other.get_legend() is None


@pytest.mark.slow
def test_the_panels_of_many_classes_are_small_and_still_have_the_area(make_result):
    result = make_result(np.arange(300) % 60)
    figure = plots.roc_curves(result)
    assert max(figure.get_size_inches()) < 25
    area = result.class_scores[0]["roc_auc"]
    assert figure.axes[0].get_title().startswith(f"0\n{area.mean:.3f} (")
    assert figure.axes[0].get_legend() is None


def test_places_without_a_class_are_empty(make_result):
    figure = plots.roc_curves(make_result(np.arange(100) % 5))
    assert [axis.axison for axis in figure.axes] == [True] * 5 + [False]
    assert [axis.get_title() for axis in figure.axes] == ["0", "1", "2", "3", "4", ""]


def test_the_same_result_gives_the_same_picture(result):
    first, again = (plots.roc_curves(result).axes[0].collections[0] for _ in range(2))
    np.testing.assert_array_equal(first.get_paths()[0].vertices, again.get_paths()[0].vertices)


def test_on_axes_of_ones_own_are_the_means_of_all_classes(result, axes):
    assert plots.roc_curves(result, ax=axes) is axes.figure
    curves = metrics.roc_curves(result.fold_predictions, unit="groups", random_state=0)
    diagonal, *lines = axes.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert [line.get_color() for line in lines] == list(theme.PALETTE[:4])
    for line, curve in zip(lines, curves, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), np.r_[0, curve.mean])
    area = result.class_scores["covid"]["roc_auc"].mean
    assert axes.get_legend().get_texts()[0].get_text() == f"covid, AUC {area:.3f}"


def test_on_one_axes_no_two_classes_look_alike(make_result, axes):
    plots.roc_curves(make_result(np.arange(126) % 21), ax=axes)
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines[1:]}
    assert len(looks) == 21
    with pytest.raises(
        ValueError, match=r"has 22 classes; one axes shows up to 21 .* Leave ax out"
    ):
        plots.roc_curves(make_result(np.arange(132) % 22), ax=axes)


def test_a_class_that_no_fold_tests_has_no_curve_among_the_others(make_result, axes):
    rows = np.arange(200)
    test = rows[:80][LABELS[:80] != "other"]
    plots.roc_curves(make_result(LABELS, indices=[(np.setdiff1d(rows, test), test)]), ax=axes)
    named = [text.get_text().split(",")[0] for text in axes.get_legend().get_texts()]
    assert named == ["covid", "normal", "pneumonia"]


def test_an_evaluation_has_no_folds(evaluation):
    figure = plots.roc_curves(evaluation)
    assert "folds" not in figure.get_supxlabel()
    area = evaluation.class_scores["covid"]["roc_auc"]
    [text] = figure.axes[0].get_legend().get_texts()
    assert text.get_text().startswith(f"AUC {area.mean:.3f} (")
