"""Images whose label gets the least probability come first."""

import numpy as np
import pytest

SHARES = [[0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.2, 0.8]]
LABELS = np.array(["a", "a", "a", "b"] * 2)
HALVES = [(np.arange(4, 8), np.arange(4)), (np.arange(4), np.arange(4, 8))]


@pytest.fixture
def doubtful(make_result):
    """Return a result in which images 1, 2, 5 and 6 are taken for b."""
    second = np.array(SHARES)
    second[2] = [0.3, 0.7]
    return make_result(LABELS, indices=HALVES, probabilities=[SHARES, second])


def test_the_label_of_least_probability_comes_first(doubtful):
    found = doubtful.suspects()
    np.testing.assert_array_equal(found.rows, [2, 6, 1, 5])
    np.testing.assert_array_equal(found.labels, ["a"] * 4)
    np.testing.assert_array_equal(found.predictions, ["b"] * 4)
    np.testing.assert_allclose(found.of_label, [0.1, 0.3, 0.4, 0.4], rtol=1e-6)
    np.testing.assert_allclose(found.of_prediction, [0.9, 0.7, 0.6, 0.6], rtol=1e-6)


def test_the_table_names_the_files(doubtful):
    names = [f"{row}.png" for row in range(8)]
    assert str(doubtful.suspects(2, names=names)).splitlines() == [
        "image  label (probability)  taken for  file",
        "2      a (0.100)            b (0.900)  2.png",
        "6      a (0.300)            b (0.700)  6.png",
        "2 of 4 images that are taken for another class than their label, the least probable "
        "label first.",
    ]
    assert str(doubtful.suspects(1)).splitlines()[1] == "2      a (0.100)            b (0.900)"


def test_images_that_no_fold_tested_are_no_suspects(make_result):
    result = make_result(LABELS, indices=HALVES[:1], probabilities=[SHARES])
    np.testing.assert_array_equal(result.suspects().rows, [2, 1])


def test_where_all_are_right_there_are_none(make_result):
    sure = [[0.9, 0.1]] * 3 + [[0.1, 0.9]]
    result = make_result(LABELS, indices=HALVES, probabilities=[sure, sure])
    assert len(result.suspects().rows) == 0
    assert str(result.suspects()).splitlines()[-1].startswith("0 of 0 images")


def test_wrong_arguments_are_refused(doubtful):
    with pytest.raises(ValueError, match="n=0"):
        doubtful.suspects(0)
    with pytest.raises(ValueError, match="3 names for 8 images"):
        doubtful.suspects(names=["a", "b", "c"])
