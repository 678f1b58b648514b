"""A confusion matrix shows its counts and shares where they belong."""

import itertools
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

from detl import plots


def texts_of(figure):
    figure.draw_without_rendering()  # ticks get their labels
    found = figure.findobj(matplotlib.text.Text)
    return [text.get_text() for text in found if text.get_text() and text.get_visible()]


def cells_of(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_every_cell_has_its_count_and_its_share_of_the_row():
    figure = plots.confusion_matrix([[8, 2], [1, 4]], ["normal", "COVID-19"])
    assert cells_of(figure) == ["8\n80.0 %", "2\n20.0 %", "1\n20.0 %", "4\n80.0 %"]
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["normal", "COVID-19"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["normal", "COVID-19"]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("predicted class", "true class")


def test_cells_stand_where_the_matrix_has_them():
    figure = plots.confusion_matrix([[8, 2], [1, 4]])
    places = {text.get_text()[0]: text.get_position() for text in figure.axes[0].texts}
    assert places == {"8": (0, 0), "2": (1, 0), "1": (0, 1), "4": (1, 1)}  # (column, row)
    assert {"0", "1"} <= set(texts_of(figure))


@pytest.mark.parametrize(
    ("normalize", "values", "label"),
    [
        (False, [[8, 2], [1, 4]], "images"),
        (True, [[0.8, 0.2], [0.2, 0.8]], "share of the true class"),
    ],
)
def test_colours_show_counts_or_shares(normalize, values, label):
    figure = plots.confusion_matrix([[8, 2], [1, 4]], normalize=normalize)
    shown = figure.axes[0].images[0]
    np.testing.assert_allclose(shown.get_array(), values)
    assert shown.get_clim() == (0, 1 if normalize else 8)
    assert figure.axes[1].get_ylabel() == label


def test_texts_contrast_with_their_cells():
    counts = np.diag(np.arange(0, 100, 7))
    figure = plots.confusion_matrix(counts)
    shown = figure.axes[0].images[0]
    for text in figure.axes[0].texts:
        column, row = text.get_position()
        cell = np.array(shown.cmap(shown.norm(counts[row, column]))[:3])
        ink = {"black": 0, "white": 1}[text.get_color()]
        assert abs(cell @ [0.299, 0.587, 0.114] - ink) >= 0.5


def test_a_class_without_images_has_no_share():
    figure = plots.confusion_matrix([[3, 1], [0, 0]], normalize=True)
    assert cells_of(figure)[2:] == ["0\nno images"] * 2
    assert cells_of(plots.confusion_matrix(np.zeros((2, 2), int))) == ["0\nno images"] * 4


def test_a_result_brings_its_matrix_and_its_classes():
    result = SimpleNamespace(
        confusion_matrix=np.array([[5, 0], [1, 1234567]]), classes=np.array(["a", "b"])
    )
    figure = plots.confusion_matrix(result)
    assert cells_of(figure)[3] == "1234567\n100.0 %"
    assert {"a", "b"} <= set(texts_of(figure))
    assert {"one", "two"} <= set(texts_of(plots.confusion_matrix(result, ["one", "two"])))


def test_a_cross_validation_brings_its_matrix(result):
    cells = cells_of(plots.confusion_matrix(result))
    assert [int(cell.split("\n")[0]) for cell in cells] == result.confusion_matrix.ravel().tolist()


def test_long_names_are_turned():
    short, long = (plots.confusion_matrix(np.eye(2), [name, "b"]) for name in ("a", "a" * 11))
    assert [f.axes[0].get_xticklabels()[0].get_rotation() for f in (short, long)] == [0, 45]


def test_long_names_go_over_several_lines():
    names = ["squamous cell carcinoma in situ", "normal"]
    figure = plots.confusion_matrix(np.eye(2), names)
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == ["squamous cell carcinoma\nin situ", "normal"]


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.ones(4), np.ones((0, 0))])
def test_a_matrix_that_is_not_square_is_refused(matrix):
    with pytest.raises(ValueError, match=r"has shape \(.*\); expected \(n_classes, n_classes\)"):
        plots.confusion_matrix(matrix)


@pytest.mark.parametrize("entry", [-1, np.nan, np.inf, "one"])
def test_entries_that_are_no_counts_are_refused(entry):
    with pytest.raises(ValueError, match="entries that are no counts; expected 0 or more"):
        plots.confusion_matrix([[1, 2], [3, entry]])


def test_many_classes_have_colours_alone_in_a_bounded_picture():
    few, many, most = (plots.confusion_matrix(3 * np.eye(n, dtype=int)) for n in (20, 60, 400))
    assert [len(figure.axes[0].texts) for figure in (few, many, most)] == [400, 0, 0]
    np.testing.assert_array_equal(many.axes[0].images[0].get_array(), 3 * np.eye(60))
    assert len(many.axes[0].get_yticklabels()) == 60
    assert 60 < len(most.axes[0].get_yticklabels()) < 400  # as many as can be read
    for figure in (few, many, most):
        assert max(figure.get_size_inches()) < 16
        figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
        for upper, lower in itertools.pairwise(boxes):
            assert lower.y1 - 0.3 * lower.height < upper.y0  # under the letters there is room


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("name", ["adenocarcinoma", "squamous cell carcinoma in situ of the lung"])
def test_every_label_lies_within_the_picture(name, normalize):
    figure = plots.confusion_matrix(5 * np.eye(2), [name, "b"], normalize=normalize)
    figure.draw_without_rendering()
    found = figure.findobj(matplotlib.text.Text)
    for text in [text for text in found if text.get_text() and text.get_visible()]:
        box = text.get_window_extent()
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y1 <= figure.bbox.y1, text


def test_names_of_another_number_than_classes_are_refused():
    with pytest.raises(ValueError, match="3 class_names for 2 rows"):
        plots.confusion_matrix(np.eye(2), list("abc"))


def test_an_evaluation_has_rows_of_labels_that_the_classifier_does_not_know(evaluation):
    figure = plots.confusion_matrix(evaluation)
    axis = figure.axes[0]
    shown = axis.images[0].get_array()
    np.testing.assert_array_equal(shown, evaluation.confusion_matrix)
    assert shown.shape == (5, 4)
    assert [label.get_text() for label in axis.get_yticklabels()][-1] == "tuberculosis"
    assert [label.get_text() for label in axis.get_xticklabels()] == evaluation.classes.tolist()


def test_cells_too_small_for_a_number_have_colours_alone():
    small, large = (
        plots.confusion_matrix(np.eye(4, dtype=int), figsize=size) for size in ((2.5, 2), (7, 6))
    )
    assert [len(figure.axes[0].texts) for figure in (small, large)] == [0, 16]
    assert small.get_size_inches().tolist() == [2.5, 2]
    assert len(small.axes[0].get_yticklabels()) == 4


def test_numbers_are_as_large_as_the_cells_of_ones_own_axes_allow():
    from matplotlib.figure import Figure

    sizes = []
    for width in (3, 4, 12):
        axes = Figure(figsize=(width, width)).subplots()
        plots.confusion_matrix(np.eye(4, dtype=int), ax=axes)
        sizes.append(axes.texts[0].get_fontsize())
    assert sizes[0] < sizes[1] < sizes[2] == 10
