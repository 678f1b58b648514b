import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from studies.shared.auc import interval


def test_more_images_of_the_same_patients_do_not_narrow_the_interval():
    generator = np.random.default_rng(0)
    diseased = generator.random(60) < 0.5
    p = generator.random(60) + 0.5 * diseased
    patients = np.arange(60)
    once = interval(diseased, p, patients, n=200)
    again = interval(*(np.repeat(values, 7) for values in (diseased, p, patients)), n=200)
    assert once == pytest.approx(again)
    assert once[0] < roc_auc_score(diseased, p) < once[1]


def test_the_interval_of_drawn_patients_is_that_of_scikit_learns_auc_with_ties():
    generator = np.random.default_rng(1)
    diseased = generator.random(80) < 0.4
    p = np.round(generator.random(80) + 0.3 * diseased, 1)
    patients = generator.integers(30, size=80)
    _, group = np.unique(patients, return_inverse=True)
    draws = np.random.default_rng(0)
    found = []
    for _ in range(50):
        drawn = draws.integers(group.max() + 1, size=group.max() + 1)
        rows = np.concatenate([np.flatnonzero(group == patient) for patient in drawn])
        found.append(roc_auc_score(diseased[rows], p[rows]))
    expected = np.quantile(found, [0.025, 0.975])
    np.testing.assert_allclose(interval(diseased, p, patients, n=50), expected)
