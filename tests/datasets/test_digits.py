import numpy as np
import pytest
from sklearn.datasets import load_digits

from detl import datasets


def test_source_and_target_are_all_digits_of_scikit_learn_by_class():
    source, target = datasets.load_digits(size=8)
    original = load_digits()
    assert source.classes.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert target.classes.tolist() == [7, 8, 9]
    assert (len(source), len(target)) == (1264, 533)
    for drawn, rows in ((source, original.target < 7), (target, original.target >= 7)):
        np.testing.assert_array_equal(drawn.labels, original.target[rows])
        levels = np.floor(original.images[rows] * 255 / 16)
        np.testing.assert_array_equal(drawn.images[..., 0], levels)
        assert drawn.images.dtype == np.uint8


def test_enlarged_digits_are_the_same_digits():
    small, _ = datasets.load_digits(size=8)
    large, _ = datasets.load_digits()
    assert large.images.shape == (1264, 64, 64, 1)
    means = large.images.reshape(1264, 8, 8, 8, 8).mean(axis=(2, 4))
    correlation = np.corrcoef(means.ravel(), small.images.ravel())[0, 1]
    assert correlation > 0.95


def test_digits_have_no_groups_and_no_masks_and_say_why():
    source, target = datasets.load_digits(size=8)
    assert source.groups is None
    assert target.masks is None
    assert "writers are unknown, hence no groups" in " ".join(repr(target).split())


def test_a_size_below_one_pixel_is_refused():
    with pytest.raises(ValueError, match="size=0; expected at least 1"):
        datasets.load_digits(size=0)
