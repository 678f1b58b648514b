"""The calls of a model are written down, and the model is left as it was."""

import keras
import numpy as np
import pytest
from keras import layers

from detl import GradCAM
from detl.gradcam.calls import _needs_a_run, record
from detl.gradcam.inputs import input_structure
from tests.gradcam.classifiers import (
    Plain,
    Residual,
    called,
    convolutional,
    last_kernel,
    nested,
    pixels,
    randomize,
    residual,
    state_of,
)


def test_a_model_nested_twice_computes_two_different_things():
    base = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Conv2D(1, 3, padding="same", name="conv")], name="base"
    )
    images = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D()(base(base(layers.Rescaling(1 / 255)(images))))
    model = randomize(keras.Model(images, layers.Dense(2)(x)))
    found = GradCAM(model).explain(pixels(), target_class=0)
    twice = base(base(pixels() / 255))
    expected = keras.ops.convert_to_numpy(twice)[..., 0] * last_kernel(model)[0, 0] / 64
    np.testing.assert_allclose(found.raw, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"'conv' is called 2 times.*'base/conv', 'base/conv'"):
        GradCAM(model, layer="conv")


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
    found = GradCAM(model).explain(pixels(), target_class=0)
    np.testing.assert_allclose(found.raw, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="layer='conv' is called 2 times"):
        GradCAM(model, layer="conv")


def test_maps_that_a_subclassed_model_adds_up_itself_are_what_the_next_layer_reads(caplog):
    network, images = residual(), pixels()
    with caplog.at_level("INFO", logger="detl"):
        cam = GradCAM(called(Residual(network)))
    assert "explains that output, as no softmax or sigmoid in it can be seen" in caplog.text
    assert cam.layer.endswith("/pool (input)")
    # A softmax before the last operation stays: the score is a probability.
    probabilities = keras.ops.convert_to_numpy(network(images))
    found = cam.explain(images, target_class=1)
    np.testing.assert_allclose(found.scores, probabilities[:, 1], rtol=1e-5)
    logits = GradCAM(network, layer="unit").explain(
        images, target_class=lambda logits: keras.ops.softmax(logits)[:, 1]
    )
    np.testing.assert_allclose(found.raw, logits.raw, rtol=1e-4, atol=1e-7)


def test_the_model_is_left_as_it_was():
    model = nested()
    model.get_layer("base").trainable = False
    before = state_of(model)
    probabilities = keras.ops.convert_to_numpy(model(pixels()))
    GradCAM(model).explain(pixels())
    GradCAM(model, layer="conv").explain(pixels(), target_class=1)
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


def test_dropout_is_off_even_where_the_model_asks_for_it():
    images = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3)(images)
    x = layers.GlobalAveragePooling2D()(layers.Dropout(0.9)(x, training=True))
    model = randomize(keras.Model(images, layers.Dense(2)(x)))
    cam = GradCAM(model)
    np.testing.assert_array_equal(cam(pixels()), cam(pixels()))


def record_of(model):
    return {call.path: call for call in record(model, input_structure(model))[0]}


def nested_twice():
    base = keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(1, 3, padding="same")])
    images = keras.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D()(base(base(images)))
    return keras.Model(images, layers.Dense(2)(x))


@pytest.mark.parametrize("build", [residual, nested, nested_twice])
def test_a_graph_tells_what_a_run_would(build, monkeypatch):
    def written(model):
        numbers: dict[int, int] = {}  # in the order in which they come up
        return [
            (
                call.path,
                call.key,
                call.is_nested or [numbers.setdefault(n, len(numbers)) for n in call.inputs],
                [numbers.setdefault(n, len(numbers)) for n in call.outputs],
                len(call.shape),
            )
            for call in record(model, input_structure(model))[0]
        ]

    model = build()
    found = written(model)
    monkeypatch.setattr("detl.gradcam.calls._needs_a_run", lambda network: True)
    assert found == written(model)


def test_code_in_a_graph_is_run_and_operations_that_keep_the_shape_are_not():
    images = keras.Input((8, 8, 1))

    class Block(layers.Layer):
        def call(self, x):
            return keras.ops.relu(x)

    class Doubled(keras.Model):
        def call(self, x, training=None, mask=None):
            return 2 * super().call(x, training=training, mask=mask)

    def tiles(x):
        return keras.ops.reshape(x, (-1, 4, 8, 1))

    for part in (Block(), tiles, layers.Lambda(tiles), keras.Sequential([images, Block()])):
        assert _needs_a_run(keras.Model(images, part(images)))
    assert _needs_a_run(Doubled(images, layers.ReLU()(images)))
    for part in (layers.Reshape((64,)), lambda x: keras.ops.flip(2 * x, axis=1)):
        assert not _needs_a_run(keras.Model(images, part(images)))


def test_what_a_graph_converts_and_what_it_holds_come_from_no_code_between_its_layers():
    images = keras.Input((8, 8, 1))
    inner = keras.Input((6, 6, 2))  # float32, so that what comes in half precision is converted
    x = keras.ops.add(layers.ReLU(name="relu")(inner), np.ones((1, 6, 6, 2), "float32"))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    head = keras.Model(inner, x, name="head")
    convolved = layers.Conv2D(2, 3, dtype="mixed_bfloat16", name="conv")(images)
    calls = record_of(keras.Model(images, head(convolved)))
    assert not any(call.operation is None for call in calls.values())
    assert calls["head/relu"].inputs == calls["conv"].outputs
    assert calls["head"].is_nested
    assert calls["head"].outputs == calls["head/pool"].outputs


def test_what_code_between_layers_computes_comes_from_all_that_was_not_read():
    class Merges(keras.Model):
        def __init__(self):
            super().__init__()
            self.left, self.right = layers.Conv2D(2, 3), layers.Conv2D(2, 3)
            self.add, self.head = layers.Add(), layers.Dense(2)

        def call(self, images):
            left, right = self.left(images), self.right(images)
            total = self.add([keras.ops.relu(left), keras.ops.relu(right)])
            return self.head(keras.ops.mean(total, axis=(1, 2)))

    calls = record_of(called(Merges(), pixels(1).astype("float32")))
    branches = {*calls["left"].outputs, *calls["right"].outputs}
    assert set(calls["add"].inputs) == branches
    assert calls["head (input)"].inputs == calls["add"].outputs
    assert calls["head"].inputs == calls["head (input)"].outputs
