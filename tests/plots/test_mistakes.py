"""The most confused images come first, with what they are and were taken for."""

import matplotlib
import numpy as np
import pytest

from detl import plots

LABELS = np.array(["covid", "normal", "other", "pneumonia"])[np.arange(200) % 4]


def pictures(n=5, height=6, width=8, channels=1, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (n, height, width, channels)).astype("uint8")
    return images, generator.uniform(size=(n, height, width)).astype("float32")


def test_images_are_shown_from_the_most_confused_on(result):
    images, _ = pictures(200)
    figure = plots.most_confused(result, images, n=5, columns=3)
    truth = np.searchsorted(result.classes, LABELS)
    of_truth = result.probabilities[np.arange(200), truth]
    of_truth[result.predictions == LABELS] = 1  # right, if unsure
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


def test_images_that_no_fold_tested_or_that_are_right_are_not_shown(make_result):
    shares = np.full((4, 4), 0.1)
    shares[np.arange(4), [1, 2, 0, 3]] = 0.7  # of the images 0 to 3, of the classes 0 to 3
    indices = [(np.arange(4, 200), np.arange(4))]
    result = make_result(LABELS, indices=indices, probabilities=[shares])
    figure = plots.most_confused(result, pictures(200)[0])
    shown = [axis.get_title("left").split("\n")[-1] for axis in figure.axes]
    assert sorted(shown) == ["image 0, fold 0", "image 1, fold 0", "image 2, fold 0"]


def test_where_no_image_is_wrong_the_picture_says_so(make_result):
    indices = [(np.arange(4, 200), np.arange(4))]
    result = make_result(LABELS, indices=indices, probabilities=[np.eye(4)])
    figure = plots.most_confused(result, pictures(200)[0])
    assert [text.get_text() for text in figure.texts] == ["no image is taken for another class"]


def test_only_the_images_shown_are_read(result, tmp_path):
    # Every other image is NaN, which whoever reads it refuses.
    truth = np.searchsorted(result.classes, LABELS)
    of_truth = result.probabilities[np.arange(200), truth]
    of_truth[result.predictions == LABELS] = 1
    shown = np.argsort(of_truth)[:2]
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


def test_images_are_scaled_to_the_figure(result):
    images = pictures(200)[0]
    figure = plots.most_confused(result, images, n=5, columns=3, figsize=(5, 3))
    assert figure.get_size_inches().tolist() == [5, 3]
    boxes = [axis.get_position() for axis in figure.axes]
    widths = {round(5 * box.width, 6) for box in boxes}
    heights = {round(3 * box.height, 6) for box in boxes}
    assert len(widths) == len(heights) == 1
    assert heights.pop() == pytest.approx(0.75 * widths.pop(), rel=1e-5)
    assert min(box.y0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= 1
    with pytest.raises(ValueError, match=r"figsize=\(1.0, 1.0\) leaves no room for 2 x 3 pictures"):
        plots.most_confused(result, images, n=5, columns=3, figsize=(1, 1))


def test_an_evaluation_shows_its_mistakes_without_folds(evaluation):
    figure = plots.most_confused(evaluation, pictures(200)[0], n=2)
    rows = evaluation.suspects(2).rows
    for axis, row in zip(figure.axes, rows, strict=True):
        assert axis.get_title("left").splitlines()[0].startswith(f"true: {evaluation.labels[row]}")
        assert axis.get_title("left").splitlines()[-1] == f"image {row}"
