import numpy as np
import pytest
from scipy import stats

from detl import metrics


def test_the_class_table_counts_one_class_against_the_rest():
    table = metrics.class_table(np.array([[8, 2, 0], [1, 6, 3], [0, 0, 5]]))
    assert table["images"].tolist() == [10, 10, 5]
    np.testing.assert_allclose(table["sensitivity"], [0.8, 0.6, 1.0])
    np.testing.assert_allclose(table["specificity"], [14 / 15, 13 / 15, 17 / 20])
    np.testing.assert_allclose(table["precision"], [8 / 9, 6 / 8, 5 / 8])


def test_a_class_that_is_never_predicted_has_no_precision():
    assert np.isnan(metrics.class_table(np.array([[3, 0], [2, 0]]))["precision"][1])


def test_the_interval_of_single_images_is_that_of_a_binomial_share():
    correct = np.arange(400) % 4 > 0
    found = metrics.accuracy_interval(correct, random_state=0)
    low, high = stats.binom.ppf([0.025, 0.975], 400, 0.75) / 400
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)
    assert found.method == "bootstrap over 400 images, percentile, 9999 draws"


def test_images_that_are_right_or_wrong_together_widen_the_interval():
    correct = np.repeat(np.arange(40) % 4 > 0, 10)
    alone = metrics.accuracy_interval(correct, random_state=0)
    together = metrics.accuracy_interval(correct, groups=np.arange(400) // 10, random_state=0)
    assert together.high - together.low > 2.5 * (alone.high - alone.low)


def test_no_error_at_all_gives_an_interval_without_width():
    found = metrics.accuracy_interval(np.ones(10, dtype=bool), random_state=0)
    assert (found.low, found.high) == (1.0, 1.0)
