"""Whether a model comes back from a file is known before it is written."""

import keras
import numpy as np
import pytest
from keras import layers

from detl.networks.reading_back import lost_layer

SHAPE = (4, 4, 1)
FACTOR = 3.0


@keras.saving.register_keras_serializable("detl_tests_reading_back")
class Registered(layers.Layer):
    def call(self, x):
        return 2 * x


class InModule(layers.Layer):
    def call(self, x):
        return 2 * x


@keras.saving.register_keras_serializable("detl_tests_reading_back")
class Forgetful(layers.Layer):
    def __init__(self, gain=1.0, **options):
        super().__init__(**options)
        self.gain = gain

    def call(self, x):
        return self.gain * x

    def get_config(self):
        return super().get_config()


class Unwritten(layers.Layer):
    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


def model_of(layer):
    pixels = keras.Input(SHAPE)
    model = keras.Model(pixels, layers.Dense(1)(layers.Flatten()(layer(pixels))))
    model.compile("adam", "mse")
    return model


def adapted():
    layer = layers.Normalization()
    layer.adapt(np.arange(16.0).reshape(1, *SHAPE))
    return keras.Sequential([layer, Registered()])


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (lambda: layers.Conv2D(1, 3, activation="relu"), {}),
        (lambda: layers.Lambda(keras.ops.relu), {}),
        (Registered, {}),
        (adapted, {}),
        (lambda: layers.Lambda(lambda x: x / 2), {True}),
        (lambda: layers.Lambda(lambda x: x * FACTOR), {True, False}),
        (lambda: Forgetful(gain=2.0), {True, False}),
        (lambda: Unwritten(keras.ops.abs), {True, False}),
        (lambda: type("Local", (layers.Layer,), {"call": lambda self, x: x})(), {True, False}),
    ],
    ids=[
        "Keras's",
        "Keras's function",
        "registered",
        "adapted",
        "lambda",
        "lambda with a global",
        "forgetful",
        "no configuration",
        "not registered",
    ],
)
def test_a_layer_that_does_not_come_back_is_found(layer, found):
    made = layer()
    model = model_of(made)
    for safe_mode in (True, False):
        expected = made if safe_mode in found else None
        assert lost_layer(model, safe_mode=safe_mode) is expected
