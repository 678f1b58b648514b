"""The trunk runs once per image, in inference mode, and its output is kept."""

import os
import tempfile
from collections import namedtuple
from contextlib import redirect_stderr

import keras
import numpy as np
import pytest
from keras import layers

from detl import features

SHAPE = (8, 8, 1)
N = 11


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype("uint8")


@pytest.fixture(scope="module")
def trunk():
    """Return layers that behave differently in training: statistics, dropout and noise."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(3, 3, kernel_initializer=keras.initializers.HeNormal(seed=0))(inputs)
    normalization = layers.BatchNormalization()
    x = layers.GaussianNoise(1.0)(layers.Dropout(0.5)(normalization(x)))
    model = keras.Model(inputs, layers.ReLU()(x))
    normalization.set_weights([np.full(3, value) for value in (1.5, 0.2, 10.0, 400.0)])
    return model


@pytest.fixture
def small_memory(monkeypatch, tmp_path):
    """Return the folder to which features go that exceed 1 kB."""
    monkeypatch.setattr(features, "_IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


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


def test_large_features_go_to_a_file_and_are_the_same(trunk, images, small_memory, monkeypatch):
    on_disk = features.extract(trunk, images, batch_size=4)
    assert isinstance(on_disk, np.memmap)
    monkeypatch.setattr(features, "_IN_MEMORY_BYTES", on_disk.nbytes)
    in_memory = features.extract(trunk, images, batch_size=4)
    assert not isinstance(in_memory, np.memmap)
    np.testing.assert_array_equal(on_disk, in_memory)
    on_disk[3] += 1  # it can be written to, as an array can


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a file that is in use")
def test_the_file_of_large_features_is_gone_from_its_folder_at_once(trunk, images, small_memory):
    kept = features.extract(trunk, images)
    assert isinstance(kept, np.memmap)
    assert list(small_memory.iterdir()) == []
    assert kept.sum() > 0


def test_a_disk_too_small_for_the_features_is_said_beforehand(
    trunk, images, small_memory, monkeypatch
):
    usage = namedtuple("usage", "total used free")(2**30, 2**30 - 900, 900)
    monkeypatch.setattr(features.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"features of 11 images need .* GiB free; set TMPDIR"):
        features.extract(trunk, images)
    assert list(small_memory.iterdir()) == []


def test_half_precision_is_kept_exactly_in_float32(images):
    inputs = keras.Input(SHAPE)
    trunk = keras.Model(inputs, layers.Rescaling(1 / 3, dtype="mixed_bfloat16")(inputs))
    found = features.extract(trunk, images, batch_size=4)
    assert found.dtype == np.float32
    expected = keras.ops.convert_to_numpy(keras.ops.cast(trunk(images), "float32"))
    np.testing.assert_array_equal(found, expected)
    assert np.abs(found - images / np.float32(3)).max() > 0.01  # it is half precision


def test_a_bar_is_shown_on_request_only(trunk, images, terminal):
    with redirect_stderr(terminal):
        features.extract(trunk, images, batch_size=4)
        assert terminal.getvalue() == ""
        features.extract(trunk, images, batch_size=4, verbose=1)
        assert "11/11" in terminal.getvalue()
        features.extract(trunk, images, batch_size=N, verbose=1)
        assert terminal.getvalue().count("features: 100%") == 2
