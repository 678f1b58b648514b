import warnings

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
            "All images of class 'c' are of one group, such as a patient",
        ),
        (
            {"labels": LABELS, "groups": ["p"] * 100},
            "All images are of one group, such as a patient",
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


def test_a_class_of_one_patient_cannot_be_held_out():
    groups = np.where(LABELS == "c", 99, np.arange(100))
    with pytest.raises(ValueError, match="All images of class 'c' are of one group"):
        folds.balanced_holdout(LABELS, groups=groups)


def test_a_fraction_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"fraction=0.9; .* above 0 and at most 0.5"):
        folds.balanced_holdout(LABELS, fraction=0.9)


# -------------------------------------------------------------------------------------- repeats


def test_repeats_follow_one_another_and_each_is_a_partition():
    found = folds.stratified_folds(LABELS, groups=GROUPS, n_repeats=3, random_state=0)
    tests = [test.tolist() for _, test in found]
    assert len(found) == 15
    for start in (0, 5, 10):
        assert sorted(np.concatenate(tests[start : start + 5])) == list(range(100))
    once = folds.stratified_folds(LABELS, groups=GROUPS, random_state=0)
    assert tests[:5] == [test.tolist() for _, test in once]
    assert tests[:5] != tests[5:10] != tests[10:]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_repeats": 10**9}, ValueError, r"make \d+ folds; expected at most 100000"),
        ({"n_repeats": 0}, ValueError, "n_repeats=0; expected at least 1"),
        ({"n_repeats": 1.5}, TypeError, "n_repeats is float 1.5; expected a whole number"),
        (
            {"groups": np.repeat([0, 1, 2], [34, 33, 33])},
            ValueError,
            "All images of class 'c' are of one group",
        ),
        ({"groups": np.arange(100) % 4}, ValueError, "use n_splits<=4"),
        ({"groups": np.column_stack([GROUPS])}, ValueError, r"groups has shape \(100, 1\)"),
        ({"groups": [None, *GROUPS[1:]]}, ValueError, r"groups has a missing value .* row 0"),
    ],
)
def test_wrong_repeats_and_groups_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        folds.stratified_folds(LABELS, **arguments)


def test_fewer_groups_than_folds_are_refused():
    labels = ["a"] * 4 + ["b"] * 4 + ["a", "b"]
    with pytest.raises(ValueError, match=r"exceeds the 2 groups of class 'a'.*n_splits<=2"):
        folds.stratified_folds(labels, groups=[0] * 4 + [1] * 4 + [2, 3], n_splits=4)


def test_groups_that_cannot_be_dealt_out_are_refused():
    # Of three groups, two folds have one and two; the one lacks a class.
    labels, groups = ["a", "b", "a", "c", "b", "c"], [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match=r"No way .* n_splits=2 folds .*; merge or leave out a cl"):
        folds.stratified_folds(labels, groups=groups, n_splits=2, random_state=0)
    with pytest.raises(ValueError, match=r"No fraction=0.5 of the groups was found"):
        folds.balanced_holdout(labels, groups=groups, fraction=0.5, random_state=0)


def test_the_most_folds_are_named_where_so_many_cannot_be():
    labels = ["a", "b", "c"] * 2 + ["a", "b", "a", "c", "b", "c"]
    groups = (
        [0] * 3 + [1] * 3 + [2, 2, 3, 3, 4, 4]
    )  # a third fold of two; none is left for a fourth
    with pytest.raises(ValueError, match=r"n_splits=4 folds .*; use n_splits<=3"):
        folds.stratified_folds(labels, groups=groups, n_splits=4, random_state=0)


def test_a_holdout_of_too_small_a_class_is_refused():
    with pytest.raises(ValueError, match=r"Class 'b' has 4 images: .* hold out fraction>=0.25"):
        folds.balanced_holdout(["a"] * 9 + ["b"] * 4, fraction=0.2)


# ---------------------------------------------------------------------------------------- sites


def test_each_collection_is_held_out_once():
    sites = np.array(["x", "y", "z", "x"] * 25)
    found = folds.leave_one_site_out(LABELS, sites)
    assert [set(sites[test]) for _, test in found] == [{"x"}, {"y"}, {"z"}]
    for train, test in found:
        assert sorted([*train, *test]) == list(range(100))


def test_a_class_of_one_collection_is_not_tested_where_it_cannot_be_learned():
    labels = np.array(["a", "b", "c", "c", "a", "b"])
    sites = np.array(["x", "x", "x", "x", "y", "y"])
    with pytest.warns(UserWarning, match=r"site 'x' held out, its 2 images of class 'c'"):
        found = folds.leave_one_site_out(labels, sites)
    assert [[part.tolist() for part in split] for split in found] == [
        [[4, 5], [0, 1]],
        [[0, 1, 2, 3], [4, 5]],
    ]


def test_a_fold_without_test_images_is_left_out():
    labels = np.array(["a", "b", "a", "b", "c", "c"])
    sites = np.array([1, 1, 2, 2, 3, 3])
    with pytest.warns(UserWarning, match="site 3 held out.*no fold.*none of its images"):
        found = folds.leave_one_site_out(labels, sites)
    assert [test.tolist() for _, test in found] == [[0, 1], [2, 3]]


def test_a_fold_that_would_learn_one_class_is_left_out():
    labels, sites = np.array(["a", "b", "a"]), np.array(["x", "x", "y"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = folds.leave_one_site_out(labels, sites)
    assert [test.tolist() for _, test in found] == [[2]]
    message = "'x' held out, it gives no fold, because all others have class 'a'"
    assert message in str(caught[0].message)


def test_one_collection_is_refused():
    with pytest.raises(ValueError, match="one value only, 'x'; expected at least two"):
        folds.leave_one_site_out(["a", "b"], ["x", "x"])


@pytest.mark.filterwarnings("ignore:With site")
def test_collections_that_are_classes_are_refused():
    with pytest.raises(ValueError, match="site and class cannot be separated"):
        folds.leave_one_site_out(["a", "a", "b", "b"], ["x", "x", "y", "y"])
