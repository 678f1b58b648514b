"""An evaluation scores what it can, and holds it against the internal result's same classes."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

from detl.metrics.scoring import redrawn_scores
from detl.validation.evaluation import Evaluation

CLASSES = np.array(["covid", "normal", "other"])


def evaluation(labels, *, internal=None, groups=None, decisions=None, leaks=(), seed=1):
    labels = np.asarray(labels)
    logits = np.random.default_rng(seed).normal(size=(len(labels), 3))
    logits += 1.5 * (labels[:, np.newaxis] == CLASSES)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Evaluation(
        classes=CLASSES,
        labels=labels,
        groups=groups,
        probabilities=shares.astype("float32"),
        decisions=decisions,
        leaks=leaks,
        internal=internal,
        settings={"interval_seed": 0},
    )


LABELS = CLASSES[np.arange(90) % 3]


def test_scores_are_those_of_scikit_learn():
    found = evaluation(LABELS, groups=np.arange(90) // 2)
    assert found.accuracy == np.mean(found.predictions == LABELS)
    scores = {name: score.mean for name, score in found.scores.items()}
    balanced = balanced_accuracy_score(LABELS, found.predictions)
    assert scores["balanced_accuracy"] == pytest.approx(balanced)
    area = roc_auc_score(
        LABELS,
        found.probabilities / found.probabilities.sum(1, keepdims=True),
        multi_class="ovr",
        average="macro",
    )
    assert scores["roc_auc"] == pytest.approx(area)
    assert found.interval.method == "percentile bootstrap over 45 groups, 2000 draws"
    assert found.confusion_matrix.sum() == 90


def test_classes_that_are_absent_are_left_out_of_means():
    labels = np.where(LABELS == "other", "normal", LABELS)
    found = evaluation(labels)
    assert found.absent == ["other"]
    scores = {name: score.mean for name, score in found.scores.items()}
    of_present = [np.mean(found.predictions[labels == name] == name) for name in CLASSES[:2]]
    assert scores["balanced_accuracy"] == pytest.approx(np.mean(of_present))
    f1 = f1_score(labels, found.predictions, labels=CLASSES[:2], average="macro")
    assert scores["macro_f1"] == pytest.approx(f1)
    assert np.isnan(found.class_scores["other"]["sensitivity"].mean)
    assert found.class_scores["other"]["specificity"].mean == pytest.approx(
        np.mean(found.predictions != "other")
    )
    assert "No images of other: means over classes are of the others." in str(found)


def test_labels_that_the_classifier_does_not_know_are_in_the_matrix_alone():
    labels = LABELS.astype("U9")
    labels[:6] = "influenza"
    found = evaluation(labels)
    assert found.unknown == ["influenza"]
    assert found.accuracy == np.mean((found.predictions == labels)[6:])
    assert found.confusion_matrix.shape == (4, 3)
    np.testing.assert_array_equal(
        found.confusion_matrix[3], [np.sum(found.predictions[:6] == name) for name in CLASSES]
    )
    assert "The classifier does not know influenza: these 6 images are in the matrix" in str(found)


def test_a_single_class_has_a_sensitivity():
    found = evaluation(["covid"] * 30)
    assert found.class_scores["covid"]["sensitivity"].mean == found.accuracy
    assert np.isnan(found.scores["roc_auc"].mean)
    assert "No images of normal, other: means over classes are of the others." in str(found)


def test_the_change_is_against_the_internal_result_of_the_same_classes(result):
    labels = np.where(LABELS == "other", "normal", LABELS)
    found = evaluation(labels, internal=result)
    rows = result.labels != "other"
    expected = np.mean((result.predictions == result.labels)[rows])
    assert found.internal_scores["accuracy"] == pytest.approx(expected)
    assert found.changes["accuracy"].value == pytest.approx(found.accuracy - expected)
    assert set(found.class_changes) == {"covid", "normal"}
    assert "means over classes are of the others, internally too." in " ".join(str(found).split())


def test_the_same_predictions_inside_and_outside_are_no_change(result):
    rows = result.predicted_rows
    found = Evaluation(
        classes=result.classes,
        labels=result.labels[rows],
        groups=result.groups[rows],
        probabilities=result.probabilities[rows],
        decisions=None,
        leaks=(),
        internal=result,
        settings={"interval_seed": 0},
    )
    for name, change in found.changes.items():
        if name != "roc_auc":  # of one ranking here, of five there
            assert change.value == pytest.approx(0, abs=1e-6), name
            assert change.interval.low < 0 < change.interval.high


def test_the_two_sets_are_redrawn_apart(result):
    found = evaluation(LABELS, internal=result)
    spread = [
        redrawn_scores(folds, unit="images", random_state=5)[0][0].std()
        for folds in (found.fold_predictions, result.fold_predictions)
    ]
    interval = found.changes["accuracy"].interval
    expected = 2 * 1.96 * np.hypot(*spread)
    assert interval.high - interval.low == pytest.approx(expected, rel=0.1)
    assert interval.method.endswith("90 images, 2000 draws, and over 30 groups internally")


def test_without_an_internal_result_there_is_no_change():
    found = evaluation(LABELS)
    assert found.changes == found.class_changes == found.internal_scores == {}
    assert "internal" not in str(found)


def test_thresholds_and_temperature_are_chosen_on_the_internal_result(result):
    found = evaluation(LABELS, internal=result)
    inside = result.operating_point("covid", sensitivity=0.9)
    outside = found.operating_point("covid", sensitivity=0.9)
    assert outside.threshold == inside.threshold
    assert outside.fold_thresholds == (inside.threshold,)
    called = found.probabilities[:, 0] >= inside.threshold
    assert outside.sensitivity.value == pytest.approx(called[LABELS == "covid"].mean())
    assert "chosen on the internal result" in str(outside)
    temperature = result.recalibration().temperature
    assert found.recalibration().fold_temperatures == (temperature,)


def test_without_an_internal_result_a_threshold_has_to_be_given():
    found = evaluation(LABELS)
    with pytest.raises(ValueError, match=r"for an evaluation, internal= to detl.evaluate"):
        found.operating_point("covid", sensitivity=0.9)
    assert found.operating_point("covid", threshold=0.3).threshold == 0.3


def test_images_become_patients_outside_and_inside(make_result):
    groups = np.arange(60) // 2
    internal = make_result(CLASSES[groups % 3], groups=groups)
    groups = np.arange(90) // 3
    found = evaluation(CLASSES[groups % 3], groups=groups, internal=internal).by_group()
    assert len(found.labels) == 30
    assert len(found.internal.labels) == 30
    assert found.row_unit == "groups"
    assert "(share of 30 external groups)" in str(found)


def test_an_internal_result_without_groups_has_no_patients(make_result):
    internal = make_result(CLASSES[np.arange(60) % 3])
    found = evaluation(LABELS, groups=np.arange(90), internal=internal)
    with pytest.raises(ValueError, match="The internal result has no groups; give groups= to cro"):
        found.by_group()


def test_decisions_are_what_is_scored():
    found = evaluation(LABELS, decisions=np.zeros(90, int))
    assert found.accuracy == pytest.approx(1 / 3)
    assert (found.predictions == "covid").all()


def test_subgroups_and_suspects_are_of_these_images():
    labels = LABELS.astype("U9")
    labels[:3] = "influenza"
    found = evaluation(labels)
    one, two = found.subgroups({"half": np.arange(90) < 45}).subgroups
    assert (one.n_images, two.n_images) == (45, 42)
    suspects = found.suspects(90)
    assert "influenza" not in suspects.labels
    assert suspects.n_wrong == np.sum((found.predictions != labels)[3:])
