"""Images are changed by amounts within the bounds, and come out as the drawn changes say."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from scipy import ndimage

from detl import Augmentation

STILL = {"rotation": 0, "scaling": 0, "mirroring": False}


def noise(n=6, shape=(7, 10, 2), seed=0):
    return np.random.default_rng(seed).uniform(0, 255, (n, *shape)).astype("float32")


def augmented(augmentation, images, seed=0):
    found = augmentation(images, np.random.default_rng(seed))
    return keras.ops.convert_to_numpy(found)


class Greatest:
    """A generator that draws the upper bound, and no mirroring."""

    def uniform(self, low, high, n):
        return np.full(n, high)

    def random(self, n):
        return np.ones(n)


# ------------------------------------------------------------------------------------ the drawing


def drawn(n=4000, height=7, width=10, **settings):
    """Return the drawn maps as angles in degrees, scales, and whether mirrored."""
    maps = Augmentation(**settings).draw(n, height, width, np.random.default_rng(0))
    a, b, c, d, e, f = maps[:, :6].T.astype("float64")
    np.testing.assert_array_equal(maps[:, 8:], [[1, 0, 0, 0, 0, 0]] * n)
    x, y = (width - 1) / 2, (height - 1) / 2
    np.testing.assert_allclose(a * x + b * y + c, x, atol=1e-5)
    np.testing.assert_allclose(d * x + e * y + f, y, atol=1e-5)
    np.testing.assert_array_equal(maps[:, 6:8], 0)
    determinant = a * e - b * d
    return np.rad2deg(np.arctan2(-b, e)), 1 / np.sqrt(np.abs(determinant)), determinant < 0


def test_angles_and_scales_are_uniform_within_their_bounds_and_half_are_mirrored():
    angles, scales, mirrored = drawn(rotation=30, scaling=0.2)
    for found, low, high in ((angles, -30, 30), (scales, 0.8, 1.2)):
        share = (found - low) / (high - low)
        assert share.min() >= -1e-6
        assert share.max() <= 1 + 1e-6
        np.testing.assert_allclose(
            np.quantile(share, [0.05, 0.25, 0.5, 0.75, 0.95]), [0.05, 0.25, 0.5, 0.75, 0.95],
            atol=0.04,
        )  # fmt: skip
    assert mirrored.mean() == pytest.approx(0.5, abs=0.04)
    assert np.abs(np.corrcoef([angles, scales, mirrored]) - np.eye(3)).max() < 0.08


@pytest.mark.parametrize(
    ("change", "varies"),
    [
        ({"rotation": 20}, [True, False, False]),
        ({"scaling": 0.2}, [False, True, False]),
        ({"mirroring": True}, [False, False, True]),
    ],
)
def test_each_parameter_governs_its_own_kind_of_change(change, varies):
    found = drawn(**{**STILL, **change})
    assert [np.ptp(kind.astype(float)) > 0.1 for kind in found] == varies


# ---------------------------------------------------------------------------------- the images


@pytest.mark.parametrize("shape", [(7, 10, 2), (8, 8, 1), (9, 5, 3)])
@pytest.mark.parametrize("rotation", [10, 180])
def test_images_are_those_of_scipy_under_the_drawn_map(shape, rotation):
    images = noise(shape=shape)
    augmentation = Augmentation(rotation=rotation, scaling=0.4)
    maps = augmentation.draw(len(images), *shape[:2], np.random.default_rng(4))
    found = augmented(augmentation, images, seed=4)
    for image, result, (a, b, c, d, e, f, *_) in zip(images, found, maps, strict=True):
        for channel in range(shape[2]):
            expected = ndimage.affine_transform(
                image[..., channel], [[e, d], [b, a]], offset=[f, c], order=1, mode="reflect"
            )
            np.testing.assert_allclose(result[..., channel], expected, atol=0.05)


def test_without_any_change_images_come_back_as_they_are():
    images = noise()
    np.testing.assert_array_equal(augmented(Augmentation(**STILL), images), images)


def test_mirroring_alone_flips_left_to_right_or_leaves_the_image():
    images = noise(n=40)
    found = augmented(Augmentation(rotation=0, scaling=0), images)
    kept = [np.array_equal(new, old) for new, old in zip(found, images)]
    flipped = [np.allclose(new, old[:, ::-1]) for new, old in zip(found, images)]
    assert [one != other for one, other in zip(kept, flipped)] == [True] * 40
    assert 10 < sum(flipped) < 30


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2)])
def test_right_angles_move_pixels_as_numpy_does(rotation, turns):
    images = noise(shape=(8, 8, 2))
    augmentation = Augmentation(**{**STILL, "rotation": rotation})
    found = keras.ops.convert_to_numpy(augmentation(images, Greatest()))
    expected = np.rot90(images, k=turns, axes=(1, 2))
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_factor_above_one_enlarges():
    ramp = np.tile(np.arange(9, dtype="float32"), (9, 1))[np.newaxis, ..., np.newaxis]
    found = keras.ops.convert_to_numpy(Augmentation(**{**STILL, "scaling": 0.6})(ramp, Greatest()))
    # What lay one pixel from the centre now lies 1.6 from it: the ramp is less steep.
    np.testing.assert_allclose(found[0, 4, :, 0], 4 + (np.arange(9) - 4) / 1.6, atol=1e-5)


def test_a_constant_image_stays_constant_up_to_its_corners():
    images = np.full((20, 9, 6, 1), 77, dtype="float32")
    found = augmented(Augmentation(rotation=180, scaling=0.5), images)
    np.testing.assert_allclose(found, 77, atol=1e-4)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_translation_alone_moves_images_by_whole_and_broken_pixels(dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 8, 10, 1)).astype(dtype)
    augmentation = Augmentation(**STILL, translation=0.3)
    changes = augmentation.draw(200, 8, 10, np.random.default_rng(0))
    right, down = -changes[:, 2], -changes[:, 5]
    for found, greatest in ((right, 3), (down, 2.4)):
        assert (found.min(), found.max()) == pytest.approx((-greatest, greatest), abs=0.1)
    assert abs(np.corrcoef(right, down)[0, 1]) < 0.2
    whole = changes.copy()
    whole[:, 2], whole[:, 5] = -2, 1
    found = keras.ops.convert_to_numpy(augmentation.apply(pixels, whole))
    np.testing.assert_array_equal(found[:, :7, 2:], pixels[:, 1:, :8])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_contrast_and_brightness_turn_about_the_middle_grey_and_stay_in_range(dtype):
    ramp = np.tile(np.arange(0, 256, dtype=dtype)[:, None, None, None], (1, 2, 2, 1))
    for settings, gain, offset in (
        ({"contrast": 0.5}, 1.5, 0),
        ({"brightness": 0.2}, 1, 51),
        ({"contrast": 0.5, "brightness": 0.2}, 1.5, 51),
    ):
        found = keras.ops.convert_to_numpy(Augmentation(**STILL, **settings)(ramp, Greatest()))
        expected = np.clip((np.arange(256) - 128) * gain + 128 + offset, 0, 255)
        assert found.dtype == dtype
        np.testing.assert_allclose(
            found[:, 0, 0, 0], expected, atol=1 if dtype == "uint8" else 1e-3
        )


def test_contrast_and_brightness_are_uniform_within_their_bounds():
    changes = Augmentation(**STILL, contrast=0.4, brightness=0.1).draw(
        4000, 8, 8, np.random.default_rng(0)
    )
    gain, offset = changes[:, 8], changes[:, 9]
    quantiles = [0.05, 0.5, 0.95]
    np.testing.assert_allclose(np.quantile(gain, quantiles), [0.64, 1, 1.36], atol=0.03)
    np.testing.assert_allclose(np.quantile(offset, quantiles), [-22.95, 0, 22.95], atol=2)
    assert abs(np.corrcoef(gain, offset)[0, 1]) < 0.08


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_image_has_one_erased_box_of_its_own_and_nothing_else_changed(dtype):
    images = np.full((500, 20, 30, 2), 7, dtype=dtype)
    found = augmented(Augmentation(**STILL, erasing=0.4), images)
    assert set(np.unique(found)) == {7, 128}
    erased = found == 128
    np.testing.assert_array_equal(erased[..., 0], erased[..., 1])
    erased = erased[..., 0]
    heights, widths = erased.any(axis=2).sum(axis=1), erased.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(erased.sum(axis=(1, 2)), heights * widths)  # without a hole
    assert heights.max() == 8  # 0.4 of 20
    assert widths.max() == 12
    assert heights.mean() == pytest.approx(4, abs=0.5)
    assert erased.any(axis=(0, 1)).all()  # every column can be hit
    assert erased.any(axis=(0, 2)).all()  # and every row
    assert len(np.unique(erased.reshape(500, -1), axis=0)) > 300


def test_what_is_off_leaves_the_other_draws_as_they_are():
    plain, more = (
        Augmentation(**settings).draw(5, 9, 9, np.random.default_rng(0))
        for settings in ({}, {"contrast": 0.2, "brightness": 0.1, "erasing": 0.3})
    )
    np.testing.assert_array_equal(plain[:, :8], more[:, :8])
    used, three = np.random.default_rng(0), np.random.default_rng(0)
    Augmentation().draw(5, 9, 9, used)
    three.random(15)  # an angle, a size and a side for each image
    assert used.random() == three.random()


def test_bytes_stay_bytes_and_lose_the_fraction_of_what_is_interpolated():
    # PyTorch rounds it.
    low, mean = (-0.5, 0) if keras.backend.backend() == "torch" else (0, 0.5)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 1)).astype("uint8")
    exact = augmented(Augmentation(), pixels.astype("float32"))
    found = augmented(Augmentation(), pixels)
    assert found.dtype == np.uint8
    lost = exact - found
    assert lost.min() > low - 0.01
    assert lost.max() < low + 1.01
    assert lost.mean() == pytest.approx(mean, abs=0.05)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int16", "uint32", "uint64"])
def test_integers_that_cannot_be_interpolated_become_floats(dtype):
    pixels = np.random.default_rng(0).integers(0, 128, (4, 8, 8, 1)).astype(dtype)
    augmentation = Augmentation(contrast=0.3, erasing=0.3)
    found = augmented(augmentation, pixels)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, augmented(augmentation, pixels.astype("float32")))


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8"])
def test_the_order_of_bytes_does_not_matter(dtype):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1))
    little, big = (augmented(Augmentation(), pixels.astype(f"{sign}{dtype}")) for sign in "<>")
    assert little.dtype == big.dtype
    np.testing.assert_array_equal(little, big)


def test_the_generator_alone_decides_and_every_image_has_a_map_of_its_own():
    image = noise(n=1)
    images = np.repeat(image, 5, axis=0)
    found = augmented(Augmentation(), images)
    np.testing.assert_array_equal(found, augmented(Augmentation(), images))
    assert not np.array_equal(found, augmented(Augmentation(), images, seed=1))
    assert len(np.unique(found.reshape(5, -1), axis=0)) == 5
    np.testing.assert_array_equal(images, np.repeat(image, 5, axis=0))


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rotation": -1}, "rotation=-1; expected a number at least 0 and at most 180"),
        ({"rotation": 181}, "rotation=181; expected a number at least 0 and at most 180"),
        ({"rotation": np.nan}, "rotation=nan; expected a number at least 0 and at most 180"),
        ({"scaling": -0.1}, "scaling=-0.1; expected a number at least 0 and below 1"),
        ({"scaling": 1}, "scaling=1; expected a number at least 0 and below 1"),
        ({"translation": 8}, "translation=8; expected a number at least 0 and below 1"),
        ({"contrast": -0.2}, "contrast=-0.2; expected a number at least 0 and below 1"),
        ({"brightness": 30}, "brightness=30; expected a number at least 0 and below 1"),
        ({"erasing": np.nan}, "erasing=nan; expected a number at least 0 and below 1"),
    ],
)
def test_amounts_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**change)


@pytest.mark.parametrize("name", ["rotation", "scaling", "contrast", "erasing"])
@pytest.mark.parametrize("amount", ["10", None, True])
def test_an_amount_that_is_no_number_is_named(name, amount):
    with pytest.raises(TypeError, match=f"{name} is {type(amount).__name__} {amount!r}; expected"):
        Augmentation(**{name: amount})


@pytest.mark.parametrize("mirroring", [0.5, "no", None])
def test_mirroring_is_true_or_false(mirroring):
    with pytest.raises(TypeError, match=r"mirroring=.*; expected True or False"):
        Augmentation(mirroring=mirroring)


def test_an_augmentation_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'rotation'"):
        Augmentation().rotation = 20


def test_numpys_numbers_become_pythons():
    given = Augmentation(
        rotation=np.uint8(10),
        scaling=np.float64(0.2),
        mirroring=np.bool_(False),
        erasing=np.int64(0),
    )
    plain = Augmentation(rotation=10, scaling=0.2, mirroring=False, erasing=0)
    assert repr(given) == repr(plain)
    assert json.dumps(dataclasses.asdict(given)) == json.dumps(dataclasses.asdict(plain))
    changes = [one.draw(4, 8, 8, np.random.default_rng(0)) for one in (given, plain)]
    np.testing.assert_array_equal(*changes)
