"""The trunk runs once per image, in inference mode, and its output is kept."""

from contextlib import redirect_stderr

import keras
import numpy as np
import pytest
from keras import layers

from detl.features import trunk as features
from detl.features.views import Views, pixels_of_views
from detl.pretraining.augmentation import Augmentation

SHAPE = (8, 8, 1)
N = 11


def by_hand(trunk, images):
    """Compute convolution, normalisation with stored statistics and ReLU in NumPy."""
    kernel, bias = trunk.layers[1].get_weights()
    windows = np.lib.stride_tricks.sliding_window_view(images[..., 0].astype(float), (3, 3), (1, 2))
    convolved = np.einsum("nhwij,ijc->nhwc", windows, kernel[:, :, 0]) + bias
    gamma, beta, mean, variance = trunk.layers[2].get_weights()
    return np.maximum(gamma * (convolved - mean) / np.sqrt(variance + 1e-3) + beta, 0)


def test_features_are_those_of_inference(trunk, images):
    weights = [weight.copy() for weight in trunk.get_weights()]
    found = features.extract(trunk, images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(trunk, images), atol=1e-4)
    for before, after in zip(weights, trunk.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("batch_size", [1, 4, N - 1, N, N + 1])
def test_the_batch_size_makes_no_difference(trunk, images, batch_size):
    found = features.extract(trunk, images, batch_size=batch_size)
    np.testing.assert_allclose(found, trunk.predict_on_batch(images), rtol=1e-6, atol=1e-6)


def test_where_each_of_two_devices_gives_all_rows_they_count_once(trunk, images):
    class OnTwoDevices:
        """As a model inside a scope of ``tf.distribute`` answers."""

        def predict_on_batch(self, batch):
            return np.concatenate([trunk.predict_on_batch(batch)] * 2)

    alone = features.extract(trunk, images, batch_size=7)
    np.testing.assert_array_equal(features.extract(OnTwoDevices(), images, batch_size=7), alone)


def test_each_row_is_the_feature_of_that_image_alone(trunk, images):
    order = np.random.default_rng(1).permutation(N)
    np.testing.assert_allclose(
        features.extract(trunk, images[order], batch_size=4),
        features.extract(trunk, images, batch_size=4)[order],
        rtol=1e-6,
        atol=1e-6,
    )


class RowsRead(np.ndarray):
    """Note which rows are read."""

    def __getitem__(self, rows):
        self.read.append(rows)
        return super().__getitem__(rows)


def test_every_image_is_read_once_and_never_more_than_a_batch(trunk, images):
    watched = images.view(RowsRead)
    watched.read = []
    features.extract(trunk, watched, batch_size=4)
    rows = [np.arange(N)[part] for part in watched.read]
    assert np.concatenate(rows).tolist() == list(range(N))
    assert max(map(len, rows)) == 4


def test_a_memory_mapped_set_gives_the_same(trunk, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(
        features.extract(trunk, mapped, batch_size=4), features.extract(trunk, images, batch_size=4)
    )


def test_half_precision_is_kept_exactly_in_float32(images):
    inputs = keras.Input(SHAPE)
    trunk = keras.Model(inputs, layers.Rescaling(1 / 3, dtype="mixed_bfloat16")(inputs))
    found = features.extract(trunk, images, batch_size=4)
    assert found.dtype == np.float32
    expected = keras.ops.convert_to_numpy(keras.ops.cast(trunk(images), "float32"))
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - images / np.float32(3)).max() > 0.01  # it is half precision


def test_a_bar_is_shown_unless_verbose_is_0(trunk, images, terminal):
    with redirect_stderr(terminal):
        features.extract(trunk, images, batch_size=4, verbose=0)
        assert terminal.getvalue() == ""
        features.extract(trunk, images, batch_size=4)
        assert "11/11" in terminal.getvalue()
        features.extract(trunk, images, batch_size=N)
        assert terminal.getvalue().count("features: 100%") == 2


def test_the_features_of_views_are_those_of_their_pixels_and_found_again(counted, trunk, images):
    def known(images, n, seed=0):
        views = Views(n_augmented=n, augmentation=Augmentation(), seed=seed)
        return features.features_of(counted, images, key="trunk", views=views), views

    found, views = known(images, 3)
    pixels = pixels_of_views(images, views)
    np.testing.assert_allclose(found, trunk.predict_on_batch(pixels), rtol=1e-5, atol=1e-5)
    runs = counted.runs
    np.testing.assert_array_equal(
        known(images[4:7], 2)[0].reshape(3, 3, *found.shape[1:]),
        found.reshape(4, N, *found.shape[1:])[:3, 4:7],
    )
    assert counted.runs == runs
    known(images, 1, seed=5)
    assert counted.runs > runs
