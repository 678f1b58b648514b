"""Groups are dealt out to parts that all have every class, wherever there is a way."""

import itertools

import numpy as np
import pytest

from detl import folds
from detl.folds.dealing import deal


@pytest.mark.parametrize("seed", range(40))
def test_groups_are_dealt_out_if_and_only_if_there_is_a_way(seed):
    generator = np.random.default_rng(seed)
    labels, groups = np.r_[0, 1, 2, generator.integers(0, 3, 9)], generator.integers(0, 6, 12)
    n_splits = 2 + seed % 2
    names, group = np.unique(groups, return_inverse=True)
    ways = [
        way
        for way in itertools.product(range(n_splits), repeat=len(names))
        if all(set(labels[np.array(way)[group] == part]) == {0, 1, 2} for part in range(n_splits))
    ]
    if not ways:
        with pytest.raises(ValueError, match=r"exceeds|of one group|No way was found"):
            folds.stratified_folds(labels, groups=groups, n_splits=n_splits, random_state=seed)
        return
    found = folds.stratified_folds(labels, groups=groups, n_splits=n_splits, random_state=seed)
    assert sorted(np.concatenate([test for _, test in found])) == list(range(12))
    for train, test in found:
        assert set(labels[train]) == set(labels[test]) == {0, 1, 2}
        assert not set(groups[train]) & set(groups[test])
    if n_splits == 2:
        train, test = folds.balanced_holdout(labels, groups=groups, fraction=0.5, random_state=seed)
        assert set(labels[train]) == set(labels[test]) == {0, 1, 2}
        assert not set(groups[train]) & set(groups[test])


def test_what_is_dealt_out_has_about_equal_shares():
    generator = np.random.default_rng(0)
    targets, groups = generator.integers(0, 3, 600), generator.integers(0, 60, 600)
    part_of = deal(targets, groups, [0.25] * 4, generator)
    counts = np.array([np.bincount(targets[part_of == part]) for part in range(4)])
    assert np.abs(counts - 50).max() < 8


def test_where_there_is_no_way_none_is_made_up():
    # Of three groups, two parts have one and two; the one lacks a class.
    targets, groups = np.array([0, 1, 0, 2, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    assert deal(targets, groups, [0.5, 0.5], np.random.default_rng(0)) is None
