"""Differences over folds are tested against what they would vary by chance."""

import numpy as np
import pytest
from scipy import stats

from detl.validation.significance import corrected_t_test, holm, smallest_detectable


def test_the_corrected_test_is_the_paired_one_with_a_larger_variance():
    differences = np.array([0.04, 0.02, 0.05, 0.01, 0.03])
    plain = stats.ttest_1samp(differences, 0)
    assert corrected_t_test(differences, test_share=0) == pytest.approx(plain.pvalue)
    shrunk = plain.statistic / np.sqrt(1 + 5 * 0.25)
    assert corrected_t_test(differences, test_share=0.25) == pytest.approx(
        2 * stats.t.sf(shrunk, df=4)
    )
    assert corrected_t_test(-differences, test_share=0.25) == pytest.approx(
        corrected_t_test(differences, test_share=0.25)
    )


def test_without_a_difference_or_without_folds_there_is_no_evidence():
    assert corrected_t_test([0, 0, 0], test_share=0.5) == 1
    assert np.isnan(corrected_t_test([0.3], test_share=0.5))


def test_equal_differences_have_no_spread_to_test_against():
    assert np.isnan(corrected_t_test([0.5, 0.5], test_share=0.5))
    rounded = [0.9 - 0.8, 0.8 - 0.7, 0.3 - 0.2]
    assert len(set(rounded)) == 2
    assert np.isnan(corrected_t_test(rounded, test_share=0.5))
    assert np.isnan(smallest_detectable(np.array(rounded), test_share=0.5, n_pairs=1))


@pytest.mark.parametrize("n_pairs", [1, 15])
def test_from_the_smallest_detectable_difference_on_p_is_below_its_level(n_pairs):
    spread = np.array([0.04, 0.02, 0.05, 0.01, 0.03]) - 0.03
    smallest = smallest_detectable(spread, test_share=0.25, n_pairs=n_pairs)
    p_value = corrected_t_test(spread + smallest, test_share=0.25)
    assert n_pairs * p_value == pytest.approx(0.05)


@pytest.mark.parametrize("differences", [5, None, ["a", "b"], [[0.1, 0.2]], [{}, {}]])
def test_what_are_no_differences_is_refused(differences):
    message = r"differences has shape \(.*\) and dtype .*; expected \(n_folds,\) numbers"
    with pytest.raises(TypeError, match=message):
        corrected_t_test(differences, test_share=0.25)


def test_a_share_below_zero_is_refused():
    with pytest.raises(ValueError, match="test_share=-1; expected a number at least 0"):
        corrected_t_test([0.1, 0.2], test_share=-1)


def test_the_correction_of_holm_is_that_of_the_definition():
    # Sorted p-values times the number of hypotheses not yet rejected, never falling, at most 1.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


def test_p_values_that_are_unknown_do_not_spoil_the_correction():
    np.testing.assert_allclose(holm([np.nan, 0.01, 0.5]), [np.nan, 0.03, 1.0])
