"""Baselines know what they are meant to know, and nothing of the test images."""

from types import SimpleNamespace

import numpy as np
import pytest

from detl import compare_results
from detl.shortcuts.baseline_classifiers import (
    LINEAR,
    class_shares,
    fitted,
    histograms,
    on_the_folds_of,
    shapes,
)


def fold(train, test):
    return SimpleNamespace(train=train, test=test, seed=0)


def test_class_shares_are_those_of_the_training_images():
    targets = np.array([0, 0, 0, 1, 1, 1, 1, 1])
    found = class_shares(targets, 2)(fold(np.arange(4), np.array([6, 7])))
    assert found.tolist() == [[0.75, 0.25]] * 2


def test_a_site_has_the_shares_of_its_classes_and_an_unknown_one_those_of_all():
    targets = np.array([0, 0, 0, 1, 1, 1])
    places = np.array(["Turin", "Turin", "Turin", "Rome", "Oslo", "Turin"])
    predict = class_shares(targets, 2, places)
    found = predict(fold(np.arange(4), np.array([4, 5])))
    # Oslo is new: 3 of 4. Turin: 3 of 3, and one image's weight of what all say.
    assert found == pytest.approx(np.array([[0.75, 0.25], [3.75 / 4, 0.25 / 4]]))


def test_a_linear_baseline_learns_from_the_training_rows_alone():
    labels = np.array(["a", "b"] * 20)
    features = (labels == "b")[:, None] + np.random.default_rng(0).normal(0, 0.1, (40, 1))
    train, test = np.arange(20), np.arange(20, 40)
    network = SimpleNamespace(labels=labels, groups=None, classes=np.array(["a", "b", "c"]))
    found = fitted(LINEAR, features, network)(fold(train, test))
    assert (network.classes[found.argmax(axis=1)] == labels[test]).all()
    assert (found[:, 2] == 0).all()  # a class that was not trained on
    changed = features.copy()
    changed[30:] = 99  # test rows say nothing about each other
    assert fitted(LINEAR, changed, network)(fold(train, test))[:10] == pytest.approx(found[:10])


def test_histograms_are_shares_of_the_pixels_by_channel():
    image = np.zeros((1, 2, 2, 2))
    image[0, 0, 0, 1] = 255
    found = histograms(image).reshape(2, 32)
    assert found[0, 0] == 1
    assert (found[1, 0], found[1, -1]) == (0.75, 0.25)
    assert found.sum(axis=1).tolist() == [1, 1]


def test_shapes_tell_size_and_ratio():
    assert shapes(np.array([[np.e**2, np.e]])) == pytest.approx(np.array([[2, 1, 1]]))


def test_a_baseline_can_be_paired_with_the_network(make_result):
    labels = np.array(["a", "b"] * 20)
    network = make_result(labels)
    network.settings.update(
        images="", labels="", groups=None, folds="", fold_seeds=[], interval_seed=0
    )
    baseline = on_the_folds_of(network, "prior", class_shares((labels == "b").astype(int), 2))
    assert baseline.scores["roc_auc"].mean == 0.5
    assert [its.test.tolist() for its in baseline.folds] == [
        its.test.tolist() for its in network.folds
    ]
    (difference,) = compare_results({"network": network, "prior": baseline}).differences
    assert difference.mean == pytest.approx(network.accuracy - 0.5)
