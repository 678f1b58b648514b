"""Folds are drawn and audited, and data checked, before anything is trained."""

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold

from detl import CrossValidationResult, cross_validate
from detl.folds.splitting import leave_one_site_out

N = 36
LABELS = np.array(["lung", "heart", "bone"] * (N // 3))
PATIENTS = np.repeat(np.arange(N // 3), 3)  # all three classes in every patient
PRIOR = DummyClassifier()  # is fitted at once, and gives each class its share


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, 16, 16, 1)).astype("uint8")


@pytest.mark.parametrize(
    "cv", [StratifiedKFold(3), LeaveOneGroupOut(), [(range(12, 36), range(12)), ([0, 1], [2, 3])]]
)
def test_any_splitter_of_scikit_learn_or_any_folds_will_do(images, cv):
    found = cross_validate(PRIOR, images, LABELS, groups=PATIENTS, cv=cv, on_leak="ignore")
    expected = (
        cv.split(images, LABELS, None if isinstance(cv, StratifiedKFold) else PATIENTS)
        if hasattr(cv, "split")
        else cv
    )
    for (train, test), (of_train, of_test) in zip(found.indices, expected, strict=True):
        np.testing.assert_array_equal(train, list(of_train))
        np.testing.assert_array_equal(test, list(of_test))


def test_a_splitter_without_a_seed_draws_from_the_random_state(images, tmp_path):
    cv = StratifiedKFold(3, shuffle=True)
    first, second, other = (
        cross_validate(PRIOR, images, LABELS, cv=cv, random_state=seed, checkpoint_dir=folder)
        for seed, folder in ((0, tmp_path), (0, tmp_path), (1, None))
    )
    assert first.fold_of.tolist() == second.fold_of.tolist() != other.fold_of.tolist()
    assert cv.random_state is None


def test_without_a_random_state_every_run_draws_anew_whatever_the_global_seed(images):
    drawn = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002
        drawn.append(cross_validate(PRIOR, images, LABELS, n_splits=3).fold_seeds)
    assert drawn[0] != drawn[1]


def test_a_splitter_with_a_seed_keeps_it(images):
    cv = StratifiedKFold(3, shuffle=True, random_state=7)
    found = cross_validate(PRIOR, images, LABELS, cv=cv, random_state=0)
    for (_, test), (_, expected) in zip(found.indices, cv.split(images, LABELS), strict=True):
        np.testing.assert_array_equal(test, expected)


def test_a_result_does_not_change_with_the_arrays_it_was_made_from(images):
    labels, patients = LABELS.copy(), PATIENTS.copy()
    found = cross_validate(PRIOR, images, labels, groups=patients, n_splits=3, random_state=0)
    labels[:], patients[:] = np.roll(LABELS, 1), 0
    assert found.labels.tolist() == LABELS.tolist()
    assert found.groups.tolist() == PATIENTS.tolist()


def test_n_splits_beside_cv_is_refused(images):
    with pytest.raises(ValueError, match="n_splits=3 is given together with cv"):
        cross_validate(PRIOR, images, LABELS, cv=StratifiedKFold(3), n_splits=3)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"checkpoint_dir": 5},
            TypeError,
            "checkpoint_dir is int 5; expected the path of a folder",
        ),
        ({"source_groups": 5}, ValueError, r"source_groups has shape \(\); expected"),
        ({"source_groups": [("a", 1)]}, ValueError, "source_groups has shape .*join them"),
        ({"on_leak": np.array(["warn"])}, ValueError, "on_leak=.*; expected one of 'warn'"),
    ],
)
def test_wrong_arguments_are_named(images, settings, error, message):
    with pytest.raises(error, match=message):
        cross_validate(PRIOR, images, LABELS, groups=PATIENTS, random_state=0, **settings)


@pytest.mark.parametrize(
    "labels",
    [np.arange(N) % 3, np.arange(N) % 2 == 0, LABELS.astype(object)],
    ids=lambda y: y.dtype,
)
@pytest.mark.parametrize(
    "groups",
    [PATIENTS.astype(str), np.datetime64("2020-03-01") + PATIENTS, PATIENTS.astype(object)],
    ids=lambda groups: groups.dtype,
)
def test_labels_and_groups_may_be_of_any_type(images, tmp_path, labels, groups):
    settings = {"groups": groups, "n_splits": 2, "random_state": 0, "checkpoint_dir": tmp_path}
    found = cross_validate(PRIOR, images, labels, **settings)
    again = cross_validate(PRIOR, images, labels, **settings)
    np.testing.assert_array_equal(again.predictions, found.predictions)
    np.testing.assert_array_equal(found.classes, np.unique(labels))
    for train, test in found.indices:
        assert not set(groups[train]) & set(groups[test])
    assert (
        found.confusion_matrix.sum(axis=1).tolist()
        == np.unique(labels, return_counts=True)[1].tolist()
    )


def test_images_of_a_class_that_only_the_held_out_collection_has_are_not_tested(images, tmp_path):
    labels = np.where(np.arange(N) < 4, "rare", LABELS)
    sites = np.where(np.arange(N) < 12, "Hannover", "Turin")
    with pytest.warns(UserWarning, match="its 4 images of class 'rare' are left out"):
        cv = leave_one_site_out(labels, sites)
    found = cross_validate(PRIOR, images, labels, cv=cv, random_state=0)
    assert found.fold_of[:4].tolist() == [-1] * 4
    assert found.predictions[:4].tolist() == [None] * 4
    assert np.isnan(found.probabilities[:4]).all()
    assert found.class_scores["rare"]["sensitivity"].n_missing == 2
    assert "4 of 36 images were tested by no fold" in str(found)
    assert CrossValidationResult.load(found.save(tmp_path / "r.json")).interval == found.interval


def test_one_patient_held_out_has_an_accuracy_but_no_interval(images, tmp_path):
    with_one = [(np.arange(3, N), np.arange(3))]
    found = cross_validate(PRIOR, images, LABELS, groups=PATIENTS, cv=with_one)
    assert found.accuracy == np.mean(found.predictions[:3] == LABELS[:3])
    assert "(none: 1 of groups is too few)" in str(found)
    found.save(tmp_path / "result.json")


def test_the_same_labels_and_groups_in_arrays_of_another_type_go_on(images, tmp_path):
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": tmp_path}
    names = PATIENTS.astype(str)
    first = cross_validate(PRIOR, images, LABELS, groups=names, **settings)
    columns = LABELS.astype(object), names.astype(object)
    again = cross_validate(PRIOR, images, columns[0], groups=columns[1], **settings)
    assert [fold.seconds for fold in again.folds] == [fold.seconds for fold in first.folds]
