"""A frozen network computes the same when its normalisations are part of the layers before them."""

import keras
import numpy as np
import pytest
from keras import layers

from detl.networks.folding import Folded, folded

SHAPE = (8, 8, 3)


def images(n=4):
    return np.random.default_rng(1).uniform(0, 255, (n, *SHAPE)).astype("float32")


def network(*of_layers, shape=SHAPE):
    """Return layers one after the other, with random weights and statistics."""
    pixels = keras.Input(shape)
    x = layers.Rescaling(1 / 255)(pixels)
    for layer in of_layers:
        x = layer(x)
    return randomized(keras.Model(pixels, x))


def randomized(model):
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    return model


def normalizations(model):
    return [one for one in model.layers if isinstance(one, layers.BatchNormalization)]


def assert_same(found, model):
    expected = model.predict_on_batch(images())
    given = found.predict_on_batch(images())
    for one, other in zip(keras.tree.flatten(given), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=2e-6 * np.abs(other).max())


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize(
    "linear",
    [
        lambda **bias: layers.Conv2D(5, 3, strides=2, padding="same", **bias),
        lambda **bias: layers.Conv2D(6, 3, groups=3, dilation_rate=2, **bias),
        lambda **bias: layers.DepthwiseConv2D(3, depth_multiplier=2, **bias),
        lambda **bias: layers.SeparableConv2D(5, 3, depth_multiplier=2, **bias),
        lambda **bias: layers.Dense(7, **bias),
    ],
    ids=["convolution", "groups", "depthwise", "separable", "dense"],
)
def test_a_normalization_goes_into_the_layer_before_it(linear, use_bias):
    model = network(linear(use_bias=use_bias), layers.BatchNormalization(epsilon=0.1))
    found = folded(model)
    assert len(normalizations(model)) == 1
    assert normalizations(found) == []
    assert_same(found, model)


@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}, {"axis": 3}])
def test_a_normalization_may_lack_its_factor_or_shift(settings):
    model = network(layers.Conv2D(4, 3), layers.BatchNormalization(**settings), layers.ReLU())
    found = folded(model)
    assert normalizations(found) == []
    assert_same(found, model)


def test_skip_connections_and_several_outputs_stay(residual_network):
    """What the one normalisation of this network is read from is read by nothing else."""
    model = keras.Model(
        residual_network.input,
        [residual_network.get_layer(name).output for name in ("norm", "branch", "head")],
    )
    found = folded(model)
    assert normalizations(found) == []
    assert_same(found, model)


def convolution_read_twice():
    pixels = keras.Input(SHAPE)
    maps = layers.Conv2D(4, 3)(pixels)
    return keras.Model(pixels, layers.Add()([layers.BatchNormalization()(maps), maps]))


def convolution_that_is_an_output():
    pixels = keras.Input(SHAPE)
    maps = layers.Conv2D(4, 3)(pixels)
    return keras.Model(pixels, [maps, layers.BatchNormalization()(maps)])


def convolution_called_twice():
    pixels = keras.Input(SHAPE)
    shared = layers.Conv2D(3, 3, padding="same")
    return keras.Model(pixels, shared(layers.BatchNormalization()(shared(pixels))))


def normalization_called_twice():
    pixels = keras.Input(SHAPE)
    shared = layers.BatchNormalization()
    return keras.Model(pixels, shared(layers.ReLU()(shared(layers.Conv2D(3, 3)(pixels)))))


def statistics_of_the_batch():
    pixels = keras.Input(SHAPE)
    maps = layers.Conv2D(3, 3)(pixels)
    return keras.Model(pixels, layers.BatchNormalization()(maps, training=True))


@pytest.mark.parametrize(
    "build",
    [
        convolution_read_twice,
        convolution_that_is_an_output,
        convolution_called_twice,
        normalization_called_twice,
        statistics_of_the_batch,
        lambda: network(layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()),
        lambda: network(layers.Conv2D(6, 3), layers.BatchNormalization(axis=1)),
        lambda: network(layers.BatchNormalization()),
    ],
)
def test_what_cannot_be_folded_stays(build):
    model = randomized(build())
    before = images()
    expected = keras.tree.map_structure(keras.ops.convert_to_numpy, model(before))
    found = folded(model)
    assert len(normalizations(found)) == 1
    given = keras.tree.map_structure(keras.ops.convert_to_numpy, found(before))
    for one, other in zip(keras.tree.flatten(given), keras.tree.flatten(expected), strict=True):
        np.testing.assert_array_equal(one, other)
    assert Folded(model)._folded is model


def test_numbers_of_16_bits_are_left_as_they_are():
    model = network(layers.Conv2D(4, 3), layers.BatchNormalization())
    assert len(normalizations(folded(model, dtype_policy="mixed_bfloat16"))) == 1


def test_the_network_itself_is_left_as_it_is():
    model = network(layers.Conv2D(4, 3), layers.BatchNormalization())
    before = [weight.copy() for weight in model.get_weights()]
    n_calls = [len(layer._inbound_nodes) for layer in model.layers]
    Folded(model).predict_on_batch(images())
    assert [len(layer._inbound_nodes) for layer in model.layers] == n_calls
    for weight, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, expected)
