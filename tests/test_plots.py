"""Pictures hold the values they are made of: in pixels, in texts, in curves."""

import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

from detl import plots

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
    figure = plots.heatmap_grid(images, heatmaps, row_labels=labels, columns=2)
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
    assert [f.axes[0].get_xticklabels()[0].get_rotation() for f in (short, long)] == [0, 30]


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
import numpy as np
from detl import plots
images, masks = np.zeros((1, 8, 8, 1), "uint8"), np.eye(8)[np.newaxis]
for index, figure in enumerate([
    plots.heatmap_grid(images, masks, titles=["a"], row_labels=["b"], masks=masks),
    plots.confusion_matrix([[1, 2], [3, 4]]),
    plots.learning_curves({"loss": [2, 1], "accuracy": [0, 1]}),
]):
    figure.savefig(f"{sys.argv[1]}/{index}.png")
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert [path.stat().st_size > 1000 for path in sorted(tmp_path.glob("*.png"))] == [True] * 3


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.overlay(*pictures()),
        lambda: plots.heatmap_grid(*pictures()),
        lambda: plots.confusion_matrix(np.eye(2)),
        lambda: plots.learning_curves(history()),
    ],
    ids=["overlay", "heatmap_grid", "confusion_matrix", "learning_curves"],
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
    with pytest.raises(ValueError, match="3 row_labels for 2 images"):
        plots.heatmap_grid(images, heatmaps, row_labels=list("abc"))
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
