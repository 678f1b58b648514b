"""The report of an audit says what was found and what was not looked for, and survives JSON."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from detl import folds

LABELS = np.repeat(["a", "b", "c"], [50, 30, 20])
GROUPS = np.arange(100) // 2


def pictures(n):
    """Return noise, of which no two images are alike."""
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 1), dtype="uint8")


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


def test_a_record_of_an_earlier_version_is_read():
    images = pictures(100)
    images[60] = images[0]
    found = folds.stratified_folds(LABELS, random_state=0)
    record = folds.audit(found, LABELS, images=images).to_dict()
    for name in ("copy_scores", "copy_names", "copy_thresholds", "n_alike"):
        del record[name]
    again = folds.Audit.from_dict(record)
    assert again.copies.tolist() == [[0, 60]]
    assert again.copy_scores is None
    assert "copies: 1 pair (1 exact)" in str(again)


def test_half_a_record_is_refused():
    with pytest.raises(ValueError, match=r"The record has no leaks, .*n_images"):
        folds.Audit.from_dict({"classes": ["a"]})


def test_names_that_json_lacks_become_text():
    days = np.array(["2020-03-01", "2020-03-02"], dtype="datetime64[D]")[GROUPS % 2]
    report = folds.audit([([0, 2, 60], [1])], LABELS, groups=days)
    assert report.shared_groups == (("2020-03-01",),)
    json.dumps(report.to_dict())


def test_an_audit_draws_its_folds():
    split = folds.stratified_folds(LABELS, groups=GROUPS, n_splits=3, random_state=0)
    report = folds.audit(split, LABELS, groups=GROUPS)
    axes = Figure().subplots()
    assert report.plot(ax=axes) is axes.figure
    heights = [[bar.get_height() for bar in bars] for bars in axes.containers]
    np.testing.assert_array_equal(heights, report.test_counts.T)
    assert report.plot(figsize=(5, 4)).get_size_inches().tolist() == [5, 4]
