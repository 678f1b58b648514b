"""A comparison is a row of difference and interval for each pair."""

import numpy as np
import pytest

from detl import plots
from detl.metrics import Interval
from detl.plots import theme
from detl.validation import Comparison, Difference


def difference(first, second, mean, low, high, p=0.5):
    return Difference(
        first=first,
        second=second,
        folds=(mean, mean),
        mean=mean,
        interval=Interval(low=low, high=high, method="m"),
        p_value=p,
        p_adjusted=p,
    )


@pytest.fixture
def found():
    """Return two differences, of which the first is shown, and one that is not known."""
    return Comparison(
        score="roc_auc",
        results={},
        differences=(
            difference("VGG-16", "probe", 0.05, 0.02, 0.08, p=0.01),
            difference("VGG-16", "scratch", -0.01, -0.03, 0.01),
            difference("probe", "scratch", np.nan, np.nan, np.nan, p=np.nan),
        ),
    )


def test_differences_are_in_points_around_zero(found):
    (axis,) = plots.comparison(found).axes
    zero = axis.lines[0]
    assert zero.get_xdata() == [0, 0]
    points = [line for line in axis.lines if line.get_marker() == "o"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in points], [5, -1])
    ends = [line.get_xdata() for line in axis.lines[1:] if line.get_marker() == "None"]
    np.testing.assert_allclose(ends, [[2, 8], [-3, 1]])
    assert axis.get_xlabel() == "difference in roc auc (points)"


def test_rows_name_the_pair_the_numbers_and_the_verdict(found):
    (axis,) = plots.comparison(found).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "VGG-16\nminus probe",
        "VGG-16\nminus scratch",
        "probe\nminus scratch",
    ]
    assert [text.get_text() for text in axis.texts] == [
        "+5.0 (+2.0 to +8.0)\nVGG-16 is better",
        "-1.0 (-3.0 to +1.0)\nno difference shown",
        "not known",
        "no fold has the score",
    ]


def test_what_is_shown_is_blue_and_what_is_not_is_grey(found):
    (axis,) = plots.comparison(found).axes
    points = [line for line in axis.lines if line.get_marker() == "o"]
    assert [line.get_color() for line in points] == [theme.MAIN, theme.NEUTRAL]


def test_on_axes_of_ones_own_there_is_nothing_beside_the_chart(found, axes):
    assert plots.comparison(found, ax=axes) is axes.figure
    assert [text.get_text() for text in axes.texts] == ["not known"]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in points], [5, -1])


def test_only_comparisons_are_drawn(result):
    with pytest.raises(TypeError, match="found is CrossValidationResult; expected a Comparison"):
        plots.comparison(result)
