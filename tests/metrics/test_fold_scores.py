"""Scores of a fold equal scikit-learn's."""

import numpy as np
import pytest

from detl.metrics import Predictions, class_table, roc_curves, scores
from detl.metrics.fold_scores import weighted_scores


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_every_score_is_scikit_learns_for_any_weights(
    decimals, n_classes, predictions, named, scikit_learns
):
    fold = predictions(84, n_classes, decimals=decimals)
    weights = np.random.default_rng(1).gamma(1, size=(4, 84))
    weights[0], weights[1, ::4] = 1, 0
    for row, found in zip(weights, weighted_scores(fold, weights), strict=True):
        expected, found = scikit_learns(fold, row), named(found)
        assert set(found) - set(expected) == {"calibration_error"}
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-12), name


def test_without_weights_every_image_counts_once(predictions):
    fold = predictions()
    np.testing.assert_array_equal(weighted_scores(fold), weighted_scores(fold, np.ones((1, 60))))


def test_weights_are_repetitions(predictions):
    fold = predictions()
    times = np.random.default_rng(0).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), times)
    repeated = Predictions(
        targets=fold.targets[rows], probabilities=fold.probabilities[rows], units=rows
    )
    np.testing.assert_allclose(
        weighted_scores(fold, times[np.newaxis].astype(float)),
        weighted_scores(repeated),
    )


def test_the_calibration_error_is_the_mean_gap_of_15_bins(predictions, named):
    fold = predictions(300)
    confidence = fold.probabilities.max(axis=1)
    correct = fold.probabilities.argmax(axis=1) == fold.targets
    expected = 0.0
    for low in range(15):
        inside = (low / 15 <= confidence) & (confidence < (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    found = named(weighted_scores(fold)[0])["calibration_error"]
    assert found == pytest.approx(expected, abs=1e-12)


def test_who_is_sure_and_right_has_no_calibration_error(right_or_wrong, named):
    fold = right_or_wrong(np.ones(50, bool))[0]
    assert named(weighted_scores(fold)[0])["calibration_error"] == 0


def test_float32_probabilities_are_scored_as_they_are(predictions):
    fold = predictions()
    single = Predictions(
        targets=fold.targets, probabilities=fold.probabilities.astype("float32"), units=fold.units
    )
    np.testing.assert_allclose(weighted_scores(single), weighted_scores(fold), atol=1e-6)


def test_a_fold_without_a_class_has_only_its_specificity(predictions, named):
    fold = predictions(60)
    rows = np.flatnonzero(fold.targets != 2)
    without = Predictions(
        targets=fold.targets[rows],
        probabilities=fold.probabilities[rows],
        units=fold.units[rows],
    )
    found = named(weighted_scores(without)[0])
    missing = {name for name, value in found.items() if np.isnan(value)}
    assert missing == {
        "balanced_accuracy",
        "macro_f1",
        "roc_auc",
        ("sensitivity", 2),
        ("precision", 2),
        ("roc_auc", 2),
    }
    predicted = without.probabilities.argmax(axis=1)
    assert found["specificity", 2] == np.mean(predicted != 2)


def test_a_fold_of_one_class_has_no_area_and_no_specificity_of_it(named):
    fold = Predictions(targets=np.zeros(4, int), probabilities=np.eye(2)[[0, 0, 0, 1]], units=None)
    found = named(weighted_scores(fold)[0])
    assert found["accuracy"] == found["sensitivity", 0] == 0.75
    assert np.isnan([found["roc_auc", 0], found["roc_auc", 1], found["specificity", 0]]).all()


def test_a_class_that_is_never_predicted_has_no_precision_but_an_f1_of_zero(named):
    fold = Predictions(
        targets=np.array([0, 0, 1, 1]), probabilities=np.eye(2)[[0, 0, 0, 0]], units=None
    )
    found = named(weighted_scores(fold)[0])
    assert np.isnan(found["precision", 1])
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


def test_the_class_table_counts_one_class_against_the_rest():
    table = class_table(np.array([[8, 2, 0], [1, 6, 3], [0, 0, 5]]))
    assert table["images"].tolist() == [10, 10, 5]
    np.testing.assert_allclose(table["sensitivity"], [0.8, 0.6, 1.0])
    np.testing.assert_allclose(table["specificity"], [14 / 15, 13 / 15, 17 / 20])
    np.testing.assert_allclose(table["precision"], [8 / 9, 6 / 8, 5 / 8])


def test_a_class_that_is_never_predicted_has_no_precision():
    assert np.isnan(class_table(np.array([[3, 0], [2, 0]]))["precision"][1])


@pytest.mark.parametrize("matrix", [np.ones(4), np.ones((2, 3))])
def test_a_confusion_matrix_is_square(matrix):
    with pytest.raises(ValueError, match=r"has shape \(.*\); expected \(n_classes, n_classes\)"):
        class_table(matrix)


@pytest.mark.parametrize(
    "matrix", [[[1, -1], [0, 2]], [["a", "b"], ["c", "d"]], [[np.nan] * 2] * 2]
)
def test_a_confusion_matrix_is_of_counts(matrix):
    with pytest.raises(ValueError, match="confusion_matrix has entries that are no counts"):
        class_table(np.array(matrix))


@pytest.mark.parametrize("score", [scores, roc_curves])
@pytest.mark.parametrize("folds", [None, 5, [], ["a", "b"], [None], {}])
def test_what_are_no_predictions_is_refused(score, folds):
    message = f"folds is a {type(folds).__name__} of .*; expected a list of Predictions, one per"
    with pytest.raises(TypeError, match=message):
        score(folds)


@pytest.mark.parametrize("score", [scores, roc_curves])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": np.array([0, 2])}, "targets that are not one class of 0 to 1 each"),
        ({"targets": np.array([0.0, 1.0])}, "targets that are not one class"),
        ({"targets": np.array([0])}, r"probabilities of shape \(2, 2\) for 1 images"),
        ({"probabilities": np.ones(2)}, r"probabilities of shape \(2,\) for 2"),
        ({"probabilities": None}, r"probabilities of shape \(\) for 2"),
        ({"probabilities": np.array([[2, -1], [0, 1]])}, "probabilities that are negative or no n"),
        ({"probabilities": np.eye(2) * np.nan}, "probabilities that are negative or no numbers"),
        ({"probabilities": np.ones((2, 2))}, "probabilities that do not sum to one"),
        ({"decisions": np.array([0, 5])}, "decisions that are not one class"),
        ({"units": np.array([0])}, r"units of shape \(1,\) for 2 images"),
    ],
)
def test_predictions_that_do_not_fit_together_are_refused(score, changes, message):
    fitting = {"targets": np.arange(2), "probabilities": np.eye(2), "units": np.arange(2)}
    right = Predictions(**fitting)
    with pytest.raises(ValueError, match=rf"folds\[.\] has {message}"):
        score([right, Predictions(**fitting | changes)])
