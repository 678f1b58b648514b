"""Shares of what a network knows have closed forms."""

import numpy as np
import pytest

from detl.shortcuts.shares import shares, units_per_class


@pytest.fixture
def labels():
    return np.repeat(["a", "b", "c"], 40)


def result_with(make_result, labels, scores, groups=None):
    """Return a result whose probabilities are those of all images, ``(n, 3)``."""
    indices = [(np.arange(1, len(labels), 2), np.arange(0, len(labels), 2))]
    indices.append(indices[0][::-1])
    result = make_result(
        labels,
        groups=groups,
        indices=indices,
        probabilities=[scores[test] for _, test in indices],
    )
    result.settings.update(labels="", groups="", folds="", interval_seed=0)
    return result


def test_who_knows_all_of_it_has_a_share_of_one_and_who_guesses_has_none(make_result, labels):
    truth = np.eye(3)[np.searchsorted(["a", "b", "c"], labels)]
    whole = result_with(make_result, labels, truth)
    same, unskilled = shares(whole, whole)
    assert unskilled == []
    assert [(f.value, f.low, f.high, f.units) for f in same.values()] == [(1, 1, 1, 40)] * 3
    nothing, _ = shares(result_with(make_result, labels, np.full((120, 3), 1 / 3)), whole)
    assert [(f.value, f.low, f.high) for f in nothing.values()] == [(0, 0, 0)] * 3


def test_a_mark_on_half_of_a_class_gives_half_of_that_class(make_result, labels):
    truth = np.eye(3)[np.searchsorted(["a", "b", "c"], labels)]
    marked = (labels == "a") & (np.arange(120) // 2 % 2 == 0)  # half of it in each fold
    part = np.where(marked[:, None], [0.98, 0.01, 0.01], [0.3, 0.35, 0.35])
    estimates, _ = shares(
        result_with(make_result, labels, part), result_with(make_result, labels, truth)
    )
    # Of pairs with another class half are in order and half are ties: the AUC is 3/4.
    assert estimates["a"].value == pytest.approx(0.5)
    assert estimates["a"].low < 0.5 < estimates["a"].high
    # The classes without it have an AUC of 1/2 + 1/8: a quarter of the others is ruled out.
    assert estimates["b"].value == pytest.approx(0.25)


def test_a_class_that_the_network_does_not_tell_is_not_judged(make_result, labels):
    truth = np.eye(3)[np.searchsorted(["a", "b", "c"], labels)]
    only_a = np.where(truth[:, :1] == 1, [1, 0, 0], [0, 0.5, 0.5])
    whole = result_with(make_result, labels, np.full((120, 3), 1 / 3))
    estimates, unskilled = shares(result_with(make_result, labels, only_a), whole)
    assert estimates == {}
    assert unskilled == ["a", "b", "c"]


def test_a_class_that_the_network_hardly_knows_accuses_nobody(make_result):
    labels = np.array(["a", "b"])[np.arange(200) // 2 % 2]
    logits = np.random.default_rng(0).normal(size=200) + 0.45 * (labels == "a")
    ranks = (logits.argsort().argsort() + 0.5) / 200
    weak = result_with(make_result, labels, np.stack([ranks, 1 - ranks], axis=1))
    area = weak.class_scores["a"]["roc_auc"]
    assert 0.5 < area.interval.low < 0.6 < area.mean < 0.7
    assert shares(weak, weak) == ({}, ["a", "b"])  # a ratio of 1, and of nearly nothing


def test_classes_that_no_fold_tells_from_others_are_not_judged(make_result, labels):
    indices = [(np.flatnonzero(labels != name), np.flatnonzero(labels == name)) for name in "abc"]
    whole = make_result(labels, indices=indices)  # each fold tests one class
    whole.settings.update(interval_seed=0)
    assert shares(whole, whole) == ({}, ["a", "b", "c"])


def test_units_are_groups_where_groups_are_known(make_result, labels):
    groups = np.arange(120) // 2
    assert units_per_class(make_result(labels)) == {"a": 40, "b": 40, "c": 40}
    assert units_per_class(make_result(labels, groups=groups)) == {"a": 20, "b": 20, "c": 20}
