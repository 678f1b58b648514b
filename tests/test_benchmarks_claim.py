import numpy as np

from benchmarks import claim


def test_few_target_images_are_so_many_of_each_class_without_repeats():
    labels = np.array(["a"] * 30 + ["b"] * 5)
    rows = np.arange(1, 35)
    found = claim.some(rows, labels, 7, np.random.default_rng(0))
    assert len(set(found.tolist())) == len(found) == 7 + 5
    assert set(found) <= set(rows)
    assert (labels[found] == "a").sum() == 7
    again = claim.some(rows, labels, 7, np.random.default_rng(0))
    np.testing.assert_array_equal(found, again)
