"""A network with branches, an operation, statistics and dropout."""

import keras
import numpy as np
import pytest
from keras import layers


@pytest.fixture
def residual_network():
    """Return it, with random weights."""
    x = inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Rescaling(1 / 255, name="rescaling")(x)
    x = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    x = layers.BatchNormalization(epsilon=0.25, momentum=0.5, name="norm")(x)
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="branch")(x)
    x = layers.Add(name="sum")([x, y])
    x = keras.ops.flip(x, axis=1)
    x = layers.Conv2D(4, 3, padding="same", name="top")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    model = keras.Model(inputs, layers.Dense(2, name="head")(x), name="residual")
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model
