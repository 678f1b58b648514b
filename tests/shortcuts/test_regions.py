"""Regions mean the pixels they say, and blanking touches no other."""

import numpy as np
import pytest

from detl.shortcuts.regions import blanked, border_mask, region_masks

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 10, 20, 1)).astype("uint8")
MIDDLE = np.zeros((10, 20), dtype=bool)
MIDDLE[2:8, 5:10] = True


@pytest.mark.parametrize(
    "region",
    [
        (0.2, 0.25, 0.8, 0.5),
        (2, 5, 8, 10),
        [0.2, 0.25, 0.8, 0.5],
        np.array([0.2, 0.25, 0.8, 0.5]),
        np.array([2, 5, 8, 10]),
        lambda images: np.array([2, 5, 8, 10]),
        MIDDLE,
        np.stack([MIDDLE] * 3),
        lambda images: np.stack([MIDDLE] * len(images)),
    ],
    ids=[
        *("shares", "pixels", "list of shares", "array of shares", "array of pixels"),
        *("function to a box", "mask", "masks", "function to masks"),
    ],
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
        ((0.2, 0.2, 0.1, 0.5), ValueError, "not a box .* in shares"),
        ((0, 0, 11, 20), ValueError, "in pixels of at most 10 and 20"),
        ((0.0, 0.0, 0.0, 1.0), ValueError, "not a box"),
        ((0.0, 0.0, 1.0, 1.0), ValueError, "the whole of every image"),
        ((0.0, 0.0, 0.01, 0.01), ValueError, "nothing of every image"),
        ((0.1, 0.2, 0.3), TypeError, "top, left, bottom, right"),
        ("lungs", TypeError, "top, left, bottom, right"),
        (
            np.array([0, 0, 11, 20]),
            ValueError,
            r"region=\(0, 0, 11, 20\) is not a box",
        ),
        (np.array([0.1, 0.2, 0.3]), TypeError, "dtype float64; expected bool"),
        (MIDDLE[:4, 6], ValueError, r"shape \(4,\)"),
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
    with pytest.raises((TypeError, ValueError), match=r"^border.* above 0 and below 0\.5"):
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


@pytest.mark.parametrize("fill", [0, 255, 128.0, np.int64(7), np.float32(3)])
def test_what_fills_may_be_any_level_of_the_images(fill):
    assert (blanked(IMAGES, MIDDLE, fill)[:, MIDDLE] == fill).all()


def test_floats_may_be_filled_with_any_finite_number():
    assert (blanked(IMAGES.astype("float32"), MIDDLE, -0.5)[:, MIDDLE] == -0.5).all()


@pytest.mark.parametrize(
    ("fill", "dtype", "error", "message"),
    [
        (-1, "uint8", ValueError, "fill=-1; expected a number at least 0 and at most 255"),
        (300, "uint8", ValueError, "fill=300; expected a number at least 0 and at most 255"),
        (0.5, "uint8", ValueError, r"fill=0\.5; expected a whole number for images of uint8"),
        (70000, "uint16", ValueError, "fill=70000; .* at most 65535"),
        (np.nan, "uint8", ValueError, "fill=nan; expected a number"),
        (np.inf, "float32", ValueError, "fill=inf; expected a number"),
        ("mean", "uint8", TypeError, "fill is str 'mean'; expected a number"),
        (None, "float32", TypeError, "fill is NoneType None; expected a number"),
        (True, "uint8", TypeError, "fill is bool True; expected a number"),
    ],
)
def test_what_cannot_fill_is_refused(fill, dtype, error, message):
    with pytest.raises(error, match=message):
        blanked(IMAGES.astype(dtype), MIDDLE, fill)
