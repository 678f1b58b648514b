"""A model is followed call by call, and other threads notice nothing."""

from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
from keras import layers

from detl import GradCAM
from detl.gradcam.following import following
from tests.gradcam.classifiers import Plain, called, convolutional, pixels


def test_threads_that_explain_and_predict_with_one_subclassed_model_do_not_meet():
    network = convolutional(
        layers.Conv2D(3, 3, activation="gelu", name="second"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2, activation="softmax"),
    )
    model, images = called(Plain(network.layers)), pixels()
    names = ("conv", "second", "conv", "second")
    expected = [GradCAM(model, layer=name).explain(images, 0).raw for name in names]
    probabilities = keras.ops.convert_to_numpy(model(images))

    def explain_or_predict(number):
        if number >= len(names):
            return [keras.ops.convert_to_numpy(model(images)) for _ in range(20)]
        return GradCAM(model, layer=names[number]).explain(images, 0).raw

    with ThreadPoolExecutor(6) as threads:
        *found, first, second = threads.map(explain_or_predict, range(6))
    for raw, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(raw, wanted, rtol=1e-5, atol=1e-7)
    for predicted in (*first, *second):
        np.testing.assert_allclose(predicted, probabilities, rtol=1e-5)


def test_calls_are_followed_in_one_thread_and_no_longer_than_asked():
    layer, seen = layers.ReLU(), []

    def follower(operation, ordinal, compute, args, kwargs):
        seen.append((operation, ordinal))
        return compute(operation, *args, **kwargs)

    with following(follower), ThreadPoolExecutor(1) as threads:
        layer(np.zeros(1))
        threads.submit(layer, np.zeros(1)).result()
        layer(np.zeros(1))
    layer(np.zeros(1))
    assert seen == [(layer, 0), (layer, 1)]
