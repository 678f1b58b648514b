"""Reliability, bin by bin, and the calibration error agree."""

import numpy as np
import pytest

from detl.metrics import reliability
from detl.metrics.fold_scores import weighted_scores


def test_reliability_compares_confidence_and_accuracy_bin_by_bin():
    confidence = [0.05, 0.55, 0.58, 0.52, 0.51, 0.95, 1.0]
    correct = [False, True, True, False, False, True, True]
    mean_confidence, accuracy, images = reliability(correct, confidence)
    np.testing.assert_allclose(mean_confidence, [0.05, 0.54, 0.975])
    np.testing.assert_allclose(accuracy, [0, 0.5, 1])
    assert images.tolist() == [1, 4, 2]


def test_reliability_and_calibration_error_agree(predictions, named):
    fold = predictions(300)
    confidence, accuracy, images = reliability(
        fold.probabilities.argmax(axis=1) == fold.targets,
        fold.probabilities.max(axis=1),
        n_bins=15,
    )
    expected = named(weighted_scores(fold)[0])["calibration_error"]
    assert images @ np.abs(accuracy - confidence) / 300 == pytest.approx(expected)


def test_one_bin_holds_everything():
    found = reliability([True, False], [0.9, 1.0], n_bins=1)
    np.testing.assert_allclose(found, [[0.95], [0.5], [2]])


@pytest.mark.parametrize(
    ("correct", "confidence", "message"),
    [
        ([True, False], [0.5], "1 confidence for 2 images"),
        ([True, 2], [0.5, 0.5], "values other than True and False; give predictions == labels"),
        ([True], [1.5], r"outside \[0, 1\]; give probabilities.max\(axis=1\)"),
        ([True], [np.nan], "confidence has a missing value"),
        ([True], [[0.4, 0.6]], r"confidence has shape \(1, 2\); expected \(1,\)"),
    ],
)
def test_what_cannot_be_compared_is_refused(correct, confidence, message):
    with pytest.raises(ValueError, match=message):
        reliability(correct, confidence)


def test_there_is_at_least_one_bin():
    with pytest.raises(ValueError, match="n_bins=0; expected at least 1"):
        reliability([True], [0.5], n_bins=0)
