import numpy as np
import pytest

from detl import folds

LABELS = np.repeat(["a", "b", "c"], [50, 30, 20])
GROUPS = np.arange(100) // 2


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_folds_are_a_partition_with_equal_class_shares(groups):
    found = folds.stratified_folds(LABELS, groups=groups, random_state=0)
    assert sorted(np.concatenate([test for _, test in found])) == list(range(100))
    for train, test in found:
        assert not set(train) & set(test)
        for name, share in (("a", 10), ("b", 6), ("c", 4)):
            assert np.sum(LABELS[test] == name) == share
        if groups is not None:
            assert not set(groups[train]) & set(groups[test])


def test_the_seed_alone_decides():
    def first(seed):
        return folds.stratified_folds(LABELS, random_state=seed)[0][1].tolist()

    expected = first(0)
    np.random.seed(5)  # noqa: NPY002
    assert first(0) == expected
    assert first(1) != expected


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_a_holdout_is_balanced_and_shares_no_group(groups):
    train, validation = folds.balanced_holdout(LABELS, groups=groups, random_state=0)
    assert np.unique(LABELS[validation], return_counts=True)[1].tolist() == [4, 4, 4]
    assert not set(train) & set(validation)
    if groups is None:
        assert len(train) + len(validation) == 100
    else:
        assert not set(groups[train]) & set(groups[validation])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": ["a"] * 9 + ["b"]}, "n_splits=5 exceeds the 1 images of class 'b'"),
        (
            {"labels": LABELS, "groups": np.where(LABELS == "c", 99, np.arange(100))},
            "n_splits=5 exceeds the 1 groups of class 'c'",
        ),
        ({"labels": ["a"] * 10}, "one class only, 'a'"),
        ({"labels": LABELS, "groups": GROUPS[:-1]}, "99 groups for 100"),
        ({"labels": LABELS, "groups": np.where(GROUPS == 1, np.nan, GROUPS)}, "row 2"),
        ({"labels": LABELS, "n_splits": 1}, "n_splits=1; expected at least 2"),
        ({"labels": np.eye(4)}, "one-hot"),
    ],
)
def test_labels_that_cannot_be_split_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        folds.stratified_folds(**arguments)


def test_a_fraction_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"fraction=0.9; expected a share in \(0, 0.5\]"):
        folds.balanced_holdout(LABELS, fraction=0.9)
