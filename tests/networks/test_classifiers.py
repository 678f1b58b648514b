"""What carries a classifier is found, run in even batches, and asked about one class."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier

from detl import DomainExtensionTransfer
from detl.networks.classifiers import (
    check_target_class,
    class_names_of,
    even_batch_size,
    network_of,
    probabilities_by_class,
    probabilities_of,
)

NAMES = ["bone", "heart", "lung"]


def ending_in(layer):
    """Return a network that reads 1, 2, ... as features, and ends in that layer."""
    numbers = keras.Input((2, 2, 1))
    return keras.Model(numbers, layer(layers.Flatten()(numbers)))


def test_the_network_of_whatever_carries_one_is_found(tiny_source):
    assert network_of(tiny_source) is network_of(tiny_source.model) is tiny_source.model
    assert class_names_of(tiny_source) == ["bright", "dim"]
    assert class_names_of(tiny_source.model) is None
    assert class_names_of(DummyClassifier().fit([[0], [1]], [0, 1])) is None


def test_what_carries_no_network_is_refused():
    with pytest.raises(ValueError, match="This DomainExtensionTransfer is not fitted; call fit"):
        network_of(DomainExtensionTransfer(None))
    with pytest.raises(TypeError, match=r"DummyClassifier; expected a keras\.Model, a Sour"):
        network_of(DummyClassifier().fit([[0], [1]], [0, 1]))


@pytest.mark.parametrize("n", [1, 7, 16, 17, 100])
def test_batches_are_as_many_as_needed_and_even(n):
    size = even_batch_size(n, 16)
    assert size <= 16
    assert -(-n // size) == -(-n // 16)
    assert size * -(-n // size) - n < -(-n // 16)  # rows missing in the last: less than one each


def test_probabilities_do_not_depend_on_the_batch_size_and_a_sigmoid_stands_for_two_classes():
    images = np.random.default_rng(0).normal(size=(5, 2, 2, 1))
    model = ending_in(layers.Dense(1, activation="sigmoid"))
    expected = keras.ops.convert_to_numpy(model(images.astype("float32")))[:, 0]
    for batch_size in (1, 2, 5, 9):
        found = probabilities_of(model, images, batch_size=batch_size)
        np.testing.assert_allclose(found[:, 1], expected, rtol=1e-6)
        np.testing.assert_allclose(found[:, 0], 1 - found[:, 1], rtol=0, atol=1e-7)  # as float32


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Reshape((2, 2)), r"gives \('n', 2, 2\); expected \(n, classes\), a classifier"),
        (layers.Rescaling(np.nan), "gives NaN or infinity; training may have diverged"),
        (layers.Rescaling(3.0), r"values from 3 to 3, which are no probabilities.*Softmax\(\)"),
    ],
)
def test_outputs_that_are_no_probabilities_are_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        probabilities_of(ending_in(layer), np.ones((3, 2, 2, 1)), batch_size=2)


@pytest.mark.parametrize(
    ("given", "expected"),
    [(2, [2, 2]), ([0, 1], [0, 1]), ("heart", [1, 1]), (["lung", "bone"], [2, 0])],
)
def test_a_class_is_meant_by_its_column_or_its_name(given, expected):
    assert check_target_class(given, n=2, n_classes=3, names=NAMES).tolist() == expected


def test_a_name_that_is_no_class_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="'lungs' is not a class of this model; the nearest are"):
        check_target_class("lungs", n=2, n_classes=3, names=NAMES)


def test_columns_of_a_fitted_classifier_are_those_of_all_classes():
    table, labels = np.arange(8.0)[:, None], np.array(["bone", "lung"] * 4)
    rows = {"train": np.arange(6), "test": np.arange(6, 8)}
    fitted = LogisticRegression().fit(table, labels)
    found = probabilities_by_class(fitted, table, np.array(NAMES), **rows)
    np.testing.assert_array_equal(found[:, [0, 2]], fitted.predict_proba(table[6:]))
    assert not found[:, 1].any()


def test_the_softmax_of_decisions_stands_for_probabilities_with_one_scale_of_all():
    table, labels = np.arange(8.0)[:, None], np.array(["bone"] * 4 + ["lung"] * 4)
    rows = {"train": np.arange(8), "test": np.arange(8)}
    fitted = RidgeClassifier().fit(table, labels)
    plain = probabilities_by_class(fitted, table, np.array(["bone", "lung"]), **rows)
    np.testing.assert_allclose(plain[:, 1], 1 / (1 + np.exp(-fitted.decision_function(table))))
    fitted.coef_, fitted.intercept_ = 1000 * fitted.coef_, 1000 * fitted.intercept_
    large = probabilities_by_class(fitted, table, np.array(["bone", "lung"]), **rows)
    decisions = fitted.decision_function(table)
    expected = 1 / (1 + np.exp(-5 * decisions / np.abs(decisions).max()))
    np.testing.assert_allclose(large[:, 1], expected)
