"""A few images of noise tell what a network computes, and prove its copy."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from detl.networks.copying import copy_model
from detl.networks.probe import needs_proof, output_on_noise
from detl.storage.rounding import agree

SHAPE = (8, 8, 1)


class Gain(layers.Layer):
    """A layer whose configuration forgets its gain, and has a convolution inside."""

    def __init__(self, gain=1.0, **options):
        super().__init__(**options)
        self.gain, self.inner = gain, layers.Conv2D(2, 3)

    def call(self, x):
        return ops.relu(self.inner(x)) * self.gain

    def get_config(self):
        return super().get_config()


class Factor(layers.Layer):
    """A layer with an attribute that no configuration has."""

    factor = 1.0

    def call(self, x):
        return x * self.factor


class Doubled(keras.Model):
    """A model that does more than its graph."""

    def call(self, x, training=None, mask=None):
        return 2 * super().call(x, training=training, mask=mask)


class Named(keras.Model):
    """A model of a class of its own that does what its graph does."""


def network(*hidden, shape=SHAPE, kind=keras.Model):
    """Return a classifier so sure of itself that its output tells little."""
    x = images = keras.Input(shape)
    for layer in hidden:
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(x)
    return kind(images, layers.Dense(2, activation="softmax", name="head")(x), name="whole")


def changed():
    layer = Factor(name="later")
    layer.factor = 5.0
    return layer


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (lambda: network(Gain(gain=5.0, name="forgetful")), "forgetful"),
        (lambda: network(layers.Conv2D(2, 3), changed()), "later"),
        (lambda: network(network_part(Gain(gain=5.0, name="within"))), "within"),
    ],
    ids=["get_config", "attribute", "nested"],
)
@pytest.mark.parametrize(
    "options",
    [{}, {"dtype_policy": "mixed_bfloat16"}, {"seeds": 0}],
    ids=["plain", "bfloat16", "drawn afresh"],
)
def test_a_layer_that_cannot_be_copied_is_named(made, name, options):
    if "seeds" in options:
        options = {"seeds": np.random.default_rng(0)}
    with pytest.raises(ValueError, match=rf"layer '{name}' .*cannot be copied.*get_config\(\)"):
        copy_model(made(), **options)


def network_part(*hidden, kind=keras.Model):
    x = images = keras.Input(SHAPE)
    for layer in hidden:
        x = layer(x)
    return kind(images, x, name="part")


def test_an_attribute_is_found_though_the_output_is_the_same_for_any():
    sure = network(layers.Conv2D(2, 3), changed())
    sure.get_layer("head").bias.assign([0.0, 1e6])
    said = keras.ops.convert_to_numpy(sure(np.ones((1, *SHAPE))))
    np.testing.assert_array_equal(said[0], [0, 1])
    with pytest.raises(ValueError, match="layer 'later'"):
        copy_model(sure)


def test_a_gain_is_found_though_a_relu_hides_it_on_all_pixels():
    forgetful = Gain(gain=5.0, name="dark")
    model = network(forgetful)
    forgetful.inner.set_weights([np.full((3, 3, 1, 2), -1.0), np.zeros(2)])
    with pytest.raises(ValueError, match="layer 'dark'"):
        copy_model(model)


def test_a_function_of_the_name_of_one_of_kerass_is_not_taken_for_it():
    def relu(x):
        return 2 * x

    with pytest.raises(ValueError, match="layer 'doubles'"):
        copy_model(network(layers.Conv2D(2, 3, activation=relu, name="doubles")))


def test_a_layer_that_takes_no_negative_numbers_is_copied():
    class Root(layers.Layer):
        def call(self, x):
            if ops.convert_to_numpy(x).min() < 0:
                raise ValueError("negative")
            return ops.sqrt(x)

        def compute_output_shape(self, shape):
            return shape

    images = keras.Input(SHAPE)
    assert copy_model(keras.Model(images, Root()(images))).output_shape == (None, *SHAPE)


def test_only_code_that_is_not_kerass_needs_a_proof():
    assert not needs_proof(network(layers.Conv2D(2, 3), layers.BatchNormalization()))
    assert needs_proof(network(layers.Conv2D(2, 3, activation=lambda x: 2 * x)))
    assert needs_proof(network(layers.Activation(Factor())))
    assert needs_proof(network(network_part(Factor())))
    patched = layers.ReLU()
    patched.call = lambda x: x
    assert needs_proof(network(patched))


def test_a_model_that_does_more_than_its_graph_is_refused_wherever_it_is():
    outer = network(layers.Conv2D(2, 3), kind=Doubled)
    with pytest.raises(ValueError, match="'whole' is a Doubled, which gives something else than"):
        copy_model(outer)
    with pytest.raises(ValueError, match="'part' is a Doubled"):
        copy_model(network(network_part(layers.Conv2D(2, 3), kind=Doubled)))


def test_what_draws_anew_or_takes_no_noise_is_copied_all_the_same(caplog):
    drawn = network(layers.GaussianNoise(1.0), Factor())
    images = keras.Input(SHAPE)
    x = layers.Dropout(0.5)(images, training=True)
    x = layers.Lambda(lambda x: x + keras.random.normal(ops.shape(x)), output_shape=SHAPE)(x)
    always = keras.Model(images, layers.GlobalAveragePooling2D()(x))
    words = keras.Input((4,))
    table = keras.Model(words, layers.Dense(2)(Factor()(layers.Embedding(9, 2)(words))))
    for model in (drawn, always, network(kind=Named)):
        assert copy_model(model).count_params() == model.count_params()
    with caplog.at_level("INFO", "detl"):
        copy_model(table)
    # Of an index out of range only some devices complain.
    assert "copied without a proof" in caplog.text or output_on_noise(table)["numbers"]


def test_neither_seeds_nor_statistics_move():
    class Counts(layers.Layer):
        def build(self, shape):
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.calls.assign_add(1.0)
            return x + keras.random.normal(ops.shape(x), seed=self.noise)

        noise = keras.random.SeedGenerator(0)

    counts = Counts()
    model = network(counts)
    before = [ops.convert_to_numpy(v) for v in (counts.calls, counts.noise.state)]
    copy_model(model)
    output_on_noise(model)
    after = [ops.convert_to_numpy(v) for v in (counts.calls, counts.noise.state)]
    np.testing.assert_equal(after, before)


def test_the_numbers_are_those_of_the_outputs_on_noise():
    images = keras.Input(SHAPE)
    same = keras.Model(images, layers.Flatten()(images))
    numbers = output_on_noise(same)["numbers"]
    assert len(numbers) == 9
    assert numbers[0] == pytest.approx(255 / 3**0.5, rel=0.1)  # uniform in [0, 255]
    scaled = keras.Model(images, layers.Rescaling(2.0)(layers.Flatten()(images)))
    np.testing.assert_allclose(output_on_noise(scaled)["numbers"], np.multiply(2, numbers))
    flipped = keras.Model(images, layers.Flatten()(ops.flip(images, axis=1)))
    assert output_on_noise(flipped)["numbers"][0] == pytest.approx(numbers[0])
    assert not agree(output_on_noise(flipped), output_on_noise(same))


def test_numbers_agree_between_copies_and_differ_where_a_layer_was_edited():
    model = network(layers.Conv2D(2, 3), shape=(None, None, 1))
    below = keras.Model(model.input, model.get_layer("head").input)
    assert agree(output_on_noise(copy_model(below)), output_on_noise(below))
    kernel, bias = below.layers[1].get_weights()
    below.layers[1].set_weights([kernel * 1.01, bias])
    edited = output_on_noise(below)
    below.layers[1].set_weights([kernel, bias])
    assert not agree(edited, output_on_noise(below))


def test_half_precision_is_compared_to_two_digits():
    model = network(layers.Conv2D(2, 3))
    half = copy_model(model, dtype_policy="mixed_bfloat16")
    assert output_on_noise(model)["within"] == 1e-3
    assert output_on_noise(half)["within"] == 3e-2
    copy_model(half)  # proved, too


def test_nothing_is_told_of_what_draws_anew_or_overflows():
    images = keras.Input(SHAPE)
    drawn = keras.Model(images, layers.Dropout(0.5)(images))
    noisy = keras.Model(
        images, layers.Lambda(lambda x: x + keras.random.normal(ops.shape(x)))(images)
    )
    huge = keras.Model(images, layers.Rescaling(1e38)(layers.Rescaling(1e38)(images)))
    assert len(output_on_noise(drawn)["numbers"]) == 9  # dropout is off
    assert output_on_noise(noisy)["numbers"] == []
    assert output_on_noise(huge)["numbers"] == []


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16"])
def test_inputs_of_other_types_and_several_are_proved(dtype):
    table = keras.Input((4,), dtype=dtype, name="table")
    pixels = keras.Input(SHAPE, batch_size=3, name="pixels")
    x = layers.Concatenate()([ops.cast(table, "float32"), changed()(layers.Flatten()(pixels))])
    model = keras.Model({"table": table, "pixels": pixels}, layers.Dense(2)(x))
    with pytest.raises(ValueError, match="layer 'later'"):
        copy_model(model)
