"""Heatmaps are what eq. 1 and 2 say, for every form a classifier may have."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from detl import GradCAM, backbones
from detl.networks import copying, graphs
from detl.pretraining.source import SourceModel

OTHER_BACKENDS = sorted({"tensorflow", "jax", "torch"} - {keras.backend.backend()})


def pixels(n=3, shape=(8, 8, 1), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype("uint8")


def randomize(model, seed=0):
    """Give every weight a random value, batch statistics included."""
    generator = np.random.default_rng(seed)
    model.set_weights(
        [
            generator.uniform(0.5, 1.5, w.shape)
            if "variance" in w.path
            else generator.normal(0, 0.5, w.shape)
            for w in model.weights
        ]
    )
    return model


def convolutional(*head, shape=(8, 8, 1), dtype=None, name="classifier"):
    """Build a Sequential classifier: one convolution, then the head."""
    return randomize(
        keras.Sequential(
            [
                layers.Input(shape),
                layers.Rescaling(1 / 255, dtype=dtype),
                layers.Conv2D(4, 3, strides=2, activation="gelu", name="conv", dtype=dtype),
                *head,
            ],
            name=name,
        )
    )


def pooled(units=3, activation=None, **settings):
    return convolutional(
        layers.GlobalAveragePooling2D(),
        layers.Dense(units, activation=activation, dtype=settings.get("dtype")),
        **settings,
    )


def residual():
    x = images = keras.Input((8, 8, 1))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(3, 3, padding="same", activation="gelu", name="stem")(x)
    y = layers.Conv2D(3, 3, padding="same", name="branch")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Activation("gelu", name="activated")(y)
    x = layers.Add(name="sum")([x, y])
    x = layers.Activation("gelu", name="unit")(x)
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.Dense(5, activation="gelu")(layers.Flatten()(x))
    return randomize(keras.Model(images, layers.Dense(3, activation="softmax")(x)))


def nested(base_shape=(8, 8, 1)):
    """Build the usual form of transfer learning: a base model called like a layer."""
    base = keras.Sequential(
        [
            layers.Input(base_shape),
            layers.Conv2D(3, 3, activation="gelu", name="conv"),
            layers.Conv2D(4, 3, activation="gelu", name="top"),
        ],
        name="base",
    )
    images = keras.Input((8, 8, 1))
    x = base(layers.Rescaling(1 / 255)(images))
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.5)(x))
    x = layers.Dense(4, activation="tanh")(x)
    return randomize(keras.Model(images, layers.Dense(3, activation="softmax")(x)))


def maps_of(model, layer, images):
    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    return keras.ops.convert_to_numpy(part(images))


def last_kernel(model):
    return model.layers[-1].get_weights()[0]


def state_of(model):
    """Collect everything of a model that a caller may look at."""
    return {
        "weights": [w.copy() for w in model.get_weights()],
        "trainable": [layer.trainable for layer in model._flatten_layers()],
        "policies": [layer.dtype_policy.name for layer in model._flatten_layers()],
        "activations": [getattr(layer, "activation", None) for layer in model._flatten_layers()],
        "calls": [len(layer._inbound_nodes) for layer in model._flatten_layers()],
        "policy": keras.config.dtype_policy().name,
        "training_config": model.compiled,
    }


# -------------------------------------------------------------------------------- the formula


def test_a_linear_head_on_pooled_features_has_its_closed_form():
    model, images = pooled(), pixels()
    found = GradCAM(model).explain(images, class_index=1)
    maps = maps_of(model, "conv", images)
    # The logit is the mean over the 9 pixels of the maps times the kernel.
    np.testing.assert_allclose(found.raw, maps @ last_kernel(model)[:, 1] / 9, rtol=1e-4)
    np.testing.assert_allclose(found.scores, keras.ops.convert_to_numpy(model(images))[:, 1])


def test_a_linear_head_on_flattened_features_has_its_closed_form():
    model, images = convolutional(layers.Flatten(), layers.Dense(3)), pixels()
    found = GradCAM(model).explain(images, class_index=2)
    channel_weights = last_kernel(model)[:, 2].reshape(9, 4).mean(axis=0)
    maps = maps_of(model, "conv", images)
    np.testing.assert_allclose(found.raw, maps @ channel_weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", ["stem", "branch", "sum", "unit"])
def test_channel_weights_agree_with_finite_differences_inside_a_residual_unit(layer):
    model, images = residual(), pixels(2)
    found = GradCAM(model, layer=layer).explain(images, class_index=1)

    # A number added to all Z = 64 pixels of a map raises the logit by Z times its channel weight.
    logits = keras.Model(model.inputs[0], model.layers[-2].output)
    kernel, step = last_kernel(model)[:, 1].astype(float), 1e-2
    shifted, channel_weights = model.get_layer(layer), np.empty((2, 3))
    compute = shifted.call
    for channel, shift in enumerate(step * np.eye(3, dtype="float32")):
        values = []
        for sign in (1, -1):
            shifted.call = lambda x, bias=sign * shift: compute(x) + keras.ops.array(bias)
            values.append(keras.ops.convert_to_numpy(logits(images)) @ kernel)
        channel_weights[:, channel] = (values[0] - values[1]) / (2 * step) / 64
    shifted.call = compute

    expected = np.einsum("nhwc,nc->nhw", maps_of(model, layer, images), channel_weights)
    np.testing.assert_allclose(found.raw, expected, atol=1e-2 * np.abs(expected).max())


def test_a_heatmap_is_the_positive_part_resized_with_pixels_aligned_at_their_centres():
    model = keras.Sequential(
        [
            layers.Input((4, 4, 1)),
            layers.Rescaling(1, offset=-100),
            layers.AveragePooling2D(2),
            layers.Conv2D(1, 1, use_bias=False),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2, use_bias=False),
        ]
    )
    model.set_weights([np.ones((1, 1, 1, 1)), np.array([[4.0, 0]])])
    images = np.full((1, 4, 4, 1), 100)
    images[0, :2, :2] = 0
    images[0, 2:, 2:] = 255
    found = GradCAM(model).explain(images, class_index=0)
    np.testing.assert_allclose(found.raw[0], [[-100, 0], [0, 155]], rtol=1e-6)
    along = [0, 0.25, 0.75, 1]  # share of the second pixel at the centres of four
    np.testing.assert_allclose(found.heatmaps[0], np.outer(along, along), rtol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8, 1), (11, 17, 1), (23, 9, 3)])
def test_heatmaps_agree_with_the_bilinear_resizing_of_keras(shape):
    found = GradCAM(pooled(shape=shape)).explain(pixels(shape=shape), class_index=0)
    resized = keras.ops.convert_to_numpy(
        keras.ops.image.resize(
            np.maximum(found.raw, 0)[..., np.newaxis],
            shape[:2],
            interpolation="bilinear",
            data_format="channels_last",
        )
    )[..., 0]
    assert found.heatmaps.shape == (3, *shape[:2])
    expected = resized / resized.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.heatmaps, expected, rtol=1e-5, atol=1e-6)


def test_heatmaps_are_float32_between_zero_and_one_and_reach_one():
    heatmaps = GradCAM(residual())(pixels(8))
    assert heatmaps.dtype == np.float32
    assert heatmaps.min() >= 0
    np.testing.assert_array_equal(heatmaps.max(axis=(1, 2)), 1)


def test_calling_gives_the_heatmaps_of_explain():
    cam, images = GradCAM(residual()), pixels()
    np.testing.assert_array_equal(cam(images, 2), cam.explain(images, class_index=2).heatmaps)


@pytest.mark.parametrize("factor", [1e-35, 1e-10, 1e10])
def test_the_scale_of_the_maps_does_not_matter(factor):
    model, images = pooled(), pixels()
    before = GradCAM(model).explain(images, class_index=1)
    model.layers[-1].kernel.assign(last_kernel(model) * factor)
    after = GradCAM(model).explain(images, class_index=1)
    np.testing.assert_allclose(after.raw, before.raw * factor, rtol=1e-4)
    np.testing.assert_allclose(after.heatmaps, before.heatmaps, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------------------------- the score

SQUASHED = {
    "dense softmax": lambda: [layers.Dense(3, activation="softmax")],
    "dense sigmoid": lambda: [layers.Dense(3, activation="sigmoid")],
    "dense log_softmax": lambda: [layers.Dense(3, activation="log_softmax")],
    "layer as activation": lambda: [layers.Dense(3, activation=layers.Softmax())],
    "Softmax layer": lambda: [layers.Dense(3), layers.Softmax()],
    "Activation layer": lambda: [layers.Dense(3), layers.Activation("sigmoid")],
    "float32 on top": lambda: [layers.Dense(3), layers.Activation("softmax", dtype="float32")],
    "nested": lambda: [
        keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="softmax")])
    ],
}


@pytest.mark.parametrize("last", SQUASHED.values(), ids=SQUASHED)
def test_a_final_softmax_or_sigmoid_is_passed_over(last):
    model = convolutional(layers.GlobalAveragePooling2D(), *last())
    logits = pooled()
    logits.set_weights(model.get_weights())
    images = pixels()
    found, expected = (GradCAM(m).explain(images, class_index=[0, 1, 2]) for m in (model, logits))
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-5)


@pytest.mark.parametrize("function", [keras.ops.softmax, keras.activations.sigmoid])
def test_a_final_operation_without_a_layer_is_passed_over(function):
    logits = pooled()
    model = keras.Model(logits.inputs[0], function(logits.outputs[0]))
    images = pixels()
    found, expected = (GradCAM(m).explain(images, class_index=1) for m in (model, logits))
    np.testing.assert_array_equal(found.raw, expected.raw)


def test_a_softmax_that_is_not_the_last_layer_stays():
    model = convolutional(
        layers.GlobalAveragePooling2D(), layers.Dense(4, activation="softmax"), layers.Dense(2)
    )
    found = GradCAM(model).explain(pixels(), class_index=1)
    np.testing.assert_allclose(found.scores, keras.ops.convert_to_numpy(model(pixels()))[:, 1])


def test_a_saturated_softmax_gives_the_heatmap_of_its_logits():
    model, images = pooled(activation="softmax"), pixels()
    calm = GradCAM(model)(images, class_index=1)
    model.layers[-1].set_weights([w * 1e4 for w in model.layers[-1].get_weights()])
    probabilities = keras.ops.convert_to_numpy(model(images))
    assert set(np.unique(probabilities)) == {0, 1}
    saturated = GradCAM(model).explain(images, class_index=1)
    assert not saturated.blank.any()
    np.testing.assert_allclose(saturated.heatmaps, calm, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_unit_speaks_for_class_1_and_its_negative_for_class_0(activation):
    model, images = pooled(1, activation), pixels(8)
    cam = GradCAM(model)
    no, yes = (cam.explain(images, class_index=index) for index in (0, 1))
    np.testing.assert_array_equal(no.raw, -yes.raw)
    np.testing.assert_array_equal(no.scores, -yes.scores)
    maps = maps_of(model, "conv", images)
    np.testing.assert_allclose(yes.raw, maps @ last_kernel(model)[:, 0] / 9, rtol=1e-4)

    bias = model.layers[-1].bias  # puts half of the images on either side
    bias.assign(keras.ops.convert_to_numpy(bias) - np.median(yes.scores))
    predicted = cam.explain(images)
    assert predicted.class_indices.tolist() == (yes.scores > np.median(yes.scores)).tolist()
    assert (predicted.scores > 0).all()


def test_without_a_class_the_predicted_one_of_each_image_is_explained():
    model, images = residual(), pixels(16, seed=1)
    model.layers[-1].bias.assign(np.zeros(3))
    predicted = keras.ops.convert_to_numpy(model(images)).argmax(axis=1)
    assert len(set(predicted)) > 1
    found = GradCAM(model).explain(images)
    np.testing.assert_array_equal(found.class_indices, predicted)
    expected = GradCAM(model).explain(images, class_index=predicted)
    np.testing.assert_array_equal(found.raw, expected.raw)


def test_one_class_for_all_and_one_per_image_agree():
    cam, images = GradCAM(residual()), pixels(3)
    each = cam.explain(images, class_index=[2, 0, 2])
    np.testing.assert_array_equal(each.raw[[0, 2]], cam.explain(images, 2).raw[[0, 2]])
    np.testing.assert_array_equal(each.raw[1], cam.explain(images, np.uint8(0)).raw[1])
    assert each.class_indices.tolist() == [2, 0, 2]


# ---------------------------------------------------------------------------------- blank maps


def test_where_nothing_speaks_for_the_class_the_heatmap_is_blank_and_zero():
    model = keras.Sequential(
        [
            layers.Input((4, 4, 1)),
            layers.Conv2D(1, 1, use_bias=False, name="conv"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, use_bias=False),
        ]
    )
    model.set_weights([np.ones((1, 1, 1, 1)), np.array([[1.0, -1, 0]])])
    images = np.stack([np.full((4, 4, 1), 7), np.zeros((4, 4, 1))]).astype("uint8")
    found = GradCAM(model).explain(np.repeat(images, 3, axis=0), class_index=[0, 1, 2, 0, 1, 2])
    assert found.blank.tolist() == [False, True, True, True, True, True]
    np.testing.assert_array_equal(found.heatmaps[0], 1)
    np.testing.assert_array_equal(found.heatmaps[1:], 0)
    np.testing.assert_allclose(found.raw[:3, 0, 0], [7 / 16, -7 / 16, 0])  # signs stay


# ----------------------------------------------------------------------------------- the batch


def test_a_heatmap_does_not_depend_on_what_else_is_in_the_batch():
    model, images = residual(), pixels(7)
    together = GradCAM(model).explain(images)
    for batch_size in (1, 3):
        apart = GradCAM(model, batch_size=batch_size).explain(images)
        np.testing.assert_allclose(apart.raw, together.raw, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(apart.scores, together.scores, rtol=1e-5)
        np.testing.assert_array_equal(apart.class_indices, together.class_indices)
    backwards = GradCAM(model).explain(images[::-1])
    np.testing.assert_allclose(backwards.raw[::-1], together.raw, rtol=1e-4, atol=1e-7)


def test_images_may_be_floats_or_a_memory_map(tmp_path):
    cam, images = GradCAM(pooled()), pixels(5)
    expected = cam(images)
    np.testing.assert_array_equal(cam(images.astype("float64")), expected)
    np.save(tmp_path / "images.npy", images)
    np.testing.assert_array_equal(cam(np.load(tmp_path / "images.npy", mmap_mode="r")), expected)


@pytest.mark.parametrize(("scale", "offset"), [(255, 0), (127.5, 1)])
def test_a_model_of_another_scale_is_explained_without_a_warning(scale, offset):
    model, images = pooled(), pixels()
    x = raw = keras.Input((8, 8, 1))
    x = layers.Rescaling(scale, offset=scale * offset)(x)
    for layer in model.layers:
        x = layer(x)
    found = GradCAM(keras.Model(raw, x)).explain(images / scale - offset)
    expected = GradCAM(model).explain(images)
    np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-4, atol=1e-6)


def test_images_may_have_any_size_where_the_model_takes_it():
    cam = GradCAM(pooled(shape=(None, None, 1)))
    for size in ((8, 8), (20, 13)):
        heatmaps = cam(pixels(2, shape=(*size, 1)))
        assert heatmaps.shape == (2, *size)
        assert heatmaps.max() == 1


# ----------------------------------------------------------------------------------- the layer


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


def test_a_nested_model_is_explained_like_its_flat_copy():
    model, images = nested(), pixels()
    found = GradCAM(model).explain(images)
    assert found.layer == "base/top"
    flat = GradCAM(copying.copy_model(model)).explain(images)
    np.testing.assert_allclose(found.raw, flat.raw, rtol=1e-5)
    np.testing.assert_allclose(found.scores, flat.scores, rtol=1e-5)


@pytest.mark.parametrize("name", ["base/conv", "conv"])
def test_a_layer_of_a_nested_model_is_named_with_or_without_its_path(name):
    model, images = nested(), pixels()
    cam = GradCAM(model, layer=name)
    assert cam.layer == "base/conv"
    flat = GradCAM(copying.copy_model(model), layer="conv")
    np.testing.assert_allclose(cam.explain(images).raw, flat.explain(images).raw, rtol=1e-5)


def test_a_model_nested_twice_computes_two_different_things():
    base = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(1, 3, padding="same", name="conv")], name="base"
    )
    images = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D()(base(base(layers.Rescaling(1 / 255)(images))))
    model = randomize(keras.Model(images, layers.Dense(2)(x)))
    found = GradCAM(model).explain(pixels(), class_index=0)
    twice = base(base(pixels() / 255))
    expected = keras.ops.convert_to_numpy(twice)[..., 0] * last_kernel(model)[0, 0] / 64
    np.testing.assert_allclose(found.raw, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"'conv' is called 2 times.*'base/conv', 'base/conv'"):
        GradCAM(model, layer="conv")


# ------------------------------------------------------------------------------ the caller's model


def test_the_model_is_left_as_it_was():
    model = nested()
    model.get_layer("base").trainable = False
    before = state_of(model)
    probabilities = keras.ops.convert_to_numpy(model(pixels()))
    GradCAM(model).explain(pixels())
    GradCAM(model, layer="conv").explain(pixels(), class_index=1)
    after = state_of(model)
    np.testing.assert_equal(after, before)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model(pixels())), probabilities)


def test_the_model_is_left_as_it_was_after_an_exception():
    class Breaks(layers.Layer):
        broken = True

        def call(self, inputs):
            if self.broken and not isinstance(inputs, keras.KerasTensor) and len(steps) == 1:
                raise RuntimeError("in the middle")
            return inputs

    steps = []
    model = convolutional(Breaks(name="breaks"), layers.Flatten(), layers.Dense(2, "softmax"))
    before = state_of(model)
    cam = GradCAM(model)
    steps.append("explaining")
    with pytest.raises(RuntimeError, match="in the middle"):
        cam(pixels())
    np.testing.assert_equal(state_of(model), before)
    Breaks.broken = False
    assert cam(pixels()).max() == 1


def test_heatmaps_follow_the_weights_of_the_model():
    for model in (pooled(), nested()):
        cam, images = GradCAM(model), pixels()
        before = cam.explain(images, class_index=0)
        randomize(model, seed=1)
        after = cam.explain(images, class_index=0)
        assert np.abs(after.raw - before.raw).max() > 1e-3
        np.testing.assert_allclose(
            after.raw, GradCAM(model).explain(images, class_index=0).raw, rtol=1e-5
        )


def test_frozen_layers_are_explained_alike():
    model, images = residual(), pixels()
    expected = GradCAM(model).explain(images)
    model.trainable = False
    np.testing.assert_allclose(GradCAM(model).explain(images).raw, expected.raw, rtol=1e-5)


def test_dropout_is_off_even_where_the_model_asks_for_it():
    images = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3)(images)
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.9)(x, training=True))
    model = randomize(keras.Model(images, layers.Dense(2)(x)))
    cam = GradCAM(model)
    np.testing.assert_array_equal(cam(pixels()), cam(pixels()))


def test_a_model_of_mixed_precision_gives_float32_maps():
    images = pixels()
    single, mixed = (
        convolutional(
            layers.GlobalAveragePooling2D(dtype=dtype), layers.Dense(3, dtype=dtype), dtype=dtype
        )
        for dtype in ("float32", "mixed_bfloat16")
    )
    expected, found = (GradCAM(m).explain(images, class_index=1) for m in (single, mixed))
    assert {found.raw.dtype, found.heatmaps.dtype, found.scores.dtype} == {np.dtype("float32")}
    np.testing.assert_allclose(found.raw, expected.raw, atol=2e-2 * np.abs(expected.raw).max())


def test_a_source_model_and_a_fitted_transfer_stand_for_their_models():
    model, images = pooled(activation="softmax"), pixels()
    source = SourceModel(model=model, classes=np.arange(3), history={}, best_epoch=0)
    fitted = SimpleNamespace(model_=model, source=source, fit=None)
    expected = GradCAM(model)(images)
    np.testing.assert_array_equal(GradCAM(source)(images), expected)
    np.testing.assert_array_equal(GradCAM(fitted)(images), expected)


def test_an_explanation_cannot_be_changed():
    found = GradCAM(pooled()).explain(pixels())
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.layer = "another"


# ---------------------------------------------------------------------------- subclassed models


class Plain(keras.Model):
    """A subclassed model that calls given layers one after the other."""

    def __init__(self, parts, **settings):
        super().__init__(**settings)
        self.parts = list(parts)

    def call(self, images):
        for part in self.parts:
            images = part(images)
        return images


class Residual(keras.Model):
    """The layers of residual(), called by hand: the sum belongs to no layer."""

    def __init__(self, network):
        super().__init__()
        self.network_layers = {layer.name: layer for layer in network.layers}
        self.head = [layer for layer in network.layers if isinstance(layer, layers.Dense)]

    def call(self, images):
        part = self.network_layers
        x = part["stem"](images / 255)
        y = part["activated"](part["norm"](part["branch"](x)))
        x = keras.activations.gelu(x + y)
        x = part["pool"](x)
        x = keras.ops.reshape(x, (-1, 48))
        return self.head[1](self.head[0](x)) * 1  # the layer's softmax is not the last operation


def called(model, images=None):
    model(pixels(1) if images is None else images)
    return model


def test_a_subclassed_model_is_explained_like_the_graph_of_its_layers():
    network, images = pooled(activation="softmax"), pixels()
    expected = GradCAM(network).explain(images)
    cam = GradCAM(called(Plain(network.layers)))
    assert cam.layer == "parts/1"
    found = cam.explain(images)
    np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    np.testing.assert_array_equal(found.class_indices, expected.class_indices)


def test_maps_that_a_subclassed_model_adds_up_itself_are_what_the_next_layer_reads(caplog):
    network, images = residual(), pixels()
    with caplog.at_level("INFO", logger="detl"):
        cam = GradCAM(called(Residual(network)))
    assert "explains that output, as no softmax or sigmoid in it can be seen" in caplog.text
    assert cam.layer.endswith("/pool (input)")
    # A softmax before the last operation stays: the score is a probability.
    probabilities = keras.ops.convert_to_numpy(network(images))
    found = cam.explain(images, class_index=1)
    np.testing.assert_allclose(found.scores, probabilities[:, 1], rtol=1e-5)
    logits = GradCAM(network, layer="unit").explain(
        images, class_index=lambda logits: keras.ops.softmax(logits)[:, 1]
    )
    np.testing.assert_allclose(found.raw, logits.raw, rtol=1e-4, atol=1e-7)


def test_a_subclassed_model_nested_in_a_graph_is_explained_like_the_flat_one():
    flat = pooled(activation="softmax")
    images = keras.Input((8, 8, 1))
    x = Plain(flat.layers[:2], name="base")(images)
    for layer in flat.layers[2:]:
        x = layer(x)
    cam = GradCAM(keras.Model(images, x))
    assert cam.layer == "base/parts/1"
    np.testing.assert_allclose(
        cam.explain(pixels()).raw, GradCAM(flat).explain(pixels()).raw, rtol=1e-5, atol=1e-7
    )
    assert GradCAM(keras.Model(images, x), layer="parts/1").layer == "base/parts/1"


def test_a_graph_nested_in_a_subclassed_model_is_explained_like_the_flat_one():
    model, images = nested(), pixels()
    cam = GradCAM(called(Plain(model.layers[1:])))
    assert cam.layer == "parts/1/top"
    np.testing.assert_allclose(
        cam.explain(images, 1).raw, GradCAM(model).explain(images, 1).raw, rtol=1e-5, atol=1e-7
    )


def test_the_layers_of_a_subclassed_model_are_named_by_name_attribute_or_path():
    network = residual()
    model = called(Residual(network))
    for name in ("norm", "network_layers/norm", "network_layers.norm"):
        assert GradCAM(model, layer=name).layer == "network_layers/norm"
    with pytest.raises(ValueError, match=r"layer='brunch' is no layer of .*network_layers/branch"):
        GradCAM(model, layer="brunch")


def test_a_layer_called_twice_counts_where_it_is_called_last_and_is_refused_by_name():
    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(1, 3, padding="same")
            self.head = layers.Dense(2)

        def call(self, images):
            maps = self.conv(self.conv(images / 255))
            return self.head(keras.ops.mean(maps, axis=(1, 2)))

    model = randomize(called(Twice()))
    maps = keras.ops.convert_to_numpy(model.conv(model.conv(pixels() / 255)))[..., 0]
    expected = maps * model.head.get_weights()[0][0, 0] / 64
    found = GradCAM(model).explain(pixels(), class_index=0)
    np.testing.assert_allclose(found.raw, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="layer='conv' is called 2 times"):
        GradCAM(model, layer="conv")


def test_a_subclassed_model_is_left_as_it_was_also_after_an_exception():
    class Breaks(layers.Layer):
        broken = False

        def call(self, inputs):
            if Breaks.broken:
                raise RuntimeError("in the middle")
            return inputs

    network = convolutional(Breaks(), layers.GlobalAveragePooling2D(), layers.Dense(2, "softmax"))
    model = called(Plain(network.layers))
    before = state_of(model)
    attributes = [set(vars(layer)) for layer in model._flatten_layers()]
    cam = GradCAM(model)
    Breaks.broken = True
    with pytest.raises(RuntimeError, match="in the middle"):
        cam(pixels())
    Breaks.broken = False
    assert cam(pixels()).max() == 1
    np.testing.assert_equal(state_of(model), before)
    assert [set(vars(layer)) for layer in model._flatten_layers()] == attributes
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


def test_a_subclassed_model_whose_size_is_open_takes_images_of_any_size():
    network = pooled()
    model = called(Plain(network.layers))
    cam = GradCAM(model)
    assert cam(pixels(2, (12, 10, 1))).shape == (2, 12, 10)
    np.testing.assert_allclose(cam(pixels()), GradCAM(network)(pixels()), rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------- other inputs, other axes


def with_metadata(structure):
    """Build a model of images and two numbers per patient, given in that structure."""
    images, ages = keras.Input((8, 8, 1), name="images"), keras.Input((2,), name="ages")
    x = layers.Conv2D(4, 3, activation="gelu", name="conv")(layers.Rescaling(1 / 255)(images))
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), ages])
    x = layers.Dense(6, activation="tanh")(x)
    outputs = layers.Dense(3, activation="softmax")(x)
    return randomize(keras.Model(structure(images, ages), outputs))


AGES = np.random.default_rng(7).normal(size=(3, 2)).astype("float32")


@pytest.mark.parametrize(
    "structure",
    [
        lambda images, ages: [images, ages],
        lambda images, ages: [ages, images],
        lambda images, ages: {"images": images, "ages": ages},
    ],
    ids=["images first", "images last", "by name"],
)
def test_a_model_of_several_inputs_is_explained_by_its_images(structure):
    model, images = with_metadata(structure), pixels()
    found = GradCAM(model).explain(structure(images, AGES), class_index=1)
    for row in range(3):  # the same numbers for all, as part of the model
        single = keras.Input((8, 8, 1))
        numbers = layers.Lambda(lambda x, row=row: keras.ops.ones_like(x[:, 0, 0]) * AGES[row])
        fixed = keras.Model(single, model(structure(single, numbers(single))))
        expected = GradCAM(fixed).explain(images[row : row + 1], class_index=1)
        np.testing.assert_allclose(found.raw[row], expected.raw[0], rtol=1e-4, atol=1e-7)


def test_a_subclassed_model_of_several_inputs_is_explained_like_its_graph():
    network = with_metadata(lambda images, ages: {"images": images, "ages": ages})

    class ByHand(keras.Model):
        def __init__(self):
            super().__init__()
            self.layers_by_name = {layer.name: layer for layer in network.layers}
            self.dense = [layer for layer in network.layers if isinstance(layer, layers.Dense)]

        def call(self, given):
            maps = self.layers_by_name["conv"](given["images"] / 255)
            pooled = keras.ops.mean(maps, axis=(1, 2))
            x = keras.ops.concatenate([pooled, given["ages"]], axis=-1)
            return self.dense[1](self.dense[0](x))

    given = {"images": pixels(), "ages": AGES}
    model = called(ByHand(), given)
    np.testing.assert_allclose(
        GradCAM(model)(given, 1), GradCAM(network)(given, 1), rtol=1e-4, atol=1e-6
    )


def test_inputs_that_do_not_fit_are_refused():
    cam = GradCAM(with_metadata(lambda images, ages: {"images": images, "ages": ages}))
    with pytest.raises(
        ValueError, match=r"has the keys \['images'\]; the model takes \['ages', 'i"
    ):
        cam({"images": pixels()})
    with pytest.raises(ValueError, match="input 'ages' has 2 rows for 3 images"):
        cam({"images": pixels(), "ages": AGES[:2]})
    with pytest.raises(ValueError, match=r"input 'ages' has shape \(3, 3\), but the model takes"):
        cam({"images": pixels(), "ages": np.zeros((3, 3))})
    with pytest.raises(ValueError, match="input 'ages' contains NaN"):
        cam({"images": pixels(), "ages": AGES * np.nan})
    with pytest.raises(TypeError, match="input 'ages' has dtype <U3; expected numbers"):
        cam({"images": pixels(), "ages": np.array([["old", "sex"]] * 3)})
    with pytest.raises(ValueError, match=r"images is ndarray for a model of the 2 inputs"):
        cam(pixels())


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_signals_images_and_volumes_have_the_same_closed_form(rank):
    shape = (9, 8, 7)[:rank]
    convolution = {1: layers.Conv1D, 2: layers.Conv2D, 3: layers.Conv3D}[rank]
    pooling = {
        1: layers.GlobalAveragePooling1D,
        2: layers.GlobalAveragePooling2D,
        3: layers.GlobalAveragePooling3D,
    }[rank]
    model = keras.Sequential(
        [
            layers.Input((*shape, 2)),
            convolution(4, 3, activation="tanh", name="conv"),
            pooling(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    randomize(model)
    signals = np.random.default_rng(1).normal(size=(2, *shape, 2)).astype("float32")
    found = GradCAM(model).explain(signals, class_index=2)
    maps = maps_of(model, "conv", signals)
    expected = maps @ last_kernel(model)[:, 2] / np.prod(maps.shape[1:-1])
    np.testing.assert_allclose(found.raw, expected, rtol=1e-4, atol=1e-6)
    assert found.heatmaps.shape == (2, *shape)
    assert found.heatmaps.max() == 1


@pytest.mark.parametrize("subclassed", [False, True], ids=["graph", "subclassed"])
def test_channels_first_is_explained_like_channels_last(subclassed):
    def build(data_format):
        last = data_format == "channels_last"
        model = keras.Sequential(
            [
                layers.Input((8, 7, 2) if last else (2, 8, 7)),
                layers.Conv2D(4, 3, activation="gelu", data_format=data_format),
                layers.BatchNormalization(axis=-1 if last else 1),
                layers.ReLU(name="maps"),
                layers.MaxPooling2D(2, data_format=data_format),
                layers.GlobalAveragePooling2D(data_format=data_format),
                layers.Dense(3, activation="softmax"),
            ]
        )
        return randomize(model)

    last, first = build("channels_last"), build("channels_first")
    images = np.random.default_rng(2).normal(size=(3, 8, 7, 2)).astype("float32")
    turned = np.moveaxis(images, -1, 1)
    try:
        first(turned)
    except Exception as error:
        if "only supports the NHWC tensor format on the CPU" not in str(error):
            raise
        pytest.skip("TensorFlow runs without oneDNN on this processor: no channels first")
    if subclassed:
        first = called(Plain(first.layers), turned)
    for method in ("gradcam", "hirescam", "scorecam"):
        expected = GradCAM(last, method=method).explain(images)
        found = GradCAM(first, method=method).explain(turned)
        assert found.heatmaps.shape == (3, 8, 7)
        np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.heatmaps, expected.heatmaps, rtol=1e-4, atol=1e-5)


def test_grey_images_without_an_axis_of_channels_are_explained():
    images = keras.Input((8, 8))
    x = layers.Conv2D(4, 3, activation="gelu", name="conv")(layers.Reshape((8, 8, 1))(images))
    model = randomize(
        keras.Model(images, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    )  # fmt: skip
    pictures = pixels()[..., 0] / 255
    found = GradCAM(model).explain(pictures, class_index=0)
    maps = maps_of(model, "conv", pictures)
    np.testing.assert_allclose(
        found.raw, maps @ last_kernel(model)[:, 0] / 36, rtol=1e-4, atol=1e-6
    )
    assert found.heatmaps.shape == (3, 8, 8)


# ------------------------------------------------------------------------------- the methods


METHODS = ("gradcam", "gradcam++", "hirescam", "layercam", "xgradcam", "eigencam", "scorecam")


def test_hirescam_is_grad_cam_on_pooled_features_and_not_on_flattened_ones():
    images = pixels()
    flat = convolutional(layers.Flatten(), layers.Dense(3))
    for model, alike in ((pooled(), True), (flat, False)):
        found, other = (
            GradCAM(model, method=method).explain(images, 1).raw
            for method in ("hirescam", "gradcam")
        )
        assert np.allclose(found, other, rtol=1e-4, atol=1e-6) is alike
    # Of a linear head, the sum of HiResCAM's map is the logit without the bias.
    found = GradCAM(flat, method="hirescam").explain(images, class_index=1)
    bias = flat.layers[-1].get_weights()[1][1]
    np.testing.assert_allclose(found.raw.sum(axis=(1, 2)), found.scores - bias, rtol=1e-4)


def test_score_cam_agrees_with_a_slow_loop():
    model, images = pooled(activation="softmax"), pixels(2)
    found = GradCAM(model, method="scorecam", batch_size=3).explain(images, class_index=1)
    maps = maps_of(model, "conv", images)
    logits = keras.Model(model.inputs[0], model.outputs[0])
    for image, channels, raw in zip(images, maps, found.raw):
        gains = []
        for k in range(channels.shape[-1]):
            mask = keras.ops.image.resize(
                channels[..., k : k + 1], (8, 8), interpolation="bilinear", antialias=False
            )
            mask = keras.ops.convert_to_numpy(mask)
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            probabilities = keras.ops.convert_to_numpy(logits((image * mask)[np.newaxis]))[0]
            kernel, bias = model.layers[-1].get_weights()
            part = keras.Model(model.inputs[0], model.layers[-2].output)
            pooled_features = keras.ops.convert_to_numpy(part((image * mask)[np.newaxis]))[0]
            gains.append((pooled_features @ kernel + bias)[1])
            assert probabilities.sum() == pytest.approx(1, rel=1e-5)
        weights = np.exp(gains) / np.exp(gains).sum()
        np.testing.assert_allclose(raw, channels @ weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_heatmaps_whatever_the_batch(method):
    model, images = residual(), pixels(5)
    whole = GradCAM(model, method=method).explain(images, class_index=1)
    assert whole.heatmaps.dtype == whole.raw.dtype == np.float32
    assert whole.heatmaps.min() >= 0
    assert whole.heatmaps.max() <= 1
    assert (whole.heatmaps[~whole.blank].max(axis=(1, 2)) == 1).all()
    for size in (1, 2):
        parts = GradCAM(model, method=method, batch_size=size).explain(images, class_index=1)
        np.testing.assert_allclose(parts.raw, whole.raw, rtol=1e-4, atol=1e-6)


def test_the_counterfactual_is_the_negated_map():
    model, images = residual(), pixels()
    cam = GradCAM(model)
    found = cam.explain(images, class_index=1, counterfactual=True)
    usual = cam.explain(images, class_index=1)
    np.testing.assert_array_equal(found.raw, -usual.raw)
    np.testing.assert_array_equal(found.scores, usual.scores)
    assert not np.logical_and(found.heatmaps == 1, usual.heatmaps == 1).any()
    # Gradients are negated, not maps: other methods look at other pixels.
    positive = GradCAM(model, method="layercam")
    against = positive.explain(images, class_index=1, counterfactual=True)
    negative = convolution_gradients(model, images, 1)
    maps = maps_of(model, "unit", images)
    np.testing.assert_allclose(
        against.raw, (maps * np.maximum(-negative, 0)).sum(axis=-1), rtol=1e-3, atol=1e-5
    )


def convolution_gradients(model, images, index, step=1e-2):
    """Differentiate the logit by the maps of "unit" by central differences."""
    tail = keras.Model(model.get_layer("unit").output, model.layers[-2].output)
    kernel = last_kernel(model)
    maps = maps_of(model, "unit", images).astype("float64")
    found = np.empty_like(maps)
    for row, image in enumerate(maps):
        steps = step * np.eye(image.size).reshape(-1, *image.shape)
        above, below = (
            (keras.ops.convert_to_numpy(tail((image + sign * steps).astype("float32"))) @ kernel)[
                :, index
            ]
            for sign in (1, -1)
        )
        found[row] = ((above - below) / (2 * step)).reshape(image.shape)
    return found


def test_a_method_without_a_class_has_no_counterfactual():
    cam = GradCAM(pooled(), method="eigencam")
    np.testing.assert_array_equal(cam(pixels(), 0), cam(pixels(), 1))
    with pytest.raises(ValueError, match="method='eigencam' looks at no class"):
        cam.explain(pixels(), counterfactual=True)


def test_a_method_that_is_none_is_answered_by_those_there_are():
    with pytest.raises(ValueError, match=r"method='gradcam2'.*'gradcam'.*'scorecam'"):
        GradCAM(pooled(), method="gradcam2")


# ---------------------------------------------------------------------------- several layers


def test_several_layers_are_averaged():
    model, images = residual(), pixels()
    both = GradCAM(model, layer=["unit", "stem"])
    assert both.layer == ("stem", "unit")  # in the order in which they run
    found = both.explain(images, class_index=1)
    single = [GradCAM(model, layer=name).explain(images, class_index=1) for name in both.layer]
    mean = np.mean([part.heatmaps for part in single], axis=0)
    np.testing.assert_allclose(
        found.heatmaps, mean / mean.max(axis=(1, 2), keepdims=True), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(found.blank, np.all([part.blank for part in single], axis=0))
    assert found.raw.shape == (3, 8, 8)


def test_layers_of_different_sizes_are_averaged():
    model = convolutional(
        layers.Conv2D(3, 3, activation="gelu", name="second"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    )
    found = GradCAM(model, layer=["conv", "second"]).explain(pixels())
    assert found.heatmaps.shape == (3, 8, 8)
    assert found.layer == ("conv", "second")


@pytest.mark.parametrize("layer", [[], ["conv", 3], 5])
def test_layers_that_are_no_names_are_refused(layer):
    with pytest.raises((TypeError, ValueError), match=r"layer is (empty|list|int).*expected the"):
        GradCAM(pooled(), layer=layer)


# ------------------------------------------------------------------------- what is explained


def test_a_class_may_be_named_where_the_model_carries_names():
    model, images = pooled(activation="softmax"), pixels()
    names = np.array(["normal", "pneumonia", "covid"])
    source = SourceModel(model=model, classes=names, history={}, best_epoch=0)
    cam = GradCAM(source)
    np.testing.assert_array_equal(cam(images, "pneumonia"), cam(images, 1))
    np.testing.assert_array_equal(cam(images, ["covid", "normal", "covid"]), cam(images, [2, 0, 2]))
    np.testing.assert_array_equal(cam(images, names), cam(images, [0, 1, 2]))
    with pytest.raises(ValueError, match=r"'pneumnia' is no class .* nearest are 'pneumonia'"):
        cam(images, "pneumnia")


def test_a_callable_of_the_logits_is_explained():
    model, images = pooled(activation="softmax"), pixels()
    found = GradCAM(model).explain(images, lambda logits: logits[:, 2] - logits[:, 0])
    kernel = last_kernel(model)
    expected = maps_of(model, "conv", images) @ (kernel[:, 2] - kernel[:, 0]) / 9
    np.testing.assert_allclose(found.raw, expected, rtol=1e-4, atol=1e-6)
    each = [GradCAM(model).explain(images, index).scores for index in (2, 0)]
    np.testing.assert_allclose(found.scores, each[0] - each[1], rtol=1e-4, atol=1e-6)
    assert found.class_indices.tolist() == [-1, -1, -1]


def test_a_callable_of_another_shape_is_refused():
    cam = GradCAM(pooled())
    with pytest.raises(ValueError, match=r"callable that gives shape .* expected \(n,\)"):
        cam(pixels(), lambda logits: logits)
    with pytest.raises(ValueError, match=r"callable that gives shape .*one score per image"):
        cam(pixels(), lambda logits: logits[:1, 0])


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="PyTorch compiles nothing here")
@pytest.mark.parametrize("build", [residual, lambda: called(Plain(residual().layers))])
def test_a_smaller_last_batch_and_another_call_trace_nothing_anew(build):
    class Counts(layers.Layer):
        traces = 0

        def call(self, inputs):
            Counts.traces += 1
            return inputs

    network = convolutional(Counts(), layers.Flatten(), layers.Dense(2))
    cam = GradCAM(network, batch_size=4)
    cam(pixels(4))
    traced = Counts.traces
    cam(pixels(7), class_index=1)
    cam(pixels(3), class_index=[0, 1, 0])
    assert Counts.traces == traced


# ------------------------------------------------------------------------------------ backends

AGREEMENT = """
import sys
import numpy as np
sys.path.insert(0, {tests!r})
import test_explanation as t
np.savez({path!r}, **t.on_this_backend())
"""


def on_this_backend():
    """Explain models of every form by every method."""
    found = {}
    classes = [0, 1, 2, 1, 0]
    for method in METHODS:
        cam = GradCAM(residual(), method=method, batch_size=2)
        explained = cam.explain(pixels(5), class_index=classes)
        for name in ("raw", "heatmaps", "scores"):
            found[f"{method} {name}"] = getattr(explained, name)
    models = {
        "nested": nested(),
        "subclassed": called(Plain(nested().layers[1:])),
        "two layers": residual(),
    }
    for name, model in models.items():
        layer = ["stem", "unit"] if name == "two layers" else None
        found[name] = GradCAM(model, layer=layer, batch_size=2).explain(pixels(5), classes).raw
    return found


@pytest.mark.parametrize("backend", OTHER_BACKENDS)
def test_every_backend_gives_the_same_heatmaps(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    path = str(tmp_path / "found.npz")
    subprocess.run(
        [sys.executable, "-c", AGREEMENT.format(tests=os.path.dirname(__file__), path=path)],
        env={**os.environ, "KERAS_BACKEND": backend},
        check=True,
    )
    there, here = np.load(path), on_this_backend()
    assert set(there) == set(here)
    for name, expected in here.items():
        difference = np.abs(there[name] - expected).max() / np.abs(expected).max()
        assert difference < 1e-5, name


# -------------------------------------------------------------------------------------- errors


def test_what_is_no_model_is_refused():
    for wrong in ("model.keras", None):
        with pytest.raises(TypeError, match=r"model is \w+; expected a keras.Model, a SourceModel"):
            GradCAM(wrong)


def test_a_model_that_knows_neither_layers_nor_inputs_is_refused():
    with pytest.raises(TypeError, match=r"'fresh', which is not built; begin it with keras.layers"):
        GradCAM(keras.Sequential([layers.Dense(1)], name="fresh"))
    with pytest.raises(ValueError, match=r"has not been called on one array.*call it on a batch"):
        GradCAM(Plain(pooled().layers))


def test_a_transfer_that_is_not_fitted_is_refused():
    from detl import DomainExtensionTransfer

    with pytest.raises(ValueError, match="DomainExtensionTransfer is not fitted; call fit first"):
        GradCAM(DomainExtensionTransfer(pooled()))


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


def two_outputs():
    model = pooled()
    return keras.Model(model.inputs[0], [model.outputs[0], model.outputs[0] * 2])


def no_classes():
    images = keras.Input((8, 8, 1))
    return keras.Model(images, layers.Conv2D(3, 3)(images))


def no_images():
    rows = keras.Input((8,))
    return keras.Model(rows, layers.Dense(2)(rows))


@pytest.mark.parametrize("build", [two_outputs, no_classes, no_images])
def test_models_with_other_inputs_or_outputs_are_refused(build):
    with pytest.raises(ValueError, match=r"takes .* and gives .*; expected images \(n, height"):
        GradCAM(build())


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


@pytest.mark.parametrize(
    ("class_index", "error", "message"),
    [
        (3, ValueError, "class_index=3, but the model has the classes 0 to 2"),
        ([0, -1, 2], ValueError, "class_index=-1, but the model has the classes 0 to 2"),
        ([0, 1], ValueError, r"class_index has shape \(2,\) for 3 images"),
        ([[0, 1, 2]], ValueError, r"class_index has shape \(1, 3\) for 3 images"),
        (1.0, TypeError, "class_index=1.0 has dtype float64; expected a whole number"),
        ("normal", ValueError, "class_index='normal', but this model carries no class names"),
        (True, TypeError, "class_index=True has dtype bool"),
    ],
)
def test_a_wrong_class_is_refused(class_index, error, message):
    cam = GradCAM(pooled())
    with pytest.raises(error, match=message):
        cam(pixels(3), class_index=class_index)


def test_images_that_do_not_fit_the_model_are_refused():
    cam = GradCAM(pooled())
    with pytest.raises(ValueError, match=r"images has shape \(3, 9, 9, 1\), but the model takes"):
        cam(pixels(shape=(9, 9, 1)))
    with pytest.raises(ValueError, match=r"One image: images\[np.newaxis\]"):
        cam(pixels()[0])
    with pytest.raises(ValueError, match="contains NaN or infinity, first in row 0"):
        cam(np.full((1, 8, 8, 1), np.nan))


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size=0; expected at least 1"):
        GradCAM(pooled(), batch_size=0)


def test_a_model_that_gives_nan_is_named_as_the_cause():
    model = pooled()
    model.layers[-1].kernel.assign(np.full((4, 3), np.nan))
    cam = GradCAM(model)
    with pytest.raises(
        ValueError, match=r"gives NaN or infinity, first in row 0 .*Check its weights"
    ):
        cam(pixels(), class_index=0)
