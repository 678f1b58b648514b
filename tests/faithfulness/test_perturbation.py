"""Pixels go in the order of the heatmap, and what replaces them is what was asked for."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy import ndimage

from detl import faithfulness


def noise(n=3, size=(8, 8), seed=0):
    return np.random.default_rng(seed).random((n, *size))


def pixels(n=3, size=(8, 8), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 1)).astype("uint8")


@pytest.mark.parametrize("n_steps", [4, 10])
def test_deletion_and_insertion_agree_with_a_slow_loop(n_steps, brightness):
    images, heatmaps = pixels(), noise()
    fractions = np.arange(n_steps + 1) / n_steps
    deleted, inserted = np.empty((2, 3, n_steps + 1))
    for i in range(3):
        order = np.argsort(-heatmaps[i].ravel())
        for step, fraction in enumerate(fractions):
            first = order[: round(fraction * 64)]
            kept = images[i].ravel().astype(float)
            kept[first] = 10
            shown = np.full(64, 10.0)
            shown[first] = images[i].ravel()[first]
            deleted[i, step], inserted[i, step] = kept.mean() / 255, shown.mean() / 255

    settings = {"target_class": 1, "fill": 10, "n_steps": n_steps}
    deletion = faithfulness.deletion(brightness, images, heatmaps, **settings)
    insertion = faithfulness.insertion(brightness, images, heatmaps, **settings)

    np.testing.assert_allclose(deletion.fractions, fractions)
    np.testing.assert_allclose(deletion.probabilities, deleted, rtol=1e-5)
    np.testing.assert_allclose(insertion.probabilities, inserted, rtol=1e-5)
    for curve, found in ((deletion, deleted), (insertion, inserted)):
        areas = ((found[:, 1:] + found[:, :-1]) / 2).mean(axis=1)
        np.testing.assert_allclose(curve.values, areas, rtol=1e-5)
        assert curve.mean == pytest.approx(areas.mean(), rel=1e-5)


def test_the_mean_fill_leaves_a_model_of_the_mean_unmoved_where_the_order_is_even(brightness):
    images = np.tile(np.array([[10, 30], [30, 10]], "uint8"), (4, 4))[None, ..., None]
    heatmaps = np.repeat(np.repeat(noise(1, (4, 4)), 2, axis=1), 2, axis=2)

    curve = faithfulness.deletion(
        brightness, images, heatmaps, target_class=1, n_steps=16, random_state=0
    )

    np.testing.assert_allclose(curve.probabilities, 20 / 255, rtol=1e-5)


def test_insertion_starts_from_the_blurred_image_and_ends_with_the_image():
    images = pixels(2)
    blurred = ndimage.gaussian_filter(images.astype("float32"), (0, 0.5, 0.5, 0))
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Cropping2D(3), layers.GlobalMaxPooling2D(),
         layers.Rescaling(1 / 255)]
    )  # fmt: skip

    curve = faithfulness.insertion(model, images, noise(2), target_class=1, n_steps=2)

    centre = (slice(None), slice(3, 5), slice(3, 5))
    np.testing.assert_allclose(
        curve.probabilities[:, [0, -1]],
        np.stack([blurred[centre].max(axis=(1, 2, 3)), images[centre].max(axis=(1, 2, 3))], 1)
        / 255,
        rtol=1e-5,
    )


def test_the_fill_may_be_an_image(brightness):
    background = np.arange(64.0).reshape(8, 8, 1)

    curve = faithfulness.deletion(
        brightness, pixels(2), noise(2), target_class=1, fill=background, n_steps=2
    )

    np.testing.assert_allclose(curve.probabilities[:, -1], background.mean() / 255, rtol=1e-5)


def test_the_rivals_are_ordered_by_a_random_map_and_by_the_distance_from_the_centre(brightness):
    bright = np.zeros((1, 8, 8, 1), "uint8")
    bright[0, 3:5, 3:5] = 255

    curve = faithfulness.deletion(
        brightness, bright, noise(1), target_class=1, fill=0, n_steps=16, random_state=0
    )

    np.testing.assert_allclose(
        curve.centre_probabilities[0], [4 / 64] + [0] * 16, atol=1e-6
    )  # fmt: skip
    assert (np.diff(curve.random_probabilities) <= 1e-6).all()
    assert curve.random_probabilities[0, 1] > 0


def test_equal_pixels_and_so_blank_heatmaps_go_in_the_order_of_the_random_map(brightness):
    heatmaps = noise()
    heatmaps[1] = 0

    curve = faithfulness.deletion(brightness, pixels(), heatmaps, target_class=1)

    np.testing.assert_array_equal(curve.probabilities[1], curve.random_probabilities[1])
    assert (curve.probabilities[0] != curve.random_probabilities[0]).any()
    np.testing.assert_array_equal(curve.blank, [False, True, False])
    assert str(curve).startswith("deletion, area under the curve, 3 images, 1 with a blank heatmap")


def test_the_batch_size_changes_nothing(classifier):
    model, images, heatmaps = classifier, pixels(7), noise(7)

    curves = [
        faithfulness.deletion(model, images, heatmaps, batch_size=size, random_state=0)
        for size in (1, 3, 32)
    ]

    for curve in curves[1:]:
        np.testing.assert_allclose(curve.probabilities, curves[0].probabilities, atol=1e-6)
        np.testing.assert_allclose(
            curve.random_probabilities, curves[0].random_probabilities, atol=1e-6
        )


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"target_class": 3}, ValueError, "target_class=3, but the model has the classes 0 to 2"),
        ({"target_class": -1}, ValueError, "target_class=-1"),
        ({"target_class": [0, 1]}, ValueError, r"shape \(2,\) for 3 images"),
        ({"target_class": 0.5}, TypeError, "expected a whole number"),
        ({"fill": "black"}, ValueError, "fill='black'; expected one of 'mean', 'blur'"),
        ({"fill": np.zeros((2, 5, 8, 1))}, ValueError, r"fill has shape \(2, 5, 8, 1\)"),
        ({"fill": None}, ValueError, "fill has values from nan to nan"),
        ({"fill": np.nan}, ValueError, "fill has values from nan to nan; expected pixels"),
        ({"fill": 999}, ValueError, "from 999 to 999; expected pixels as in the images, from 0 to"),
        ({"fill": np.full((8, 8, 1), -3)}, ValueError, "from -3 to -3; expected pixels"),
        ({"n_steps": 0}, ValueError, "n_steps=0"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"random_state": -1}, ValueError, "random_state=-1"),
    ],
)
def test_settings_that_are_wrong_are_refused(settings, error, message, classifier):
    with pytest.raises(error, match=message):
        faithfulness.deletion(classifier, pixels(), noise(), **settings)


def test_road_of_the_least_important_first_is_that_of_the_heatmap_turned_over(brightness):
    model, images, heatmaps = brightness, pixels(), noise()
    settings = {"target_class": 1, "noise": 0, "random_state": 0}

    least = faithfulness.road(model, images, heatmaps, first="least", **settings)
    most = faithfulness.road(model, images, 1 - heatmaps, **settings)

    np.testing.assert_allclose(least.probabilities, most.probabilities, rtol=1e-6)
    assert least.metric == "ROAD, least important first"


def test_road_has_the_fractions_and_the_area_that_were_asked_for(brightness):
    curve = faithfulness.road(
        brightness, pixels(), noise(), target_class=1, fractions=(0, 0.25, 0.75), noise=0
    )
    p = curve.probabilities

    np.testing.assert_allclose(p[:, 0], pixels().mean(axis=(1, 2, 3)) / 255, rtol=1e-5)
    areas = ((p[:, 0] + p[:, 1]) / 2 * 0.25 + (p[:, 1] + p[:, 2]) / 2 * 0.5) / 0.75
    np.testing.assert_allclose(curve.values, areas, rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first": "last"}, "first='last'; expected one of 'most', 'least'"),
        ({"fractions": (0, 0.5, 1)}, "from 0 to 0.99: an image that is gone cannot be filled"),
        ({"fractions": (0.5, 0.2)}, "rising"),
        ({"fractions": (0.5,)}, "at least two"),
        ({"noise": -1}, "noise=-1"),
    ],
)
def test_settings_of_road_that_are_wrong_are_refused(settings, message, brightness):
    with pytest.raises(ValueError, match=message):
        faithfulness.road(brightness, pixels(), noise(), **settings)


@pytest.mark.slow
def test_the_network_needs_what_grad_cam_shows_and_nothing_else(known):
    settings = {"target_class": known.labels, "random_state": 0}
    arguments = known.model, known.images, known.heatmaps
    deletion = faithfulness.deletion(*arguments, **settings)
    insertion = faithfulness.insertion(*arguments, **settings)

    assert deletion.mean <= 0.45
    assert deletion.interval.high < min(deletion.random.interval.low, deletion.centre.interval.low)
    assert insertion.mean >= 0.9
    assert insertion.interval.low > max(
        insertion.random.interval.high, insertion.centre.interval.high
    )


@pytest.mark.slow
def test_road_agrees(known):
    few = slice(12)
    most, least = (
        faithfulness.road(
            known.model,
            known.images[few],
            known.heatmaps[few],
            target_class=known.labels[few],
            first=first,
            fractions=(0, 0.1, 0.3, 0.5),
            random_state=0,
        )
        for first in ("most", "least")
    )

    assert most.interval.high < most.random.interval.low
    assert least.interval.low > least.random.interval.high
