"""Images, and a trunk that behaves differently in training."""

import tempfile

import keras
import numpy as np
import pytest
from keras import layers

from detl.features import store
from detl.features.trunk import clear_cache

SHAPE = (8, 8, 1)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (11, *SHAPE)).astype("uint8")


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
    monkeypatch.setattr(store, "IN_MEMORY_BYTES", 1000)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def counted(trunk):
    """Return a trunk that notes how many images it has run on, and forget what is known."""

    class Counted:
        runs = 0

        def predict_on_batch(self, batch):
            Counted.runs += 1
            return trunk.predict_on_batch(batch)

    clear_cache()
    yield Counted()
    clear_cache()
