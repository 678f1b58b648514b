"""Backbones have the published sizes, take raw pixels, and are cut where a block begins."""

import functools
import importlib
import inspect
import re

import keras
import numpy as np
import pytest
from keras import layers

from detl import backbones
from detl.networks import graphs
from detl.networks.digests import graph_digest

OURS = (backbones.alexnet, backbones.vgg16, backbones.resnet50)
APPLICATIONS = sorted(
    name
    for name, entry in vars(keras.applications).items()
    if inspect.isfunction(entry) and "include_top" in inspect.signature(entry).parameters
)


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


# ------------------------------------------------------------------------- the paper's networks


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
    ],
)
def test_wrong_settings_are_refused(build, arguments, error, message):
    with pytest.raises(error, match=message):
        build((64, 64, 1), **arguments)


@pytest.mark.parametrize("build", [backbones.alexnet, backbones.vgg16])
@pytest.mark.parametrize("dropout", [1, -0.1])
def test_an_impossible_dropout_is_refused(build, dropout):
    with pytest.raises(ValueError, match=rf"dropout={dropout}; expected a share in \[0, 1\)"):
        build((64, 64, 1), dropout=dropout)


# --------------------------------------------------------------------------- keras.applications


def original(name):
    """Return a network of keras.applications and the function that prepares its pixels."""
    constructor = getattr(keras.applications, name)
    return constructor, importlib.import_module(constructor.__module__).preprocess_input


@pytest.mark.parametrize(
    "name", ["VGG16", "MobileNetV2", "DenseNet121", "EfficientNetB0", "ConvNeXtTiny"]
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
    prepared = keras.Model(inputs, backbones._preprocessed(inputs, name))
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


def test_an_image_below_the_minimum_is_refused_with_the_reason_of_keras():
    message = r"Xception cannot be built for images of 64 x 64 .* must be at least 71x71"
    with pytest.raises(ValueError, match=message):
        backbones.from_application("Xception", (64, 64, 1))


def test_a_missing_weights_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.weights\.h5'?: there is no such file"):
        backbones.from_application("VGG16", (32, 32, 1), weights=tmp_path / "absent.weights.h5")


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


# ------------------------------------------------------------------------------- where to cut

# Network: image size, last block, the layer whose output enters it, and other cuts.
FAMILIES = {
    "VGG16": (
        32,
        "block5",
        "block4_pool",
        {"block5_conv2": "block5_conv1", "block1": "rescaling"},
    ),
    "VGG19": (32, "block5", "block4_pool", {"block4": "block3_pool"}),
    "ResNet50": (
        32,
        "conv5",
        "conv4_block6_out",
        {
            "conv5_block3": "conv5_block2_out",
            "conv5_block3_2_conv": "conv5_block2_out",  # inside the residual branch
            "conv2": "pool1_pool",
        },
    ),
    "ResNet50V2": (
        32,
        "conv5",
        "conv4_block6_out",
        {"conv5_block2": "conv5_block1_out", "post_bn": "conv5_block3_out"},
    ),
    "DenseNet121": (
        32,
        "conv5",
        "pool4_pool",
        {
            "conv5_block16": "conv5_block15_concat",
            "conv5_block16_2_conv": "conv5_block15_concat",
            "conv4": "pool3_pool",
        },
    ),
    "MobileNet": (
        32,
        "conv_dw_13",
        "conv_pw_12_relu",
        {"conv_pw_13": "conv_dw_13_relu", "conv_dw_1": "conv1_relu"},
    ),
    "MobileNetV2": (
        32,
        "block_16",
        "block_15_add",
        {
            "block_15": "block_14_add",
            "expanded_conv": "Conv1_relu",
            "Conv_1": "block_16_project_BN",
        },
    ),
    "MobileNetV3Small": (
        32,
        "expanded_conv_10",
        "expanded_conv_9_add",
        {"expanded_conv_8": "expanded_conv_7_add", "conv_1": "expanded_conv_10_add"},
    ),
    "MobileNetV3Large": (32, "expanded_conv_14", "expanded_conv_13_add", {}),
    "EfficientNetB0": (
        32,
        "block7",
        "block6d_add",
        {
            "block6": "block5c_add",
            "block6b": "block6a_project_bn",
            "top_conv": "block7a_project_bn",
        },
    ),
    "EfficientNetV2B0": (32, "block6", "block5e_add", {"block6h": "block6g_add"}),
    "ConvNeXtTiny": (
        32,
        "convnext_tiny_stage_3",
        "convnext_tiny_downsampling_conv_2",
        {
            "convnext_tiny_stage_3_block_1": "add_15",
            "convnext_tiny_downsampling_layernorm_2": "add_14",
        },
    ),
    "Xception": (71, "block14", "add_11", {"block13": "add_10", "block13_sepconv2": "add_10"}),
    "InceptionV3": (75, "mixed10", "mixed9", {"mixed9": "mixed8", "mixed9_1": "mixed9"}),
    "InceptionResNetV2": (75, "block8_10", "block8_9_ac", {"conv_7b": "custom_scale_layer_39"}),
    "alexnet": (64, "block5", "block4_conv_relu", {"block5_pool": "block5_conv_relu"}),
    "vgg16": (32, "block5", "block4_pool", {"fc1": "flatten", "block5_conv3": "block5_conv2_relu"}),
    "resnet50": (
        32,
        "block5",
        "block4_unit6_relu3",
        {"block5_unit3": "block5_unit2_relu3", "block5_unit3_conv2": "block5_unit2_relu3"},
    ),
}


def marked(names):
    return [
        pytest.param(name, marks=pytest.mark.slow if name == "InceptionResNetV2" else ())
        for name in names
    ]


@pytest.fixture(scope="module", params=marked(FAMILIES))
def family(request):
    """One network at a time: its tests run together, then it is let go."""
    size, last_block, entrance, cuts = FAMILIES[request.param]
    if hasattr(backbones, request.param):
        model = getattr(backbones, request.param)((size, size, 1), width=0.125)
    else:
        model = backbones.from_application(request.param, (size, size, 3))
    return model, last_block, entrance, cuts


def test_the_last_block_is_entered_where_its_network_says(family):
    model, last_block, entrance, _ = family
    assert backbones.block_names(model)[-1] == last_block
    assert producer(backbones.entrance_of(model, "last_block")) == entrance
    assert producer(backbones.entrance_of(model, last_block)) == entrance


def test_blocks_units_and_layers_are_cut_before_what_runs_beside_them(family):
    model, _, _, cuts = family
    assert {name: producer(backbones.entrance_of(model, name)) for name in cuts} == cuts


def test_trunk_and_tail_together_are_the_whole_network(family):
    model, last_block, _, _ = family
    entrance = backbones.entrance_of(model, "last_block")
    trunk = keras.Model(model.inputs[0], entrance)
    tail = keras.Model(entrance, model.outputs[0])
    images = pixels(model.input_shape[1:])
    whole = output_of(model, images)
    assert np.abs(whole).max() > 0
    np.testing.assert_array_equal(output_of(tail, output_of(trunk, images)), whole)

    in_trunk = {layer.name for layer in trunk.layers if layer.weights}
    in_tail = {layer.name for layer in tail.layers if layer.weights}
    assert not in_trunk & in_tail
    assert in_trunk | in_tail == {layer.name for layer in model.layers if layer.weights}
    assert not any(re.match(rf"{last_block}[a-z]?_", name) for name in in_trunk)


@pytest.mark.parametrize(
    "family",
    marked(["VGG16", "EfficientNetB0", "ConvNeXtTiny", "InceptionResNetV2"]),
    indirect=True,
)
def test_an_application_is_flat_and_comes_back_from_its_file_in_safe_mode(family, tmp_path):
    model, *_ = family
    assert not any(graphs.is_graph(layer) for layer in model.layers)
    model.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras", safe_mode=True)
    images = pixels(model.input_shape[1:])
    np.testing.assert_array_equal(output_of(loaded, images), output_of(model, images))


@pytest.mark.slow
def test_deep_networks_of_a_family_are_cut_as_the_shallow_ones():
    model = backbones.from_application("ResNet101", (32, 32, 1))
    assert producer(backbones.entrance_of(model, "last_block")) == "conv4_block23_out"


@pytest.mark.slow
def test_nasnet_can_be_cut_after_its_stem_only():
    model = backbones.from_application("NASNetMobile", (32, 32, 1))
    assert backbones.block_names(model) == []
    assert producer(backbones.entrance_of(model, "last_block")) == "stem_bn1"


def unknown_naming():
    x = inputs = keras.Input((16, 16, 1), name="images")
    x = layers.Conv2D(2, 3, activation="relu", name="eyes")(x)
    x = layers.SeparableConv2D(2, 3, activation="relu", name="brain")(x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(2, name="mouth")(x), name="creature")


def test_without_known_names_the_last_convolution_is_the_last_block():
    model = unknown_naming()
    assert backbones.block_names(model) == []
    assert producer(backbones.entrance_of(model, "last_block")) == "eyes"
    assert producer(backbones.entrance_of(model, "mouth")) == "flat"
    assert backbones.entrance_of(model, "eyes") is model.inputs[0]


def test_a_network_without_convolution_has_no_last_block():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, name="head")(inputs), name="flat")
    message = r"'flat' has no convolution, .* one of \['head'\]"
    with pytest.raises(ValueError, match=message):
        backbones.entrance_of(model, "last_block")
    assert backbones.entrance_of(model, "head") is model.inputs[0]


@pytest.mark.parametrize(
    ("wrong", "offered"),
    [
        ("block6", "'block5'"),
        ("Block5", "'block5'"),
        ("block5_conv4", "'block5_conv3'"),
        ("fc", "'fc1'"),
        ("block", "'block3'"),
        ("rescal", "'rescaling'"),
        ("????", "'fc2_dropout', or use 'last_block'"),
    ],
)
def test_near_misses_of_a_name_are_offered(wrong, offered):
    model = small(backbones.vgg16, (32, 32, 1))
    with pytest.raises(ValueError, match=re.escape(f"trainable_from={wrong!r} names neither")) as e:
        backbones.entrance_of(model, wrong)
    assert offered in str(e.value)


def test_a_block_is_not_taken_for_another_whose_number_begins_alike():
    model = backbones.from_application("MobileNet", (32, 32, 1))
    assert producer(backbones.entrance_of(model, "conv_dw_1")) == "conv1_relu"
    x = inputs = keras.Input((8, 8, 1))
    for block in (1, 2, 10):
        x = layers.Conv2D(1, 1, name=f"block{block}_conv")(x)
    assert producer(backbones.entrance_of(keras.Model(inputs, x), "block10")) == "block2_conv"
    assert backbones.entrance_of(keras.Model(inputs, x), "block1") is inputs


def test_inputs_that_meet_too_late_cannot_be_cut():
    left, right = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    x = layers.Add(name="meet")([layers.Conv2D(1, 1, name="early")(left), right])
    model = keras.Model([left, right], layers.Conv2D(1, 1, name="late")(x), name="pair")
    assert producer(backbones.entrance_of(model, "late")) == "meet"
    message = r"'pair' has 2 inputs that only meet after trainable_from='early'"
    with pytest.raises(ValueError, match=message):
        backbones.entrance_of(model, "early")


def test_what_is_no_graph_or_no_name_is_refused():
    unbuilt = keras.Sequential([layers.Conv2D(1, 1)])
    for function in (backbones.block_names, lambda m: backbones.entrance_of(m, "last_block")):
        with pytest.raises(TypeError, match="model is Sequential; expected a functional or built"):
            function(unbuilt)
    with pytest.raises(TypeError, match="trainable_from is int 5; expected the name of a block"):
        backbones.entrance_of(unknown_naming(), 5)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (layers.Conv1D(1, 1), True),
        (layers.Conv2D(1, 1), True),
        (layers.Conv3D(1, 1), True),
        (layers.Conv2DTranspose(1, 1), True),
        (layers.DepthwiseConv2D(1), True),
        (layers.SeparableConv2D(1, 1), True),
        (type("Custom", (layers.Conv2D,), {})(1, 1), True),
        (layers.Dense(1), False),
        (layers.MaxPooling2D(2), False),
        (keras.ops.flip, False),
    ],
)
def test_convolutions_of_all_kinds_are_recognised(layer, expected):
    assert backbones.is_convolution(layer) is expected
