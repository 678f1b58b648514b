"""An audit is a bar of test images for each fold, and what leaks beside it."""

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from detl import folds, plots
from detl.plots import theme

LABELS = np.array(["covid", "normal", "other"])[np.arange(90) % 3]
PATIENTS = np.arange(90) // 3


@pytest.fixture(scope="module")
def clean():
    """Return the audit of folds that keep patients together."""
    split = folds.stratified_folds(LABELS, groups=PATIENTS, n_splits=3, random_state=0)
    return folds.audit(split, LABELS, groups=PATIENTS)


@pytest.fixture(scope="module")
def torn():
    """Return the audit of folds that tear patients apart."""
    split = folds.stratified_folds(LABELS, n_splits=3, random_state=0)
    return folds.audit(split, LABELS, groups=PATIENTS)


def bars_of(axis):
    """Return the heights of the bars by what the legend calls them."""
    return {bars.get_label(): [bar.get_height() for bar in bars] for bars in axis.containers}


def test_bars_are_the_test_images_of_each_class(clean):
    (axis,) = plots.audit(clean).axes
    expected = {
        name: clean.test_counts[:, column].tolist() for column, name in enumerate(clean.classes)
    }
    assert bars_of(axis) == expected
    tops = [bar.get_y() + bar.get_height() for bar in axis.containers[-1]]
    assert tops == clean.test_counts.sum(axis=1).tolist()
    assert axis.get_title() == "leaks: none found\n(copies not checked)"
    assert axis.title.get_color() == theme.BLACK


def test_leaks_stand_beside_the_images_in_the_colour_of_an_alarm(torn):
    (axis,) = plots.audit(torn).axes
    bars = axis.containers[-1]
    assert bars.get_label() == "group also in training"
    assert [bar.get_height() for bar in bars] == torn.shared_group_images.tolist()
    assert {bar.get_edgecolor() for bar in bars} == {(*to_rgb(theme.ALARM), 1)}
    lefts, rights = (
        [bar.get_x() for bar in bars],
        [bar.get_x() + bar.get_width() for bar in axis.containers[0]],
    )
    np.testing.assert_allclose(lefts, rights, atol=1e-12)
    assert axis.get_title() == "leaks: 1 kind found\n(copies not checked)"
    assert axis.title.get_color() == theme.ALARM


def test_copies_have_a_bar_of_their_own(torn):
    copied = dataclasses.replace(
        torn,
        copied_images=np.array([1, 0, 2]),
        copies=np.zeros((0, 2), dtype=int),
        leaks=("one", "two"),
    )
    (axis,) = plots.audit(copied).axes
    assert bars_of(axis)["copy also in training"] == [1, 0, 2]
    assert axis.get_title() == "leaks: 2 kinds found"


def test_many_classes_are_one_bar():
    labels = np.arange(70) % 7
    split = folds.stratified_folds(labels, n_splits=2, random_state=0)
    (axis,) = plots.audit(folds.audit(split, labels)).axes
    assert bars_of(axis) == {"7 classes": [35, 35]}
    assert axis.get_title() == "leaks: none found\n(groups and copies not checked)"


def test_on_axes_of_ones_own_the_legend_stands_above_the_bars(torn, axes):
    figure = plots.audit(torn, ax=axes)
    assert figure is axes.figure
    figure.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    top = axes.transData.transform((0, torn.test_counts.sum(axis=1).max()))[1]
    assert legend.y0 > top
    assert legend.y1 <= axes.get_window_extent().y1


def test_a_narrow_figure_has_its_legend_below(torn):
    figure = plots.audit(torn, figsize=(3.4, 3))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert legend.get_window_extent().y1 <= figure.axes[0].get_window_extent().y0


def test_only_audits_are_drawn(result):
    with pytest.raises(TypeError, match="found is CrossValidationResult; expected an Audit, as"):
        plots.audit(result)
