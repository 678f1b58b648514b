"""A network is cut where a block begins, and read where one ends."""

import functools
import re

import keras
import numpy as np
import pytest
from keras import layers

from detl import backbones
from detl.backbones.blocks import entrance_of, exit_of, is_convolution
from detl.networks import graphs


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


SLOW_TO_BUILD = {"InceptionResNetV2", "InceptionV3", "DenseNet121", "EfficientNetV2B0"}


def marked(names):
    return [
        pytest.param(name, marks=pytest.mark.slow if name in SLOW_TO_BUILD else ())
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
    assert producer(entrance_of(model, "last_block")) == entrance
    assert producer(entrance_of(model, last_block)) == entrance


def test_blocks_units_and_layers_are_cut_before_what_runs_beside_them(family):
    model, _, _, cuts = family
    assert {name: producer(entrance_of(model, name)) for name in cuts} == cuts


def test_trunk_and_tail_together_are_the_whole_network(family):
    model, last_block, _, _ = family
    entrance = entrance_of(model, "last_block")
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
    assert producer(entrance_of(model, "last_block")) == "conv4_block23_out"


@pytest.mark.slow
def test_nasnet_can_be_cut_after_its_stem_only():
    model = backbones.from_application("NASNetMobile", (32, 32, 1))
    assert backbones.block_names(model) == []
    assert producer(entrance_of(model, "last_block")) == "stem_bn1"


def unknown_naming():
    x = inputs = keras.Input((16, 16, 1), name="images")
    x = layers.Conv2D(2, 3, activation="relu", name="eyes")(x)
    x = layers.SeparableConv2D(2, 3, activation="relu", name="brain")(x)
    x = layers.Flatten(name="flat")(x)
    return keras.Model(inputs, layers.Dense(2, name="mouth")(x), name="creature")


def test_without_known_names_the_last_convolution_is_the_last_block():
    model = unknown_naming()
    assert backbones.block_names(model) == []
    assert producer(entrance_of(model, "last_block")) == "eyes"
    assert producer(entrance_of(model, "mouth")) == "flat"
    assert entrance_of(model, "eyes") is model.inputs[0]


def residual(name):
    """Return blocks whose convolutions are named, and whose sums are not."""
    x = inputs = keras.Input((8, 8, 2))
    for block in (1, 2, 3):
        x = x + layers.Conv2D(2, 3, padding="same", name=name.format(block))(x)
    return keras.Model(inputs, layers.Flatten()(x))


@pytest.mark.parametrize("block", ["encoder_block_{}", "vit_transformer_layer_{}", "block{}"])
def test_a_block_ends_with_its_sum_and_a_layer_with_itself(block):
    model = residual(block + "_conv")
    names = [block.format(k) for k in (1, 2, 3)]
    assert backbones.block_names(model) == names
    operations = [node.operation for node in graphs.model_nodes(model)]
    sums = [each.name for each in operations if type(each).__name__ == "Add"]
    assert [producer(exit_of(model, name)) for name in names] == sums
    assert producer(exit_of(model, names[1] + "_conv")) == names[1] + "_conv"


def test_a_sum_further_up_is_no_part_of_a_block():
    inputs = keras.Input((8, 8, 2))
    one = layers.Conv2D(2, 3, padding="same", name="block1_conv")(inputs)
    two = layers.Conv2D(2, 3, padding="same", name="block2_conv")(one)
    model = keras.Model(inputs, layers.Conv2D(2, 3, name="block3_conv")(one + two))
    assert producer(exit_of(model, "block1")) == "block1_conv"


class Block(layers.Layer):
    """A block as people write it: a convolution, and code."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.conv = layers.Conv2D(4, 3)

    def call(self, images):
        return keras.ops.relu(self.conv(images))


WRAPPED = {
    "own block": Block,
    "spectral": lambda name: layers.SpectralNormalization(layers.Conv2D(4, 3), name=name),
    "nested": lambda name: keras.Sequential([layers.Conv2D(4, 3, name="conv")], name=name),
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_a_convolution_inside_a_layer_makes_it_the_last_block(wrapped):
    images = keras.Input((16, 16, 1))
    x = wrapped(name="last")(layers.Conv2D(4, 3, name="stem")(images))
    model = keras.Model(images, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    assert producer(entrance_of(model, "last_block")) == "stem"
    alone = keras.Model(images, layers.Flatten()(wrapped(name="first")(images)))
    assert entrance_of(alone, "last_block") is alone.inputs[0]


def test_frames_that_a_convolution_sees_one_by_one_are_a_block():
    frames = keras.Input((3, 16, 16, 1))
    x = layers.TimeDistributed(layers.Conv2D(4, 3), name="each")(layers.Rescaling(1.0)(frames))
    model = keras.Model(frames, layers.GlobalAveragePooling3D()(x))
    assert producer(entrance_of(model, "last_block")).startswith("rescaling")


def test_a_path_names_what_lies_at_it_or_the_layer_around_it():
    x = inputs = keras.Input((16, 16, 1))
    for name in ("conv", "base_conv", "top"):
        x = layers.Conv2D(2, 3, name=name)(x)
    x = Block(name="block")(layers.SpectralNormalization(layers.Conv2D(2, 3), name="wrap")(x))
    model = keras.Model(inputs, x)
    paths = ("base/conv", "base/top", "wrap/layer", "outer/wrap/layer")
    found = [producer(exit_of(model, path)) for path in paths]
    assert found == ["base_conv", "top", "wrap", "wrap"]
    assert producer(entrance_of(model, "block/conv")) == "wrap"
    with pytest.raises(ValueError, match=r"layers='block/conv' lies inside 'block', a Block with"):
        exit_of(model, "block/conv")
    with pytest.raises(ValueError, match="trainable_from='no/such' names neither"):
        entrance_of(model, "no/such")


def test_a_network_without_convolution_has_no_last_block():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2, name="head")(inputs), name="flat")
    message = r"'flat' has no convolution, .* one of \['head'\]"
    with pytest.raises(ValueError, match=message):
        entrance_of(model, "last_block")
    with pytest.raises(ValueError, match=r"name a layer \(layers\)"):
        exit_of(model, "last_block")
    assert entrance_of(model, "head") is model.inputs[0]


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
        entrance_of(model, wrong)
    assert offered in str(e.value)


def test_a_block_is_not_taken_for_another_whose_number_begins_alike():
    model = backbones.from_application("MobileNet", (32, 32, 1))
    assert producer(entrance_of(model, "conv_dw_1")) == "conv1_relu"
    x = inputs = keras.Input((8, 8, 1))
    for block in (1, 2, 10):
        x = layers.Conv2D(1, 1, name=f"block{block}_conv")(x)
    assert producer(entrance_of(keras.Model(inputs, x), "block10")) == "block2_conv"
    assert entrance_of(keras.Model(inputs, x), "block1") is inputs
    x = inputs = keras.Input((8, 8, 1))
    for block in ("expanded_conv", "expanded_conv_1", "expanded_conv_2"):
        x = layers.Conv2D(1, 1, name=f"{block}_expand")(x)
        x = layers.ReLU(name=f"{block}_relu")(x)
    for block in ("expanded_conv", "expanded_conv_1"):
        assert producer(exit_of(keras.Model(inputs, x), block)) == f"{block}_relu"


@pytest.mark.parametrize(("block", "expected"), [(1, "rescaling"), (2, "block1_pool")])
def test_the_last_block_of_a_network_that_was_cut_is_the_last_that_stays(block, expected):
    whole = small(backbones.vgg16)
    cut = keras.Model(whole.inputs, exit_of(whole, f"block{block}"))
    assert producer(entrance_of(cut, "last_block")) == expected


def test_the_only_block_is_the_last_where_no_convolution_is_above_it():
    image = keras.Input((4, 4, 1))
    x = layers.Conv2D(4, 2, strides=2, name="patches")(image)
    tokens = layers.Reshape((4, 4), name="tokens")(x)
    x = layers.Dense(4, activation="relu", name="encoder_block_0_dense")(tokens)
    assert entrance_of(keras.Model(image, x), "last_block") is tokens
    x = layers.Conv1D(4, 2, name="conv")(x)
    assert producer(entrance_of(keras.Model(image, x), "last_block")) == "encoder_block_0_dense"


def test_a_block_called_like_its_first_layer_ends_with_its_last():
    x = inputs = keras.Input((8, 8, 1))
    for number in (1, 2):
        x = layers.Conv2D(1, 1, name=f"conv_dw_{number}")(x)
        x = layers.ReLU(name=f"conv_dw_{number}_relu")(x)
    assert producer(exit_of(keras.Model(inputs, x), "conv_dw_1")) == "conv_dw_1_relu"


def test_a_layer_before_a_sum_is_read_itself_by_name_and_by_path():
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(1, 1, name="block1_conv")(x)
    y = layers.Conv2D(1, 1, name="block2_conv")(x)
    model = keras.Model(inputs, layers.Add(name="sum")([x, y]))
    for name in ("block2_conv", "base/block2_conv"):
        assert producer(exit_of(model, name)) == "block2_conv"
    assert producer(exit_of(model, "block2")) == "sum"


def test_what_is_no_graph_or_no_name_is_refused():
    unbuilt = keras.Sequential([layers.Conv2D(1, 1)])
    with pytest.raises(TypeError, match="model is Sequential; expected a functional or built"):
        backbones.block_names(unbuilt)
    with pytest.raises(TypeError, match="trainable_from is int 5; expected the name of a block"):
        entrance_of(unknown_naming(), 5)


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
    assert is_convolution(layer) is expected
