import csv
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from benchmarks import gradcam_parity
from detl import GradCAM

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests/data/gradcam_parity.npz"


def fixture():
    with np.load(FIXTURE) as archive:
        return {key: archive[key] for key in archive if "|" in key}


@cache
def raw(network, method):
    model = gradcam_parity.keras_network(network)
    cam = GradCAM(model, method=method)
    return cam.explain(gradcam_parity.images(), gradcam_parity.CLASSES).raw


@pytest.mark.parametrize("key", sorted(fixture()))
def test_maps_are_those_of_other_libraries(key):
    _, network, method = key.split("|")
    theirs = fixture()[key]
    assert gradcam_parity.difference(theirs, raw(network, method)) <= gradcam_parity.TOLERANCE


def test_methods_differ_enough_for_agreement_to_mean_something():
    found = [
        raw("plain flat", method) for method in ("gradcam", "hirescam", "layercam", "xgradcam")
    ]
    for one, other in combinations(found, 2):
        assert gradcam_parity.difference(one, other) > 0.1


def test_weights_and_images_are_those_that_the_libraries_saw():
    np.testing.assert_allclose(
        gradcam_parity.images()[0, 0, 0], [0.5118216, 0.9504637, 0.1441596], rtol=1e-6
    )


def test_the_published_table_keeps_its_limits():
    with (ROOT / "benchmarks/results/gradcam_parity.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    libraries = {row["library"] for row in rows if row["method"] == "gradcam"}
    assert {"pytorch-grad-cam", "captum", "detl on jax", "detl on torch"} <= libraries
    for row in rows:
        if row["library"].startswith("detl"):
            assert float(row["map"]) <= 1e-5
        elif row["why"]:  # a difference, of which all is explained
            assert float(row["their formula"]) <= 1e-4 < float(row["heatmap"])
        else:
            assert float(row["map"]) <= gradcam_parity.TOLERANCE
