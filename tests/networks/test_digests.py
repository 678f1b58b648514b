"""A digest knows a network by its layers, how they are joined, and its weights."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from detl.networks import copying, graphs
from detl.networks.digests import _config_of, _foreign_code, graph_digest
from detl.networks.normalization import FusedBatchNormalization


def digested(*, rate=0.3, activation="relu", units=4, joined="add", scale=2.0, names=None):
    """Return the digest of a network with weights, noise, a constant and a branch."""
    images = keras.Input((8, 8, 1), name=names)
    x = layers.Conv2D(4, 3, padding="same", activation=activation, name=names and f"{names}_1")(
        images
    )
    x = layers.Dropout(rate, name=names and f"{names}_2")(x)
    merged = layers.Add()([x, images]) if joined == "add" else layers.Multiply()([x, images])
    x = layers.GlobalAveragePooling2D()(merged * scale)
    return graph_digest(keras.Model(images, layers.Dense(units)(x)))


def test_a_digest_depends_on_what_layers_are_and_not_on_their_names():
    assert digested() == digested() == digested(names="other")
    changed = [
        digested(rate=0.2),
        digested(activation="tanh"),
        digested(units=5),
        digested(joined="multiply"),
        digested(scale=3.0),
    ]
    assert len({digested(), *changed}) == 6


def test_a_digest_depends_on_how_layers_are_joined():
    def joined(order, *, shared):
        table = keras.Input((4,))
        first, second = layers.Dense(4), layers.Dense(4)
        outputs = [first(table), (first if shared else second)(first(table))]
        return graph_digest(keras.Model(table, layers.Subtract()([outputs[k] for k in order])))

    digests = {joined(order, shared=shared) for order in ((0, 1), (1, 0)) for shared in (0, 1)}
    assert len(digests) == 4
    assert joined((0, 1), shared=1) in digests


def test_a_copy_and_other_weights_have_the_same_digest(tiny_backbone):
    copy = copying.copy_model(tiny_backbone)
    copy.set_weights([weight + 1 for weight in copy.get_weights()])
    assert graph_digest(copy) == graph_digest(tiny_backbone)


def double(x):
    return 2 * x


def with_lambda(function, **options):
    inputs = keras.Input((16, 16, 1))
    return keras.Model(inputs, layers.Lambda(function, **options)(inputs))


def test_a_digest_depends_on_the_function_of_a_lambda():
    def of(function, **options):
        return graph_digest(with_lambda(function, **options))

    assert of(lambda x: x * 2) == of(lambda x: x * 2)
    digests = [
        of(lambda x: x * 2),
        of(lambda x: x * 3),
        of(double),
        of(keras.ops.abs),
        of(keras.ops.tanh),
        of(keras.activations.tanh),
        of(lambda x, k=1: x * k),
        of(lambda x, k=1: x * k, arguments={"k": 2}),
        of(functools.partial(keras.ops.repeat, repeats=2, axis=-1)),
        of(functools.partial(keras.ops.repeat, repeats=3, axis=-1)),
    ]
    assert len(set(digests)) == len(digests)
    read = [
        layers.Lambda.from_config(layers.Lambda(function).get_config(), safe_mode=False).function
        for function in (lambda x: x * 2, lambda x: x * 3)
    ]
    assert of(read[0]) != of(read[1])
    # Of one name in Keras, and not the same.
    inputs = keras.Input((16, 16, 3))
    preprocessed = {
        graph_digest(keras.Model(inputs, layers.Lambda(module.preprocess_input)(inputs)))
        for module in (keras.applications.vgg16, keras.applications.mobilenet)
    }
    assert len(preprocessed) == 2


def scaling_layer(factor, *, base=keras.layers.Layer):
    """Return a layer class as a cell of a notebook defines it, with a number in its code."""
    namespace = {"base": base, "__name__": "__main__"}
    lines = [
        "class Scale(base):",
        "    def call(self, x):",
        f"        return x * {factor}",
        "    def compute_output_shape(self, shape):",
        "        return shape",
    ]
    exec("\n".join(lines), namespace)
    return namespace["Scale"]


def scaled_function(factor):
    namespace = {"__name__": "__main__"}
    exec(f"def scaled(x):\n    return x * {factor}", namespace)
    return namespace["scaled"]


def in_a_wrapper(factor):
    return layers.TimeDistributed(scaling_layer(factor)())


def inside_another_layer(factor):
    inner = scaling_layer(factor)

    class Outer(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.inner = inner()

        def call(self, x):
            return self.inner(x)

    return Outer()


@pytest.mark.parametrize(
    "made",
    [
        lambda factor: scaling_layer(factor)(),
        lambda factor: type("Named", (scaling_layer(factor),), {})(),
        in_a_wrapper,
        inside_another_layer,
        lambda factor: layers.Activation(scaled_function(factor)),
        lambda factor: layers.Dense(2, activation=scaled_function(factor)),
        lambda factor: lambda x: keras.ops.vectorized_map(scaled_function(factor), x),
    ],
    ids=["layer", "base", "wrapped", "inner", "function", "activation", "operation"],
)
def test_a_digest_depends_on_code_that_is_not_kerass_and_not_on_its_name(made):
    def of(factor):
        inputs = keras.Input((3, 4), batch_size=2)
        return graph_digest(keras.Model(inputs, made(factor)(inputs)))

    assert of(2) == of(2)
    assert of(2) != of(3)


def test_nothing_is_added_to_the_digest_of_layers_of_keras_and_detl():
    # Finished runs, and features on disk, are found by it.
    inputs = keras.Input((16, 16, 3))
    x = layers.Normalization(mean=1.0, variance=2.0)(inputs)
    x = layers.RandomFlip()(x)
    x = layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(x)
    x = layers.Lambda(keras.activations.tanh)(FusedBatchNormalization()(x))
    x = layers.Activation(keras.activations.silu)(layers.Reshape((-1, 4))(x))
    x = layers.TimeDistributed(layers.Dense(4, activation="gelu"))(x)
    x = layers.Bidirectional(layers.LSTM(4))(layers.MultiHeadAttention(2, 2)(x, x))
    inner = keras.Sequential([keras.Input((8,)), layers.Dense(4, kernel_constraint="max_norm")])
    inner.compile("adam", "mse")
    model = keras.Model(inputs, keras.ops.sum(inner(x) * 2, axis=1))
    model.predict(np.zeros((1, 16, 16, 3)), verbose=0)
    for node in graphs.model_nodes(model):
        assert _foreign_code(node.operation) == []
        assert _config_of(node.operation) == node.operation.get_config()
