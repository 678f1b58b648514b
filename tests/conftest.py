"""What several test modules need: images of two classes, and a network that learns them."""

import keras
import numpy as np
import pytest
from keras import layers

import detl

SHAPE = (16, 16, 1)


@pytest.fixture(scope="session")
def tiny_labels():
    """Return 40 labels, alternating, so that any rows in order hold both classes."""
    return _read_only(np.array(["dim", "bright"] * 20))


@pytest.fixture(scope="session")
def tiny_images(tiny_labels):
    """Return noise, brighter in one class; the array cannot be written to."""
    noise = np.random.default_rng(0).integers(0, 136, (len(tiny_labels), *SHAPE))
    return _read_only(
        (noise + 120 * (tiny_labels == "bright")[:, None, None, None]).astype("uint8")
    )


@pytest.fixture(scope="session")
def tiny_backbone():
    """Return a network in which all that can be random is: weights, statistics, dropout."""
    images = keras.Input(SHAPE, name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(images)
    x = layers.Conv2D(8, 3, strides=2, name="block1_conv")(x)
    x = layers.BatchNormalization(momentum=0.5, name="block1_norm")(x)
    x = layers.ReLU(name="block1_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dropout(0.2, name="dropout")(x), name="tiny")


@pytest.fixture(scope="session")
def tiny_source(tiny_backbone, tiny_images, tiny_labels):
    """Return a source model that tells the two classes apart."""
    return detl.pretrain(
        tiny_backbone,
        tiny_images,
        tiny_labels,
        epochs=4,
        batch_size=8,
        learning_rate=0.03,
        random_state=0,
        verbose=0,
    )


def _read_only(array):
    array.flags.writeable = False
    return array
