"""Any splitter gives its folds, and what is none is refused."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, KFold

from detl import folds

LABELS = np.repeat(["a", "b", "c"], [50, 30, 20])
GROUPS = np.arange(100) // 2


def test_any_splitter_gives_its_own_folds():
    splitter = GroupKFold(4)
    found = folds.from_splitter(splitter, LABELS, groups=GROUPS)
    for ours, theirs in zip(found, splitter.split(LABELS, LABELS, GROUPS), strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_pairs_come_back_sorted_and_the_given_ones_stay():
    given = [(np.array([99, 0, 60]), np.array([70, 1], dtype="uint8"))]
    [(train, test)] = folds.from_splitter(iter(given), LABELS)
    assert (train.tolist(), test.tolist()) == ([0, 60, 99], [1, 70])
    assert (train.dtype, test.dtype) == (np.intp, np.intp)
    assert given[0][0].tolist() == [99, 0, 60]


@pytest.mark.parametrize(
    ("cv", "error", "message"),
    [
        (5, TypeError, "cv is int 5; .*for a number of folds use n_splits"),
        ("stratified", TypeError, "cv is str 'stratified'"),
        (b"stratified", TypeError, "cv is bytes b'stratified'"),
        ([], ValueError, "cv has no folds"),
        ([([0, 99], [1]), 7], ValueError, "Fold 1 of cv is not a .train, test. pair"),
        ([([0, 99], [1], [2])], ValueError, "Fold 0 of cv is not a .train, test. pair"),
        ([([0, 99], [])], ValueError, r"Fold 0 of cv: test has shape \(0,\)"),
        ([([[0, 99]], [1])], ValueError, r"Fold 0 of cv: train has shape \(1, 2\)"),
        ([(LABELS == "a", [1])], TypeError, "Fold 0 of cv: train has dtype bool; .*flatnonzero"),
        ([([0, 99], [100])], ValueError, "Fold 0 of cv: test has row 100; expected 0 to 99"),
        ([([0, -1], [5])], ValueError, "Fold 0 of cv: train has row -1; expected 0 to 99"),
        ([([0, 99, 0], [5])], ValueError, "Fold 0 of cv: train has row 0 more than once"),
        ([([0, 99], [1]), ([0, 99, 5], [5, 6])], ValueError, "Fold 1 of cv: 1 rows .* such as 5"),
        ([([0, 1], [99])], ValueError, "Fold 0 of cv: train has one class only"),
        (KFold(2), ValueError, "Fold 0 of cv: train has one class only"),
    ],
)
def test_folds_that_are_none_are_refused(cv, error, message):
    labels = np.repeat(["a", "b"], 50) if isinstance(cv, KFold) else LABELS
    with pytest.raises(error, match=message):
        folds.from_splitter(cv, labels)
