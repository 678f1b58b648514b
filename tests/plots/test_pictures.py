"""Pictures hold the values they are made of: in pixels, in texts, in curves."""

import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas
import pytest

from detl import faithfulness, metrics, plots

BLACK, WHITE = [0, 0, 0], [255, 255, 255]


def pictures(n=5, height=6, width=8, channels=1, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, height, width, channels)).astype("uint8")
    return images, generator.uniform(size=(n, height, width)).astype("float32")


def texts_of(figure):
    figure.draw_without_rendering()  # ticks get their labels
    found = figure.findobj(matplotlib.text.Text)
    return [text.get_text() for text in found if text.get_text() and text.get_visible()]


def shown_in(figure):
    """Return the pictures of a grid, row by row; None where a place is empty."""
    *axes, _ = figure.axes  # the last is the colour bar
    columns = axes[0].get_gridspec().ncols
    found = [axis.images[0].get_array() if axis.images else None for axis in axes]
    return [found[start : start + columns] for start in range(0, len(found), columns)]


def history(epochs=4, *, validation=True, seed=0):
    generator = np.random.default_rng(seed)
    names = ["loss", "accuracy", *(["val_loss", "val_accuracy"] if validation else [])]
    return {name: generator.uniform(size=epochs).tolist() for name in names}


# ------------------------------------------------------------------------------------- overlay


def test_an_overlay_mixes_image_and_colour_by_alpha():
    images = np.array([[[[200], [100]]]], "uint8")
    heatmaps = np.array([[[0.0, 1.0]]])
    assert plots.overlay(images, heatmaps, alpha=0, colormap="gray").tolist() == [
        [[[200] * 3, [100] * 3]]
    ]
    assert plots.overlay(images, heatmaps, alpha=1, colormap="gray").tolist() == [[[BLACK, WHITE]]]
    quarter = plots.overlay(images, heatmaps, alpha=0.25, colormap="gray")
    assert quarter.tolist() == [[[[150] * 3, [round(75 + 255 / 4)] * 3]]]
    assert quarter.dtype == np.uint8


@pytest.mark.parametrize("colormap", ["inferno", "jet"])
def test_colours_are_those_of_the_map(colormap):
    images, heatmaps = pictures()
    expected = 255 * matplotlib.colormaps[colormap](heatmaps.astype(float))[..., :3]
    found = plots.overlay(images, heatmaps, alpha=1, colormap=colormap)
    np.testing.assert_allclose(found, expected, atol=0.5)


def test_the_default_colours_are_ever_lighter_and_jet_ends_in_red():
    images, ramp = np.zeros((1, 1, 9, 1), "uint8"), np.linspace(0, 1, 9)[np.newaxis, np.newaxis]
    luminance = plots.overlay(images, ramp)[0, 0] @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance) > 0).all()
    red, green, blue = plots.overlay(images, ramp, colormap="jet")[0, 0, -1]
    assert red > 60
    assert green == blue == 0


def test_colour_images_keep_their_colours():
    images, heatmaps = pictures(channels=3)
    np.testing.assert_array_equal(plots.overlay(images, heatmaps, alpha=0), images)


def test_float_images_are_rounded_and_clipped():
    images = np.array([-3.0, 99.6, 300.0]).reshape(1, 1, 3, 1)
    with pytest.warns(UserWarning, match=r"floats in \[-3, 300\], but pixels are expected in \[0"):
        found = plots.overlay(images, np.zeros((1, 1, 3)), alpha=0)
    assert found[0, 0, :, 0].tolist() == [0, 100, 255]


def test_an_overlay_leaves_its_arguments_as_they_are():
    images, heatmaps = pictures(channels=3)
    before = images.copy(), heatmaps.copy()
    plots.overlay(images, heatmaps)
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(heatmaps, before[1])


# ---------------------------------------------------------------------------------------- grid


def test_every_image_is_beside_its_overlay():
    images, heatmaps = pictures(5)
    grid = shown_in(plots.heatmap_grid(images, heatmaps, columns=3, alpha=0.3, colormap="jet"))
    overlays = plots.overlay(images, heatmaps, alpha=0.3, colormap="jet")
    assert len(grid) == 2
    assert [len(row) for row in grid] == [6, 6]
    for index in range(5):
        plain, blended = grid[index // 3][2 * (index % 3) :][:2]
        np.testing.assert_array_equal(plain, np.repeat(images[index], 3, axis=-1))
        np.testing.assert_array_equal(blended, overlays[index])
    assert grid[1][4] is grid[1][5] is None


def test_images_of_one_class_share_a_row_that_says_which():
    images, heatmaps = pictures(5)
    labels = ["normal", "COVID-19", "normal", "normal", "COVID-19"]
    figure = plots.heatmap_grid(images, heatmaps, labels=labels, columns=2)
    grid = shown_in(figure)
    rows = [[0, 2], [3], [1, 4]]
    for row, indices in zip(grid, rows, strict=True):
        for place, index in enumerate(indices):
            np.testing.assert_array_equal(row[2 * place][..., 0], images[index, ..., 0])
    names = [text for text in texts_of(figure) if text in labels]
    assert names == ["normal", "normal", "COVID-19"]


def test_each_image_has_its_title_and_the_colour_bar_its_label():
    images, heatmaps = pictures(3)
    figure = plots.heatmap_grid(images, heatmaps, titles=["0.9", "0.8", "0.7"])
    titles = [axis.get_title("left") for axis in figure.axes if axis.get_title("left")]
    assert titles == ["0.9", "0.8", "0.7"]
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "relative attention"
    assert bar.get_ylim() == (0, 1)


def captions_of(figure):
    return [axis.get_title("left") for axis in figure.axes[:-1:2]]


def test_what_an_image_was_taken_for_is_ticked_or_crossed_where_the_truth_is_given():
    images, heatmaps = pictures(3)
    predicted, labels = ["flu", "flu", "normal"], ["flu", "normal", "flu"]
    scores = [0.914, 0.5, -3.0]
    figure = plots.heatmap_grid(images, heatmaps, predicted=predicted, scores=scores)
    assert captions_of(figure) == ["flu 0.91", "flu 0.50", "normal -3.00"]
    figure = plots.heatmap_grid(images, heatmaps, predicted=predicted, labels=labels)
    assert [text for text in captions_of(figure) if text] == ["✓ flu", "✗ normal", "✗ flu"]
    figure = plots.heatmap_grid(images, heatmaps, titles=list("abc"), predicted=predicted)
    assert captions_of(figure) == ["a\nflu", "b\nflu", "c\nnormal"]


def test_boxes_are_drawn_where_they_lie_on_image_and_overlay():
    images, heatmaps = pictures(3, height=20, width=20)
    boxes = [[(12, 5, 4, 5), (0, 0, 2, 2)], [], (1, 2, 3, 4)]
    figure = plots.heatmap_grid(images, heatmaps, boxes=boxes)
    found = [[patch.get_extents() for patch in axis.patches] for axis in figure.axes[:6]]
    assert [len(of_axis) for of_axis in found] == [4, 4, 0, 0, 2, 2]
    patch = figure.axes[0].patches[0]
    assert patch.get_bbox().bounds == (11.5, 4.5, 4, 5)
    # The same region as that of the mask.
    masks = faithfulness.box_masks([(12, 5, 4, 5)] * 3, (20, 20))
    outline = plots.heatmap_grid(images, heatmaps, masks=masks).axes[0].collections[0]
    assert outline.get_paths()[0].get_extents().bounds == (11.5, 4.5, 4, 5)


def test_boxes_of_a_data_frame_are_drawn():
    images, heatmaps = pictures(2, height=20, width=20)
    boxes = pandas.DataFrame([(12, 5, 4, 5), (0, 0, 2, 2)], columns=list("xywh"), index=[7, 9])
    figure = plots.heatmap_grid(images, heatmaps, boxes=boxes)
    found = [axis.patches[0].get_bbox().bounds for axis in figure.axes[:4:2]]
    assert found == [(11.5, 4.5, 4, 5), (-0.5, -0.5, 2, 2)]


def test_a_blank_heatmap_is_marked():
    images, heatmaps = pictures(3)
    heatmaps[1] = 0
    figure = plots.heatmap_grid(images, heatmaps)
    assert [axis.get_title("right") for axis in figure.axes[1:6:2]] == ["", "blank", ""]


def test_a_mask_is_outlined_where_it_lies_on_image_and_overlay():
    images, heatmaps = pictures(2, height=20, width=20)
    masks = np.zeros((2, 20, 20), bool)
    masks[0, 5:10, 12:16] = True
    figure = plots.heatmap_grid(images, heatmaps, masks=masks)
    for axis in figure.axes[:2]:
        for outline in axis.collections:
            corners = outline.get_paths()[0].get_extents()
            assert corners.extents.tolist() == [11.5, 4.5, 15.5, 9.5]
    assert [len(axis.collections) for axis in figure.axes[:4]] == [2, 2, 0, 0]


# ---------------------------------------------------------------------------- confusion matrix


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


def test_long_names_are_turned():
    short, long = (plots.confusion_matrix(np.eye(2), [name, "b"]) for name in ("a", "a" * 11))
    assert [f.axes[0].get_xticklabels()[0].get_rotation() for f in (short, long)] == [0, 45]


def test_long_names_go_over_several_lines():
    names = ["squamous cell carcinoma in situ", "normal"]
    figure = plots.confusion_matrix(np.eye(2), names)
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == ["squamous cell carcinoma\nin situ", "normal"]


# ------------------------------------------------------------------------------------- ROC curves

LABELS = np.array(["covid", "normal", "other", "pneumonia"])[np.arange(200) % 4]


@pytest.fixture(scope="module")
def result(make_result):
    return make_result(LABELS, groups=np.arange(200) // 5)


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


def test_places_without_a_class_are_empty(make_result):
    figure = plots.roc_curves(make_result(np.arange(100) % 5))
    assert [axis.axison for axis in figure.axes] == [True] * 5 + [False]
    assert [axis.get_title() for axis in figure.axes] == ["0", "1", "2", "3", "4", ""]


def test_the_same_result_gives_the_same_picture(result):
    first, again = (plots.roc_curves(result).axes[0].collections[0] for _ in range(2))
    np.testing.assert_array_equal(first.get_paths()[0].vertices, again.get_paths()[0].vertices)


# ---------------------------------------------------------------------------- reliability diagram


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


# ---------------------------------------------------------------------------------- most confused


def test_images_are_shown_from_the_most_confused_on(result):
    images, _ = pictures(200)
    figure = plots.most_confused(result, images, n=5, columns=3)
    truth = np.searchsorted(result.classes, LABELS)
    of_truth = result.probabilities[np.arange(200), truth]
    assert [len(axis.images) for axis in figure.axes] == [1] * 5 + [0]
    for axis, row in zip(figure.axes, np.argsort(of_truth)[:5], strict=False):
        shown = axis.images[0].get_array()
        np.testing.assert_array_equal(shown, np.repeat(images[row], 3, axis=-1))
        assert axis.get_title("left") == (
            f"true: {LABELS[row]} ({of_truth[row]:.3f})\n"
            f"predicted: {result.predictions[row]} ({result.probabilities[row].max():.3f})\n"
            f"image {row}, fold {result.fold_of[row]}"
        )


def test_repeats_show_their_mean_and_name_all_their_folds(make_result):
    rows, labels = np.arange(8), np.arange(8) % 2
    undecided = np.full((4, 2), 0.5)
    first, again = undecided.copy(), undecided.copy()
    first[0], again[0] = [0.1, 0.9], [0.2, 0.8]  # image 4, of class 0
    halves = [(rows[4:], rows[:4]), (rows[:4], rows[4:])]
    shares = [undecided, first, undecided, again]
    result = make_result(labels, indices=halves * 2, probabilities=shares)
    figure = plots.most_confused(result, pictures(8)[0], n=1)
    assert figure.axes[0].get_title("left") == (
        "true: 0 (0.150)\npredicted: 1 (0.850)\nimage 4, folds 1, 3"
    )


def test_images_that_no_fold_tested_are_not_shown(make_result):
    result = make_result(LABELS, indices=[(np.arange(3, 200), np.arange(3))])
    figure = plots.most_confused(result, pictures(200)[0])
    shown = [axis.get_title("left").split("\n")[-1] for axis in figure.axes]
    assert sorted(shown) == ["image 0, fold 0", "image 1, fold 0", "image 2, fold 0"]


def test_only_the_images_shown_are_read(result, tmp_path):
    # Every other image is NaN, which whoever reads it refuses.
    truth = np.searchsorted(result.classes, LABELS)
    shown = np.argsort(result.probabilities[np.arange(200), truth])[:2]
    images = np.memmap(tmp_path / "images", "float32", "w+", shape=(200, 4, 4, 3))
    images[...] = np.nan
    images[shown] = 100
    figure = plots.most_confused(result, images, n=2)
    assert [axis.images[0].get_array().mean() for axis in figure.axes] == [100, 100]


def test_a_list_of_images_will_do(result):
    images, _ = pictures(200)
    listed, array = (
        plots.most_confused(result, given, n=1).axes[0].images[0].get_array()
        for given in (images.tolist(), images)
    )
    np.testing.assert_array_equal(listed, array)


def test_long_titles_stay_within_their_place_and_the_figure(make_result):
    name = "adenocarcinoma, moderately differentiated, of the lung"
    labels = np.where(np.arange(40) % 2, name, "normal mucosa of the upper airway")
    figure = plots.most_confused(make_result(labels), pictures(40, 16, 16)[0], n=4)
    figure.draw_without_rendering()
    limits = [axis.get_window_extent().x0 for axis in figure.axes[1:]] + [figure.bbox.x1]
    for axis, limit in zip(figure.axes, limits, strict=True):
        [title] = [text for text in axis.get_children() if title_of(text) == axis.get_title("left")]
        box = title.get_window_extent()
        assert box.x1 < limit
        assert box.y1 <= figure.bbox.y1


def title_of(artist):
    return artist.get_text() if isinstance(artist, matplotlib.text.Text) else None


# ----------------------------------------------------------------------------- learning curves


def curves_of(axis):
    return {line.get_label(): line.get_xydata() for line in axis.lines}


def test_loss_and_accuracy_are_drawn_over_the_epochs():
    one = history()
    figure = plots.learning_curves(one)
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss", "accuracy"]
    for axis, metric in zip(figure.axes, ("loss", "accuracy"), strict=True):
        curves = curves_of(axis)
        assert set(curves) == {"training", "validation"}
        for label, key in (("training", metric), ("validation", f"val_{metric}")):
            np.testing.assert_array_equal(curves[label][:, 0], [1, 2, 3, 4])
            np.testing.assert_array_equal(curves[label][:, 1], one[key])
        assert [t.get_text() for t in axis.get_legend().get_texts()] == ["training", "validation"]
        assert axis.get_xlabel() == "epoch"


def test_folds_are_thin_lines_around_their_mean():
    folds = [history(validation=False, seed=seed) for seed in range(5)]
    figure = plots.learning_curves(folds)
    *thin, mean = figure.axes[1].lines
    for line, one in zip(thin, folds, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), one["accuracy"])
        assert line.get_linewidth() < mean.get_linewidth()
    expected = np.mean([one["accuracy"] for one in folds], axis=0)
    np.testing.assert_allclose(mean.get_ydata(), expected)
    assert mean.get_label() == "training, mean of 5"


@pytest.mark.parametrize("n_folds", [2, 20])
def test_each_fold_has_a_colour_of_its_own_which_a_legend_names(n_folds):
    figure = plots.learning_curves([history(seed=seed) for seed in range(n_folds)])
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"fold {k}" for k in range(n_folds)]
    named = [tuple(line.get_color()) for line in legend.get_lines()]
    assert len(set(named)) == n_folds
    for axis in figure.axes:
        thin = [line for line in axis.lines if line.get_linewidth() < 1]
        assert [tuple(line.get_color()) for line in thin] == 2 * named
        assert [line.get_linestyle() for line in thin] == ["-"] * n_folds + ["--"] * n_folds
    figure.draw_without_rendering()
    box = legend.get_window_extent()
    assert 0 <= box.y0
    assert box.y1 <= figure.bbox.y1


def test_a_fold_keeps_its_colour_where_others_have_no_validation():
    folds = [history(validation=False), history(seed=1)]
    loss = plots.learning_curves(folds).axes[0]
    first, second, mean, validation, mean_validation = loss.lines
    assert validation.get_color() == second.get_color() != first.get_color()
    np.testing.assert_array_equal(validation.get_ydata(), mean_validation.get_ydata())
    assert (mean.get_label(), mean_validation.get_label()) == (
        "training, mean of 2",
        "validation, mean of 1",
    )


def test_more_than_20_folds_are_not_named():
    figure = plots.learning_curves([history(2, seed=seed) for seed in range(21)])
    assert figure.legends == []
    assert len({tuple(line.get_color()) for line in figure.axes[0].lines[:21]}) == 21


def test_a_single_history_needs_no_legend_of_folds():
    figure = plots.learning_curves(history())
    assert figure.legends == []
    colours = {line.get_label(): line.get_color() for line in figure.axes[0].lines}
    assert colours == {"training": "tab:blue", "validation": "tab:orange"}


def test_a_cross_validation_brings_the_histories_of_its_folds_and_its_matrix(result):
    loss, accuracy = plots.learning_curves(result).axes
    for axis, name in ((loss, "loss"), (accuracy, "accuracy")):
        *thin, mean = axis.lines
        assert [line.get_ydata().tolist() for line in thin] == [h[name] for h in result.histories]
        assert mean.get_label() == "training, mean of 5"
    cells = cells_of(plots.confusion_matrix(result))
    assert [int(cell.split("\n")[0]) for cell in cells] == result.confusion_matrix.ravel().tolist()


def test_the_mean_ends_with_the_shortest_fold():
    figure = plots.learning_curves([history(4), history(2, seed=1)])
    mean = curves_of(figure.axes[0])["training, mean of 2"]
    assert mean[:, 0].tolist() == [1, 2]
    assert max(len(line.get_xdata()) for line in figure.axes[0].lines) == 4


def test_a_single_epoch_is_a_point():
    figure = plots.learning_curves(history(1))
    assert all(line.get_marker() == "o" for axis in figure.axes for line in axis.lines)
    ticks = figure.axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, ticks.round())


def test_without_accuracy_there_is_the_loss_alone():
    figure = plots.learning_curves({"loss": [2.0, 1.0]})
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss"]


@pytest.mark.parametrize("name", ["histories", "history", "history_"])
def test_a_result_brings_its_histories(name):
    one = history()
    carrier = SimpleNamespace(**{name: [one] if name == "histories" else one})
    curves = curves_of(plots.learning_curves(carrier).axes[0])
    np.testing.assert_array_equal(curves["training"][:, 1], one["loss"])


# ------------------------------------------------------------------------- matplotlib's state


def test_figures_can_be_saved_without_a_screen_and_leave_no_trace(tmp_path):
    script = """
import sys
from types import SimpleNamespace
import numpy as np
from detl import metrics, plots
labels, shares = np.arange(8) % 2, np.full((8, 2), 0.5)
fold = metrics.Predictions(targets=labels, probabilities=shares, units=np.arange(8))
overall, per_class = metrics.scores([fold], random_state=0)
result = SimpleNamespace(
    fold_predictions=[fold], unit="images", settings={"interval_seed": 0}, scores=overall,
    class_scores=dict(enumerate(per_class)), classes=np.arange(2), labels=labels,
    predictions=labels, probabilities=shares, indices=[(labels, np.arange(8))],
)
images, masks = np.zeros((1, 8, 8, 1), "uint8"), np.eye(8)[np.newaxis]
for index, figure in enumerate([
    plots.heatmap_grid(images, masks, titles=["a"], labels=["b"], masks=masks),
    plots.confusion_matrix([[1, 2], [3, 4]]),
    plots.learning_curves({"loss": [2, 1], "accuracy": [0, 1]}),
    plots.roc_curves(result),
    plots.reliability_diagram(result),
    plots.most_confused(result, np.repeat(images, 8, axis=0)),
]):
    figure.savefig(f"{sys.argv[1]}/{index}.png")
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert [path.stat().st_size > 1000 for path in sorted(tmp_path.glob("*.png"))] == [True] * 6


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.overlay(*pictures()),
        lambda: plots.heatmap_grid(*pictures()),
        lambda: plots.confusion_matrix(np.eye(2)),
        lambda: plots.learning_curves(history()),
        lambda: plots.roc_curves(None),
        lambda: plots.reliability_diagram(None),
        lambda: plots.most_confused(None, None),
    ],
    ids=[
        *("overlay", "heatmap_grid", "confusion_matrix", "learning_curves"),
        *("roc_curves", "reliability_diagram", "most_confused"),
    ],
)
def test_without_matplotlib_the_extra_is_named(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"matplotlib, which is an extra: run `pip install '\.\["):
        draw()


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("draw", [plots.overlay, plots.heatmap_grid])
def test_pictures_that_do_not_fit_are_refused(draw):
    images, heatmaps = pictures(2)
    with pytest.raises(ValueError, match=r"heatmaps has shape \(1, 6, 8\).*expected one .* \(2, 6"):
        draw(images, heatmaps[:1])
    with pytest.raises(ValueError, match=r"images has shape \(2, 6, 8, 2\); expected 1 .* or 3"):
        draw(np.repeat(images, 2, axis=-1), heatmaps)
    for wrong in (2 * heatmaps - 1, heatmaps + 0.5, np.full_like(heatmaps, np.nan)):
        with pytest.raises(ValueError, match=r"expected \[0, 1\], as GradCAM gives them \(not Exp"):
            draw(images, wrong)
    with pytest.raises(ValueError, match=r"alpha=1.5; expected a share in \[0, 1\]"):
        draw(images, heatmaps, alpha=1.5)
    with pytest.raises(ValueError, match="colormap='rainbwo' is unknown to matplotlib; use 'inf"):
        draw(images, heatmaps, colormap="rainbwo")
    with pytest.warns(UserWarning, match=r"pixels are expected in \[0, 255\]"):
        draw(images / 255, heatmaps)


def test_arguments_of_a_grid_that_do_not_fit_are_refused():
    images, heatmaps = pictures(2)
    with pytest.raises(ValueError, match="1 titles for 2 images"):
        plots.heatmap_grid(images, heatmaps, titles=["one"])
    with pytest.raises(ValueError, match="3 labels for 2 images"):
        plots.heatmap_grid(images, heatmaps, labels=list("abc"))
    with pytest.raises(ValueError, match="3 predicted for 2 images"):
        plots.heatmap_grid(images, heatmaps, predicted=list("abc"))
    with pytest.raises(ValueError, match=r"scores has shape \(2, 1\) and .* one number per image"):
        plots.heatmap_grid(images, heatmaps, scores=[[1], [2]])
    with pytest.raises(ValueError, match="boxes has 1 rows for 2 images"):
        plots.heatmap_grid(images, heatmaps, boxes=[(0, 0, 1, 1)])
    for box in [(0, 0, 1), (0, 0, 1, 0), (0, 0, 1, np.nan)]:
        with pytest.raises(ValueError, match=r"in row 1; expected \(x, y, width, height\)"):
            plots.heatmap_grid(images, heatmaps, boxes=[(), box])
    with pytest.raises(ValueError, match=r"masks has shape \(6, 8\); expected one per image"):
        plots.heatmap_grid(images, heatmaps, masks=heatmaps[0])
    with pytest.raises(ValueError, match="masks has other values than 0 and 1"):
        plots.heatmap_grid(images, heatmaps, masks=heatmaps)
    with pytest.raises(ValueError, match="columns=0; expected at least 1"):
        plots.heatmap_grid(images, heatmaps, columns=0)


@pytest.mark.parametrize("matrix", [np.ones((2, 3)), np.ones(4), np.ones((0, 0))])
def test_a_matrix_that_is_not_square_is_refused(matrix):
    with pytest.raises(ValueError, match=r"has shape \(.*\); expected \(n_classes, n_classes\)"):
        plots.confusion_matrix(matrix)


@pytest.mark.parametrize("entry", [-1, np.nan, "one"])
def test_entries_that_are_no_counts_are_refused(entry):
    with pytest.raises(ValueError, match="entries that are no counts; expected 0 or more"):
        plots.confusion_matrix([[1, 2], [3, entry]])


def test_names_of_another_number_than_classes_are_refused():
    with pytest.raises(ValueError, match="3 class_names for 2 rows"):
        plots.confusion_matrix(np.eye(2), list("abc"))


@pytest.mark.parametrize("wrong", [None, "history", [], 3])
def test_what_is_no_history_is_refused(wrong):
    with pytest.raises(TypeError, match=r"history is \w+; expected a dict of lists"):
        plots.learning_curves(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"accuracy": [1.0]}, r"no 'loss', but \['accuracy'\]"),
        ({"loss": []}, r"no 'loss', but \['loss'\]; expected one entry per epoch"),
        ([history(), 3], "no 'loss', but int"),
    ],
)
def test_a_history_without_a_loss_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        plots.learning_curves(wrong)


@pytest.mark.parametrize(
    "draw",
    [plots.roc_curves, plots.reliability_diagram, lambda r: plots.most_confused(r, pictures()[0])],
    ids=["roc_curves", "reliability_diagram", "most_confused"],
)
def test_what_is_no_result_is_refused(draw):
    with pytest.raises(TypeError, match="result is ndarray; expected a CrossValidationResult, as"):
        draw(np.eye(2))


def test_arguments_that_do_not_fit_a_result_are_refused(result):
    images, _ = pictures(200)
    with pytest.raises(ValueError, match="199 images for a result of 200; give those that were"):
        plots.most_confused(result, images[:199])
    with pytest.raises(ValueError, match="5 images for a result of 200"):
        plots.most_confused(result, images[:5].tolist())
    with pytest.raises(ValueError, match=r"images has shape .*; expected 1 \(grey\) or 3 channels"):
        plots.most_confused(result, np.repeat(images, 2, axis=-1))
    with pytest.raises(ValueError, match=r"images has shape .*; expected \(n, height, width, cha"):
        plots.most_confused(result, images[..., 0])
    with pytest.raises(ValueError, match="n=0; expected at least 1"):
        plots.most_confused(result, images, n=0)
    with pytest.raises(ValueError, match="columns=0; expected at least 1"):
        plots.most_confused(result, images, columns=0)
    with pytest.raises(ValueError, match="n_bins=0; expected at least 1"):
        plots.reliability_diagram(result, n_bins=0)
