"""A result is its folds' predictions, and what is derived from them."""

import dataclasses

import numpy as np
import pytest

from detl import metrics

LABELS = np.array(["covid", "normal", "other"])[np.arange(60) % 3]
GROUPS = np.arange(60) // 2


def test_probabilities_are_those_of_the_fold_that_tested_the_image(result):
    assert result.probabilities.dtype == np.float32
    for number, (train, test) in enumerate(result.indices):
        np.testing.assert_array_equal(
            result.probabilities[test], result.folds[number].probabilities
        )
        assert (result.fold_of[test] == number).all()
        np.testing.assert_array_equal(np.sort(np.r_[train, test]), np.arange(60))
    expected = result.classes[result.probabilities.argmax(axis=1)]
    np.testing.assert_array_equal(result.predictions, expected)


def test_repeats_are_averaged_and_the_first_fold_is_named(partly_repeated):
    first, second, third = (fold.probabilities for fold in partly_repeated.folds)
    found = partly_repeated.probabilities
    np.testing.assert_allclose(found[3], (first[0] + third[3]) / 2, rtol=1e-6)
    np.testing.assert_allclose(found[:3], (first[1:] + third[:3]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(found[4:8], second)
    assert partly_repeated.fold_of.tolist() == [0] * 4 + [1] * 4 + [-1] * 2


def test_of_repeats_that_decide_most_count_and_then_the_probability(partly_repeated):
    first, second, third = partly_repeated.folds
    decided = [
        dataclasses.replace(first, decisions=np.array([0, 1, 1, 0])),
        second,
        dataclasses.replace(third, decisions=np.array([1, 0, 1, 0])),
    ]
    found = dataclasses.replace(partly_repeated, folds=tuple(decided))
    by_probability = partly_repeated.predictions
    # Rows 0 and 3 have two votes for one class; of rows 1 and 2 the votes are even.
    assert found.predictions[[0, 3]].tolist() == [1, 0]
    assert found.predictions[1:3].tolist() == by_probability[1:3].tolist()
    assert found.predictions[4:].tolist() == by_probability[4:].tolist()
    assert found.predictions_frame()["prediction"].tolist()[:4] == [0, 1, 1, 0]


def test_an_image_that_no_fold_tested_has_no_prediction(partly_repeated):
    assert np.isnan(partly_repeated.probabilities[8:]).all()
    assert np.isfinite(partly_repeated.probabilities[:8]).all()
    *tested, one, another = partly_repeated.predictions.tolist()
    assert one is another is None
    assert tested == partly_repeated.probabilities[:8].argmax(axis=1).tolist()


def test_scores_are_those_of_the_fold_predictions(result):
    overall, per_class = metrics.scores(
        result.fold_predictions, unit="groups", random_state=result.settings["interval_seed"]
    )
    assert result.scores == overall
    assert list(result.class_scores) == ["covid", "normal", "other"]
    assert list(result.class_scores.values()) == per_class


def test_accuracies_matrices_and_shortcuts_agree(result):
    for number, (_, test) in enumerate(result.indices):
        hits = result.predictions[test] == LABELS[test]
        assert result.accuracies[number] == hits.mean()
        matrix = result.fold_confusion_matrices[number]
        assert np.trace(matrix) == hits.sum()
        assert matrix.sum(axis=1).tolist() == [(LABELS[test] == c).sum() for c in result.classes]
    assert (
        result.confusion_matrix[0, 2]
        == ((LABELS == "covid") & (result.predictions == "other")).sum()
    )
    assert result.accuracy == result.accuracies.mean()
    assert result.accuracy_std == pytest.approx(result.accuracies.std(ddof=1))
    assert result.interval is result.scores["accuracy"].interval


def test_intervals_redraw_groups_where_there_are_any(make_result, result):
    assert result.unit == "groups"
    assert "over 30 groups" in result.interval.method
    alone = make_result(LABELS)
    assert alone.unit == "images"
    assert "over 60 images" in alone.interval.method


def test_histories_and_seeds_are_those_of_the_folds(result):
    assert result.histories == [fold.history for fold in result.folds]
    assert result.fold_seeds == [0, 1, 2, 3, 4]


def test_arrays_are_not_in_the_representation(result):
    assert (
        repr(result)
        == "CrossValidationResult(classes=array(['covid', 'normal', 'other'], dtype='<U6'))"
    )
