"""The study of target draws: which images are drawn, which are trained on, who is compared."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from examples.covid_chest_xray import material
from studies.do_more_or_other_images_help import run as target_draws
from studies.shared.features import MEMBERS, RIVALS, fitted, folds_of


@pytest.fixture
def target():
    """Return images of three classes, told apart by their brightness, two of each patient."""
    labels = np.repeat(["normal", "other", "covid-19"], 40)
    rng = np.random.default_rng(0)
    levels = np.repeat([60, 120, 180], 40)[:, None, None, None]
    return material.Part(
        images=np.clip(levels + rng.integers(-9, 10, (120, 32, 32, 1)), 0, 255).astype("uint8"),
        labels=labels,
        patients=np.repeat(np.arange(60), 2).astype(str),
        names=np.arange(120).astype(str),
        collections=np.full(120, "nih"),
    )


def test_fewer_patients_are_whole_ones_of_every_class_and_never_of_the_test_fold(target):
    whole = folds_of(target, 0)
    half = target_draws.with_fewer_patients(whole, target.patients, 0.5, 0)
    for few, all_ in zip(half.folds, whole.folds, strict=True):
        assert few.test.tolist() == all_.test.tolist()
        assert set(few.train) < set(all_.train)
        for name in whole.classes:
            now, before = (
                len(set(target.patients[f.train[target.labels[f.train] == name]]))
                for f in (few, all_)
            )
            assert now == round(0.5 * before)
        taken = np.isin(target.patients[all_.train], target.patients[few.train])
        assert set(all_.train[taken]) == set(few.train)
    same = target_draws.with_fewer_patients(whole, target.patients, 1.0, 0)
    assert [f.train.tolist() for f in same.folds] == [sorted(f.train) for f in whole.folds]


def test_classifiers_are_fitted_on_each_fold_with_or_without_probabilities(target):
    result = folds_of(target, 0)
    brightness = target.images.mean(axis=(1, 2))
    for model in (LogisticRegression(), RIVALS["SVM, C=1"]):
        assert fitted(model, brightness, result).accuracy == 1
    assert fitted(DummyClassifier(), brightness, result).accuracy < 0.5


def test_the_difference_is_to_the_best_of_the_rivals(target):
    result = folds_of(target, 0)
    noise = np.random.default_rng(1).normal(size=(120, 3))
    knows = target.images.mean(axis=(1, 2))
    columns = {f"{of['layers']} {of['grid']}": knows for of in MEMBERS.values()}
    row = target_draws.judged(result, {**columns, "thumbnail": noise}, target)
    best = float(row["best rival"].split(",")[0])
    accuracies = []
    for model in RIVALS.values():
        folds = fitted(model, noise, result).folds
        hits = [result.classes[fold.predicted] == target.labels[fold.test] for fold in folds]
        accuracies.append(np.mean([of_fold.mean() for of_fold in hits]))
    assert best == pytest.approx(max(accuracies), abs=6e-4)
    assert row["features of ImageNet"].startswith("1.000")
    assert row["points more"].startswith(f"{100 * (1 - max(accuracies)):+.1f}")
    assert row["AUC, normal against the NIH's others"] == "1.000"
    assert row["training images"] == "96"
