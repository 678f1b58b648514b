"""The ways to train the source stage, and what they change of the images."""

import numpy as np
import pytest

from examples.covid_chest_xray import material
from studies.shared.source_settings import baseline_of, rows_of, standardised


def test_a_share_of_the_patients_is_of_whole_patients():
    patients = np.repeat(np.arange(12), 3)
    part = material.Part(
        images=np.zeros((36, 4, 4, 1), "uint8"),
        labels=np.array(["diseased", "normal", "normal"] * 12),
        patients=patients,
        names=np.arange(36).astype(str),
        collections=np.full(36, "drawn"),
    )
    rows = rows_of(part, 0.5, np.random.SeedSequence(0))
    assert len(set(patients[rows])) == 6
    assert set(np.flatnonzero(np.isin(patients, patients[rows]))) == set(rows)


def test_standardised_images_have_one_mean_and_one_deviation():
    images = np.random.default_rng(0).integers(90, 120, (3, 32, 32, 1)).astype("uint8")
    changed = standardised(images).astype("float32")
    np.testing.assert_allclose(changed.mean(axis=(1, 2, 3)), 128, atol=1)
    np.testing.assert_allclose(changed.std(axis=(1, 2, 3)), 64, atol=4)


@pytest.mark.parametrize(
    ("name", "baseline"),
    [
        ("60 epochs", "baseline"),
        ("stronger augmentation, seed 2", "baseline, seed 2"),
        ("vgg16, stronger augmentation", "vgg16"),
        ("resnet50", "resnet50"),
    ],
)
def test_the_baseline_of_a_run_has_its_network_and_its_seed(name, baseline):
    assert baseline_of(name) == baseline
