"""The gradient at the tap is right on whatever backend Keras runs."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from detl.networks.gradients import with_gradient

BACKEND = keras.backend.backend()
PIXELS = keras.KerasTensor((None, 3, 3, 2), dtype="float32")


def pixels(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 3, 3, 2)).astype("float32")


def sum_of_squares(tap, images):
    maps = tap(2 * images)
    return ops.sum(maps**2, axis=(1, 2, 3)), ops.argmax(maps[:, 0, 0], axis=-1)


def test_a_quadratic_has_its_closed_form():
    images = pixels(4)
    run = with_gradient(sum_of_squares, inputs=[PIXELS], variables=[])
    (maps,), (gradient,), scores, others = run(images)
    np.testing.assert_array_equal(maps, 2 * images)
    np.testing.assert_allclose(gradient, 4 * images, rtol=1e-6)
    np.testing.assert_allclose(scores, (4 * images**2).sum(axis=(1, 2, 3)), rtol=1e-5)
    np.testing.assert_array_equal(others, images[:, 0, 0].argmax(axis=-1))


def test_the_gradient_agrees_with_finite_differences():
    head = keras.Sequential(
        [
            layers.Input((3, 3, 2)),
            layers.Conv2D(3, 2, activation="tanh"),
            layers.Flatten(),
            layers.Dense(4, activation="gelu"),
            layers.Dense(1),
        ]
    )
    generator = np.random.default_rng(0)
    head.set_weights([generator.normal(size=w.shape) for w in head.get_weights()])
    maps = pixels(1)
    run = with_gradient(
        lambda tap, images: (head(tap(images), training=False)[:, 0],),
        inputs=[PIXELS],
        variables=head.variables,
    )
    _, (gradient,), _ = run(maps)

    step = 1e-2
    steps = step * np.eye(maps.size, dtype="float32").reshape(-1, *maps.shape[1:])
    above, below = (
        ops.convert_to_numpy(head(maps + sign * steps))[:, 0].astype("float64") for sign in (1, -1)
    )
    differences = ((above - below) / (2 * step)).reshape(maps.shape)
    np.testing.assert_allclose(gradient, differences, rtol=1e-2, atol=2e-3)


def test_what_comes_before_the_tap_and_beside_it_is_not_differentiated():
    def forward(tap, images):
        beside = images**3
        maps = tap(images**2)
        return (ops.sum(maps * beside, axis=(1, 2, 3)),)

    images = pixels(2)
    _, (gradient,), _ = with_gradient(forward, inputs=[PIXELS], variables=[])(images)
    np.testing.assert_allclose(gradient, images**3, rtol=1e-5)


def test_each_tap_has_its_gradient_also_where_one_depends_on_another():
    def forward(tap, images):
        first = tap(3 * images)
        second = tap(first**2)
        return (ops.sum(first + second, axis=(1, 2, 3)),)

    images = pixels(2)
    maps, gradients, _ = with_gradient(forward, inputs=[PIXELS], variables=[])(images)
    np.testing.assert_allclose(maps[0], 3 * images, rtol=1e-6)
    np.testing.assert_allclose(maps[1], 9 * images**2, rtol=1e-6)
    np.testing.assert_allclose(gradients[0], 1 + 6 * images, rtol=1e-5)
    np.testing.assert_array_equal(gradients[1], 1)


@pytest.mark.parametrize("after", [ops.stop_gradient, ops.zeros_like], ids=lambda f: f.__name__)
def test_scores_that_do_not_depend_on_the_maps_have_gradient_zero(after):
    def forward(tap, images):
        return (ops.sum(after(tap(images)), axis=(1, 2, 3)),)

    _, (gradient,), _ = with_gradient(forward, inputs=[PIXELS], variables=[])(pixels(2))
    np.testing.assert_array_equal(gradient, np.zeros((2, 3, 3, 2)))


def test_the_value_of_a_variable_at_the_time_of_the_call_counts():
    factor = keras.Variable(2.0)
    run = with_gradient(
        lambda tap, images: (ops.sum(factor * tap(images), axis=(1, 2, 3)),),
        inputs=[PIXELS],
        variables=[factor],
    )
    assert (run(pixels(1))[1][0] == 2).all()
    factor.assign(-3.0)
    assert (run(pixels(1))[1][0] == -3).all()


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch compiles nothing here")
def test_a_smaller_batch_compiles_nothing_anew():
    compilations = []

    def forward(tap, images):
        compilations.append(images.shape)
        return sum_of_squares(tap, images)

    run = with_gradient(forward, inputs=[PIXELS], variables=[])
    run(pixels(4))
    at_first = len(compilations)
    for n in (4, 3, 2):
        images = pixels(n, seed=n)
        (maps,), (gradient,), scores, _ = run(images)
        assert maps.shape == (n, 3, 3, 2)
        np.testing.assert_allclose(gradient, 4 * images, rtol=1e-6)
        assert scores.shape == (n,)
    assert len(compilations) == at_first


EIGHT = """
import sys
sys.path.insert(0, {tests!r})
import test_gradients as t
for _ in range(8):
    t.with_gradient(t.sum_of_squares, inputs=[t.PIXELS], variables=[])(t.pixels(2))
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow warns of retracing")
def test_many_functions_in_one_process_are_no_retracing():
    # In a process of its own, since TensorFlow warns twice and then no more.
    code = EIGHT.format(tests=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "retracing" not in done.stderr


def test_maps_of_half_precision_come_back_in_float32():
    def forward(tap, images):
        return (ops.sum(ops.cast(tap(ops.cast(images, "bfloat16")), "float32"), axis=(1, 2, 3)),)

    (maps,), (gradient,), _ = with_gradient(forward, inputs=[PIXELS], variables=[])(pixels(2))
    assert maps.dtype == gradient.dtype == np.float32
    assert (gradient == 1).all()
    np.testing.assert_allclose(maps, pixels(2), rtol=1e-2)


def test_after_an_exception_in_the_forward_pass_the_next_call_works():
    broken = [True]

    def forward(tap, images):
        maps = tap(images)
        if broken:
            raise RuntimeError("in the middle of the forward pass")
        return (ops.sum(maps, axis=(1, 2, 3)),)

    run = with_gradient(forward, inputs=[PIXELS], variables=[])
    with pytest.raises(RuntimeError, match="in the middle"):
        run(pixels(2))
    broken.clear()
    assert (run(pixels(2))[1][0] == 1).all()


@pytest.mark.skipif(BACKEND != "torch", reason="only PyTorch has a global gradient mode")
@pytest.mark.parametrize("enabled", [True, False])
def test_the_gradient_mode_of_torch_is_as_found(enabled):
    import torch

    with torch.set_grad_enabled(enabled):
        with_gradient(sum_of_squares, inputs=[PIXELS], variables=[])(pixels(1))
        assert torch.is_grad_enabled() is enabled


def test_a_backend_without_gradients_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "openvino")
    with pytest.raises(NotImplementedError, match=r"'openvino'.*set KERAS_BACKEND"):
        with_gradient(sum_of_squares, inputs=[PIXELS], variables=[])
