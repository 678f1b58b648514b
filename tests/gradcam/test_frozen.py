"""Heatmaps of a transfer start from what its frozen layers gave, and are those of the network."""

import keras
import numpy as np
import pytest
from keras import layers

from detl import DomainExtensionTransfer, GradCAM, features
from detl.gradcam.methods import METHODS
from tests.gradcam.classifiers import pixels, randomize, state_of

N = 24  # no multiple of the 16 images that a trunk runs on at once
LABELS = np.array(["lung", "heart", "bone"] * (N // 3))


def source(relu=None, nested=False):
    """Build two blocks, the upper one residual, with statistics that differ from the first ones."""
    images = x = keras.Input((16, 16, 1))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="block1_conv")(x)
    x = layers.BatchNormalization(name="block1_norm")(x)
    x = inside = (relu or layers.ReLU(name="block1_relu"))(x)
    x = layers.Conv2D(4, 3, padding="same", name="block2_conv")(x)
    x = layers.BatchNormalization(name="block2_norm")(x)
    x = layers.Add(name="block2_sum")([inside, x])
    x = (relu or layers.ReLU(name="block2_relu"))(x)
    if nested:
        base = keras.Model(images, x, name="base")
        images = keras.Input((16, 16, 1))
        x = base(images)
    x = layers.Dense(6, activation="gelu", name="hidden")(layers.Flatten()(x))
    return randomize(keras.Model(images, layers.Dense(2, activation="softmax")(x)))


def fit(network, **settings):
    settings = {"trainable_from": "block2", "epochs": 1, "random_state": 0, **settings}
    transfer = DomainExtensionTransfer.as_published(network, verbose=0, **settings)
    return transfer.fit(pixels(N, (16, 16, 1)), LABELS)


@pytest.fixture(scope="module")
def transfer():
    """Return a fitted transfer; whoever changes it puts it back."""
    return fit(source())


@pytest.fixture(scope="module")
def images():
    return pixels(N, (16, 16, 1))


def assert_explained_alike(transfer, images, target_class=None, rtol=2e-6, **settings):
    found = GradCAM(transfer, **settings).explain(images, target_class)
    expected = GradCAM(transfer.model_, **settings).explain(images, target_class)
    np.testing.assert_allclose(found.heatmaps, expected.heatmaps, atol=rtol)
    for one, other in ((found.raw, expected.raw), (found.scores, expected.scores)):
        np.testing.assert_allclose(one, other, atol=rtol * np.abs(other).max())
    np.testing.assert_array_equal(found.class_indices, expected.class_indices)
    np.testing.assert_array_equal(found.blank, expected.blank)
    assert found.layer == expected.layer


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_what_it_gives_of_the_whole_network(transfer, images, method):
    assert GradCAM(transfer, method=method)._trunk is not None
    assert_explained_alike(transfer, images, method=method, batch_size=10)
    assert_explained_alike(transfer, images[5:12], [0, 1, 2, 0, 1, 2, 0], method=method)


def test_the_features_of_the_fit_are_read_and_the_frozen_layers_are_not_run():
    fitted = fit(source())
    cam, images = GradCAM(fitted), pixels(N, (16, 16, 1))
    before = cam.explain(images, 1)
    # All images were known, of a network with another kind of normalisation than the trained one.
    cam._trunk.features(images)[:] = 0
    after = cam.explain(images, 1)
    features.clear_cache()
    assert np.ptp(before.scores) > 0
    elsewhere = 0 if keras.backend.backend() == "tensorflow" else 1e-6  # PyTorch rounds by place
    np.testing.assert_allclose(after.scores, np.full(N, after.scores[0]), rtol=elsewhere, atol=0)
    np.testing.assert_array_equal(cam.explain(images[:3], 1).scores.shape, 3)
    np.testing.assert_allclose(cam.explain(images, 1).scores, before.scores, rtol=1e-5)


def test_new_images_are_run_through_the_frozen_layers_where_they_nearly_fill_a_batch(transfer):
    new = pixels(16, (16, 16, 1), seed=9)
    trunk = GradCAM(transfer)._trunk
    lower = keras.Model(transfer.model_.input, transfer.model_.get_layer("block1_relu").output)
    assert_explained_alike(transfer, new[:3])
    assert trunk.features(new[:3]) is None  # 16 would be computed for three
    assert trunk.features(new[:12]) is None
    found = trunk.features(new[:13])
    expected = features.extract(lower, new[:13], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)  # normalisations are folded
    np.testing.assert_array_equal(trunk.features(new[4:7]), found[4:7])
    assert trunk.features(new[4:16]) is None  # 16 would be computed for three, and the rest known
    assert_explained_alike(transfer, new)
    assert trunk.features(new[4:16]) is not None


@pytest.mark.parametrize(
    ("settings", "layer"),
    [
        ({}, "block1_relu"),
        ({}, ["block1_relu", "block2_relu"]),
        ({"trainable_from": "logits"}, None),
        ({"trainable_from": "input"}, None),
    ],
)
def test_what_lies_below_the_cut_is_explained_by_the_whole_network(images, settings, layer):
    fitted = fit(source(), **settings)
    assert GradCAM(fitted, layer=layer)._trunk is None
    assert_explained_alike(fitted, images, layer=layer)


@pytest.mark.parametrize("layer", ["block2_conv", ["block2_sum", "block2_relu"]])
def test_layers_above_the_cut_are_explained_from_features(transfer, images, layer):
    assert GradCAM(transfer, layer=layer)._trunk is not None
    assert_explained_alike(transfer, images, 2, layer=layer)


def test_a_nested_source_and_half_precision_are_explained_alike(images):
    for fitted, rtol in (
        (fit(source(nested=True)), 2e-6),
        (fit(source(), precision="mixed_bfloat16"), 1e-2),
    ):
        assert GradCAM(fitted)._trunk.features(images) is not None
        assert_explained_alike(fitted, images, rtol=rtol)


def test_a_layer_that_is_called_on_both_sides_of_the_cut_needs_the_whole_network(images):
    fitted = fit(source(relu=layers.ReLU(name="relu")))
    assert GradCAM(fitted, layer="block2_sum")._trunk is not None
    assert_explained_alike(fitted, images, layer="block2_sum")
    assert GradCAM(fitted)._trunk is None
    assert_explained_alike(fitted, images)


@pytest.mark.parametrize("name", ["block1_conv", "hidden"])
def test_heatmaps_follow_the_weights_below_and_above_the_cut(transfer, images, name):
    cam, layer = GradCAM(transfer), transfer.model_.get_layer(name)
    before, weights = cam.explain(images, 1), layer.get_weights()
    layer.set_weights([-weight for weight in weights])
    try:
        after = cam.explain(images, 1)
        expected = GradCAM(transfer.model_).explain(images, 1)
    finally:
        layer.set_weights(weights)
    np.testing.assert_allclose(after.scores, expected.scores, rtol=1e-4, atol=1e-5)
    assert not np.allclose(after.scores, before.scores, rtol=1e-2)


def test_a_parameter_that_was_changed_after_the_fit_does_not_matter(transfer, images):
    for trainable_from in ("nothing", "hidden"):
        transfer.set_params(trainable_from=trainable_from)
        try:
            assert_explained_alike(transfer, images)
        finally:
            transfer.set_params(trainable_from="block2")


def test_features_of_an_earlier_process_are_found_in_the_folder(images, tmp_path):
    fitted = fit(source(), cache_dir=tmp_path)
    features.clear_cache()
    assert GradCAM(fitted)._trunk.features(images[:3]) is not None
    assert_explained_alike(fitted, images[:3])


def test_the_transfer_is_left_as_it_is(transfer, images):
    before = state_of(transfer.model_)
    GradCAM(transfer)(images)
    after = state_of(transfer.model_)
    for one, other in zip(before.pop("weights"), after.pop("weights"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert before == after
