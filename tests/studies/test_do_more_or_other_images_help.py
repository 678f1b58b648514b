"""The study of target draws: which images are drawn, which are trained on, who is compared."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

from examples.covid_chest_xray import material, tables
from studies.do_more_or_other_images_help import run as target_draws
from studies.shared.features import MEMBERS, RIVALS, fitted, folds_of


def records(labels, patients):
    return tables.Records(
        paths=np.array([f"{k}.png" for k in range(len(labels))]),
        labels=np.array(labels),
        patients=np.array(patients).astype(str),
        sources=np.full(len(labels), "nih"),
    )


@pytest.fixture
def nih():
    """Return 400 patients with a normal image each, half of them with five of a disease too."""
    labels, patients = [], []
    for patient in range(400):
        disease = tables.OTHER_DISEASES[patient % 6]
        found = ["No Finding"] + ([disease] * 5 + ["Pneumonia|Mass"] if patient % 2 else [])
        labels += found
        patients += [patient] * len(found)
    return records(labels, patients)


@pytest.fixture
def covid():
    return records([tables.COVID] * 340, np.arange(340) + 1000)


@pytest.mark.parametrize("draw", target_draws.DRAWS)
def test_a_draw_has_the_papers_numbers_as_far_as_there_are_images(nih, covid, draw):
    drawn = target_draws.data_b(nih, covid, draw=draw, seed=0)
    counts = dict(zip(*(a.tolist() for a in np.unique(drawn.labels, return_counts=True))))
    # Only three of the six diseases are at odd patients.
    assert counts == {"normal": 350, "pneumonia": 200, "other": 150, "covid-19": 305}
    assert len(set(drawn.paths[drawn.labels != "covid-19"])) == 700
    again = target_draws.data_b(nih, covid, draw=draw, seed=0)
    other = target_draws.data_b(nih, covid, draw=draw, seed=1)
    assert again.paths.tolist() == drawn.paths.tolist() != other.paths.tolist()


def test_patients_of_whom_the_source_would_lose_nothing_come_first(nih, covid):
    drawn = target_draws.data_b(nih, covid, draw="fewest diseased images first", seed=0)
    normal = drawn.patients[drawn.labels == "normal"].astype(int)
    assert set(range(0, 400, 2)) <= set(normal.tolist())
    by_chance = target_draws.data_b(nih, covid, draw="at random", seed=0)
    normal = by_chance.patients[by_chance.labels == "normal"].astype(int)
    assert not set(range(0, 400, 2)) <= set(normal.tolist())


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
    accuracies = [fitted(model, noise, result).accuracy for model in RIVALS.values()]
    assert best == pytest.approx(max(accuracies), abs=6e-4)
    assert row["features of ImageNet"].startswith("1.000")
    assert row["points more"].startswith(f"{100 * (1 - max(accuracies)):+.1f}")
    assert row["AUC, normal against the NIH's others"] == "1.000"
    assert row["training images"] == "96"
