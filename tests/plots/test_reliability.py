"""The reliability diagram shows accuracy over confidence, bin by bin."""

import numpy as np
import pytest

from detl import metrics, plots

LABELS = np.array(["covid", "normal", "other", "pneumonia"])[np.arange(200) % 4]


@pytest.mark.parametrize("n_bins", [10, 4])
def test_the_diagram_shows_accuracy_over_confidence_and_images_per_bin(result, n_bins):
    above, below = plots.reliability_diagram(result, n_bins=n_bins).axes
    sure = result.probabilities.max(axis=1)
    confidence, accuracy, _ = metrics.reliability(result.predictions == LABELS, sure, n_bins=n_bins)
    gaps, points = above.collections
    np.testing.assert_allclose(points.get_offsets(), np.c_[confidence, accuracy])
    np.testing.assert_allclose(
        gaps.get_segments(), [[[c, a], [c, c]] for c, a in zip(confidence, accuracy, strict=True)]
    )
    assert above.lines[0].get_xydata().tolist() == [[0, 0], [1, 1]]
    counts, edges = np.histogram(sure, bins=n_bins, range=(0, 1))
    filled = counts > 0
    assert [bar.get_height() for bar in below.patches] == counts[filled].tolist()
    np.testing.assert_allclose(
        [bar.get_x() for bar in below.patches], edges[:-1][filled], atol=1e-9
    )
    assert [text.get_text() for text in below.texts] == [str(n) for n in counts[filled]]
    assert (below.get_xlabel(), below.get_ylabel()) == ("confidence", "images")


def test_points_of_more_images_are_larger(result):
    above, below = plots.reliability_diagram(result).axes
    images = np.array([bar.get_height() for bar in below.patches])
    np.testing.assert_allclose(above.collections[1].get_sizes(), 10 + 200 * images / images.max())


def test_the_diagram_has_the_calibration_error_with_its_interval(result):
    error = result.scores["calibration_error"]
    assert plots.reliability_diagram(result).axes[0].get_title() == (
        f"calibration error {error.mean:.3f} "
        f"({error.interval.low:.3f} to {error.interval.high:.3f})\n"
        "mean over folds, with 95 % interval"
    )


def test_who_is_always_sure_and_right_is_one_point_in_the_corner(make_result):
    labels = np.arange(20) % 2
    indices = [(np.arange(10), np.arange(10, 20)), (np.arange(10, 20), np.arange(10))]
    sure = make_result(labels, indices=indices, probabilities=[np.eye(2)[labels[:10]]] * 2)
    above, below = plots.reliability_diagram(sure).axes
    assert above.collections[1].get_offsets().tolist() == [[1, 1]]
    [bar] = below.patches
    assert (bar.get_x(), bar.get_width(), bar.get_height()) == pytest.approx((0.9, 0.1, 20))


def test_round_probabilities_have_one_bar_for_each_bin(make_result):
    labels = np.arange(180) % 2
    indices = [(np.arange(90), np.arange(90, 180)), (np.arange(90, 180), np.arange(90))]
    tenths = (np.arange(90) % 9 + 1) / 10  # as of ten neighbours
    round_ones = make_result(labels, indices=indices, probabilities=[np.c_[tenths, 1 - tenths]] * 2)
    _, below = plots.reliability_diagram(round_ones).axes
    # 0.5 once in nine, the others twice: 0.6 is also 1 - 0.4.
    assert [bar.get_height() for bar in below.patches] == [20, 40, 40, 40, 40]
    np.testing.assert_allclose(
        [bar.get_x() for bar in below.patches], [0.5, 0.6, 0.7, 0.8, 0.9], atol=1e-9
    )


def test_numbers_that_would_stand_on_each_other_are_left_out(result):
    _, below = plots.reliability_diagram(result, n_bins=50).axes
    assert list(below.texts) == []


def test_there_is_at_least_one_bin(result):
    with pytest.raises(ValueError, match="n_bins=0; expected at least 1"):
        plots.reliability_diagram(result, n_bins=0)


def test_on_axes_of_ones_own_is_the_diagram_without_the_bars(result, axes):
    plots.reliability_diagram(result, ax=axes)
    above, _ = plots.reliability_diagram(result).axes
    points, expected = (axis.collections[1].get_offsets() for axis in (axes, above))
    np.testing.assert_array_equal(points, expected)
    assert len(axes.patches) == 0
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("confidence", "accuracy")


def test_an_evaluation_has_no_mean_over_folds(evaluation):
    above, _ = plots.reliability_diagram(evaluation).axes
    assert above.get_title().endswith("\n95 % interval")
