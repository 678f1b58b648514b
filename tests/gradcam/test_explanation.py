"""Heatmaps are what eq. 1 and 2 say."""

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from detl import GradCAM
from detl.pretraining.source import SourceModel
from tests.gradcam.classifiers import (
    Plain,
    called,
    convolutional,
    last_kernel,
    maps_of,
    nested,
    pixels,
    pooled,
    residual,
)

OTHER_BACKENDS = sorted({"tensorflow", "jax", "torch"} - {keras.backend.backend()})


@pytest.fixture(scope="module")
def explained_residual():
    """Return a residual network, whose weights stay, and its Grad-CAM, compiled once."""
    model = residual()
    return model, GradCAM(model)


def test_a_linear_head_on_pooled_features_has_its_closed_form():
    model, images = pooled(), pixels()
    found = GradCAM(model).explain(images, target_class=1)
    maps = maps_of(model, "conv", images)
    # The logit is the mean over the 9 pixels of the maps times the kernel.
    np.testing.assert_allclose(found.raw, maps @ last_kernel(model)[:, 1] / 9, rtol=1e-4)
    np.testing.assert_allclose(found.scores, keras.ops.convert_to_numpy(model(images))[:, 1])


def test_a_linear_head_on_flattened_features_has_its_closed_form():
    model, images = convolutional(layers.Flatten(), layers.Dense(3)), pixels()
    found = GradCAM(model).explain(images, target_class=2)
    channel_weights = last_kernel(model)[:, 2].reshape(9, 4).mean(axis=0)
    maps = maps_of(model, "conv", images)
    np.testing.assert_allclose(found.raw, maps @ channel_weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", ["stem", "branch", "sum", "unit"])
def test_channel_weights_agree_with_finite_differences_inside_a_residual_unit(layer):
    model, images = residual(), pixels(2)
    found = GradCAM(model, layer=layer).explain(images, target_class=1)

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
    found = GradCAM(model).explain(images, target_class=0)
    np.testing.assert_allclose(found.raw[0], [[-100, 0], [0, 155]], rtol=1e-6)
    along = [0, 0.25, 0.75, 1]  # share of the second pixel at the centres of four
    np.testing.assert_allclose(found.heatmaps[0], np.outer(along, along), rtol=1e-6)


@pytest.mark.parametrize("shape", [(8, 8, 1), (11, 17, 1), (23, 9, 3)])
def test_heatmaps_agree_with_the_bilinear_resizing_of_keras(shape):
    found = GradCAM(pooled(shape=shape)).explain(pixels(shape=shape), target_class=0)
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


def test_heatmaps_are_float32_between_zero_and_one_and_reach_one(explained_residual):
    heatmaps = explained_residual[1](pixels(8))
    assert heatmaps.dtype == np.float32
    assert heatmaps.min() >= 0
    np.testing.assert_array_equal(heatmaps.max(axis=(1, 2)), 1)


def test_calling_gives_the_heatmaps_of_explain(explained_residual):
    cam, images = explained_residual[1], pixels()
    np.testing.assert_array_equal(cam(images, 2), cam.explain(images, target_class=2).heatmaps)


def test_the_scale_of_the_maps_does_not_matter():
    model, images = pooled(), pixels()
    cam, kernel = GradCAM(model), last_kernel(model)
    before = cam.explain(images, target_class=1)
    for factor in (1e-35, 1e-10, 1e10):
        model.layers[-1].kernel.assign(kernel * factor)
        after = cam.explain(images, target_class=1)
        np.testing.assert_allclose(after.raw, before.raw * factor, rtol=1e-4)
        np.testing.assert_allclose(after.heatmaps, before.heatmaps, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_unit_speaks_for_class_1_and_its_negative_for_class_0(activation):
    model, images = pooled(1, activation), pixels(8)
    cam = GradCAM(model)
    no, yes = (cam.explain(images, target_class=index) for index in (0, 1))
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
    cam = GradCAM(model)
    found = cam.explain(images)
    np.testing.assert_array_equal(found.class_indices, predicted)
    expected = cam.explain(images, target_class=predicted)
    np.testing.assert_array_equal(found.raw, expected.raw)


def test_one_class_for_all_and_one_per_image_agree(explained_residual):
    cam, images = explained_residual[1], pixels(3)
    each = cam.explain(images, target_class=[2, 0, 2])
    np.testing.assert_array_equal(each.raw[[0, 2]], cam.explain(images, 2).raw[[0, 2]])
    np.testing.assert_array_equal(each.raw[1], cam.explain(images, np.uint8(0)).raw[1])
    assert each.class_indices.tolist() == [2, 0, 2]


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
    found = GradCAM(model).explain(np.repeat(images, 3, axis=0), target_class=[0, 1, 2, 0, 1, 2])
    assert found.blank.tolist() == [False, True, True, True, True, True]
    np.testing.assert_array_equal(found.heatmaps[0], 1)
    np.testing.assert_array_equal(found.heatmaps[1:], 0)
    np.testing.assert_allclose(found.raw[:3, 0, 0], [7 / 16, -7 / 16, 0])  # signs stay


def test_a_heatmap_does_not_depend_on_what_else_is_in_the_batch(explained_residual):
    model, cam = explained_residual
    images = pixels(7)
    together = cam.explain(images)
    apart = GradCAM(model, batch_size=3).explain(images)
    np.testing.assert_allclose(apart.raw, together.raw, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(apart.scores, together.scores, rtol=1e-5)
    np.testing.assert_array_equal(apart.class_indices, together.class_indices)
    backwards = cam.explain(images[::-1])
    np.testing.assert_allclose(backwards.raw[::-1], together.raw, rtol=1e-4, atol=1e-7)


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
    found = GradCAM(flat, method="hirescam").explain(images, target_class=1)
    bias = flat.layers[-1].get_weights()[1][1]
    np.testing.assert_allclose(found.raw.sum(axis=(1, 2)), found.scores - bias, rtol=1e-4)


def test_score_cam_agrees_with_a_slow_loop():
    model, images = pooled(activation="softmax"), pixels(2)
    found = GradCAM(model, method="scorecam", batch_size=3).explain(images, target_class=1)
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
    model, images = pooled(), pixels(3)
    cam = GradCAM(model, method=method, batch_size=2)
    found = cam.explain(images, target_class=1)
    assert found.heatmaps.dtype == found.raw.dtype == np.float32
    assert found.heatmaps.min() >= 0
    assert found.heatmaps.max() <= 1
    assert (found.heatmaps[~found.blank].max(axis=(1, 2)) == 1).all()
    alone = cam.explain(images[2:], target_class=1)
    np.testing.assert_allclose(alone.raw, found.raw[2:], rtol=1e-4, atol=1e-6)


def test_the_counterfactual_is_the_negated_map(explained_residual):
    (model, cam), images = explained_residual, pixels()
    found = cam.explain(images, target_class=1, counterfactual=True)
    usual = cam.explain(images, target_class=1)
    np.testing.assert_array_equal(found.raw, -usual.raw)
    np.testing.assert_array_equal(found.scores, usual.scores)
    assert not np.logical_and(found.heatmaps == 1, usual.heatmaps == 1).any()
    # Gradients are negated, not maps: other methods look at other pixels.
    positive = GradCAM(model, method="layercam")
    against = positive.explain(images, target_class=1, counterfactual=True)
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


def test_several_layers_are_averaged(explained_residual):
    (model, cam), images = explained_residual, pixels()
    both = GradCAM(model, layer=["unit", "stem"])
    assert both.layer == ("stem", "unit")  # in the order in which they run
    found = both.explain(images, target_class=1)
    stem = GradCAM(model, layer="stem")
    single = [part.explain(images, target_class=1) for part in (stem, cam)]
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


def test_a_class_may_be_named_where_the_model_carries_names():
    model, images = pooled(activation="softmax"), pixels()
    names = np.array(["normal", "pneumonia", "covid"])
    source = SourceModel(model=model, classes=names, history={}, best_epoch=0)
    cam = GradCAM(source)
    np.testing.assert_array_equal(cam(images, "pneumonia"), cam(images, 1))
    np.testing.assert_array_equal(cam(images, ["covid", "normal", "covid"]), cam(images, [2, 0, 2]))
    np.testing.assert_array_equal(cam(images, names), cam(images, [0, 1, 2]))
    with pytest.raises(ValueError, match=r"'pneumnia' is not a class .* nearest are 'pneumonia'"):
        cam(images, "pneumnia")


def test_a_callable_of_the_logits_is_explained():
    model, images = pooled(activation="softmax"), pixels()
    cam = GradCAM(model)
    found = cam.explain(images, lambda logits: logits[:, 2] - logits[:, 0])
    kernel = last_kernel(model)
    expected = maps_of(model, "conv", images) @ (kernel[:, 2] - kernel[:, 0]) / 9
    np.testing.assert_allclose(found.raw, expected, rtol=1e-4, atol=1e-6)
    each = [cam.explain(images, index).scores for index in (2, 0)]
    np.testing.assert_allclose(found.scores, each[0] - each[1], rtol=1e-4, atol=1e-6)
    assert found.class_indices.tolist() == [-1, -1, -1]


def test_a_callable_of_another_shape_is_refused():
    cam = GradCAM(pooled())
    with pytest.raises(ValueError, match=r"callable that returns shape .* expected \(n,\)"):
        cam(pixels(), lambda logits: logits)
    with pytest.raises(ValueError, match=r"callable that returns shape .*one score per image"):
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
    cam(pixels(7), target_class=1)
    cam(pixels(3), target_class=[0, 1, 0])
    assert Counts.traces == traced


AGREEMENT = """
import numpy as np
from tests.gradcam.test_explanation import on_this_backend
np.savez({path!r}, **on_this_backend())
"""


def on_this_backend():
    """Explain models of every form by every method."""
    found = {}
    classes = [0, 1, 2, 1, 0]
    for method in METHODS:
        cam = GradCAM(residual(), method=method, batch_size=2)
        explained = cam.explain(pixels(5), target_class=classes)
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
        [sys.executable, "-c", AGREEMENT.format(path=path)],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=Path(__file__).parents[2],
        check=True,
    )
    there, here = np.load(path), on_this_backend()
    assert set(there) == set(here)
    for name, expected in here.items():
        difference = np.abs(there[name] - expected).max() / np.abs(expected).max()
        assert difference < 1e-5, name


def test_what_is_no_model_is_refused():
    for wrong in ("model.keras", None):
        with pytest.raises(TypeError, match=r"model is \w+; expected a keras.Model, a SourceModel"):
            GradCAM(wrong)


def test_a_transfer_that_is_not_fitted_is_refused():
    from detl import DomainExtensionTransfer

    with pytest.raises(ValueError, match="DomainExtensionTransfer is not fitted; call fit first"):
        GradCAM(DomainExtensionTransfer(pooled()))


@pytest.mark.parametrize(
    ("target_class", "error", "message"),
    [
        (
            3,
            ValueError,
            "but the model has the classes 0 to 2: a number is a column of the model's",
        ),
        ([0, -1, 2], ValueError, "target_class=-1, but the model has the classes 0 to 2"),
        ([0, 1], ValueError, r"target_class has shape \(2,\) for 3 images"),
        ([[0, 1, 2]], ValueError, r"target_class has shape \(1, 3\) for 3 images"),
        (1.0, TypeError, "target_class=1.0 has dtype float64; expected a whole number"),
        ("normal", ValueError, "target_class='normal', but this model has no class names"),
        (True, TypeError, "target_class=True has dtype bool"),
    ],
)
def test_a_wrong_class_is_refused(target_class, error, message):
    cam = GradCAM(pooled())
    with pytest.raises(error, match=message):
        cam(pixels(3), target_class=target_class)


def test_a_counterfactual_is_asked_for_or_not():
    with pytest.raises(ValueError, match="counterfactual='yes'; expected one of False, True"):
        GradCAM(pooled()).explain(pixels(), counterfactual="yes")


def test_a_batch_size_below_one_is_refused():
    with pytest.raises(ValueError, match="batch_size=0; expected at least 1"):
        GradCAM(pooled(), batch_size=0)


@pytest.mark.parametrize(("size", "says"), [(3, "only 3 x 5 cells"), (4, None)])
def test_maps_of_few_cells_are_said_to_be_coarse_once(caplog, size, says):
    conv = layers.Conv2D(2, 1, kernel_initializer="ones")
    head = [layers.GlobalAveragePooling2D(), layers.Dense(2)]
    cam = GradCAM(keras.Sequential([keras.Input((size, 5, 1)), conv, *head]))
    for _ in range(2):
        cam(pixels(shape=(size, 5, 1)), target_class=0)
    assert [says in text for text in caplog.messages] == ([True] if says else [])


def test_pixels_between_0_and_1_are_warned_of_where_the_network_takes_bytes():
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(1 / 255), *pooled().layers])
    with pytest.warns(UserWarning, match=r"images are floats in \[0, 1\]"):
        GradCAM(model)(np.linspace(0, 1, 64).reshape(1, 8, 8, 1))


def test_a_model_that_gives_nan_is_named_as_the_cause():
    model = pooled()
    model.layers[-1].kernel.assign(np.full((4, 3), np.nan))
    cam = GradCAM(model)
    with pytest.raises(
        ValueError, match=r"gives NaN or infinity, first in row 0 .*Check its weights"
    ):
        cam(pixels(), target_class=0)
