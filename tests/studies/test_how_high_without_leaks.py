import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from detl import backbones
from detl.folds.splitting import stratified_folds
from examples.covid_chest_xray import material
from studies.how_high_without_leaks import elsewhere
from studies.how_high_without_leaks import run as honest
from studies.shared import tasks


def part(n_patients, images_each=2):
    labels = np.repeat(np.array(["a", "b"])[np.arange(n_patients) % 2], images_each)
    patients = np.repeat(np.arange(n_patients), images_each).astype(str)
    n = len(labels)
    return material.Part(
        images=np.zeros((n, 32, 32, 1), "uint8"),
        labels=labels,
        patients=patients,
        names=np.arange(n).astype(str),
        collections=np.full(n, "drawn"),
    )


def test_the_inner_split_is_of_training_patients_alone_and_keeps_them_together():
    target = part(40)
    train = np.arange(20, 80)
    rows, held_out = honest.inner_split(target, train, seed=0)
    assert sorted([*rows, *held_out]) == train.tolist()
    assert not set(target.patients[rows]) & set(target.patients[held_out])
    assert 8 <= len(held_out) <= 16  # a fifth


def test_each_fold_takes_what_its_own_inner_split_likes_best(monkeypatch):
    monkeypatch.setattr(
        honest.dataclasses, "replace", lambda base, folds: SimpleNamespace(folds=folds)
    )
    inner = {
        "x": SimpleNamespace(accuracies=np.array([0.5, 0.9, 0.3])),
        "y": SimpleNamespace(accuracies=np.array([0.6, 0.1, 0.3])),
    }
    outer = {name: SimpleNamespace(folds=[f"{name}{k}" for k in range(3)]) for name in "xy"}
    chosen, result = honest.nested(inner, outer)
    assert chosen == ["y", "x", "x"]  # the first of two that are alike
    assert result.folds == ("y0", "x1", "x2")


def held_out(make_result, *said):
    """Return what a lever says in two folds of four images, classes a and b in turn."""
    indices = [(np.arange(4, 8), np.arange(4)), (np.arange(4), np.arange(4, 8))]
    shares = [np.stack([np.asarray(p), 1 - np.asarray(p)], axis=1) for p in said]
    return make_result(["a", "b"] * 4, indices=indices, probabilities=shares)


def test_the_selected_average_takes_what_lowers_the_inner_loss_in_each_fold(make_result):
    right, wrong = [0.9, 0.1, 0.9, 0.1], [0.1, 0.9, 0.1, 0.9]
    inner = {
        "x": held_out(make_result, right, wrong),
        "y": held_out(make_result, wrong, right),
    }
    outer = {
        "x": held_out(make_result, [0.6] * 4, [0.7] * 4),
        "y": held_out(make_result, [0.2] * 4, [0.3] * 4),
    }
    shares, average = honest.selected(inner, outer)
    np.testing.assert_allclose(average.folds[0].probabilities[:, 0], 0.6, rtol=1e-6)
    np.testing.assert_allclose(average.folds[1].probabilities[:, 0], 0.3, rtol=1e-6)
    assert shares == {"x": pytest.approx(0.5), "y": pytest.approx(0.5)}


def test_two_that_err_differently_share_the_selected_average(make_result):
    # Each is sure and right of one half, and says nothing of the other: together they know all.
    inner = {
        "x": held_out(make_result, [0.99, 0.01, 0.4, 0.6], [0.99, 0.01, 0.4, 0.6]),
        "y": held_out(make_result, [0.4, 0.6, 0.99, 0.01], [0.4, 0.6, 0.99, 0.01]),
        "wrong": held_out(make_result, [0.01, 0.99] * 2, [0.01, 0.99] * 2),
    }
    shares, average = honest.selected(inner, inner)
    assert shares == {"x": pytest.approx(0.5), "y": pytest.approx(0.5), "wrong": 0.0}
    expected = [0.695, 0.305, 0.695, 0.305]
    np.testing.assert_allclose(average.folds[1].probabilities[:, 0], expected, rtol=1e-6)


def test_a_lever_of_features_trains_a_classifier_and_nothing_else(tmp_path):
    target = part(24)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 100, target.images.shape).astype("uint8")
    images[target.labels == "b"] += 100
    target = dataclasses.replace(target, images=images)
    network = backbones.vgg16((32, 32, 1), width=0.0625)
    before = [weight.copy() for weight in network.get_weights()]
    folds = stratified_folds(target.labels, groups=target.patients, n_splits=3, random_state=0)
    lever = {"source": "given", "layers": "block3", "grid": 2, "classifier": "SVM"}
    found = honest.cross_validated(
        lever, lambda name, seed: network, target, folds, tmp_path, seed=0
    )
    assert found.accuracy > 0.9
    settings = found.settings["transfer"]["average_of"][0]["transfer"]
    assert settings["featureextractor__layers"] == "block3"
    assert settings["featureextractor__grid"] == 2
    assert settings["calibratedclassifiercv__estimator"] == "SVC"
    for weight, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    (folder,) = tmp_path.iterdir()
    assert len(list(folder.glob("0/fold_*.npz"))) == 3


def test_levers_of_features_name_what_they_are():
    for name, lever in honest.FEATURES.items():
        source, rest = name.split(": ")
        assert rest == f"{lever['classifier']} on {lever['layers']}, grid {lever['grid']}"
        assert lever["source"] == ("given" if source == "AlexNet" else source)
        assert lever["classifier"] in honest.CLASSIFIERS
    assert len({tuple(lever.values()) for lever in honest.FEATURES.values()}) == 24


@pytest.mark.parametrize(("name", "left"), [("rsna", ["nih-7", "nih-8"]), ("kermany", list("678"))])
def test_elsewhere_leaves_out_the_patients_of_data_b(monkeypatch, name, left):
    images = np.zeros((3, 32, 32, 1), "uint8")
    found = tasks.Set(images=images, labels=np.array(list("abc")), groups=np.array(["6", "7", "8"]))
    known = SimpleNamespace(target=SimpleNamespace(patients=np.array(["nih-6", "covid-8"])))
    monkeypatch.setattr(elsewhere.tasks, "read", lambda *_: found)
    monkeypatch.setattr(elsewhere.radiographs, "read", lambda *_, **__: known)
    part = elsewhere.others(name, None)
    assert part.patients.tolist() == left
    assert part.labels.tolist() == list("abc")[-len(left) :]
