"""Overlays and grids hold the images, the heatmaps and the words they are made of."""

import matplotlib
import numpy as np
import pandas
import pytest

from detl import faithfulness, plots

WHITE = [255, 255, 255]


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
    bottoms = [axis.get_position().y0 for axis in axes]
    columns = int(np.isclose(bottoms, bottoms[0]).sum())
    found = [axis.images[0].get_array() if axis.images else None for axis in axes]
    return [found[start : start + columns] for start in range(0, len(found), columns)]


def test_an_overlay_mixes_image_and_colour_by_alpha():
    images = np.array([[[[200], [100]]]], "uint8")
    heatmaps = np.array([[[0.0, 1.0]]])
    assert plots.overlay(images, heatmaps, alpha=0, colormap="gray").tolist() == [
        [[[200] * 3, [100] * 3]]
    ]
    full = plots.overlay(images, heatmaps, alpha=1, colormap="gray")
    assert full.tolist() == [[[[200] * 3, WHITE]]]  # where it is 0, nothing is tinted
    quarter = plots.overlay(images, heatmaps, alpha=0.25, colormap="gray")
    assert quarter.tolist() == [[[[200] * 3, [round(75 + 255 / 4)] * 3]]]
    half = plots.overlay(images, heatmaps / 2, alpha=0.5, colormap="gray")
    assert half.tolist() == [[[[200] * 3, [round(75 + 128 / 4)] * 3]]]
    assert quarter.dtype == np.uint8


@pytest.mark.parametrize("colormap", ["inferno", "jet"])
def test_colours_are_those_of_the_map(colormap):
    images, heatmaps = pictures()
    colours = 255 * matplotlib.colormaps[colormap](heatmaps.astype(float))[..., :3]
    share = heatmaps[..., np.newaxis]
    expected = (1 - share) * images + share * colours
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


def test_images_of_one_class_stand_together_under_its_name():
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


def test_small_classes_share_a_row():
    images, heatmaps = pictures(12)
    labels = np.array(list("aaaaabccdddd"))
    figure = plots.heatmap_grid(images, heatmaps, labels=labels, columns=4)
    rows = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    for row, indices in zip(shown_in(figure), rows, strict=True):
        for place, index in enumerate(indices):
            np.testing.assert_array_equal(row[2 * place][..., 0], images[index, ..., 0])
    assert [text for text in texts_of(figure) if text in labels] == list("aabcd")


@pytest.mark.parametrize("n_classes", [1, 60, pytest.param(200, marks=pytest.mark.slow)])
def test_the_picture_of_many_classes_has_an_end(n_classes):
    images, heatmaps = pictures(n_classes)
    for columns in (4, 30):
        figure = plots.heatmap_grid(images, heatmaps, labels=np.arange(n_classes), columns=columns)
        assert max(figure.get_size_inches()) < 46


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


@pytest.mark.parametrize("draw", [plots.overlay, plots.heatmap_grid])
def test_pictures_that_do_not_fit_are_refused(draw):
    images, heatmaps = pictures(2)
    with pytest.raises(ValueError, match=r"has shape \(1, 6, 8\); expected \(2, 6, 8\), one"):
        draw(images, heatmaps[:1])
    with pytest.raises(ValueError, match=r"images has shape \(2, 6, 8, 2\); expected 1 .* or 3"):
        draw(np.repeat(images, 2, axis=-1), heatmaps)
    for wrong in (2 * heatmaps - 1, heatmaps + 0.5, np.full_like(heatmaps, np.nan)):
        with pytest.raises(ValueError, match=r"expected \[0, 1\], as GradCAM gives them \(not Exp"):
            draw(images, wrong)
    with pytest.raises(ValueError, match=r"alpha=1.5; expected a number at least 0 and at most 1"):
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


def test_a_grid_is_scaled_to_the_figure():
    images, heatmaps = pictures(6)
    figure = plots.heatmap_grid(images, heatmaps, columns=2, figsize=(5, 4))
    assert figure.get_size_inches().tolist() == [5, 4]
    *boxes, bar = (axis.get_position() for axis in figure.axes)
    for box in boxes:
        assert 4 * box.height == pytest.approx(5 * box.width * 6 / 8)  # as the images are
        assert box.x1 < bar.x0
        assert box.y0 >= 0
    assert bar.y0 == pytest.approx(min(box.y0 for box in boxes), abs=0.02)
    with pytest.raises(ValueError, match=r"leaves no room for 3 x 4 pictures with their titles"):
        plots.heatmap_grid(images, heatmaps, columns=2, figsize=(2, 1))
