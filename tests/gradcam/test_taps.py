"""Networks of every form hand over their maps and go on to their logits."""

import keras
import numpy as np
import pytest
from keras import layers

from detl import GradCAM
from detl.networks import copying
from tests.gradcam.classifiers import (
    Plain,
    called,
    convolutional,
    last_kernel,
    maps_of,
    nested,
    pixels,
    pooled,
    randomize,
    residual,
)

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


@pytest.fixture(scope="module")
def explained_logits():
    """Return what Grad-CAM finds in :func:`pooled` without a softmax, class by image."""
    return GradCAM(pooled()).explain(pixels(), target_class=[0, 1, 2])


@pytest.mark.parametrize("last", SQUASHED.values(), ids=SQUASHED)
def test_a_final_softmax_or_sigmoid_is_passed_over(last, explained_logits):
    model = convolutional(layers.GlobalAveragePooling2D(), *last())
    found = GradCAM(model).explain(pixels(), target_class=[0, 1, 2])
    np.testing.assert_allclose(found.scores, explained_logits.scores, rtol=1e-5)
    np.testing.assert_allclose(found.raw, explained_logits.raw, rtol=1e-5)


@pytest.mark.parametrize("function", [keras.ops.softmax, keras.activations.sigmoid])
def test_a_final_operation_without_a_layer_is_passed_over(function, explained_logits):
    logits = pooled()
    model = keras.Model(logits.inputs[0], function(logits.outputs[0]))
    found = GradCAM(model).explain(pixels(), target_class=[0, 1, 2])
    np.testing.assert_array_equal(found.raw, explained_logits.raw)


def test_a_softmax_that_is_not_the_last_layer_stays():
    model = convolutional(
        layers.GlobalAveragePooling2D(), layers.Dense(4, activation="softmax"), layers.Dense(2)
    )
    found = GradCAM(model).explain(pixels(), target_class=1)
    np.testing.assert_allclose(found.scores, keras.ops.convert_to_numpy(model(pixels()))[:, 1])


def test_a_saturated_softmax_gives_the_heatmap_of_its_logits():
    model, images = pooled(activation="softmax"), pixels()
    calm = GradCAM(model)(images, target_class=1)
    model.layers[-1].set_weights([w * 1e4 for w in model.layers[-1].get_weights()])
    probabilities = keras.ops.convert_to_numpy(model(images))
    assert set(np.unique(probabilities)) == {0, 1}
    saturated = GradCAM(model).explain(images, target_class=1)
    assert not saturated.blank.any()
    np.testing.assert_allclose(saturated.heatmaps, calm, rtol=1e-4, atol=1e-6)


def test_a_nested_model_is_explained_like_its_flat_copy():
    model, images = nested(), pixels()
    found = GradCAM(model).explain(images)
    assert found.layer == "base/top"
    flat = GradCAM(copying.copy_model(model)).explain(images)
    np.testing.assert_allclose(found.raw, flat.raw, rtol=1e-5)
    np.testing.assert_allclose(found.scores, flat.scores, rtol=1e-5)


def test_a_subclassed_model_is_explained_like_the_graph_of_its_layers():
    network, images = pooled(activation="softmax"), pixels()
    expected = GradCAM(network).explain(images)
    cam = GradCAM(called(Plain(network.layers)))
    assert cam.layer == "parts/1"
    found = cam.explain(images)
    np.testing.assert_allclose(found.raw, expected.raw, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-5)
    np.testing.assert_array_equal(found.class_indices, expected.class_indices)


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
    found = GradCAM(model).explain(signals, target_class=2)
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


def test_a_model_of_mixed_precision_gives_float32_maps():
    images = pixels()
    single, mixed = (
        convolutional(
            layers.GlobalAveragePooling2D(dtype=dtype), layers.Dense(3, dtype=dtype), dtype=dtype
        )
        for dtype in ("float32", "mixed_bfloat16")
    )
    expected, found = (GradCAM(m).explain(images, target_class=1) for m in (single, mixed))
    assert {found.raw.dtype, found.heatmaps.dtype, found.scores.dtype} == {np.dtype("float32")}
    np.testing.assert_allclose(found.raw, expected.raw, atol=2e-2 * np.abs(expected.raw).max())


def test_frozen_layers_are_explained_alike():
    model, images = residual(), pixels()
    expected = GradCAM(model).explain(images)
    model.trainable = False
    np.testing.assert_allclose(GradCAM(model).explain(images).raw, expected.raw, rtol=1e-5)


def test_heatmaps_follow_the_weights_of_the_model():
    model, images = nested(), pixels()
    cam = GradCAM(model)
    before = cam.explain(images, target_class=0)
    randomize(model, seed=1)
    after = cam.explain(images, target_class=0)
    assert np.abs(after.raw - before.raw).max() > 1e-3
    expected = GradCAM(model).explain(images, target_class=0)
    np.testing.assert_allclose(after.raw, expected.raw, rtol=1e-5)


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
