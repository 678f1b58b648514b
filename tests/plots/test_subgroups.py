"""Subgroups are rows of three scores, filled where they differ from all others."""

import numpy as np
import pytest

from detl import plots
from detl.metrics import Interval
from detl.plots import theme
from detl.screening import Estimate, Subgroup, Subgroups

SCORES = ("accuracy", "sensitivity", "specificity")


def subgroup(name, values, differs=()):
    return Subgroup(
        attribute="view",
        name=name,
        n_images=40,
        n_units=20,
        values={
            score: Estimate(value=v, interval=Interval(low=v - 0.1, high=v + 0.1, method="m"))
            for score, v in zip(SCORES, values, strict=True)
        },
        differences={},
        differs=differs,
    )


@pytest.fixture
def found():
    """Return two subgroups; the sensitivity of the first differs."""
    return Subgroups(
        subgroups=(
            subgroup("AP", (0.6, 0.3, 0.8), differs=("sensitivity",)),
            subgroup("PA", (0.7, 0.8, np.nan)),
        ),
        n_comparisons=3,
        class_name=None,
        unit="groups",
        counted="images",
    )


def points_of(axis):
    return [line for line in axis.lines if line.get_marker() in "o^s"]


def test_scores_stand_in_the_row_of_their_subgroup(found):
    (axis,) = plots.subgroups(found).axes
    points = points_of(axis)
    np.testing.assert_allclose([line.get_xdata()[0] for line in points], [0.6, 0.3, 0.8, 0.7, 0.8])
    assert [round(line.get_ydata()[0]) for line in points] == [0, 0, 0, 1, 1]
    assert [line.get_marker() for line in points] == ["o", "^", "s", "o", "^"]
    ends = [line.get_xdata() for line in axis.lines if line.get_marker() == "None"]
    np.testing.assert_allclose(ends[:2], [[0.5, 0.7], [0.2, 0.4]])
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "view AP\n(40 images)",
        "view PA\n(40 images)",
    ]


def test_what_differs_is_filled(found):
    (axis,) = plots.subgroups(found).axes
    inside = [line.get_markerfacecolor() for line in points_of(axis)]
    assert inside == ["white", theme.ORANGE, "white", "white", "white"]
    assert "filled: differs from all others" in axis.get_xlabel()


def test_the_legend_names_the_scores(found, axes):
    plots.subgroups(found, ax=axes)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(SCORES)


def test_only_subgroups_are_drawn(result):
    with pytest.raises(TypeError, match="found is CrossValidationResult; expected Subgroups, as"):
        plots.subgroups(result)
