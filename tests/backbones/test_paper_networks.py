"""The networks of the paper have the published sizes and take raw pixels."""

import functools
import re

import keras
import numpy as np
import pytest
from keras import layers

from detl import backbones
from detl.networks import graphs
from detl.networks.digests import graph_digest

OURS = (backbones.alexnet, backbones.vgg16, backbones.resnet50)


def pixels(shape, n=2, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype("uint8")


def output_of(model, images):
    return keras.ops.convert_to_numpy(model(images))


@functools.cache
def small(build, shape=(64, 64, 1)):
    return build(shape, width=0.05)


def producer(tensor):
    return graphs.layer_of(tensor).name


def convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]


def vgg16_weights(channels, pooled):
    return (
        (9 * channels * 64 + 64) + (9 * 64 * 64 + 64)
        + (9 * 64 * 128 + 128) + (9 * 128 * 128 + 128)
        + (9 * 128 * 256 + 256) + 2 * (9 * 256 * 256 + 256)
        + (9 * 256 * 512 + 512) + 2 * (9 * 512 * 512 + 512)
        + 3 * (9 * 512 * 512 + 512)
        + (pooled * pooled * 512 * 4096 + 4096) + (4096 * 4096 + 4096)
    )  # fmt: skip


def test_the_weights_of_vgg16_are_counted_as_published():
    # With the classifier of a thousand classes; five poolings halve 224 pixels to 7.
    assert vgg16_weights(3, pooled=7) + (4096 * 1000 + 1000) == 138_357_544


@pytest.mark.parametrize(
    ("size", "channels", "pooled"),
    [(32, 1, 1), (64, 3, 2), pytest.param(224, 3, 7, marks=pytest.mark.slow)],
)
def test_literal_vgg16_has_the_published_weights(size, channels, pooled):
    model = backbones.vgg16((size, size, channels), normalization=None)
    assert model.count_params() == vgg16_weights(channels, pooled)


def test_normalised_vgg16_has_four_numbers_per_channel_and_unit_instead_of_a_bias():
    literal = backbones.vgg16((32, 32, 1), width=0.25, normalization=None)
    normalised = backbones.vgg16((32, 32, 1), width=0.25)
    channels = 2 * 16 + 2 * 32 + 3 * 64 + 3 * 128 + 3 * 128
    units = 2 * 1024
    assert normalised.count_params() - literal.count_params() == (4 - 1) * (channels + units)


@pytest.mark.parametrize(
    ("size", "channels", "pooled"),
    [(64, 1, 1), pytest.param(224, 3, 6, marks=pytest.mark.slow)],
)
def test_literal_alexnet_has_the_weights_of_its_3x3_kernels(size, channels, pooled):
    model = backbones.alexnet((size, size, channels), normalization=None)
    expected = (
        (9 * channels * 96 + 96)
        + (9 * 96 * 256 + 256)
        + (9 * 256 * 384 + 384)
        + (9 * 384 * 384 + 384)
        + (9 * 384 * 256 + 256)
        # Strides of 4 make 224 pixels 56, and the three poolings 27, 13 and 6.
        + (pooled * pooled * 256 * 4096 + 4096)
        + (4096 * 4096 + 4096)
    )
    assert model.count_params() == expected


def test_normalised_alexnet_has_four_numbers_per_channel_and_unit_instead_of_a_bias():
    literal = backbones.alexnet((63, 63, 1), width=0.25, normalization=None)
    normalised = backbones.alexnet((63, 63, 1), width=0.25)
    channels = 24 + 64 + 96 + 96 + 64
    units = 2 * 1024
    assert normalised.count_params() - literal.count_params() == (4 - 1) * (channels + units)


def resnet50_kernels(channels):
    total, entering = 9 * channels * 64, 64
    for width, units in ((64, 3), (128, 4), (256, 6), (512, 3)):
        total += entering * 4 * width  # projection of the first unit
        for _ in range(units):
            total += entering * width + 9 * width * width + width * 4 * width
            entering = 4 * width
    return total


# Channels of all convolutions: stem, then per unit two narrow and one wide, and four projections.
RESNET50_CHANNELS = (
    64
    + 3 * (64 + 64 + 256) + 256
    + 4 * (128 + 128 + 512) + 512
    + 6 * (256 + 256 + 1024) + 1024
    + 3 * (512 + 512 + 2048) + 2048
)  # fmt: skip


def test_resnet50_has_the_published_weights_but_for_its_3x3_stem():
    model = backbones.resnet50((32, 32, 3))
    expected = resnet50_kernels(channels=3) + 4 * RESNET50_CHANNELS
    assert model.count_params() == expected
    # 25,557,032 published: a 7x7 stem, a classifier, the statistics (2 a channel) not counted.
    published = 25_557_032 - (2048 * 1000 + 1000) - 49 * 3 * 64 + 9 * 3 * 64
    assert expected - 2 * RESNET50_CHANNELS == published


def test_resnet50_without_normalisation_has_biases_instead():
    model = backbones.resnet50((32, 32, 1), normalization=None)
    assert model.count_params() == resnet50_kernels(1) + RESNET50_CHANNELS


@pytest.mark.parametrize("build", [backbones.alexnet, backbones.vgg16])
def test_every_kernel_is_3x3(build):
    model = small(build)
    assert len(convolutions(model)) == {"alexnet": 5, "vgg16": 13}[model.name]
    assert {layer.kernel_size for layer in convolutions(model)} == {(3, 3)}


def test_every_kernel_of_resnet50_is_3x3_but_in_the_bottlenecks():
    model = small(backbones.resnet50)
    sizes = {layer.name: layer.kernel_size for layer in convolutions(model)}
    bottleneck = re.compile(r"block[2-5]_unit\d_(conv1|conv3|projection)$")
    narrow = {name for name in sizes if bottleneck.match(name)}
    assert len(sizes) == 1 + 16 * 3 + 4
    assert len(narrow) == 16 * 2 + 4
    assert {sizes[name] for name in narrow} == {(1, 1)}
    assert {sizes[name] for name in sizes.keys() - narrow} == {(3, 3)}


@pytest.mark.parametrize("build", OURS)
def test_width_scales_channels_and_fully_connected_units(build):
    large, small = (build((64, 64, 1), width=width) for width in (0.25, 0.0625))

    def sizes(model):
        return [
            layer.filters if isinstance(layer, layers.Conv2D) else layer.units
            for layer in model.layers
            if isinstance(layer, layers.Conv2D | layers.Dense)
        ]

    assert sizes(large) == [4 * size for size in sizes(small)]
    assert large.output_shape == (None, 512 if build is backbones.resnet50 else 1024)


@pytest.mark.parametrize("build", OURS)
def test_the_narrowest_network_still_has_a_channel_everywhere(build):
    assert min(layer.filters for layer in convolutions(build((64, 64, 1), width=1e-6))) == 1


@pytest.mark.parametrize("build", OURS)
@pytest.mark.parametrize("shape", [(64, 64, 1), (64, 96, 3), (75, 63, 1)])
def test_integer_and_float_pixels_give_the_same_features(build, shape):
    model = small(build, shape)
    images = pixels(shape)
    features = output_of(model, images)
    np.testing.assert_array_equal(features, output_of(model, images.astype("float32")))
    assert np.abs(features[0] - features[1]).max() > 0


@pytest.mark.parametrize("build", OURS)
def test_pixels_are_rescaled_inside_to_minus_one_and_one(build):
    model = small(build)
    first = graphs.model_nodes(model)[0].operation
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(first(np.array([0, 127.5, 255]))), [-1, 0, 1], atol=1e-6
    )


@pytest.mark.parametrize("build", OURS)
def test_the_axis_of_channels_is_ours_whatever_keras_is_set_to(build):
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        network = build((64, 64, 1), width=0.05)
    finally:
        keras.config.set_image_data_format(before)
    assert graph_digest(network) == graph_digest(small(build))


@pytest.mark.parametrize("build", OURS)
def test_graphs_are_flat(build):
    assert not any(graphs.is_graph(layer) for layer in small(build).layers)


@pytest.mark.parametrize(("build", "smallest"), list(zip(OURS, (57, 32, 32))))
def test_the_smallest_image_is_taken_and_a_smaller_one_refused(build, smallest):
    shape = (smallest, smallest, 1)
    assert np.isfinite(output_of(small(build, shape), pixels(shape))).all()
    with pytest.raises(ValueError, match=f"use at least {smallest} x {smallest} pixels"):
        build((smallest, smallest - 1, 1), width=0.05)


@pytest.mark.parametrize("build", [*OURS, lambda shape: backbones.from_application("VGG16", shape)])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((224, 224), r"expected \(height, width, channels\), such as \(224, 224, 1\)"),
        ((224, 224, 1, 1), r"expected \(height, width, channels\)"),
        ((None, None, 3), r"expected \(height, width, channels\)"),
        ((224.0, 224, 1), r"expected \(height, width, channels\)"),
        ((224, 224, True), r"expected \(height, width, channels\)"),
        ({224: 0, 225: 0, 1: 0}, r"expected \(height, width, channels\)"),
        ((1, 224, 224), r"224 channels; expected 1 \(grey\) or 3"),
        ((64, 64, 2), r"2 channels; expected 1 \(grey\) or 3"),
    ],
)
def test_wrong_input_shapes_are_refused(build, shape, message):
    with pytest.raises(ValueError, match=message):
        build(shape)


@pytest.mark.parametrize("build", OURS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"width": 0}, ValueError, "width=0; expected a number above 0"),
        ({"width": float("nan")}, ValueError, "width=nan; expected a number above 0"),
        ({"width": "half"}, TypeError, "width is str 'half'; expected a number"),
        ({"normalization": "layer"}, ValueError, "'layer'; expected one of 'batch', None"),
        ({"normalization": ["batch"]}, ValueError, r"normalization=\['batch'\]; expected one of"),
    ],
)
def test_wrong_settings_are_refused(build, arguments, error, message):
    with pytest.raises(error, match=message):
        build((64, 64, 1), **arguments)


@pytest.mark.parametrize("build", [backbones.alexnet, backbones.vgg16])
@pytest.mark.parametrize("dropout", [1, -0.1, "half", None, True])
def test_an_impossible_dropout_is_refused(build, dropout):
    with pytest.raises((TypeError, ValueError), match=r"dropout.*; expected a number at least 0 a"):
        build((64, 64, 1), dropout=dropout)
