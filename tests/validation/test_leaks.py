"""Leaks are said, or refused, before anything is trained."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import StratifiedKFold

from detl import cross_validate

N = 36
LABELS = np.array(["lung", "heart", "bone"] * (N // 3))
PATIENTS = np.repeat(np.arange(N // 3), 3)  # all three classes in every patient
PRIOR = DummyClassifier()  # is fitted at once, and gives each class its share


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, 16, 16, 1)).astype("uint8")


def test_a_leak_is_a_warning_or_an_error_as_asked_and_is_kept_with_the_result(images):
    leaking = {"groups": PATIENTS, "cv": StratifiedKFold(3, shuffle=True, random_state=0)}
    with pytest.warns(UserWarning, match="The folds leak: Groups are on both sides in 3"):
        found = cross_validate(PRIOR, images, LABELS, **leaking)
    assert found.audit.leaks
    assert "groups on both sides" in str(found)
    with pytest.raises(ValueError, match="before anything is trained"):
        cross_validate(PRIOR, images, LABELS, on_leak="raise", **leaking)
    with pytest.raises(ValueError, match="on_leak='no'; expected one of 'warn'"):
        cross_validate(PRIOR, images, LABELS, on_leak="no")


def test_the_advice_fits_the_leak(images):
    settings = {"groups": PATIENTS, "n_splits": 3, "on_leak": "raise", "random_state": 0}
    with pytest.raises(ValueError, match=r"the source model was trained on\. Train the source wi"):
        cross_validate(PRIOR, images, LABELS, source_groups=[3], **settings)
    settings |= {"cv": StratifiedKFold(3, shuffle=True, random_state=0), "n_splits": None}
    with pytest.raises(ValueError, match=r"in fold 0\. Give groups, .* is trained\.$"):
        cross_validate(PRIOR, images, LABELS, **settings)
    with pytest.raises(ValueError, match=r"Give groups, .* is trained\. Train the source without"):
        cross_validate(PRIOR, images, LABELS, source_groups=[3], **settings)
