"""What is on both sides of a split is found, and counted as a loop would."""

import re

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits
from sklearn.model_selection import KFold

from detl import folds
from detl.images import load

LABELS = np.repeat(["a", "b", "c"], [50, 30, 20])
GROUPS = np.arange(100) // 2


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


def test_a_source_that_has_all_images_is_a_leak():
    images = pictures(100)
    report = folds.audit([([0, 60], [1])], LABELS, images=images, source_images=images)
    assert report.source_copies.tolist() == [[i, i] for i in range(100)]
    assert report.source_copies_exact.all()
    assert "The source has copies of 100 of 100 images" in report.leaks[0]


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


def test_numbers_in_an_object_array_stay_numbers():
    groups = np.array([np.int64(group) for group in GROUPS], dtype=object)
    report = folds.audit([([0, 2, 60], [1])], LABELS, groups=groups, source_groups=[0.0, 7.0])
    assert report.shared_groups == ((0,),)
    assert report.source_shared_groups == (0, 7)


def test_splitting_by_image_in_spite_of_groups_shows_in_the_audit():
    found = folds.from_splitter(KFold(5, shuffle=True, random_state=0), LABELS, groups=GROUPS)
    assert "Groups are on both sides" in folds.audit(found, LABELS, groups=GROUPS).leaks[0]


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
        ({"indices": [([0, 60], [0])]}, ValueError, "Fold 0 of indices: 1 rows are in both"),
        ({"copy_threshold": 1.5}, ValueError, r"copy_threshold=1\.5; .* above 0 and at most 1"),
        ({"copy_threshold": "high"}, TypeError, "copy_threshold is str 'high'"),
        (
            {"groups": GROUPS, "source_groups": ["p1"]},
            TypeError,
            "groups are such as 0, but source_groups such as 'p1'",
        ),
    ],
)
def test_wrong_arguments_of_the_audit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        folds.audit(**{"indices": [([0, 60], [1])], "labels": LABELS, **arguments})


def test_the_user_says_how_alike_a_copy_is():
    images = pictures(100)
    images[[60, 70]] = images[1], np.clip(images[2] * 0.8 + 9, 0, 255)
    splits = [(np.arange(50, 100), np.arange(50))]
    assert folds.audit(splits, LABELS, images=images).copies.tolist() == [[1, 60], [2, 70]]
    report = folds.audit(splits, LABELS, images=images, copy_threshold=1.0)
    assert report.copies.tolist() == [[1, 60]]
    assert report.copy_thresholds.tolist() == [1.0] * 3
    assert report.n_alike == 1


def test_digits_of_which_none_is_a_copy_leak_nothing():
    digits = load_digits()
    images, labels = digits.images[:600, ..., np.newaxis] * 15.9, digits.target[:600]
    report = folds.audit(folds.stratified_folds(labels, random_state=0), labels, images=images)
    assert report.leaks == ()
    assert "alike, as different images are here: " in str(report)
    assert "no copies" not in str(report)


def test_files_are_named_where_their_names_are_known(tmp_path):
    pixels = pictures(100)
    pixels[60] = pixels[1]
    paths = [tmp_path / f"{row}.png" for row in range(100)]
    for path, image in zip(paths, pixels):
        Image.fromarray(image[..., 0]).save(path)
    loaded = load(paths, size=(32, 32))
    splits = [(np.arange(50, 100), np.arange(50))]
    report = folds.audit(
        splits, LABELS, images=loaded, source_images=load(paths[:2], size=(32, 32))
    )
    assert report.copy_names == ((str(paths[1]), str(paths[60])),)
    assert f"  {paths[1]} and {paths[60]}: exact" in str(report)
    assert report.source_copies.tolist()[0] == [0, 0]
    assert report.source_copy_names[0] == (str(paths[0]), str(paths[0]))
    given = folds.audit(splits, LABELS, images=loaded.images)
    assert "  image 1 and image 60: exact" in str(given)
    assert given.copies.tolist() == report.copies.tolist()
    assert folds.Audit.from_dict(report.to_dict()).copy_names == report.copy_names


def test_the_least_alike_pairs_are_shown_and_the_others_counted():
    images = pictures(100)
    images[60:67] = images[:7]
    images[67] = np.clip(images[8] * 1.3, 0, 255)
    lines = str(folds.audit([(np.arange(50, 100), np.arange(50))], LABELS, images=images))
    assert re.search(r"  image 8 and image 67: 0\.9\d\d\n", lines)
    assert lines.count(": exact\n") == 4
    assert "  and 3 more alike" in lines
