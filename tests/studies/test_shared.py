import numpy as np

from studies.shared import curves, teachers


def test_few_target_images_are_so_many_of_each_class_without_repeats():
    labels = np.array(["a"] * 30 + ["b"] * 5)
    rows = np.arange(1, 35)
    found = teachers.some(rows, labels, 7, np.random.default_rng(0))
    assert len(set(found.tolist())) == len(found) == 7 + 5
    assert set(found) <= set(rows)
    assert (labels[found] == "a").sum() == 7
    again = teachers.some(rows, labels, 7, np.random.default_rng(0))
    np.testing.assert_array_equal(found, again)


def test_a_source_has_as_many_images_of_whole_patients_but_for_the_last():
    patients = np.repeat(np.arange(10), 3)
    taught = np.arange(30), np.array(["normal"] * 30), patients
    images, labels, kept = teachers.first(taught, 10)
    assert len(images) == len(labels) == len(kept) == 10
    np.testing.assert_array_equal(patients[images], kept)
    assert sorted(np.unique(kept, return_counts=True)[1].tolist()) == [1, 3, 3, 3]


def test_folds_with_few_images_test_on_all_and_keep_patients_apart():
    labels, patients = np.repeat(["a", "b"], 20), np.arange(40) // 2
    all_of_them = teachers.folds_by_patient(labels, patients, 5, teachers.ALL, 0)
    few = teachers.folds_by_patient(labels, patients, 5, 3, 0)
    for (train, test), (some, same) in zip(all_of_them, few, strict=True):
        np.testing.assert_array_equal(test, same)
        assert set(some) <= set(train)
        assert np.unique(labels[some], return_counts=True)[1].tolist() == [3, 3]
        assert not set(patients[some]) & set(patients[test])


def test_a_curve_shows_accuracy_and_interval_of_sources_with_several_numbers_of_images():
    once = {"frozen": {teachers.ALL: (0.5, 0.4, 0.6)}}
    assert curves.draw(once, n_all=200, n_classes=4) is None
    twice = once | {"adults": {teachers.ALL: (0.5, 0.35, 0.6), 10: (0.3, 0.2, 0.45)}}
    (axis,) = curves.draw(twice, n_all=200, n_classes=4).axes
    (container,) = axis.containers
    assert container.get_label() == "adults"
    line, _, (bars,) = container
    np.testing.assert_allclose(line.get_xydata(), [(10, 0.3), (200, 0.5)])
    ends = [[(10, 0.2), (10, 0.45)], [(200, 0.35), (200, 0.6)]]
    np.testing.assert_allclose(bars.get_segments(), ends)
    assert [text.get_text() for text in axis.get_xticklabels()] == ["10", "all (200)"]
