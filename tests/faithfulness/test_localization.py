"""Heatmaps are held against masks as the formulas say."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from detl import faithfulness
from studies.do_heatmaps_find_known_textures import run as textures


def noise(n=3, size=(8, 8), seed=0):
    return np.random.default_rng(seed).random((n, *size))


def blocks(n=3, size=(8, 8), seed=0):
    """Masks of one box each, at different places."""
    generator = np.random.default_rng(seed)
    return faithfulness.box_masks(
        [(*generator.integers(0, size[0] - 3, 2), 3, 2) for _ in range(n)], size
    )


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


def test_heatmaps_of_other_images_hit_as_often_where_all_show_the_same_place():
    masks = faithfulness.box_masks([(12, 12, 8, 8)] * 70, (32, 32))
    same = faithfulness.pointing_game(masks.astype(float), masks, random_state=0)
    assert same.mean == same.others.mean == 1
    corners = [(24 * (i % 2), 24 * (i // 2 % 2), 8, 8) for i in range(140)]  # four places
    masks = faithfulness.box_masks(corners, (32, 32))
    patients = np.arange(140) // 2
    found = faithfulness.energy(masks.astype(float), masks, groups=patients, random_state=0)
    assert found.mean == 16
    assert found.others.mean == pytest.approx(16 / 4, abs=0.4)
    assert found.others.interval.low < found.others.mean < found.others.interval.high
    assert [line.split("  ")[0] for line in str(found).splitlines()[1:-1]] == [
        "heatmaps",
        "of other images",
        "random map",
        "centre",
    ]


def test_there_are_no_others_of_a_single_patient():
    masks = blocks(3)
    found = faithfulness.pointing_game(masks.astype(float), masks, groups=["a", "a", "b"])
    assert np.isnan(found.others.mean)
    assert "of other images" not in str(found)


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
        "heatmaps         4.000 [4.000, 4.000]",
        "of other images  4.000 [4.000, 4.000]",
        "random map       1.045 [0.995, 1.095]",
        "centre           1.000 [1.000, 1.000]",
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
        (np.where(blocks(2), np.nan, 0), blocks(2), ValueError, "from nan to nan in row 0"),
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
    with pytest.raises((TypeError, ValueError), match=r"quantile.*; .* above 0 and below 1\."):
        faithfulness.intersection_over_union(noise(), blocks(), quantile=quantile)


def test_a_tolerance_is_a_number_of_pixels():
    with pytest.raises(ValueError, match="tolerance=-1; expected a number at least 0"):
        faithfulness.pointing_game(noise(), blocks(), tolerance=-1)
    with pytest.raises(TypeError, match="tolerance is str"):
        faithfulness.pointing_game(noise(), blocks(), tolerance="3")


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


def test_one_image_has_no_interval():
    result = faithfulness.pointing_game(noise(1), blocks(1))

    assert np.isnan([result.interval.low, result.interval.high]).all()
    assert result.interval.method == "none: 1 of images is too few"


def test_groups_are_one_per_image():
    with pytest.raises(ValueError, match="2 groups for 3 images"):
        faithfulness.pointing_game(noise(), blocks(), groups=["a", "b"])


@pytest.mark.slow
def test_grad_cam_points_at_the_texture(known):
    result = faithfulness.pointing_game(known.heatmaps, known.masks, random_state=0)

    assert result.mean >= 0.95
    assert result.random.interval.high < 0.2
    assert result.centre.interval.high < 0.3


@pytest.mark.slow
def test_grad_cam_lies_on_the_texture(known):
    result = faithfulness.energy(known.heatmaps, known.masks, random_state=0)
    overlap = faithfulness.intersection_over_union(known.heatmaps, known.masks, random_state=0)

    assert result.mean >= 5
    assert result.random.interval.high < 1.2
    assert result.centre.interval.high < 2
    assert overlap.mean >= 0.5  # the highest tenth can reach 0.625


@pytest.mark.slow
def test_grad_cam_tells_two_textures_of_one_image_apart(known):
    images, labels, masks = textures.draw(100, 2000, n_objects=2)

    for asked, other in ((0, 1), (1, 0)):
        heatmaps = known.cam(images, target_class=labels[asked])
        assert faithfulness.pointing_game(heatmaps, masks[asked]).mean >= 0.95
        assert faithfulness.pointing_game(heatmaps, masks[other]).mean <= 0.05


@pytest.mark.slow
def test_grad_cam_of_a_wrong_class_does_not_point_at_the_texture(known):
    for shift in (1, 2, 3):
        heatmaps = known.cam(known.images, target_class=(known.labels + shift) % 4)
        assert faithfulness.pointing_game(heatmaps, known.masks).mean <= 0.1
