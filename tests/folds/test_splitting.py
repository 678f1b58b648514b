import json
import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn.model_selection import GroupKFold, KFold

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
    with pytest.raises(ValueError, match=r"fraction=0.9; expected a share in \(0, 0.5\]"):
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
    with pytest.raises(ValueError, match=r"no way was found .* n_splits=2 folds"):
        folds.stratified_folds(labels, groups=groups, n_splits=2, random_state=0)
    with pytest.raises(ValueError, match=r"no fraction=0.5 of the groups was found"):
        folds.balanced_holdout(labels, groups=groups, fraction=0.5, random_state=0)


def test_a_holdout_of_too_small_a_class_is_refused():
    with pytest.raises(ValueError, match=r"Class 'b' has 4 images: .* hold out fraction>=0.25"):
        folds.balanced_holdout(["a"] * 9 + ["b"] * 4, fraction=0.2)


# ---------------------------------------------------------------------------------- collections


def test_each_collection_is_held_out_once():
    collections = np.array(["x", "y", "z", "x"] * 25)
    found = folds.leave_one_collection_out(LABELS, collections)
    assert [set(collections[test]) for _, test in found] == [{"x"}, {"y"}, {"z"}]
    for train, test in found:
        assert sorted([*train, *test]) == list(range(100))


def test_a_class_of_one_collection_is_not_tested_where_it_cannot_be_learned():
    labels = np.array(["a", "b", "c", "c", "a", "b"])
    collections = np.array(["x", "x", "x", "x", "y", "y"])
    with pytest.warns(UserWarning, match=r"collection 'x' held out, its 2 images of class 'c'"):
        found = folds.leave_one_collection_out(labels, collections)
    assert [[part.tolist() for part in split] for split in found] == [
        [[4, 5], [0, 1]],
        [[0, 1, 2, 3], [4, 5]],
    ]


def test_a_fold_without_test_images_is_left_out():
    labels = np.array(["a", "b", "a", "b", "c", "c"])
    collections = np.array([1, 1, 2, 2, 3, 3])
    with pytest.warns(UserWarning, match="collection 3 held out.*no fold.*none of its images"):
        found = folds.leave_one_collection_out(labels, collections)
    assert [test.tolist() for _, test in found] == [[0, 1], [2, 3]]


def test_a_fold_that_would_learn_one_class_is_left_out():
    labels, collections = np.array(["a", "b", "a"]), np.array(["x", "x", "y"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = folds.leave_one_collection_out(labels, collections)
    assert [test.tolist() for _, test in found] == [[2]]
    assert "'x' held out, it gives no fold, for all others have class 'a'" in str(caught[0].message)


def test_one_collection_is_refused():
    with pytest.raises(ValueError, match="one value only, 'x'; expected at least two"):
        folds.leave_one_collection_out(["a", "b"], ["x", "x"])


@pytest.mark.filterwarnings("ignore:With collection")
def test_collections_that_are_classes_are_refused():
    with pytest.raises(ValueError, match="collection and class are one"):
        folds.leave_one_collection_out(["a", "a", "b", "b"], ["x", "x", "y", "y"])


# ------------------------------------------------------------------------------------ splitters


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
        ([], ValueError, "cv has no folds"),
        ([([0, 99], [1]), 7], ValueError, "Fold 1 is not a .train, test. pair"),
        ([([0, 99], [1], [2])], ValueError, "Fold 0 is not a .train, test. pair"),
        ([([0, 99], [])], ValueError, r"Fold 0: test has shape \(0,\)"),
        ([([[0, 99]], [1])], ValueError, r"Fold 0: train has shape \(1, 2\)"),
        ([(LABELS == "a", [1])], TypeError, "Fold 0: train has dtype bool; .*flatnonzero"),
        ([([0, 99], [100])], ValueError, "Fold 0: test has row 100; expected 0 to 99"),
        ([([0, -1], [5])], ValueError, "Fold 0: train has row -1; expected 0 to 99"),
        ([([0, 99, 0], [5])], ValueError, "Fold 0: train has row 0 more than once"),
        ([([0, 99], [1]), ([0, 99, 5], [5, 6])], ValueError, "Fold 1: 1 rows .* such as 5"),
        ([([0, 1], [99])], ValueError, "Fold 0: train has one class only"),
        (KFold(2), ValueError, "Fold 0: train has one class only"),
    ],
)
def test_folds_that_are_none_are_refused(cv, error, message):
    labels = np.repeat(["a", "b"], 50) if isinstance(cv, KFold) else LABELS
    with pytest.raises(error, match=message):
        folds.from_splitter(cv, labels)


# ---------------------------------------------------------------------------------------- audit


def pictures(n, seed=0):
    """Return pictures of which no two are alike."""
    noise = np.random.default_rng(seed).normal(size=(n, 32, 32))
    mixed = sum(gaussian_filter(noise, (0, s, s)) * s for s in (1, 2, 4))
    return np.clip(128 + 50 * mixed, 0, 255).astype("uint8")[..., np.newaxis]


def test_folds_with_groups_together_have_no_leaks():
    found = folds.stratified_folds(LABELS, groups=GROUPS, random_state=0)
    report = folds.audit(found, LABELS, groups=GROUPS, images=pictures(100))
    assert report.leaks == ()
    assert report.classes == ("a", "b", "c")
    assert report.test_counts.tolist() == [[10, 6, 4]] * 5
    assert report.train_counts.tolist() == [[40, 24, 16]] * 5
    assert report.missing_from_train == report.missing_from_test == ((),) * 5
    assert report.shared_groups == ((),) * 5
    assert report.shared_group_images.tolist() == report.copied_images.tolist() == [0] * 5
    assert report.copies.shape == (0, 2)
    assert (report.n_images, report.n_untested) == (100, 0)
    assert str(report).endswith("leaks: none found")


def test_groups_on_both_sides_are_counted_as_a_loop_counts_them():
    found = folds.stratified_folds(LABELS, random_state=0)
    report = folds.audit(found, LABELS, groups=[f"p{group}" for group in GROUPS])
    images = 0
    for fold, (train, test) in enumerate(found):
        both = sorted({f"p{g}" for g in GROUPS[train]} & {f"p{g}" for g in GROUPS[test]})
        assert list(report.shared_groups[fold]) == both
        concerned = sum(f"p{GROUPS[row]}" in both for row in test)
        assert report.shared_group_images[fold] == concerned
        images += concerned
    assert len(report.leaks) == 1
    assert f"in 5 of 5 folds: {images} of 100 test images ({images}.0 %)" in report.leaks[0]


def test_copies_are_leaks_where_they_are_on_both_sides():
    images = pictures(100)
    images[1] = images[0]  # same class, same side in every fold
    images[99] = images[10][:, ::-1]  # other class, both sides
    images[12] = images[11]  # same class, both sides
    test = np.array([0, 1, 10, 11, 50, 60, 80, 90])
    train = np.setdiff1d(np.arange(100), test)
    report = folds.audit([(train, test)], LABELS, images=images)
    assert report.copies.tolist() == [[0, 1], [10, 99], [11, 12]]
    assert report.copies_exact.tolist() == [True, False, True]
    assert report.copies_across.tolist() == [False, True, True]
    assert report.copies_relabelled.tolist() == [False, True, False]
    assert report.copied_images.tolist() == [2]
    assert report.leaks == (
        "Copies are on both sides in 1 of 1 fold: 2 of 8 test images (25.0 %) are copies of "
        "training images, such as image 10 of image 99 in fold 0.",
        "Copies across the split have different labels: 1 pair, such as image 10 ('a') and image "
        "99 ('c').",
    )


def test_copies_on_one_side_are_no_leak():
    images = pictures(100)
    images[1] = images[0]
    report = folds.audit([(np.arange(2, 100), np.array([0, 1]))], LABELS, images=images)
    assert report.leaks == ()
    assert "copies: 1 pair (1 exact), none across the split" in str(report)


def test_a_copy_of_a_copy_counts_though_the_one_between_is_in_neither_part():
    images = pictures(100)
    images[[40, 99]] = images[0]
    report = folds.audit([(np.arange(50, 100), np.array([40]))], LABELS, images=images)
    assert report.copied_images.tolist() == [1]
    assert "such as image 40 of image 99 in fold 0" in report.leaks[0]


def test_copies_whose_first_is_in_neither_part_are_pairs_across():
    images = pictures(100)
    images[[40, 45, 99]] = images[0]
    images[98] = images[0][:, ::-1]
    labels = np.where(np.isin(np.arange(100), [1, 3, 45, 60]), "z", "a")
    indices = [
        (np.arange(50, 98), np.array([40])),  # no leak
        (np.array([1, 99]), np.array([2, 40, 45])),
        (np.array([3, 40]), np.array([4, 99])),
        (np.array([45, 50]), np.array([5, 98])),
    ]
    report = folds.audit(indices, labels, images=images)
    pairs = dict(zip(map(tuple, report.copies.tolist()), report.copies_across.tolist()))
    assert pairs == {
        **dict.fromkeys([(0, 40), (0, 45), (0, 98), (0, 99)], False),
        **dict.fromkeys([(40, 99), (45, 98)], True),
    }
    assert report.copies.tolist() == sorted(report.copies.tolist())
    assert report.copies_exact.tolist() == [98 not in pair for pair in pairs]
    assert report.copies_relabelled.tolist() == [45 in pair for pair in pairs]
    assert report.copied_images.tolist() == [0, 2, 1, 1]
    assert "such as image 45 ('z') and image 98 ('a')" in report.leaks[1]


def test_what_the_source_has_seen_is_a_leak():
    images, source = pictures(100), pictures(80, seed=1)
    source[70], source[71] = images[5], images[6][:, ::-1]
    report = folds.audit(
        folds.stratified_folds(LABELS, groups=GROUPS, random_state=0),
        LABELS,
        groups=GROUPS,
        images=images,
        source_groups=np.arange(80) + 48,
        source_images=source,
    )
    assert report.source_shared_groups == (48, 49)
    assert report.source_group_images == 4
    assert report.source_copies.tolist() == [[5, 70], [6, 71]]
    assert report.source_copies_exact.tolist() == [True, False]
    assert report.leaks == (
        "The source has 2 groups of the target too, such as 48: 4 of 100 images (4.0 %) have a "
        "group that the source model was trained on.",
        "The source has copies of 2 of 100 images (2.0 %), such as source image 70 of image 5.",
    )


def test_a_source_that_shares_nothing_is_no_leak():
    report = folds.audit(
        folds.stratified_folds(LABELS, groups=GROUPS, random_state=0),
        LABELS,
        groups=GROUPS,
        images=pictures(100),
        source_groups=[1000, 1001],
        source_images=pictures(2, seed=1),
    )
    assert report.leaks == report.source_shared_groups == ()
    assert report.source_group_images == 0
    assert report.source_copies.shape == (0, 2)


def test_classes_that_a_fold_lacks_are_named():
    report = folds.audit([([0, 60, 61], [1, 62, 90]), ([0, 60, 90], [1, 62])], LABELS)
    assert report.missing_from_train == (("c",), ())
    assert report.missing_from_test == ((), ("c",))
    assert (
        "class 'c': 1 fold (0) without images to train on; those that are tested there count as "
        "wrong" in str(report)
    )
    assert (
        "class 'c': 1 fold (1) without images to test; scores that need them are left out"
        in str(report)
    )
    assert report.n_untested == 97
    assert "100 images, 97 never tested" in str(report)


def test_what_was_not_given_is_said_not_to_be_checked():
    report = folds.audit(folds.stratified_folds(LABELS, random_state=0), LABELS)
    assert report.shared_groups is report.copies is report.source_copies is None
    lines = str(report).splitlines()
    assert sum("not checked" in line for line in lines) == 4
    assert lines[-1] == "leaks: none found, not everything checked"
    assert 10 <= len(lines) <= 25


def test_many_folds_are_summed_up():
    found = folds.stratified_folds(LABELS, n_repeats=4, random_state=0)
    lines = str(folds.audit(found, LABELS)).splitlines()
    assert lines[0] == "audit of 20 folds: 100 images"
    assert lines[1].split() == ["of", "all", "folds", "fewest", "most"]
    assert lines[3].split() == ["test", "images", "20", "20"]


@pytest.mark.parametrize("full", [True, False])
def test_an_audit_survives_json(full):
    images = pictures(100)
    images[60] = images[0]
    given = {"groups": GROUPS, "images": images} if full else {}
    if full:
        given |= {"source_groups": [30, 31, 99], "source_images": images[:3]}
    report = folds.audit(folds.stratified_folds(LABELS, random_state=0), LABELS, **given)
    record = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    again = folds.Audit.from_dict(record)
    assert again.to_dict() == report.to_dict() == record
    assert str(again) == str(report)
    assert repr(again) == repr(report)
    for name, value in vars(report).items():
        found = getattr(again, name)
        assert type(found) is type(value)
        if isinstance(value, np.ndarray):
            assert found.dtype == value.dtype
            np.testing.assert_array_equal(found, value)
        else:
            assert found == value


def test_an_audit_without_pairs_survives_json():
    found = folds.stratified_folds(LABELS, random_state=0)
    report = folds.audit(found, LABELS, images=pictures(100))
    again = folds.Audit.from_dict(report.to_dict())
    assert again.copies.shape == (0, 2)
    assert again.copies_exact.dtype == bool
    assert str(again) == str(report)


def test_half_a_record_is_refused():
    with pytest.raises(ValueError, match=r"The record has no leaks, .*n_images"):
        folds.Audit.from_dict({"classes": ["a"]})


def test_numbers_in_an_object_array_stay_numbers():
    groups = np.array([np.int64(group) for group in GROUPS], dtype=object)
    report = folds.audit([([0, 2, 60], [1])], LABELS, groups=groups, source_groups=[0.0, 7.0])
    assert report.shared_groups == ((0,),)
    assert report.source_shared_groups == (0, 7)


def test_splitting_by_image_in_spite_of_groups_shows_in_the_audit():
    found = folds.from_splitter(KFold(5, shuffle=True, random_state=0), LABELS, groups=GROUPS)
    assert "Groups are on both sides" in folds.audit(found, LABELS, groups=GROUPS).leaks[0]


def test_names_that_json_lacks_become_text():
    days = np.array(["2020-03-01", "2020-03-02"], dtype="datetime64[D]")[GROUPS % 2]
    report = folds.audit([([0, 2, 60], [1])], LABELS, groups=days)
    assert report.shared_groups == (("2020-03-01",),)
    json.dumps(report.to_dict())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"images": pictures(3)}, ValueError, "3 images for 100 labels"),
        ({"groups": GROUPS[1:]}, ValueError, "99 groups for 100"),
        ({"source_groups": [1]}, ValueError, "source_groups without groups; give both"),
        ({"source_images": pictures(3)}, ValueError, "source_images without images"),
        (
            {"images": pictures(100), "source_images": pictures(3)[0]},
            ValueError,
            r"source_images has shape \(32, 32, 1\)",
        ),
        (
            {
                "groups": GROUPS,
                "source_groups": [1],
                "images": pictures(100),
                "source_images": pictures(3),
            },
            ValueError,
            "1 source_groups for 3 source_images",
        ),
        (
            {"groups": GROUPS, "source_groups": ["p1"]},
            TypeError,
            "groups are such as 0, but source_groups such as 'p1'",
        ),
    ],
)
def test_wrong_arguments_of_the_audit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        folds.audit([([0, 60], [1])], LABELS, **arguments)
