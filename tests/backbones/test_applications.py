"""Networks of keras.applications take raw pixels and compute what Keras computes."""

import importlib
import inspect

import keras
import numpy as np
import pytest
from keras import layers

from detl import backbones
from detl.backbones.applications import _preprocessed
from detl.networks import graphs

APPLICATIONS = sorted(
    name
    for name, entry in vars(keras.applications).items()
    if inspect.isfunction(entry) and "include_top" in inspect.signature(entry).parameters
)


def pixels(shape, n=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype("uint8")


def output_of(model, images):
    return keras.ops.convert_to_numpy(model(images))


def original(name):
    """Return a network of keras.applications and the function that prepares its pixels."""
    constructor = getattr(keras.applications, name)
    return constructor, importlib.import_module(constructor.__module__).preprocess_input


@pytest.mark.parametrize(
    "name",
    [
        *("VGG16", "MobileNetV2", "EfficientNetB0", "ConvNeXtTiny"),
        pytest.param("DenseNet121", marks=pytest.mark.slow),
    ],
)
def test_an_application_computes_what_keras_computes_on_preprocessed_pixels(name, monkeypatch):
    constructor, preprocess = original(name)
    built = []

    def with_random_weights(**arguments):
        network = constructor(**arguments)
        generator = np.random.default_rng(0)
        network.set_weights(
            [w * generator.uniform(0.8, 1.2, w.shape) for w in network.get_weights()]
        )
        for layer in network.layers:
            if isinstance(layer, layers.Normalization):
                layer.finalize_state()  # Keras's set_weights leaves its constants behind
        built.append(network)
        return network

    monkeypatch.setattr(keras.applications, name, with_random_weights)
    model = backbones.from_application(name, (32, 32, 3))
    (reference,) = built
    images = pixels((32, 32, 3))
    expected = output_of(reference, preprocess(images.astype("float32")))
    tolerance = 1e-4 * np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > tolerance
    np.testing.assert_allclose(output_of(model, images), expected, atol=tolerance)


@pytest.mark.parametrize("channels", [1, 3])
def test_weights_come_from_a_file_for_grey_and_for_colour_images(channels, tmp_path):
    reference = backbones.from_application("VGG16", (32, 32, channels))
    path = str(tmp_path / "random.weights.h5")
    named = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    named.set_weights(reference.get_weights())
    named.save_weights(path)
    model = backbones.from_application("VGG16", (32, 32, channels), weights=path)
    images = pixels((32, 32, channels))
    np.testing.assert_array_equal(output_of(model, images), output_of(reference, images))


def test_grey_images_give_the_features_of_their_colour_copies():
    grey = backbones.from_application("MobileNet", (32, 32, 1))
    colour = backbones.from_application("MobileNet", (32, 32, 3))
    colour.set_weights(grey.get_weights())
    images = pixels((32, 32, 1))
    expected = output_of(colour, np.repeat(images, 3, axis=-1))
    np.testing.assert_allclose(output_of(grey, images), expected, rtol=1e-5)
    np.testing.assert_array_equal(
        output_of(grey, images), output_of(grey, images.astype("float32"))
    )


@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_application_gets_the_pixels_that_keras_would_give_it(name, channels):
    images = pixels((4, 4, channels)).astype("float32")
    inputs = keras.Input((4, 4, channels))
    prepared = keras.Model(inputs, _preprocessed(inputs, name))
    _, preprocess = original(name)
    colour = np.repeat(images, 4 - channels, axis=-1) if channels == 1 else images.copy()
    np.testing.assert_allclose(output_of(prepared, images), preprocess(colour), atol=1e-4)


def test_layer_names_do_not_depend_on_what_was_built_before():
    def names():
        model = backbones.from_application("VGG16", (32, 32, 1))
        return [node.operation.name for node in graphs.model_nodes(model)]

    before = names()
    layers.GlobalAveragePooling2D()
    assert names() == before
    assert before[-1] == "global_average_pooling2d"


def test_an_application_ends_in_the_average_of_its_last_feature_maps():
    model = backbones.from_application("MobileNet", (64, 32, 3))
    inside = keras.Model(model.inputs[0], model.get_layer("conv_pw_13_relu").output)
    images = pixels((64, 32, 3))
    maps = output_of(inside, images)
    assert maps.shape == (2, 2, 1, 1024)
    np.testing.assert_allclose(output_of(model, images), maps.mean(axis=(1, 2)), rtol=1e-5)


def test_an_unknown_application_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match=r"'resnet50' is no network .* nearest are 'ResNet50'"):
        backbones.from_application("resnet50", (64, 64, 1))
    with pytest.raises(ValueError, match="'imagenet_utils' is no network of keras"):
        backbones.from_application("imagenet_utils", (64, 64, 1))


def test_an_image_below_the_minimum_is_refused_with_the_reason_of_keras_and_a_way_out():
    message = r"Xception cannot be built for images of 64 x 64 .* must be at least 71x71"
    with pytest.raises(ValueError, match=rf"{message}.* detl\.images\.resize"):
        backbones.from_application("Xception", (64, 64, 1))


def test_a_missing_weights_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.weights\.h5'?: there is no such file"):
        backbones.from_application("VGG16", (32, 32, 1), weights=tmp_path / "absent.weights.h5")


@pytest.mark.parametrize("weights", [True, 5, np.zeros(2)])
def test_weights_that_are_no_path_are_refused(weights):
    with pytest.raises(TypeError, match=r"weights is \w+; expected None, 'imagenet' or a path"):
        backbones.from_application("VGG16", (32, 32, 1), weights=weights)


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras, before it refuses
def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((4,)), layers.Dense(1)]).save_weights(path)
    message = r"VGG16 cannot be built .* and weights='.*other\.weights\.h5': A total of 13 objects"
    with pytest.raises(ValueError, match=message):
        backbones.from_application("VGG16", (32, 32, 1), weights=path)


def test_a_broken_weights_file_is_refused(tmp_path):
    path = tmp_path / "broken.weights.h5"
    path.write_text("not weights")
    with pytest.raises(ValueError, match=r"broken\.weights\.h5': Unable to .* open file"):
        backbones.from_application("VGG16", (32, 32, 1), weights=path)
