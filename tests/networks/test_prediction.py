import logging

import keras
import numpy as np
import pytest

from detl.networks.prediction import in_native_order, predict_on_batch


@pytest.fixture
def said(monkeypatch):
    """Return what TensorFlow's logger lets through."""
    records = []

    class Kept(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    logger = logging.getLogger("tensorflow")
    monkeypatch.setattr(logger, "handlers", [Kept()])
    return records


def test_notices_of_retracing_are_kept_back_and_all_others_said(said):
    logger = logging.getLogger("tensorflow")

    class Network:
        def predict_on_batch(self, images):
            logger.warning("5 out of the last 5 calls to f triggered tf.function retracing. Avoid")
            logger.warning("something else")
            return images

    predict_on_batch(Network(), np.zeros((1, 2)))
    assert said == ["something else"]
    logger.warning("6 out of the last 6 calls to f triggered tf.function retracing. Avoid")
    assert len(said) == 2  # what others do is theirs


def test_many_networks_that_predict_one_batch_each_are_no_retracing(said):
    for units in range(1, 9):
        network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])
        images = np.ones((3, 2), "float32")
        found = predict_on_batch(network, images)
        expected = keras.ops.convert_to_numpy(network(images))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert said == []


def test_an_error_is_raised_as_it_is_and_leaves_no_filter():
    class Fails:
        def predict_on_batch(self, images):
            raise LookupError("no")

    before = list(logging.getLogger("tensorflow").filters)
    with pytest.raises(LookupError):
        predict_on_batch(Fails(), np.zeros(1))
    assert logging.getLogger("tensorflow").filters == before


def test_a_thread_that_is_done_leaves_the_notices_of_others_back(said):
    logger = logging.getLogger("tensorflow")

    class Inner:
        def predict_on_batch(self, images):
            return images

    class Outer:
        def predict_on_batch(self, images):
            predict_on_batch(Inner(), images)  # as of another thread, that ends first
            logger.warning("5 out of the last 5 calls to f triggered tf.function retracing. Avoid")
            return images

    predict_on_batch(Outer(), np.zeros(1))
    assert said == []


def test_the_other_byte_order_becomes_the_machines_and_its_own_is_not_copied():
    numbers = np.arange(3, dtype="uint16")
    swapped = in_native_order(numbers.astype(numbers.dtype.newbyteorder()))
    assert swapped.dtype.isnative
    np.testing.assert_array_equal(swapped, numbers)
    assert in_native_order(numbers) is numbers
