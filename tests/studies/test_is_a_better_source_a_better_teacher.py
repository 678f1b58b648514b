"""The study of source networks as teachers: what is correlated, and how sure that is."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.dummy import DummyClassifier

import detl
from studies.is_a_better_source_a_better_teacher import run as source_teachers
from studies.shared.source_settings import Variant

PATIENTS = np.arange(400) // 2


def hits(accuracies, seed=0):
    generator = np.random.default_rng(seed)
    return np.stack([generator.uniform(size=400) < share for share in accuracies]).astype(float)


def test_better_sources_that_teach_better_are_seen():
    found, low, high = source_teachers.correlation(
        [0.60, 0.65, 0.70, 0.75], hits([0.2, 0.4, 0.6, 0.8]), PATIENTS
    )
    assert (found, low, high) == (1, 1, 1)
    found, low, high = source_teachers.correlation(
        [0.75, 0.70, 0.65, 0.60], hits([0.2, 0.4, 0.6, 0.8]), PATIENTS
    )
    assert (found, low, high) == (-1, -1, -1)


def test_equal_teachers_seldom_have_a_sure_order(monkeypatch):
    monkeypatch.setattr(source_teachers, "N_DRAWS", 200)
    scores = np.linspace(0.6, 0.7, 8).tolist()
    sure = 0
    for seed in range(20):
        found, low, high = source_teachers.correlation(scores, hits([0.5] * 8, seed), PATIENTS)
        assert low < found < high
        sure += low > 0 or high < 0
    assert sure <= 4


def test_a_network_that_sees_the_classes_teaches_them():
    labels = np.array(["dark", "light"])[np.arange(60) % 2]
    images = np.random.default_rng(0).integers(0, 80, (60, 16, 16, 1)).astype("uint8")
    images[labels == "light"] += 100
    pixels = keras.Input((16, 16, 1))
    brightness = layers.AveragePooling2D(2, name="block3_pool")(pixels)
    brightness = layers.AveragePooling2D(2, name="block4_pool")(brightness)
    said = layers.Dense(2, activation="softmax", name="probabilities")(
        layers.GlobalAveragePooling2D(name="pool")(brightness)
    )
    source = detl.SourceModel(
        model=keras.Model(pixels, said),
        classes=np.array(["diseased", "normal"]),
        history={},
        best_epoch=0,
    )
    folds = detl.cross_validate(DummyClassifier(), images, labels, n_splits=2, random_state=0)
    taught = source_teachers.teach(source, Variant(), images, folds)
    assert taught.accuracy == pytest.approx(1)
    assert len(taught.settings["transfer"]["average_of"]) == 4
