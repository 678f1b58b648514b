"""A digest knows a network by its layers, how they are joined, and its weights."""

import keras
from keras import layers

from detl.networks import copying
from detl.networks.digests import graph_digest


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


def with_lambda(function, **options):
    inputs = keras.Input((16, 16, 1))
    return keras.Model(inputs, layers.Lambda(function, **options)(inputs))


def test_a_digest_depends_on_the_arguments_and_the_activation_of_a_lambda():
    def repeated(x, k=1):
        return keras.ops.repeat(x, k, -1)

    digests = [
        graph_digest(with_lambda(repeated)),
        graph_digest(with_lambda(repeated, arguments={"k": 2})),
        graph_digest(with_lambda(repeated, arguments={"k": 3})),
        graph_digest(with_lambda(keras.activations.tanh)),
        graph_digest(with_lambda(keras.activations.relu)),
    ]
    assert len(set(digests)) == 5


def test_an_operation_that_cannot_be_written_down_is_known_by_its_class():
    inputs = keras.Input((3, 4), batch_size=2)

    def of(function):
        return graph_digest(keras.Model(inputs, keras.ops.vectorized_map(function, inputs)))

    assert of(keras.ops.abs) == of(lambda x: x + 1) != graph_digest(keras.Model(inputs, inputs + 1))
