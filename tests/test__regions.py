"""Regions mean the pixels they say, and blanking touches no other."""

import numpy as np
import pytest

from detl._regions import blanked, border_mask, region_masks

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 10, 20, 1)).astype("uint8")
MIDDLE = np.zeros((10, 20), dtype=bool)
MIDDLE[2:8, 5:10] = True


@pytest.mark.parametrize(
    "region",
    [
        (0.2, 0.25, 0.8, 0.5),
        (2, 5, 8, 10),
        MIDDLE,
        np.stack([MIDDLE] * 3),
        lambda images: np.stack([MIDDLE] * len(images)),
    ],
    ids=["shares", "pixels", "mask", "masks", "function"],
)
def test_a_region_can_be_given_in_several_ways(region):
    masks = region_masks(region, IMAGES)
    assert masks.shape == (3, 10, 20)
    assert (masks == MIDDLE).all()


def test_each_image_may_have_its_own_region():
    masks = np.stack([MIDDLE, ~MIDDLE, np.zeros_like(MIDDLE)])
    assert (region_masks(masks, IMAGES) == masks).all()


@pytest.mark.parametrize(
    ("region", "error", "message"),
    [
        ((0.2, 0.2, 0.1, 0.5), ValueError, "no box .* in shares"),
        ((0, 0, 11, 20), ValueError, "in pixels of at most 10 and 20"),
        ((0.0, 0.0, 0.0, 1.0), ValueError, "no box"),
        ((0.0, 0.0, 1.0, 1.0), ValueError, "the whole of every image"),
        ((0.0, 0.0, 0.01, 0.01), ValueError, "nothing of every image"),
        ((0.1, 0.2, 0.3), TypeError, "top, left, bottom, right"),
        ("lungs", TypeError, "top, left, bottom, right"),
        (MIDDLE.astype(int), TypeError, "dtype int64; expected bool"),
        (MIDDLE[:5], ValueError, r"shape \(5, 20\)"),
        (lambda images: MIDDLE[:5], ValueError, r"what region\(images\) returned has shape"),
    ],
)
def test_what_is_no_region_is_refused(region, error, message):
    with pytest.raises(error, match=message):
        region_masks(region, IMAGES)


def test_the_border_is_as_wide_as_was_said():
    mask = border_mask(0.25, (10, 20))  # 2.5 pixels: never more than was asked for
    assert mask.sum() == 10 * 20 - 6 * 16
    assert not mask[2:-2, 2:-2].any()


def test_the_border_leaves_the_region_out_wherever_it_lies():
    masks = np.zeros((2, 10, 20), dtype=bool)
    masks[0, 0, 0] = masks[1, 0, 1] = True
    mask = border_mask(0.1, (10, 20), without=masks)
    assert not mask[0, :2].any()
    assert mask[0, 2:].all()


@pytest.mark.parametrize("border", [0, 0.5, -1, True, "wide"])
def test_a_border_that_is_none_is_refused(border):
    with pytest.raises(ValueError, match=r"between 0 and 0\.5"):
        border_mask(border, (10, 20))


def test_a_border_without_a_pixel_is_refused():
    with pytest.raises(ValueError, match=r"less than a pixel of 10 x 20; use at least 0\.100"):
        border_mask(0.05, (10, 20))
    with pytest.raises(ValueError, match="covers the whole border"):
        border_mask(0.1, (10, 20), without=np.ones((1, 10, 20), dtype=bool))


def test_blanking_puts_one_constant_there_and_nothing_elsewhere():
    before = IMAGES.copy()
    found = blanked(IMAGES, MIDDLE, 128)
    assert (found[:, MIDDLE] == 128).all()
    assert (found[:, ~MIDDLE] == IMAGES[:, ~MIDDLE]).all()
    assert found.dtype == np.uint8
    assert (IMAGES == before).all()
