"""Arrays are resized as files are, whatever their type."""

import numpy as np
import pytest

from detl import backbones, images


@pytest.mark.parametrize("size", [(64, 48), (10, 7)])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_array_is_resized_like_the_file_that_holds_it(tmp_path, pixels_of, save, size, channels):
    pixels = pixels_of(28, 20, 3) if channels == 3 else pixels_of(28, 20)
    path = save(tmp_path / "image.png", pixels)
    loaded = images.load([path], size=size, channels=channels).images
    resized = images.resize(pixels[np.newaxis], size=size)
    np.testing.assert_array_equal(resized, loaded)
    assert resized.dtype == np.uint8


def test_floats_keep_their_scale_and_differ_from_bytes_by_rounding_alone(pixels_of):
    pixels = pixels_of(5, 28, 28)
    exact = images.resize(pixels.astype("float64"), size=(64, 64))
    assert exact.dtype == np.float32
    assert np.abs(exact - images.resize(pixels, size=(64, 64))).max() <= 1
    of_unit = images.resize(pixels / 255, size=(64, 64))
    np.testing.assert_allclose(of_unit, exact / 255, atol=1e-6)


def test_an_even_image_stays_even_and_a_ramp_a_ramp():
    even = np.full((1, 8, 8, 1), 0.3, dtype="float32")
    np.testing.assert_allclose(images.resize(even, size=(20, 30)), 0.3, rtol=1e-6)
    ramp = np.arange(8.0)[np.newaxis, np.newaxis].repeat(8, axis=1)
    # Between the centres of the outer pixels; doubling puts two centres a quarter from each.
    inner = images.resize(ramp, size=(8, 16))[0, 0, 1:-1, 0]
    np.testing.assert_allclose(inner, np.arange(0.25, 7, 0.5), rtol=1e-6)


def test_images_of_the_wanted_size_come_back_as_they_are_and_the_array_is_left_alone(pixels_of):
    pixels = pixels_of(3, 9, 7, 3)
    pixels.flags.writeable = False
    resized = images.resize(pixels, size=(9, 7))
    np.testing.assert_array_equal(resized, pixels)
    assert not np.shares_memory(resized, pixels)


def test_small_images_fit_a_backbone_after_the_call_that_its_error_names(pixels_of):
    small = pixels_of(2, 28, 28)
    with pytest.raises(ValueError, match="at least 57 x 57 pixels") as error:
        backbones.alexnet((28, 28, 1), width=0.05)
    call = str(error.value).partition("detl.")[2].rstrip(".")
    assert call == "images.resize(images, size=(57, 57))"
    fitting = images.resize(small, size=(57, 57))
    network = backbones.alexnet(fitting.shape[1:], width=0.05)
    assert np.isfinite(network.predict(fitting, verbose=0)).all()


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 3, 28, 28), r"expected 1 or 3 channels.*np\.moveaxis\(images, 1, -1\)"),
        ((28, 28, 3), r"One image: images\[np\.newaxis\]"),
        ((28, 28), r"expected \(n, height, width, channels\)"),
        ((0, 28, 28), "images is empty"),
    ],
)
def test_other_shapes_are_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        images.resize(np.zeros(shape, "uint8"), size=(64, 64))


@pytest.mark.parametrize("size", [64, (64,), (64, 0), (64.0, 64), "64"])
def test_a_size_that_is_no_pair_of_whole_numbers_is_refused(size):
    with pytest.raises(ValueError, match=r"expected \(height, width\) in pixels"):
        images.resize(np.zeros((1, 28, 28), "uint8"), size=size)


def test_missing_numbers_and_text_are_refused():
    with pytest.raises(ValueError, match="contains NaN or infinity, first in row 1"):
        images.resize(np.array([np.zeros((4, 4)), np.full((4, 4), np.nan)]), size=(8, 8))
    with pytest.raises(TypeError, match="has dtype <U1; expected numbers"):
        images.resize(np.full((1, 4, 4), "x"), size=(8, 8))
