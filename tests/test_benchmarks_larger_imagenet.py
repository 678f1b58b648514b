"""The benchmark of larger ImageNet networks: who is averaged, and with whom that is compared."""

import numpy as np
import pytest

from benchmarks import larger_imagenet, target_draws
from benchmarks.efficientnet_lite0 import BLOCKS, efficientnet_lite0, scaled
from examples.covid_chest_xray import material


@pytest.fixture
def target():
    """Return 60 patients with an image each, of four classes that brightness tells apart."""
    generator = np.random.default_rng(0)
    labels = np.repeat(["covid-19", "normal", "other", "pneumonia"], 15)
    level = np.repeat([30, 80, 130, 180], 15)[:, None, None, None]
    images = np.clip(level + generator.normal(0, 25, (60, 32, 32, 1)), 0, 255).astype("uint8")
    names = np.array([f"{k}" for k in range(60)])
    return material.Part(
        images=images, labels=labels, patients=names, names=names, collections=names
    )


def test_each_network_and_their_mean_stand_beside_the_best_rival(target, monkeypatch):
    few = {name: target_draws.MEMBERS[name] for name in list(target_draws.MEMBERS)[-2:]}
    monkeypatch.setattr(larger_imagenet, "MEMBERS", few)
    monkeypatch.setattr(target_draws, "MEMBERS", few)
    networks = [efficientnet_lite0((32, 32, 1), version=version) for version in (0, 1)]
    rows = larger_imagenet.compared(networks, target, 0)
    names = ["efficientnet_lite0", "efficientnet_lite1", "mean of all"]
    assert [row["features of"] for row in rows] == names
    first, _, mean = rows
    assert first["points more than the first"] == ""
    accuracy = {row["features of"]: float(row["accuracy"].split()[0]) for row in rows}
    rival, name = rows[0]["best rival"].split(", ", 1)
    assert name in target_draws.RIVALS
    for row in rows:
        more = float(row["points more than it"].split()[0])
        expected = 100 * (accuracy[row["features of"]] - float(rival))
        assert more == pytest.approx(expected, abs=0.15)
    more = float(mean["points more than the first"].split()[0])
    assert more == pytest.approx(100 * (accuracy[names[2]] - accuracy[names[0]]), abs=0.15)
    assert {row["patients"] for row in rows} == {"60"}


def test_versions_grow_as_published():
    assert scaled(0) == BLOCKS
    assert [block[-1] for block in scaled(1)] == [1, 3, 3, 4, 4, 5, 1]
    assert [block[-2:] for block in scaled(2)] == [
        (16, 1),
        (24, 3),
        (48, 3),
        (88, 4),
        (120, 4),
        (208, 5),
        (352, 1),
    ]
