import keras
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from detl import DomainExtensionTransfer, backbones, cross_validate

SHAPE = (32, 32, 1)
N = 24
LABELS = np.array(["lung", "heart"] * (N // 2))
PATIENTS = np.repeat(np.arange(N // 2), 2)  # both classes in every patient


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype("uint8")


@keras.saving.register_keras_serializable(package="detl_tests")
class CountTraces(keras.layers.Layer):
    """Count how often the graph is traced in training: Python runs then, and only then."""

    traces = 0

    def call(self, inputs, training=False):
        CountTraces.traces += bool(training)
        return inputs


def transfer(source=None, **changes):
    source = backbones.vgg16(SHAPE, width=0.0625) if source is None else source
    return DomainExtensionTransfer(source, **{"epochs": 2, "learning_rate": 0.01, **changes})


@pytest.fixture(scope="module")
def result(images):
    return cross_validate(transfer(), images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)


def test_every_image_is_tested_once_and_no_patient_is_on_both_sides(result):
    tested = np.concatenate([test for _, test in result.indices])
    assert sorted(tested) == list(range(N))
    for fold, (train, test) in enumerate(result.indices):
        assert not set(PATIENTS[train]) & set(PATIENTS[test])
        assert (result.fold_of[test] == fold).all()


def test_the_scores_follow_from_the_predictions(result):
    assert (result.predictions == result.classes[result.probabilities.argmax(axis=1)]).all()
    right = result.predictions == LABELS
    np.testing.assert_allclose(
        result.accuracies, [right[test].mean() for _, test in result.indices]
    )
    assert result.accuracy == pytest.approx(np.mean(result.accuracies))
    assert result.accuracy_std == pytest.approx(np.std(result.accuracies, ddof=1))
    np.testing.assert_array_equal(
        result.confusion_matrix, confusion_matrix(LABELS, result.predictions, labels=result.classes)
    )
    assert result.interval.low <= right.mean() <= result.interval.high
    assert "12 groups" in result.interval.method


def test_a_fold_is_what_fitting_by_hand_gives(images):
    source = backbones.vgg16(SHAPE, width=0.0625)
    found = cross_validate(transfer(source), images, LABELS, n_splits=3, random_state=0)
    for fold in (2, 0):  # in another order: each fold starts anew
        train, test = found.indices[fold]
        by_hand = transfer(source, random_state=found.fold_seeds[fold])
        probabilities = by_hand.fit(images[train], LABELS[train]).predict_proba(images[test])
        np.testing.assert_allclose(probabilities, found.probabilities[test], atol=1e-5)
        assert by_hand.history_["loss"] == pytest.approx(found.histories[fold]["loss"], rel=1e-4)


def test_the_same_seed_gives_the_same_probabilities_whatever_the_global_seed(images):
    source = backbones.vgg16(SHAPE, width=0.0625)
    runs = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        runs.append(cross_validate(transfer(source), images, LABELS, n_splits=2, random_state=5))
    np.testing.assert_array_equal(runs[0].probabilities, runs[1].probabilities)


def test_the_tail_is_traced_no_more_often_for_many_folds_than_for_few(images):
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(2, 3, name="block1_conv")(inputs)
    x = keras.layers.Conv2D(2, 3, name="block2_conv")(CountTraces()(x))
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x))
    traces = []
    for n_splits in (2, 6):
        CountTraces.traces = 0
        cross_validate(
            transfer(network, trainable_from="block1"), images, LABELS, n_splits=n_splits
        )
        traces.append(CountTraces.traces)
    assert traces[1] <= traces[0]


def test_the_table_says_what_its_numbers_are(result):
    text = str(result)
    assert f"accuracy {result.accuracy:.3f} ± {result.accuracy_std:.3f}" in text
    assert "standard deviation over 3 folds, groups kept together" in text
    for name in ("heart", "lung", "sensitivity", "specificity", "precision"):
        assert name in text


def test_the_transfer_is_left_unfitted(images):
    estimator = transfer()
    cross_validate(estimator, images, LABELS, n_splits=2)
    assert not hasattr(estimator, "model_")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"labels": LABELS[:-1]}, "23 labels for 24"),
        ({"groups": PATIENTS[:-1]}, "23 groups for 24 images"),
        ({"groups": np.where(PATIENTS == 3, np.nan, PATIENTS)}, "missing value.*row 6"),
        ({"labels": np.where(np.arange(N) < 3, "rare", "common")}, "exceeds the 3 images of class"),
        ({"groups": np.where(LABELS == "lung", 0, PATIENTS + 1)}, "exceeds the 1 groups of class"),
        ({"labels": ["lung"] * N}, "one class only"),
    ],
)
def test_wrong_data_are_refused_before_anything_is_trained(images, spoil, message):
    labels = spoil.get("labels", LABELS)
    with pytest.raises(ValueError, match=message):
        cross_validate(transfer(), images, labels, groups=spoil.get("groups"), n_splits=5)


def test_other_estimators_are_referred_to_scikit_learn(images):
    with pytest.raises(TypeError, match=r"use sklearn\.model_selection\.cross_validate"):
        cross_validate(object(), images, LABELS)
