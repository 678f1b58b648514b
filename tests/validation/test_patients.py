"""Images of a group become one row, whatever the labels and decisions."""

import numpy as np
import pytest

from detl.validation.patients import joined, rows_of_groups

SHARES = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]])


def test_a_row_is_a_group_and_its_first_image_stands_for_it():
    labels, groups = np.array(["a", "b", "a", "b"]), np.array(["p2", "p1", "p2", "p3"])
    first, row_of = rows_of_groups(labels, groups, several_labels="raise")
    np.testing.assert_array_equal(first, [1, 0, 3])
    np.testing.assert_array_equal(row_of, [1, 0, 1, 2])


def test_groups_of_several_classes_are_named_or_split():
    labels, groups = np.array(["a", "b", "a", "b"]), np.array(["p2", "p2", "p1", "p3"])
    with pytest.raises(ValueError, match=r"1 of 3 groups have images of several classes: p2\. sev"):
        rows_of_groups(labels, groups, several_labels="raise")
    first, row_of = rows_of_groups(labels, groups, several_labels="split")
    np.testing.assert_array_equal(first, [2, 0, 1, 3])
    np.testing.assert_array_equal(row_of, [1, 2, 0, 3])


def test_of_many_such_groups_five_are_named():
    labels, groups = np.arange(20) % 2, np.arange(20) // 2
    with pytest.raises(ValueError, match=r"10 of 10 groups .*: 0, 1, 2, 3, 4, \.\.\.\. sev"):
        rows_of_groups(labels, groups, several_labels="raise")


def test_without_groups_there_are_no_rows():
    with pytest.raises(ValueError, match="There are no groups; give groups="):
        rows_of_groups(np.arange(4), None, several_labels="raise")


def test_another_word_for_several_labels_is_refused():
    with pytest.raises(ValueError, match="several_labels='drop'; expected"):
        rows_of_groups(np.arange(4), np.arange(4), several_labels="drop")


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        ("mean", [0.5, 0.4, 0.1]),
        ("max", np.array([0.8, 0.7, 0.1]) / 1.6),
        (lambda shares: shares.prod(axis=0), np.array([0.16, 0.07, 0.01]) / 0.24),
    ],
)
def test_probabilities_of_a_group_are_joined_and_sum_to_one(join, expected):
    found, decisions = joined(SHARES, None, np.array([0, 0, 1]), join)
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert decisions is None


def test_decisions_vote_and_of_equal_votes_the_probability_decides():
    place = np.array([0, 0, 1])
    _, votes = joined(SHARES, np.array([1, 1, 0]), place, "mean")
    np.testing.assert_array_equal(votes, [1, 0])
    _, even = joined(SHARES, np.array([0, 1, 0]), place, "mean")
    np.testing.assert_array_equal(even, [0, 0])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda shares: shares,
        lambda shares: -shares[0],
        lambda shares: 0 * shares[0],
        lambda shares: np.full(3, np.nan),
        lambda shares: ["a", "b", "c"],
    ],
)
def test_a_function_that_returns_no_probabilities_is_refused(wrong):
    with pytest.raises(ValueError, match=r"(?s)join returned .*; expected 3 numbers >= 0"):
        joined(SHARES, None, np.array([0, 0, 1]), wrong)


def test_the_maximum_is_none_of_decisions():
    with pytest.raises(ValueError, match="join='max', but this classifier decides otherwise"):
        joined(SHARES, np.array([1, 1, 0]), np.array([0, 0, 1]), "max")


def test_another_word_for_join_is_refused():
    with pytest.raises(ValueError, match="join='median'; expected"):
        joined(SHARES, None, np.array([0, 0, 1]), "median")
