"""The layer is found by itself, or by its name."""

import keras
import numpy as np
import pytest
from keras import layers

from detl import DomainExtensionTransfer, FeatureExtractor, GradCAM, backbones
from detl.networks import copying, graphs
from tests.gradcam.classifiers import (
    Residual,
    called,
    convolutional,
    nested,
    pixels,
    pooled,
    residual,
)


@pytest.mark.parametrize(
    ("build", "layer"),
    [
        (lambda: backbones.alexnet((64, 64, 1), width=0.05), "block5_conv_relu"),
        (lambda: backbones.vgg16((64, 64, 1), width=0.05), "block5_conv3_relu"),
        (lambda: backbones.resnet50((64, 64, 1), width=0.05), "block5_unit3_relu3"),
        # Block 5 has a single pixel here; what is left of its first unit is only a branch.
        (lambda: backbones.resnet50((32, 32, 1), width=0.05), "block4_unit6_relu3"),
    ],
    ids=["alexnet", "vgg16", "resnet50", "resnet50 at its smallest"],
)
def test_the_last_maps_before_pooling_are_found_by_themselves(build, layer):
    assert GradCAM(build()).layer == layer


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("DenseNet121", marks=pytest.mark.slow),
        pytest.param("EfficientNetV2B0", marks=pytest.mark.slow),
        "MobileNetV3Small",
        pytest.param("NASNetMobile", marks=pytest.mark.slow),
        pytest.param("ResNet50V2", marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
    ],
)
def test_in_published_networks_it_is_what_the_global_pooling_reads(name):
    network = backbones.from_application(name, (96, 96, 3))
    *_, pooling = (
        node
        for node in graphs.model_nodes(network)
        if isinstance(node.operation, layers.GlobalAveragePooling2D) and not node.operation.keepdims
    )
    assert GradCAM(network).layer == graphs.layer_of(pooling.input_tensors[0]).name


def test_pooling_dropout_and_padding_at_the_end_are_passed_over():
    model = convolutional(
        layers.BatchNormalization(),
        layers.ReLU(name="activated"),
        layers.SpatialDropout2D(0.5),
        layers.ZeroPadding2D(),
        layers.AveragePooling2D(2),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(2),
    )
    assert GradCAM(model).layer == "activated"


def test_branches_that_never_meet_as_maps_leave_the_last():
    images = keras.Input((8, 8, 1))
    towers = [layers.Conv2D(2, size, name=f"tower{size}")(images) for size in (3, 5)]
    features = layers.Concatenate()([layers.GlobalAveragePooling2D()(x) for x in towers])
    assert GradCAM(keras.Model(images, layers.Dense(2)(features))).layer == "tower5"


def test_an_output_of_a_nested_model_that_nothing_uses_is_no_candidate():
    images = keras.Input((8, 8, 1))
    early = layers.Conv2D(2, 3, name="early")(images)
    base = keras.Model(images, [early, layers.Conv2D(2, 3, name="late")(early)], name="base")
    outer = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D()(base(outer)[0])
    assert GradCAM(keras.Model(outer, layers.Dense(2)(x))).layer == "base/early"


def test_a_layer_of_a_nested_model_is_named_with_or_without_its_path():
    model, images = nested(), pixels()
    assert GradCAM(model, layer="base/conv").layer == "base/conv"
    cam = GradCAM(model, layer="conv")
    assert cam.layer == "base/conv"
    flat = GradCAM(copying.copy_model(model), layer="conv")
    np.testing.assert_allclose(cam.explain(images).raw, flat.explain(images).raw, rtol=1e-5)


def test_the_layers_of_a_subclassed_model_are_named_by_name_attribute_or_path():
    network = residual()
    model = called(Residual(network))
    for name in ("norm", "network_layers/norm", "network_layers.norm"):
        assert GradCAM(model, layer=name).layer == "network_layers/norm"
    with pytest.raises(ValueError, match=r"layer='brunch' is no layer of .*network_layers/branch"):
        GradCAM(model, layer="brunch")


@pytest.mark.parametrize("layer", [[], ["conv", 3], 5])
def test_layers_that_are_no_names_are_refused(layer):
    with pytest.raises((TypeError, ValueError), match=r"layer is (empty|list|int).*expected the"):
        GradCAM(pooled(), layer=layer)


def test_a_model_without_a_convolution_is_refused():
    model = keras.Sequential(
        [layers.Input((4, 4, 1)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)]
    )
    with pytest.raises(ValueError, match="has no convolution, and so no maps"):
        GradCAM(model)


def test_maps_of_a_single_pixel_are_refused():
    model = keras.Sequential(
        [layers.Input((3, 3, 1)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(2)]
    )
    with pytest.raises(ValueError, match=r"maps .* of more than one pixel; use larger images"):
        GradCAM(model)


def test_a_network_of_frames_is_refused_with_what_to_explain():
    frame = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()]
    )
    model = keras.Sequential(
        [
            layers.Input((2, 8, 8, 1)),
            layers.TimeDistributed(frame),
            layers.Flatten(),
            layers.Dense(2),
        ]
    )
    with pytest.raises(ValueError, match=r"the 5 axes of its input; .* network, frame by frame"):
        GradCAM(model)


def test_a_wrong_layer_name_is_answered_by_the_nearest():
    with pytest.raises(ValueError, match=r"layer='brunch' is no layer of .* are 'branch'"):
        GradCAM(residual(), layer="brunch")
    with pytest.raises(ValueError, match=r"layer='\?' is no layer of .* are 'sum', 'unit', 'pool'"):
        GradCAM(residual(), layer="?")
    with pytest.raises(TypeError, match="layer is int -1; expected the name of a layer"):
        GradCAM(residual(), layer=-1)


def test_a_layer_without_maps_is_refused():
    model = convolutional(layers.Flatten(name="flat"), layers.Dense(2))
    with pytest.raises(ValueError, match=r"layer='flat' gives \('n', 36\); Grad-CAM weighs maps"):
        GradCAM(model, layer="flat")


class Block(layers.Layer):
    """A block as people write it: a convolution, and code."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.conv = layers.Conv2D(3, 3)

    def call(self, images):
        return keras.ops.relu(self.conv(images))


def test_convolutions_inside_other_layers_are_found():
    wrapped = layers.SpectralNormalization(layers.Conv2D(3, 3), name="wrapped")
    head = (layers.GlobalAveragePooling2D(), layers.Dense(2))
    for last, path in ((Block(name="block"), "block"), (wrapped, "wrapped/layer")):
        assert GradCAM(keras.Sequential([layers.Input((8, 8, 1)), last, *head])).layer == path
    frames = keras.Input((3, 8, 8, 1))
    x = layers.TimeDistributed(layers.Conv2D(3, 3), name="each")(frames)
    x = layers.Dense(2)(layers.GlobalAveragePooling3D()(x))
    assert GradCAM(keras.Model(frames, x)).layer == "each"


def test_maps_of_attention_heads_are_no_maps_of_the_image():
    images = keras.Input((8, 8, 1))
    x = layers.Reshape((36, 3))(layers.Conv2D(3, 3, name="conv")(images))
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.Dense(2)(layers.GlobalAveragePooling1D()(x))
    assert GradCAM(keras.Model(images, x)).layer == "conv"


def test_a_layer_called_once_per_crop_is_not_taken_for_maps_of_the_image():
    images = keras.Input((8, 8, 1))
    conv, pool = layers.Conv2D(3, 3, name="conv"), layers.GlobalAveragePooling2D()
    crops = [layers.Cropping2D(((0, 0), sides))(images) for sides in ((0, 4), (4, 0))]
    x = layers.Dense(2)(layers.Concatenate()([pool(conv(crop)) for crop in crops]))
    with pytest.raises(ValueError, match=r"calls 'conv' 2 times side by side, such as once per cr"):
        GradCAM(keras.Model(images, x))


class Parts(keras.Model):
    """A model whose own code computes with a few layers."""

    def __init__(self, compute):
        super().__init__()
        self.conv, self.pool = layers.Conv2D(1, 3, padding="same"), layers.GlobalAveragePooling2D()
        self.relu, self.join, self.head = layers.ReLU(), layers.Concatenate(), layers.Dense(2)
        self.base = keras.Sequential([layers.Input((8, 4, 1)), layers.Conv2D(1, 3), layers.ReLU()])
        self.compute = compute

    def build(self, shape):
        """Leave it to each layer, where it is called: not all of them are."""

    def call(self, images):
        return self.head(self.compute(self, images))


def halves(images):
    return images[:, :, :4], images[:, :, 4:]


SIDE_BY_SIDE = {
    "crops": lambda m, x: m.join([m.pool(m.conv(half)) for half in halves(x)]),
    "tiles": lambda m, x: sum(m.pool(keras.ops.relu(m.conv(half))) for half in halves(x)),
    "a model per crop": lambda m, x: m.join([m.pool(m.base(half)) for half in halves(x)]),
    "mirrored": lambda m, x: m.pool(m.conv(x)) + m.pool(m.conv(keras.ops.flip(x, axis=2))),
    "parts of maps": lambda m, x: sum(m.pool(half) for half in halves(m.conv(x))),
}


@pytest.mark.parametrize("compute", SIDE_BY_SIDE.values(), ids=SIDE_BY_SIDE)
def test_a_subclassed_model_of_crops_is_refused(compute):
    with pytest.raises(ValueError, match=r"calls '(conv|base|pool)' 2 times side by side, such as"):
        GradCAM(called(Parts(compute), pixels(1).astype("float32")))


@pytest.mark.parametrize(
    "compute",
    [
        lambda m, x: m.pool(m.conv(keras.ops.concatenate(halves(x), axis=0)))[:1],
        lambda m, x: keras.ops.mean(m.conv(keras.ops.reshape(x, (-1, 4, 8, 1))), axis=(1, 2)),
    ],
    ids=["stacked", "reshaped"],
)
def test_crops_in_the_place_of_images_are_refused(compute):
    with pytest.raises(ValueError, match=r"one per image .* or one of a single tile or frame"):
        GradCAM(called(Parts(compute), pixels(1).astype("float32")))


def test_tiles_that_a_graph_puts_in_the_place_of_images_are_refused():
    images = keras.Input((8, 8, 1))
    x = layers.Conv2D(2, 3)(keras.ops.reshape(images, (-1, 4, 8, 1)))
    x = keras.ops.reshape(layers.GlobalAveragePooling2D()(x), (-1, 4))
    with pytest.raises(ValueError, match="one per image"):
        GradCAM(keras.Model(images, layers.Dense(2)(x)))


@pytest.mark.parametrize(
    ("compute", "layer"),
    [
        (lambda m, x: m.pool(m.conv(keras.ops.relu(m.conv(x)))), "conv"),
        (lambda m, x: m.pool(m.relu(m.relu(m.conv(x) + 1) + 2)), "relu"),
    ],
    ids=["convolution", "activation"],
)
@pytest.mark.parametrize("bias", [0.0, -1000.0])  # of which a ReLU leaves nothing
def test_a_layer_that_is_called_on_what_code_made_of_its_maps_is_explained(compute, layer, bias):
    model = called(Parts(compute), pixels(1).astype("float32"))
    model.conv.bias.assign([bias])
    assert GradCAM(model).layer == layer


def test_every_path_that_is_printed_is_understood():
    outer = keras.Input((8, 8, 1))
    x = nested_base()(layers.Conv2D(2, 3, padding="same", name="conv")(outer))
    model = keras.Model(outer, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    for path in ("conv", "base/conv"):  # the first is also the end of the second
        assert GradCAM(model, layer=path).layer == path
    assert GradCAM(model, layer="base").layer == "base"  # what the nested model gives
    subclassed = called(Residual(residual()))
    printed = GradCAM(subclassed).layer
    assert printed.endswith("/pool (input)")
    assert GradCAM(subclassed, layer=printed).layer == printed


def test_a_path_that_is_printed_also_names_where_training_begins_and_what_is_read():
    images = keras.Input((8, 8, 2))
    x = nested_base()(layers.Conv2D(2, 3, padding="same", name="conv")(images))
    model = keras.Model(images, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    path, given = GradCAM(model).layer, pixels(4, (8, 8, 2))
    assert path == "base/conv"
    transfer = DomainExtensionTransfer(model, trainable_from=path, epochs=1, random_state=0)
    assert transfer.fit(given, ["a", "b"] * 2).trained_layers_ == ["base_conv", "logits"]
    features = keras.Model(images, model.layers[-1].input)(given)
    found = FeatureExtractor(model, layers=path).fit_transform(given)
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(features), rtol=1e-5)


def nested_base():
    return keras.Sequential(
        [layers.Input((8, 8, 2)), layers.Conv2D(3, 3, name="conv")], name="base"
    )


def test_the_path_of_a_layer_in_a_subclassed_model_is_its_attribute():
    class ByAttribute(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv, self.head = layers.Conv2D(2, 3), layers.Dense(2)

        def call(self, images):
            return self.head(keras.ops.mean(self.conv(images / 255), axis=(1, 2)))

    assert GradCAM(called(ByAttribute())).layer == "conv"
