from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from benchmarks import honest
from examples.covid_chest_xray import material


@dataclass(frozen=True)
class Fold:
    probabilities: np.ndarray
    test: int


@dataclass(frozen=True)
class Result:
    folds: tuple


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


def test_averaging_is_of_the_probabilities_of_the_same_images():
    def result(*probabilities):
        folds = tuple(Fold(probabilities=np.array(p), test=k) for k, p in enumerate(probabilities))
        return Result(folds=folds)

    found = honest.averaged(
        [result([[0.9, 0.1]], [[0.0, 1.0]]), result([[0.1, 0.9]], [[0.5, 0.5]])]
    )
    np.testing.assert_allclose(found.folds[0].probabilities, [[0.5, 0.5]])
    np.testing.assert_allclose(found.folds[1].probabilities, [[0.25, 0.75]])
    assert [fold.test for fold in found.folds] == [0, 1]
