"""Measures are what their formulas say, and true heatmaps pass where the truth is known."""

import dataclasses
from types import SimpleNamespace

import keras
import numpy as np
import pandas
import pytest
from keras import layers
from scipy import ndimage, stats

import detl
from detl import GradCAM, faithfulness
from detl.faithfulness.estimates import centre_maps, estimates, random_maps
from detl.faithfulness.perturbation import _noisy_linear
from studies.do_heatmaps_find_known_textures import run as textures


def noise(n=3, size=(8, 8), seed=0):
    return np.random.default_rng(seed).random((n, *size))


def pixels(n=3, size=(8, 8), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 1)).astype("uint8")


def blocks(n=3, size=(8, 8), seed=0):
    """Masks of one box each, at different places."""
    generator = np.random.default_rng(seed)
    return faithfulness.box_masks(
        [(*generator.integers(0, size[0] - 3, 2), 3, 2) for _ in range(n)], size
    )


def brightness(size=(8, 8)):
    """Build a model whose probability of class 1 is the mean of the image over 255."""
    mean = layers.Dense(1, kernel_initializer=keras.initializers.Constant(1 / 255))
    return keras.Sequential([layers.Input((*size, 1)), layers.GlobalAveragePooling2D(), mean])


def classifier(*, activation="softmax", units=3, seed=0):
    start = keras.initializers.RandomNormal(stddev=0.5, seed=seed)
    return keras.Sequential(
        [
            layers.Input((8, 8, 1)),
            layers.Rescaling(1 / 255, name="rescaling"),
            layers.Conv2D(4, 3, activation="relu", kernel_initializer=start, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.Conv2D(4, 3, activation="relu", kernel_initializer=start, name="conv2"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(units, activation=activation, kernel_initializer=start, name="head"),
        ],
        name="classifier",
    )


# ------------------------------------------------------------------------------------- the masks


def test_a_mask_has_the_pixels_whose_centres_are_in_a_box():
    boxes = [[(0.4, 1.6, 3.2, 2.0)], [(-2, 3.5, 4, 9), (5.5, 0.5, 1.0, 1.0)]]
    masks = faithfulness.box_masks(boxes, (6, 7))

    for mask, of_image in zip(masks, boxes, strict=True):
        for row in range(6):
            for column in range(7):
                inside = [
                    x <= column + 0.5 < x + width and y <= row + 0.5 < y + height
                    for x, y, width, height in of_image
                ]
                assert mask[row, column] == any(inside)


def test_a_box_between_the_centres_is_the_pixel_in_its_middle():
    masks = faithfulness.box_masks([(2.6, 1.7, 0.3, 0.4), (7.8, 7.9, 5, 5)], (8, 8))

    np.testing.assert_array_equal(np.argwhere(masks), [[0, 1, 2], [1, 7, 7]])


def test_boxes_may_be_one_array():
    boxes = np.array([[1, 2, 3, 4], [0, 0, 2, 2]])

    masks = faithfulness.box_masks(boxes, (8, 8))

    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), [12, 4])


def test_boxes_may_be_the_columns_of_a_data_frame():
    boxes = np.array([[1, 2, 3, 4], [0, 0, 2, 2]])
    table = pandas.DataFrame(boxes, columns=["x", "y", "w", "h"], index=["first.png", "second.png"])
    expected = faithfulness.box_masks(boxes, (8, 8))

    np.testing.assert_array_equal(faithfulness.box_masks(table, (8, 8)), expected)
    per_image = [table.iloc[:1], table.iloc[1]]
    np.testing.assert_array_equal(faithfulness.box_masks(per_image, (8, 8)), expected)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((0, 0, 0, 3), r"\(0.0, 0.0, 0.0, 3.0\) in row 1; expected a box within 8 x 8 pixels"),
        ((9, 0, 2, 2), "Scale boxes of the original"),
        ((-3, 0, 2, 2), "in row 1"),
        ((np.nan, 0, 2, 2), "nan"),
        ((1, 2, 3), r"\(1, 3\) in row 1; expected \(x, y, width, height\)"),
    ],
)
def test_a_box_that_is_none_is_refused(box, message):
    with pytest.raises(ValueError, match=message):
        faithfulness.box_masks([(0, 0, 2, 2), box], (8, 8))


# ------------------------------------------------------------------------------ heatmaps on masks


def test_the_pointing_game_looks_at_the_highest_pixel():
    heatmaps, masks = noise(20), blocks(20)
    expected = [mask.flat[heatmap.argmax()] for heatmap, mask in zip(heatmaps, masks, strict=True)]

    result = faithfulness.pointing_game(heatmaps, masks, random_state=0)

    np.testing.assert_array_equal(result.values, expected)
    assert result.mean == np.mean(expected)


def test_of_several_highest_pixels_the_share_that_hits_counts():
    masks = faithfulness.box_masks([(0, 0, 8, 2)], (8, 8))

    assert faithfulness.pointing_game(np.ones((1, 8, 8)), masks).mean == 2 / 8


def test_a_tolerance_lets_near_misses_hit():
    masks = faithfulness.box_masks([(0, 0, 2, 2)] * 3, (8, 8))
    heatmaps = np.zeros((3, 8, 8))
    heatmaps[0, 1, 4] = heatmaps[1, 1, 5] = heatmaps[2, 4, 3] = 1  # 3, 4 and sqrt(13) off

    result = faithfulness.pointing_game(heatmaps, masks, tolerance=3.5)

    np.testing.assert_array_equal(result.values, [1, 0, 0])
    assert result.area[0] == np.mean(
        [[max(row - 1, 0) ** 2 + max(column - 1, 0) ** 2 <= 3.5**2 for column in range(8)]
         for row in range(8)]
    )  # fmt: skip


def test_energy_is_the_share_inside_over_the_area_and_its_mean_the_ratio_of_means():
    heatmaps, masks = noise(5), blocks(5)
    masks[0] = faithfulness.box_masks([(0, 0, 7, 5)], (8, 8))
    inside = np.array([(h * m).sum() / h.sum() for h, m in zip(heatmaps, masks, strict=True)])
    area = masks.mean(axis=(1, 2))

    result = faithfulness.energy(heatmaps, masks, random_state=0)

    np.testing.assert_allclose(result.values, inside / area, rtol=1e-12)
    np.testing.assert_array_equal(result.area, area)
    assert result.mean == pytest.approx(inside.mean() / area.mean(), rel=1e-12)


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_intersection_over_union_agrees_with_a_slow_loop(quantile):
    heatmaps, masks = noise(4), blocks(4)
    heatmaps[1] = np.maximum(heatmaps[1] - 0.7, 0)  # more zeros than the quantile leaves
    expected = []
    for heatmap, mask in zip(heatmaps, masks, strict=True):
        threshold = np.quantile(heatmap, quantile)
        chosen = {
            (i, j) for i in range(8) for j in range(8) if 0 < heatmap[i, j] >= threshold
        }  # fmt: skip
        box = set(map(tuple, np.argwhere(mask)))
        expected.append(len(chosen & box) / len(chosen | box))

    result = faithfulness.intersection_over_union(heatmaps, masks, quantile=quantile)

    np.testing.assert_allclose(result.values, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "measure",
    [
        faithfulness.pointing_game,
        faithfulness.energy,
        faithfulness.intersection_over_union,
    ],
)
def test_a_blank_heatmap_is_a_miss_and_counted(measure):
    masks = blocks(3)
    heatmaps = masks.astype("float32")
    heatmaps[1] = 0

    result = measure(heatmaps, masks)

    np.testing.assert_array_equal(result.blank, [False, True, False])
    assert result.values[1] == 0
    assert result.values[0] >= 1
    assert "3 images, 1 with a blank heatmap" in str(result)


def test_random_maps_know_nothing_and_the_centre_knows_the_centre():
    masks = faithfulness.box_masks([(12, 12, 8, 8)] * 300, (32, 32))
    heatmaps = masks.astype(float)

    hits = faithfulness.pointing_game(heatmaps, masks, random_state=0)
    energies = faithfulness.energy(heatmaps, masks, random_state=0)

    assert hits.random.mean == pytest.approx(1 / 16, abs=0.02)
    assert energies.random.mean == pytest.approx(1, abs=0.02)
    assert hits.centre.mean == 1
    gauss = stats.norm(scale=8).pdf(np.arange(32) - 15.5)
    expected = (gauss[12:20].sum() / gauss.sum()) ** 2 * 16
    assert energies.centre.mean == pytest.approx(expected, rel=1e-5)


def test_a_random_map_is_smooth_and_likes_no_place_better_than_another():
    maps = random_maps(3000, (24, 40), np.random.default_rng(0))

    assert maps.shape == (3000, 24, 40)
    assert 0 <= maps.min() < 0.01
    assert 0.99 < maps.max() <= 1
    np.testing.assert_allclose(maps.mean(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(maps.std(axis=0), maps.std(), rtol=0.1)
    assert np.abs(np.diff(maps, axis=2)).max() <= 1 / 5 + 1e-6  # five pixels from cell to cell
    highest = maps.reshape(3000, -1).argmax(axis=1)
    counts = np.bincount(highest // 40 // 6 * 4 + highest % 40 // 10, minlength=16)
    assert stats.chisquare(counts).pvalue > 0.01


def test_the_centre_prior_fits_every_size():
    maps = centre_maps(2, (6, 10))

    assert maps.shape == (2, 6, 10)
    np.testing.assert_allclose(maps, maps[:, ::-1, ::-1])
    assert maps[0, 2, 4] == maps.max() == maps[0, 3, 5]


def test_the_same_seed_gives_the_same_result_and_leaves_the_arrays():
    heatmaps, masks = noise(70), blocks(70)
    before = heatmaps.copy(), masks.copy()
    heatmaps.flags.writeable = masks.flags.writeable = False

    first, again, other = (
        faithfulness.pointing_game(heatmaps, masks, random_state=seed) for seed in (1, 1, 2)
    )

    assert str(first) == str(again)
    assert str(first) != str(other)
    np.testing.assert_array_equal(heatmaps, before[0])
    np.testing.assert_array_equal(masks, before[1])


def test_a_result_prints_as_a_table():
    masks = faithfulness.box_masks([(0, 0, 4, 4)] * 2, (8, 8))

    assert str(faithfulness.energy(masks.astype(float), masks, random_state=0)).splitlines() == [
        "energy over area, 2 images",
        "heatmaps    4.000 [4.000, 4.000]",
        "random map  1.045 [0.995, 1.095]",
        "centre      1.000 [1.000, 1.000]",
        "95 % intervals: percentile bootstrap over 2 images, 2000 draws, "
        "too narrow under 20 images",
    ]


def test_results_cannot_be_changed():
    result = faithfulness.energy(noise(2), blocks(2))

    with pytest.raises(dataclasses.FrozenInstanceError):
        result.metric = "another"


@pytest.mark.parametrize(
    ("heatmaps", "masks", "error", "message"),
    [
        (noise(2) > 0.5, blocks(2), TypeError, "heatmaps has dtype bool"),
        (noise(2)[0], blocks(2), ValueError, r"\(8, 8\); expected \(n, height, width\)"),
        (noise(2)[:0], blocks(2)[:0], ValueError, "such as GradCAM gives"),
        (noise(2) * 2, blocks(2), ValueError, "in row 0; expected.*divide by the maximum"),
        (noise(2) - 0.5, blocks(2), ValueError, "clip what is negative"),
        (np.where(blocks(2), np.nan, 0), blocks(2), ValueError, "NaN or infinity, first in row 0"),
        (noise(2), blocks(2) * 1.0, TypeError, "masks has dtype float64; expected bool"),
        (noise(2), blocks(3), ValueError, r"\(3, 8, 8\), heatmaps \(2, 8, 8\)"),
        (
            noise(2),
            blocks(2) & [[[True]], [[False]]],
            ValueError,
            "1 of 2 masks are empty, first in row 1",
        ),
    ],
)
def test_heatmaps_and_masks_that_do_not_fit_are_refused(heatmaps, masks, error, message):
    with pytest.raises(error, match=message):
        faithfulness.energy(heatmaps, masks)


@pytest.mark.parametrize("quantile", [0, 1, 1.5, "0.9"])
def test_a_quantile_lies_between_0_and_1(quantile):
    with pytest.raises(ValueError, match=r"quantile=.*between 0 and 1"):
        faithfulness.intersection_over_union(noise(), blocks(), quantile=quantile)


def test_a_tolerance_is_a_number_of_pixels():
    with pytest.raises(ValueError, match="tolerance=-1; expected a number of pixels"):
        faithfulness.pointing_game(noise(), blocks(), tolerance=-1)
    with pytest.raises(TypeError, match="tolerance is str"):
        faithfulness.pointing_game(noise(), blocks(), tolerance="3")


# ---------------------------------------------------------------------------------- the intervals


def test_the_interval_of_a_share_is_about_that_of_a_binomial():
    masks = faithfulness.box_masks([(0, 0, 4, 8)] * 200, (8, 8))
    heatmaps = np.zeros((200, 8, 8))
    heatmaps[:60, 0, 0] = heatmaps[60:, 7, 7] = 1

    result = faithfulness.pointing_game(heatmaps, masks, random_state=0)

    low, high = stats.binom(200, 0.3).ppf([0.025, 0.975]) / 200
    assert result.mean == 0.3
    assert result.interval.low == pytest.approx(low, abs=0.01)
    assert result.interval.high == pytest.approx(high, abs=0.01)
    assert result.interval.method == "percentile bootstrap over 200 images, 2000 draws"


def test_groups_are_drawn_as_a_whole():
    hits = np.arange(10) % 2 == 0
    masks = faithfulness.box_masks([(0, 0, 4, 8)] * 10, (8, 8))
    heatmaps = np.where(hits[:, None, None], masks, ~masks).astype(float)
    repeated = np.repeat(heatmaps, 20, axis=0), np.repeat(masks, 20, axis=0)

    few = faithfulness.pointing_game(heatmaps, masks, random_state=0)
    many = faithfulness.pointing_game(*repeated, random_state=0)
    grouped = faithfulness.pointing_game(
        *repeated, groups=[f"patient {i}" for i in np.repeat(range(10), 20)], random_state=0
    )

    assert (grouped.interval.low, grouped.interval.high) == (few.interval.low, few.interval.high)
    assert many.interval.high - many.interval.low < 0.3 * (few.interval.high - few.interval.low)
    assert grouped.interval.method == (
        "percentile bootstrap over 10 groups, 2000 draws, too narrow under 20 groups"
    )


def random_values(n, known):
    values = np.full((1, n), np.nan)
    values[0, known] = np.random.default_rng(0).normal(size=len(known))
    return values


@pytest.mark.parametrize("unit", ["images", "groups"])
def test_what_has_no_value_is_not_drawn(unit):
    known = np.arange(0, 50, 2)
    values, seed = random_values(50, known), np.random.SeedSequence(4)
    groups = {"groups": np.arange(50) // 2, "images": None}[unit]
    [found] = estimates(values, groups=groups, seed=seed)
    [alone] = estimates(values[:, known], groups=None, seed=seed)
    assert (found.mean, found.interval.low, found.interval.high) == pytest.approx(
        (alone.mean, alone.interval.low, alone.interval.high)
    )
    assert found.interval.method == f"percentile bootstrap over 25 {unit}, 2000 draws"


def test_what_weighs_nothing_is_not_drawn():
    values = np.random.default_rng(0).normal(size=(1, 50))
    weights, seed = np.arange(50) % 2, np.random.SeedSequence(4)
    [found] = estimates(values, groups=None, seed=seed, weights=weights)
    [alone] = estimates(values[:, 1::2], groups=None, seed=seed)
    assert found.interval.low == pytest.approx(alone.interval.low)
    assert found.interval.method == alone.interval.method


@pytest.mark.parametrize("known", [[], [17], [17, 18]])
def test_one_value_among_many_images_has_no_interval(known):
    groups = np.arange(50) // 5  # 17 and 18 are of one
    values = random_values(50, np.array(known, int))
    for of, n in ((None, len(known)), (groups, min(1, len(known)))):
        [found] = estimates(values, groups=of, seed=np.random.SeedSequence(4))
        if n < 2:
            unit = "images" if of is None else "groups"
            assert found.interval.method == f"none: {n} of {unit} is too few"
            assert np.isnan([found.interval.low, found.interval.high]).all()
        assert np.isnan(found.mean) == (not known)


def test_each_row_is_drawn_from_what_has_a_value_in_it():
    values = np.random.default_rng(0).normal(size=(3, 40))
    values[1, 5:] = np.nan
    seed = np.random.SeedSequence(4)
    found = estimates(values, groups=None, seed=seed)
    for row, estimate in zip(values, found, strict=True):
        [alone] = estimates(row[np.newaxis], groups=None, seed=seed)
        assert estimate.mean == pytest.approx(alone.mean)
        assert estimate.interval.low == pytest.approx(alone.interval.low)
        assert estimate.interval.method == alone.interval.method
    assert [estimate.interval.method for estimate in found] == [
        "percentile bootstrap over 40 images, 2000 draws",
        "percentile bootstrap over 5 images, 2000 draws, too narrow under 20 images",
        "percentile bootstrap over 40 images, 2000 draws",
    ]


def test_one_image_has_no_interval():
    result = faithfulness.pointing_game(noise(1), blocks(1))

    assert np.isnan([result.interval.low, result.interval.high]).all()
    assert result.interval.method == "none: 1 of images is too few"


def test_groups_are_one_per_image():
    with pytest.raises(ValueError, match="2 groups for 3 images"):
        faithfulness.pointing_game(noise(), blocks(), groups=["a", "b"])


# --------------------------------------------------------------------------- deletion, insertion


@pytest.mark.parametrize("n_steps", [4, 10])
def test_deletion_and_insertion_agree_with_a_slow_loop(n_steps):
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

    settings = {"class_index": 1, "fill": 10, "n_steps": n_steps}
    deletion = faithfulness.deletion(brightness(), images, heatmaps, **settings)
    insertion = faithfulness.insertion(brightness(), images, heatmaps, **settings)

    np.testing.assert_allclose(deletion.fractions, fractions)
    np.testing.assert_allclose(deletion.probabilities, deleted, rtol=1e-5)
    np.testing.assert_allclose(insertion.probabilities, inserted, rtol=1e-5)
    for curve, found in ((deletion, deleted), (insertion, inserted)):
        areas = ((found[:, 1:] + found[:, :-1]) / 2).mean(axis=1)
        np.testing.assert_allclose(curve.values, areas, rtol=1e-5)
        assert curve.mean == pytest.approx(areas.mean(), rel=1e-5)


def test_the_mean_fill_leaves_a_model_of_the_mean_unmoved_where_the_order_is_even():
    images = np.tile(np.array([[10, 30], [30, 10]], "uint8"), (4, 4))[None, ..., None]
    heatmaps = np.repeat(np.repeat(noise(1, (4, 4)), 2, axis=1), 2, axis=2)

    curve = faithfulness.deletion(
        brightness(), images, heatmaps, class_index=1, n_steps=16, random_state=0
    )

    np.testing.assert_allclose(curve.probabilities, 20 / 255, rtol=1e-5)


def test_insertion_starts_from_the_blurred_image_and_ends_with_the_image():
    images = pixels(2)
    blurred = ndimage.gaussian_filter(images.astype("float32"), (0, 0.5, 0.5, 0))
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Cropping2D(3), layers.GlobalMaxPooling2D(),
         layers.Rescaling(1 / 255)]
    )  # fmt: skip

    curve = faithfulness.insertion(model, images, noise(2), class_index=1, n_steps=2)

    centre = (slice(None), slice(3, 5), slice(3, 5))
    np.testing.assert_allclose(
        curve.probabilities[:, [0, -1]],
        np.stack([blurred[centre].max(axis=(1, 2, 3)), images[centre].max(axis=(1, 2, 3))], 1)
        / 255,
        rtol=1e-5,
    )


def test_the_fill_may_be_an_image():
    background = np.arange(64.0).reshape(8, 8, 1)

    curve = faithfulness.deletion(
        brightness(), pixels(2), noise(2), class_index=1, fill=background, n_steps=2
    )

    np.testing.assert_allclose(curve.probabilities[:, -1], background.mean() / 255, rtol=1e-5)


def test_the_rivals_are_ordered_by_a_random_map_and_by_the_distance_from_the_centre():
    bright = np.zeros((1, 8, 8, 1), "uint8")
    bright[0, 3:5, 3:5] = 255

    curve = faithfulness.deletion(
        brightness(), bright, noise(1), class_index=1, fill=0, n_steps=16, random_state=0
    )

    np.testing.assert_allclose(
        curve.centre_probabilities[0], [4 / 64] + [0] * 16, atol=1e-6
    )  # fmt: skip
    assert (np.diff(curve.random_probabilities) <= 1e-6).all()
    assert curve.random_probabilities[0, 1] > 0


def test_equal_pixels_and_so_blank_heatmaps_go_in_the_order_of_the_random_map():
    heatmaps = noise()
    heatmaps[1] = 0

    curve = faithfulness.deletion(brightness(), pixels(), heatmaps, class_index=1)

    np.testing.assert_array_equal(curve.probabilities[1], curve.random_probabilities[1])
    assert (curve.probabilities[0] != curve.random_probabilities[0]).any()
    np.testing.assert_array_equal(curve.blank, [False, True, False])
    assert str(curve).startswith("deletion, area under the curve, 3 images, 1 with a blank heatmap")


def test_the_batch_size_changes_nothing():
    model, images, heatmaps = classifier(), pixels(7), noise(7)

    curves = [
        faithfulness.deletion(model, images, heatmaps, batch_size=size, random_state=0)
        for size in (1, 3, 32)
    ]

    for curve in curves[1:]:
        np.testing.assert_allclose(curve.probabilities, curves[0].probabilities, atol=1e-6)
        np.testing.assert_allclose(
            curve.random_probabilities, curves[0].random_probabilities, atol=1e-6
        )


def test_the_class_is_the_predicted_one_unless_another_is_asked_for():
    model, images, heatmaps = classifier(), pixels(5), noise(5)
    probabilities = np.asarray(model(images))

    predicted = faithfulness.deletion(model, images, heatmaps)
    asked = faithfulness.deletion(model, images, heatmaps, class_index=[0, 1, 2, 1, 0])

    np.testing.assert_array_equal(predicted.class_indices, probabilities.argmax(axis=1))
    np.testing.assert_allclose(predicted.probabilities[:, 0], probabilities.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(
        asked.probabilities[:, 0], probabilities[range(5), [0, 1, 2, 1, 0]], rtol=1e-5
    )


def test_a_single_unit_has_two_classes():
    model, images = classifier(activation="sigmoid", units=1), pixels()

    zero, one = (
        faithfulness.deletion(model, images, noise(), class_index=k, random_state=0) for k in (0, 1)
    )

    np.testing.assert_allclose(zero.probabilities, 1 - one.probabilities, atol=1e-6)


def test_several_sigmoids_are_taken_as_they_are():
    model, images = classifier(activation="sigmoid"), pixels()

    curve = faithfulness.deletion(model, images, noise(), class_index=2)

    np.testing.assert_allclose(curve.probabilities[:, 0], np.asarray(model(images))[:, 2])


def test_source_models_and_transfers_are_classifiers(tiny_source, tiny_images, tiny_labels):
    transfer = detl.DomainExtensionTransfer(tiny_source, epochs=1, random_state=0)
    transfer.fit(tiny_images, tiny_labels)
    heatmaps = noise(4, (16, 16))

    for carrier, model in ((tiny_source, tiny_source.model), (transfer, transfer.model_)):
        curves = [
            faithfulness.deletion(given, tiny_images[:4], heatmaps, random_state=0)
            for given in (carrier, model)
        ]
        np.testing.assert_array_equal(curves[0].probabilities, curves[1].probabilities)


def test_logits_are_refused_and_a_softmax_behind_them_is_enough():
    logits = classifier(activation=None)

    with pytest.raises(ValueError, match=r"values from -.*no probabilities.*layers.Softmax"):
        faithfulness.deletion(logits, pixels() * 1, noise())
    curve = faithfulness.deletion(keras.Sequential([logits, layers.Softmax()]), pixels(), noise())
    expected = faithfulness.deletion(classifier(), pixels(), noise())
    np.testing.assert_allclose(curve.probabilities, expected.probabilities, atol=1e-6)


def test_a_subclassed_model_will_do():
    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = brightness()

        def call(self, images):
            return self.inner(images)

    curve = faithfulness.deletion(Subclassed(), pixels(), noise(), class_index=1)

    np.testing.assert_allclose(
        curve.probabilities[:, 0], pixels().mean(axis=(1, 2, 3)) / 255, rtol=1e-5
    )


def test_models_that_are_no_classifiers_are_refused(tiny_source):
    with pytest.raises(TypeError, match=r"model is str; expected a keras.Model"):
        faithfulness.deletion("vgg16", pixels(), noise())
    with pytest.raises(ValueError, match="DomainExtensionTransfer is not fitted; call fit first"):
        faithfulness.deletion(detl.DomainExtensionTransfer(tiny_source), pixels(), noise())
    with pytest.raises(ValueError, match=r"gives \('n', 8, 8, 1\); expected \(n, classes\)"):
        faithfulness.deletion(
            keras.Sequential([layers.Input((8, 8, 1)), layers.ReLU()]), pixels(), noise()
        )
    broken = classifier()
    broken.get_layer("head").bias.assign([np.nan, 0, 0])
    with pytest.raises(ValueError, match="NaN or infinity; training may have diverged"):
        faithfulness.deletion(broken, pixels(), noise())


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"class_index": 3}, ValueError, "class_index=3, but the model has the classes 0 to 2"),
        ({"class_index": -1}, ValueError, "class_index=-1"),
        ({"class_index": [0, 1]}, ValueError, r"shape \(2,\) for 3 images"),
        ({"class_index": 0.5}, TypeError, "expected a whole number"),
        ({"fill": "black"}, ValueError, "fill='black'; expected one of 'mean', 'blur'"),
        ({"fill": np.zeros((2, 5, 8, 1))}, ValueError, r"fill has shape \(2, 5, 8, 1\)"),
        ({"n_steps": 0}, ValueError, "n_steps=0"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"random_state": -1}, ValueError, "random_state=-1"),
    ],
)
def test_settings_that_are_wrong_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        faithfulness.deletion(classifier(), pixels(), noise(), **settings)


def test_images_and_heatmaps_are_of_one_size_and_number():
    with pytest.raises(ValueError, match=r"\(2, 8, 8\); expected \(3, 8, 8\), one per image"):
        faithfulness.deletion(classifier(), pixels(), noise(2))
    with pytest.raises(ValueError, match="the model takes"):
        faithfulness.deletion(classifier(), pixels(size=(9, 9)), noise(size=(9, 9)))


def test_model_and_images_are_left_as_they_were():
    model, images, heatmaps = classifier(), pixels(), noise()
    images.flags.writeable = heatmaps.flags.writeable = False
    before, copies = model.get_weights(), (images.copy(), heatmaps.copy())
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002

    faithfulness.insertion(model, images, heatmaps)
    faithfulness.road(model, images, heatmaps)
    faithfulness.randomization(model, images, n_repeats=1)

    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    np.testing.assert_array_equal(images, copies[0])
    np.testing.assert_array_equal(heatmaps, copies[1])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


# ------------------------------------------------------------------------------------------- ROAD


def test_a_gap_is_filled_so_that_each_pixel_is_the_mean_of_its_neighbours():
    generator = np.random.default_rng(0)
    image, gap = generator.random((7, 6, 2)), generator.random((7, 6)) < 0.7
    places = [tuple(place) for place in np.argwhere(gap)]
    system, known = np.zeros((len(places),) * 2), np.zeros((len(places), 2))
    for equation, (row, column) in enumerate(places):
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                place = row + down, column + right
                if (down, right) == (0, 0) or not (0 <= place[0] < 7 and 0 <= place[1] < 6):
                    continue
                weight = 1 / 6 if 0 in (down, right) else 1 / 12
                system[equation, equation] += weight
                if gap[place]:
                    system[equation, places.index(place)] -= weight
                else:
                    known[equation] += weight * image[place]
    expected = image.copy()
    expected[gap] = np.linalg.solve(system, known)

    np.testing.assert_allclose(_noisy_linear(image, gap, 0, generator), expected, rtol=1e-9)


def test_a_gap_in_a_ramp_is_filled_with_the_ramp():
    ramp = np.add.outer(2 * np.arange(9.0), np.arange(9.0))[..., None]
    gap = np.zeros((9, 9), bool)
    gap[2:7, 1:8] = True

    filled = _noisy_linear(ramp, gap, 0, np.random.default_rng(0))
    noisy = _noisy_linear(ramp, gap, 0.1, np.random.default_rng(0))

    np.testing.assert_allclose(filled, ramp, atol=1e-12)
    assert (noisy - ramp)[gap].std() == pytest.approx(0.1, rel=0.3)
    np.testing.assert_array_equal(noisy[~gap], ramp[~gap])


def test_road_of_the_least_important_first_is_that_of_the_heatmap_turned_over():
    model, images, heatmaps = brightness(), pixels(), noise()
    settings = {"class_index": 1, "noise": 0, "random_state": 0}

    least = faithfulness.road(model, images, heatmaps, first="least", **settings)
    most = faithfulness.road(model, images, 1 - heatmaps, **settings)

    np.testing.assert_allclose(least.probabilities, most.probabilities, rtol=1e-6)
    assert least.metric == "ROAD, least important first"


def test_road_has_the_fractions_and_the_area_that_were_asked_for():
    curve = faithfulness.road(
        brightness(), pixels(), noise(), class_index=1, fractions=(0, 0.25, 0.75), noise=0
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
def test_settings_of_road_that_are_wrong_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        faithfulness.road(brightness(), pixels(), noise(), **settings)


# -------------------------------------------------------------------------------- randomisation


def test_layers_are_scrambled_from_the_output_down_each_by_a_permutation():
    model, images = classifier(), pixels()
    trained, seen = model.get_weights(), []

    def explain(images, class_index):
        seen.append(model.get_weights())
        return noise(len(images))

    result = faithfulness.randomization(model, images, explain, n_repeats=2, random_state=0)

    assert result.layers == (("head",), ("conv2",), ("norm1",), ("conv1",))
    first_changed = [8, 6, 6, 0]  # norm1 is all ones and zeros: it cannot be told from itself
    for weights, start in zip(seen[1:5], first_changed, strict=True):
        for index, (was, now) in enumerate(zip(trained, weights, strict=True)):
            if index < start or was.ndim == 1:
                np.testing.assert_array_equal(was, now)
            else:
                assert (was != now).any()
                np.testing.assert_array_equal(np.sort(was, axis=None), np.sort(now, axis=None))
    assert any((a != b).any() for a, b in zip(seen[4], seen[8], strict=True))  # another repeat
    for was, now in zip(seen[4][:6], seen[5][:6], strict=True):
        assert was.ndim == 1 or (was != now).any()  # repeats start from the trained weights
    for was, now in zip(trained[:8], seen[5][:8], strict=True):
        np.testing.assert_array_equal(was, now)
    np.testing.assert_allclose(result.correlations, 1)  # what looks at no model


def test_correlations_are_spearmans_of_the_maps_with_those_of_the_intact_model():
    model, images = classifier(), pixels()
    maps = np.round(noise(15), 1).reshape(5, 3, 8, 8)
    calls = iter(maps)

    result = faithfulness.randomization(
        model, images, lambda images, class_index: next(calls), n_repeats=1
    )

    for step in range(4):
        for i in range(3):
            expected = stats.spearmanr(maps[0, i].ravel(), maps[step + 1, i].ravel()).statistic
            assert result.correlations[step, i] == pytest.approx(expected, abs=1e-12)
    assert [estimate.mean for estimate in result.steps] == pytest.approx(
        result.correlations.mean(axis=1)
    )


def test_a_map_gone_blank_has_nothing_in_common_and_one_that_was_blank_does_not_count():
    maps = noise(3)
    maps[0] = 0
    after = noise(3, seed=1)
    after[1] = 0
    calls = iter([maps, *[after] * 4])

    result = faithfulness.randomization(
        classifier(), pixels(), lambda images, class_index: next(calls), n_repeats=1
    )

    np.testing.assert_array_equal(result.blank, [True, False, False])
    assert np.isnan(result.correlations[:, 0]).all()
    np.testing.assert_array_equal(result.correlations[:, 1], 0)
    assert result.steps[0].mean == pytest.approx(result.correlations[0, 2] / 2)


def test_the_default_explanation_is_grad_cam_of_the_class_the_intact_model_predicts():
    model, images = classifier(), pixels(4)

    default = faithfulness.randomization(model, images, random_state=0)
    asked = faithfulness.randomization(
        model, images, GradCAM(model), class_index=np.asarray(model(images)).argmax(1),
        random_state=0,
    )  # fmt: skip

    np.testing.assert_array_equal(default.correlations, asked.correlations)
    np.testing.assert_array_equal(default.class_indices, asked.class_indices)


def test_weights_come_back_also_after_an_exception():
    model, images = classifier(), pixels()
    before = model.get_weights()
    calls = []

    def explain(images, class_index):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return noise(len(images))

    with pytest.raises(RuntimeError, match="out of memory"):
        faithfulness.randomization(model, images, explain)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_many_layers_are_scrambled_in_groups_and_nested_ones_in_their_place():
    inner = classifier()
    model = keras.Sequential([layers.Input((8, 8, 1)), inner])

    result = faithfulness.randomization(model, pixels(), n_steps=2, n_repeats=1)

    assert result.layers == (("head", "conv2"), ("norm1", "conv1"))
    assert [line.split()[0] for line in str(result).splitlines()[1:3]] == ["conv2", "conv1"]


def test_steps_of_equal_names_have_a_line_each():
    def inner(name):
        conv = layers.Conv2D(2, 3, padding="same", name="conv")
        return keras.Sequential([layers.Input((8, 8, 1)), conv], name=name)

    first, second = inner("first"), inner("second")
    inputs = layers.Input((8, 8, 1))
    both = layers.Add()([first(inputs), second(inputs)])
    outputs = layers.Dense(2, "softmax", name="centre")(layers.GlobalAveragePooling2D()(both))
    model = keras.Model(inputs, outputs)

    result = faithfulness.randomization(
        model, pixels(), lambda images, class_index: noise(len(images)), n_repeats=1
    )

    assert [name for (name,) in result.layers] == ["centre", "conv", "conv"]
    lines = str(result).splitlines()[1:-1]
    assert [line.split("  ")[0] for line in lines] == [
        *("centre", "conv", "conv", "random map", "centre")
    ]


def test_what_cannot_be_scrambled_is_refused():
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.GlobalAveragePooling2D(), layers.Rescaling(1 / 255)],
        name="mean",
    )
    with pytest.raises(ValueError, match="'mean' has no weights to scramble"):
        faithfulness.randomization(model, pixels(), lambda images, class_index: noise())
    with pytest.raises(ValueError, match=r"heatmaps has shape \(3, 4, 4\); expected \(3, 8, 8\)"):
        faithfulness.randomization(
            classifier(), pixels(), lambda images, class_index: noise(3, (4, 4))
        )
    with pytest.raises(ValueError, match="n_repeats=0"):
        faithfulness.randomization(classifier(), pixels(), n_repeats=0)


# -------------------------------------------------------- the truth, where it is known: textures


@pytest.fixture(scope="module")
def known():
    """Return a trained model, its Grad-CAM, and images it has not seen with their masks."""
    model = textures.train(0)
    images, (labels,), (masks,) = textures.draw(100, 1000)
    cam = GradCAM(model)
    return SimpleNamespace(
        model=model,
        cam=cam,
        images=images,
        labels=labels,
        masks=masks,
        heatmaps=cam(images, class_index=labels),
    )


def test_grad_cam_points_at_the_texture(known):
    result = faithfulness.pointing_game(known.heatmaps, known.masks, random_state=0)

    assert result.mean >= 0.95
    assert result.random.interval.high < 0.2
    assert result.centre.interval.high < 0.3


def test_grad_cam_lies_on_the_texture(known):
    result = faithfulness.energy(known.heatmaps, known.masks, random_state=0)
    overlap = faithfulness.intersection_over_union(known.heatmaps, known.masks, random_state=0)

    assert result.mean >= 5
    assert result.random.interval.high < 1.2
    assert result.centre.interval.high < 2
    assert overlap.mean >= 0.5  # the highest tenth can reach 0.625


def test_grad_cam_tells_two_textures_of_one_image_apart(known):
    images, labels, masks = textures.draw(100, 2000, n_objects=2)

    for asked, other in ((0, 1), (1, 0)):
        heatmaps = known.cam(images, class_index=labels[asked])
        assert faithfulness.pointing_game(heatmaps, masks[asked]).mean >= 0.95
        assert faithfulness.pointing_game(heatmaps, masks[other]).mean <= 0.05


def test_grad_cam_of_a_wrong_class_does_not_point_at_the_texture(known):
    for shift in (1, 2, 3):
        heatmaps = known.cam(known.images, class_index=(known.labels + shift) % 4)
        assert faithfulness.pointing_game(heatmaps, known.masks).mean <= 0.1


def test_grad_cam_depends_on_what_was_learned(known):
    few = slice(40)
    result = faithfulness.randomization(
        known.model,
        known.images[few],
        known.cam,
        class_index=known.labels[few],
        random_state=0,
    )
    names = [layers[-1] for layers in result.layers]
    from_last_convolution = result.steps[names.index("conv2") :]

    assert names[-1] == "conv1"
    assert max(step.mean for step in from_last_convolution) < 0.4


def test_the_network_needs_what_grad_cam_shows_and_nothing_else(known):
    settings = {"class_index": known.labels, "random_state": 0}
    arguments = known.model, known.images, known.heatmaps
    deletion = faithfulness.deletion(*arguments, **settings)
    insertion = faithfulness.insertion(*arguments, **settings)

    assert deletion.mean <= 0.45
    assert deletion.interval.high < min(deletion.random.interval.low, deletion.centre.interval.low)
    assert insertion.mean >= 0.9
    assert insertion.interval.low > max(
        insertion.random.interval.high, insertion.centre.interval.high
    )


def test_road_agrees(known):
    few = slice(12)
    most, least = (
        faithfulness.road(
            known.model,
            known.images[few],
            known.heatmaps[few],
            class_index=known.labels[few],
            first=first,
            fractions=(0, 0.1, 0.3, 0.5),
            random_state=0,
        )
        for first in ("most", "least")
    )

    assert most.interval.high < most.random.interval.low
    assert least.interval.low > least.random.interval.high
