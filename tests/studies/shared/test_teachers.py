"""What a source is taught, and the few images that a target stage may learn from."""

import numpy as np

from studies.shared.teachers import ALL, first, folds_by_patient, some


def test_the_first_images_are_of_patients_drawn_at_random():
    patients = np.repeat(np.arange(100), 3)
    images = np.arange(300)
    kept, labels, owners = first((images, patients % 2, patients), 31)
    np.testing.assert_array_equal(patients[kept], owners)
    np.testing.assert_array_equal(owners % 2, labels)
    found, n = np.unique(owners, return_counts=True)
    assert sorted(n.tolist()) == [1] + [3] * 10  # whole patients, but for the last
    assert found.max() > 50  # not those at the start
    np.testing.assert_array_equal(first((images, patients % 2, patients), 31)[0], kept)


def test_few_images_are_drawn_from_each_class_and_never_from_those_tested():
    labels = np.repeat(["a", "b"], 30)
    patients = np.arange(60)
    whole = folds_by_patient(labels, patients, 3, ALL, 0)
    few = folds_by_patient(labels, patients, 3, 5, 0)
    for (all_of_train, test), (train, same_test) in zip(whole, few, strict=True):
        np.testing.assert_array_equal(test, same_test)
        assert set(train) < set(all_of_train)
        assert np.unique(labels[train], return_counts=True)[1].tolist() == [5, 5]
    rows = np.flatnonzero(labels == "a")
    draws = [some(rows, labels, 5, np.random.default_rng(seed)).tolist() for seed in (0, 1)]
    assert draws[0] != draws[1]
