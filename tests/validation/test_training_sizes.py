"""Shares of the training groups are nested, keep every class, and are tested alike."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import detl
from detl.validation.training_sizes import _ranks


def flat(images):
    return images.reshape(len(images), -1) / 255


@pytest.fixture(scope="module")
def classifier():
    return make_pipeline(FunctionTransformer(flat), LogisticRegression())


@pytest.fixture(scope="module")
def patients():
    return np.arange(40) // 4 + 10 * (np.arange(40) % 2)  # two images, of one class


def curve(classifier, images, labels, **settings):
    settings = {"n_splits": 4, "random_state": 0, "shares": (0.34, 0.67, 1), **settings}
    return detl.learning_curve(classifier, images, labels, **settings)


def test_all_shares_are_tested_on_the_same_images(classifier, tiny_images, tiny_labels, patients):
    found = curve(classifier, tiny_images, tiny_labels, groups=patients)
    whole = found.results[-1]
    alone = detl.cross_validate(
        classifier, tiny_images, tiny_labels, groups=patients, n_splits=4, random_state=0
    )
    np.testing.assert_array_equal(whole.probabilities, alone.probabilities)
    for result in found.results[:-1]:
        for fold, of_all in zip(result.folds, whole.folds, strict=True):
            np.testing.assert_array_equal(fold.test, of_all.test)


def test_a_smaller_share_is_part_of_a_larger_and_has_whole_groups_of_each_class(
    classifier, tiny_images, tiny_labels, patients
):
    found = curve(classifier, tiny_images, tiny_labels, groups=patients)
    for folds in zip(*(result.folds for result in found.results), strict=True):
        small, middle, large = (set(fold.train) for fold in folds)
        assert small < middle < large
        for rows in (small, middle):
            rows = np.array(sorted(rows))
            assert (np.unique(patients[rows], return_counts=True)[1] == 2).all()
            assert set(tiny_labels[rows]) == {"bright", "dim"}


def test_a_share_takes_that_share_of_the_groups_of_each_class():
    labels = np.repeat(["a", "b"], [40, 20])
    groups = np.arange(60) // 2
    ranks = _ranks(labels, groups, seed=0)
    for share, n_a, n_b in ((0.01, 1, 1), (0.25, 5, 3), (0.5, 10, 5), (1, 20, 10)):
        taken = ranks < share
        assert len(np.unique(groups[taken & (labels == "a")])) == n_a
        assert len(np.unique(groups[taken & (labels == "b")])) == n_b
    assert not np.array_equal(ranks, _ranks(labels, groups, seed=1))


def test_the_whole_set_is_always_among_the_shares(classifier, tiny_images, tiny_labels):
    found = curve(classifier, tiny_images, tiny_labels, shares=[0.5, 0.25])
    assert found.shares == (0.25, 0.5, 1.0)
    assert found.n_images == (8, 16, 30)
    assert found.unit == "images"


def test_each_share_goes_on_where_it_stopped(classifier, tiny_images, tiny_labels, tmp_path):
    first = curve(classifier, tiny_images, tiny_labels, checkpoint_dir=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "share_0.34",
        "share_0.67",
        "share_1",
    ]
    again = curve(classifier, tiny_images, tiny_labels, checkpoint_dir=tmp_path)
    assert str(again) == str(first)
    assert again.results[0].seconds["features"] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shares": (0.5, 1)}, r"shares=\(0.5, 1\); expected at least 3 with 1"),
        ({"shares": 0.5}, "shares=0.5; expected at least 3"),
        ({"shares": (0, 0.5, 1)}, "shares=0; expected a number above 0"),
        ({"shares": (0.5, 0.7, 2)}, "shares=2; expected a number above 0"),
        ({"score": "f1"}, "score='f1'; expected"),
        ({"shares": (0.01, 0.02, 1)}, "make 2 different training sets; expected at least 3"),
        ({"on_leak": "stop"}, "on_leak='stop'; expected"),
    ],
)
def test_wrong_arguments_are_refused(classifier, tiny_images, tiny_labels, settings, message):
    with pytest.raises(ValueError, match=message):
        curve(classifier, tiny_images, tiny_labels, **settings)
