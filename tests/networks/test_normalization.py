"""The fused layer is Keras's, to rounding, in what it gives, what it stores and what it learns."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from detl import DomainExtensionTransfer, backbones, pretrain
from detl.networks import copying
from detl.networks.normalization import FusedBatchNormalization, fused_layers, with_plain_layers

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the fused kernel is TensorFlow's"
)


def pair(shape, **settings):
    """Build Keras's layer and the fused one, with the same weights."""
    rng = np.random.default_rng(0)
    made = [kind(**settings) for kind in (layers.BatchNormalization, FusedBatchNormalization)]
    for layer in made:
        layer.build((None, *shape))
    weights = [rng.uniform(0.5, 2, w.shape) for w in made[0].weights]
    for layer in made:
        layer.set_weights(weights)
    return made


def counted(monkeypatch, kind):
    """Return a list that grows with every call of a layer of this kind."""
    calls, call = [], kind.call

    @functools.wraps(call)
    def counting(self, *args, **kwargs):
        calls.append(self)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(kind, "call", counting)
    return calls


def step(layer, inputs, upstream):
    """Return outputs, all gradients, and the stored statistics after one training step."""
    import tensorflow as tf

    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, "float32") * upstream)
    found = tape.gradient(loss, [inputs, *(v.value for v in layer.trainable_variables)])
    return [outputs, *found, *(v.value for v in layer.non_trainable_variables)]


@pytest.mark.parametrize("shape", [(6, 5, 3), (7,)], ids=["maps", "vectors"])
@pytest.mark.parametrize(
    "settings", [{}, {"scale": False}, {"center": False}, {"momentum": 0.5, "epsilon": 0.1}]
)
def test_a_training_step_is_kerass_to_rounding(shape, settings):
    rng = np.random.default_rng(1)
    inputs = rng.normal(3, 5, (8, *shape)).astype("float32")
    upstream = rng.normal(size=inputs.shape).astype("float32")
    plain, fused = (step(layer, inputs, upstream) for layer in pair(shape, **settings))
    for expected, found in zip(plain, fused, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_in_bfloat16_it_agrees_to_two_digits_and_stores_float32():
    inputs = np.random.default_rng(1).normal(3, 5, (8, 6, 5, 3)).astype("float32")
    plain, fused = pair((6, 5, 3), dtype="mixed_bfloat16")
    expected, found = (layer(inputs, training=True) for layer in (plain, fused))
    assert found.dtype == expected.dtype == "bfloat16"
    np.testing.assert_allclose(
        found.numpy().astype("float32"), expected.numpy().astype("float32"), rtol=0.03, atol=0.03
    )
    for stored, of_keras in zip(fused.weights, plain.weights, strict=True):
        assert stored.dtype == "float32"
        np.testing.assert_allclose(stored, of_keras, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("shape", "settings", "training"),
    [
        ((6, 5, 3), {}, False),
        ((6, 5, 3), {"trainable": False}, True),
        ((6, 5, 3), {"axis": 1}, True),
        ((6, 3), {}, True),
        ((6, 5, 3), {"synchronized": True}, True),
        ((6, 5, 3), {"epsilon": 1e-6}, True),
    ],
    ids=["inference", "frozen", "channels first", "sequences", "several devices", "tiny epsilon"],
)
def test_elsewhere_it_is_kerass_own_to_the_bit(shape, settings, training):
    inputs = np.random.default_rng(1).normal(3, 5, (8, *shape)).astype("float32")
    plain, fused = pair(shape, **settings)
    np.testing.assert_array_equal(
        fused(inputs, training=training), plain(inputs, training=training)
    )
    for found, expected in zip(fused.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnet50"])
def test_the_kernel_takes_every_normalisation_of_detls_networks(name, monkeypatch):
    network = getattr(backbones, name)((64, 64, 1), width=0.125)
    fused = copying.copy_model(network, replacing=fused_layers())
    assert any(type(layer) is FusedBatchNormalization for layer in fused.layers)
    left = counted(monkeypatch, layers.BatchNormalization)
    fused(np.zeros((2, 64, 64, 1), "float32"), training=True)
    assert not left


def test_what_is_handed_out_is_plain_keras(tiny_source, tiny_backbone):
    def kinds(model):
        return {type(layer) for layer in model.layers}

    assert layers.BatchNormalization in kinds(tiny_backbone)
    assert layers.BatchNormalization in kinds(tiny_source.model)
    assert FusedBatchNormalization not in kinds(tiny_source.model)
    assert FusedBatchNormalization not in kinds(tiny_backbone)


def test_there_and_back_changes_no_weight_and_no_subclass(tiny_source, tiny_images):
    class Own(layers.BatchNormalization):
        pass

    fused = copying.copy_model(tiny_source.model, replacing=fused_layers())
    assert FusedBatchNormalization in {type(layer) for layer in fused.layers}
    back = with_plain_layers(fused)
    assert with_plain_layers(back) is back
    assert FusedBatchNormalization not in {type(layer) for layer in back.layers}
    np.testing.assert_array_equal(
        back.predict_on_batch(tiny_images), tiny_source.model.predict_on_batch(tiny_images)
    )
    images = keras.Input((4, 4, 1))
    own = copying.copy_model(keras.Model(images, Own()(images)), replacing=fused_layers())
    assert type(own.layers[-1]) is Own


def test_pretrain_learns_with_it_what_it_learns_without(
    tiny_backbone, tiny_images, tiny_labels, tiny_source, monkeypatch
):
    monkeypatch.setattr("detl.pretraining.training.fused_layers", dict)
    plain = pretrain(
        tiny_backbone, tiny_images, tiny_labels, epochs=4, batch_size=8,
        learning_rate=0.03, random_state=0, verbose=0,
    )  # fmt: skip
    np.testing.assert_allclose(plain.history["loss"], tiny_source.history["loss"], rtol=1e-3)


def test_the_target_stage_learns_with_it_what_it_learns_without(
    tiny_source, tiny_images, tiny_labels, monkeypatch
):
    transfer = DomainExtensionTransfer(
        tiny_source, trainable_from="input", epochs=3, learning_rate=0.03, random_state=0
    )
    seen = counted(monkeypatch, FusedBatchNormalization)
    losses = transfer.fit(tiny_images, tiny_labels).history_["loss"]
    assert seen
    assert FusedBatchNormalization not in {type(layer) for layer in transfer.model_.layers}
    monkeypatch.setattr("detl.transfer.extension.fused_layers", dict)
    plain = transfer.fit(tiny_images, tiny_labels).history_["loss"]
    np.testing.assert_allclose(losses, plain, rtol=1e-3)
