"""The study of larger ImageNet networks: who is averaged, and with whom that is compared."""

from types import SimpleNamespace

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression

import detl
from examples.covid_chest_xray import material
from studies.do_larger_imagenet_networks_help import run as larger_imagenet
from studies.shared import features
from studies.shared.features import CLASSIFIERS, fitted, folds_of
from studies.shared.tables import cell, points

CLASSES = ("covid-19", "normal", "other", "pneumonia")


def test_each_network_and_their_mean_stand_beside_the_best_rival(monkeypatch):
    labels = np.repeat(CLASSES, 15)
    names = np.array([f"{k}" for k in range(60)])
    target = material.Part(
        images=np.zeros((60, 32, 32, 1), "uint8"),
        labels=labels,
        patients=names,
        names=names,
        collections=names,
    )
    generator = np.random.default_rng(0)
    seen = {  # one network tells the first two classes, the other the last two
        name: (labels[:, None] == told) + generator.normal(0, 0.5, (60, 2))
        for name, told in (("small", CLASSES[:2]), ("large", CLASSES[2:]))
    }
    thumbnail = generator.normal(0, 1, (60, 2)) + 2 * (labels == CLASSES[0])[:, None]
    monkeypatch.setattr(
        larger_imagenet,
        "features",
        lambda network, _: {"block 1": seen[network.name], "thumbnail": thumbnail},
    )
    member = {"layers": "block", "grid": 1, "classifier": "regression"}
    monkeypatch.setattr(features, "MEMBERS", {"one": member, "again": member})
    rivals = {"blind": DummyClassifier(), "seeing": LogisticRegression()}
    monkeypatch.setattr(larger_imagenet, "RIVALS", rivals)

    networks = [SimpleNamespace(name=name) for name in seen]
    rows = larger_imagenet.compared(networks, target, 0)

    folds = folds_of(target, 0)
    expected = {
        name: fitted(CLASSIFIERS["regression"], values, folds) for name, values in seen.items()
    }
    expected["mean of all"] = detl.average_results(list(expected.values()))
    rival = fitted(rivals["seeing"], thumbnail, folds)
    first = expected["small"]
    assert len({result.accuracy for result in (*expected.values(), rival)}) == 4
    assert [row["features of"] for row in rows] == list(expected)
    for row, result in zip(rows, expected.values()):
        assert row["accuracy"] == cell(result)
        assert row["best rival"] == f"{rival.accuracy:.3f}, seeing"
        assert row["points more than it"] == points(result, rival, target)
        more = "" if result is first else points(result, first, target)
        assert row["points more than the first"] == more
        assert (row["images"], row["patients"], row["seed"]) == ("60", "60", "0")
