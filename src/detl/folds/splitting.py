"""Splits of a data set that keep every class in every part and no group in two."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import LeaveOneGroupOut, StratifiedGroupKFold, StratifiedKFold

from detl.caller import stacklevel_of_caller
from detl.checks import check_classes, check_count, check_labels, check_number
from detl.folds.dealing import deal
from detl.renaming import renamed_arguments
from detl.seeds import seed_sequence

Indices = tuple[np.ndarray, np.ndarray]

# So many shuffles are tried for folds that all have every class; the first nearly always is one.
_SHUFFLES = 20

_MOST_FOLDS = 100_000  # more would never end


def stratified_folds(
    labels: Any,
    *,
    groups: Any = None,
    n_splits: int = 5,
    n_repeats: int = 1,
    random_state: Any = None,
) -> list[Indices]:
    """Split images into folds with equal class shares, groups (patients) kept together.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Class of each image.
    groups : array-like of shape (n,), optional
        What must not be on both sides of a split, such as the patient of each image.
    n_splits : int, default=5
        Number of folds; Basu et al. 2020 use 5.
    n_repeats : int, default=1
        How often all images are split anew. The first folds are those of ``n_repeats=1``.
    random_state : int, numpy generator or None
        Seed of the shuffling.

    Returns
    -------
    list of (train, test)
        Sorted row indices, ``n_splits`` pairs for the first repeat, then for the next. In each
        repeat every image is in exactly one ``test``.

    Raises
    ------
    ValueError
        If some fold would lack a class, however the groups are dealt out.

    Examples
    --------
    >>> from detl import folds
    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> [test.tolist() for _, test in folds.stratified_folds(labels, n_splits=2, random_state=0)]
    [[0, 3], [1, 2]]
    """
    labels, classes, targets, groups = _checked(labels, groups)
    check_count("n_splits", n_splits, at_least=2)
    check_count("n_repeats", n_repeats)
    if n_splits * n_repeats > _MOST_FOLDS:
        raise ValueError(
            f"n_splits={n_splits} and n_repeats={n_repeats} make {n_splits * n_repeats} folds; "
            f"expected at most {_MOST_FOLDS}."
        )
    rarest, count, unit = _rarest_class(classes, targets, groups)
    _check_not_one_group(rarest, count, groups)
    if count < n_splits:
        fewer = f"use n_splits<={count}, or " if count > 1 else ""
        raise ValueError(
            f"n_splits={n_splits} exceeds the {count} {unit} of class {rarest!r}, so that some "
            f"fold would lack it; {fewer}merge or leave out that class."
        )
    root = seed_sequence(random_state)
    return [
        split
        for seed in (root, *root.spawn(n_repeats - 1))
        for split in _complete_folds(targets, groups, n_splits, seed)
    ]


@renamed_arguments(collections="sites")
def leave_one_site_out(labels: Any, sites: Any) -> list[Indices]:
    """Hold out each site once, such as a hospital, and train on the others.

    A class that only the held-out site has cannot be learned from the others: a warning says
    so, and its images are in neither part of that fold.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Class of each image.
    sites : array-like of shape (n,)
        Where each image comes from.

    Returns
    -------
    list of (train, test)
        Sorted row indices, in the order of the sorted sites.

    Examples
    --------
    >>> from detl import folds
    >>> labels = ["normal", "covid", "normal", "covid"]
    >>> sites = ["Hannover", "Hannover", "NIH", "NIH"]
    >>> [test.tolist() for _, test in folds.leave_one_site_out(labels, sites)]
    [[0, 1], [2, 3]]
    """
    labels = check_labels(labels)
    classes, targets = check_classes(labels)
    sites = check_labels(sites, len(labels), name="sites", of="labels")
    if len(np.unique(sites)) < 2:
        raise ValueError(
            f"sites has one value only, {sites.tolist()[0]!r}; expected at least two, "
            "of which each is held out once."
        )
    found = []
    for train, test in LeaveOneGroupOut().split(labels, targets, sites):
        held_out = sites[test].tolist()[0]
        learned = np.unique(targets[train])
        unknown = ~np.isin(targets[test], learned)
        reasons = [
            f"its {count} images of class {classes.tolist()[target]!r} are left out, because no "
            "other site has that class"
            for target, count in zip(*np.unique(targets[test][unknown], return_counts=True))
        ]
        if len(learned) < 2:
            only = classes.tolist()[learned[0]]
            reasons = [f"it gives no fold, because all others have class {only!r} alone"]
        elif unknown.all():
            reasons.append("it gives no fold, because none of its images is left")
        else:
            found.append((train, test[~unknown]))
        if reasons:
            warnings.warn(
                f"With site {held_out!r} held out, {'; '.join(reasons)}.",
                UserWarning,
                stacklevel=stacklevel_of_caller(),
            )
    if not found:
        raise ValueError(
            "No site can be held out: no two sites share a class, so site and class cannot be "
            "separated; use stratified_folds, and do not trust the accuracy."
        )
    return found


def balanced_holdout(
    labels: Any,
    *,
    groups: Any = None,
    fraction: float = 0.2,
    random_state: Any = None,
) -> Indices:
    """Hold out a validation set with the same number of images of every class.

    Parameters
    ----------
    labels : array-like of shape (n,)
        Class of each image.
    groups : array-like of shape (n,), optional
        What must not be on both sides, such as the patient of each image.
    fraction : float, default=0.2
        Of the smallest class one image in ``round(1 / fraction)`` is held out, and as many of every
        other. Basu et al. 2020, Table I, hold out 20,000 of 108,379.
    random_state : int, numpy generator or None
        Seed of the draw.

    Returns
    -------
    train, validation : numpy.ndarray
        Sorted row indices. With groups, the images of held-out groups that would unbalance the
        validation set are in neither: in training they would be leaks.

    Raises
    ------
    ValueError
        If a class has too few images, or groups, to give one.
    """
    check_number("fraction", fraction, above=0, at_most=0.5)
    labels, classes, targets, groups = _checked(labels, groups)
    n_splits = round(1 / fraction)
    rarest, count, unit = _rarest_class(classes, targets, groups)
    _check_not_one_group(rarest, count, groups)
    if count < n_splits:
        more = f"hold out fraction>={math.ceil(100 / count) / 100}, " if count > 1 else ""
        raise ValueError(
            f"Class {rarest!r} has {count} {unit}: too few to hold out fraction={fraction}, one in "
            f"{n_splits}, for validation; {more}choose the validation_data of detl.pretrain "
            "yourself, or merge or leave out that class."
        )
    shuffles = _shuffles(targets, groups, n_splits, random_state)
    splits = (pair for found in shuffles for pair in found if _has_every_class(pair, targets))
    split = next(splits, None)
    if split is None:
        shares = [1 - fraction, fraction]
        part_of = deal(targets, np.asarray(groups), shares, _dealer(random_state))
        if part_of is None:
            raise ValueError(
                f"No fraction={fraction} of the groups was found that has every class and leaves "
                "every class; choose the validation_data of detl.pretrain yourself."
            )
        split = np.flatnonzero(part_of == 0), np.flatnonzero(part_of == 1)
    train, pool = split
    per_class = np.bincount(targets[pool]).min()
    generator = np.random.default_rng(seed_sequence(random_state).spawn(1)[0])
    shuffled = generator.permutation(pool)
    kept = [shuffled[targets[shuffled] == target][:per_class] for target in np.unique(targets)]
    validation = np.sort(np.concatenate(kept))
    if groups is None:
        train = np.setdiff1d(np.arange(len(labels)), validation)
    return train, validation


def _checked(
    labels: Any, groups: Any
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """Return labels, classes, each label's place among them, and groups."""
    labels = check_labels(labels)
    classes, targets = check_classes(labels)
    if groups is not None:
        groups = check_labels(groups, len(labels), name="groups", of="labels")
    return labels, classes, targets, groups


def _rarest_class(
    classes: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
) -> tuple[Any, int, str]:
    """Return the class with the fewest images, or groups where given, how many, and of which."""
    members = [targets == target for target in range(len(classes))]
    counts = [
        int(member.sum()) if groups is None else len(np.unique(groups[member]))
        for member in members
    ]
    rarest = int(np.argmin(counts))
    return classes.tolist()[rarest], counts[rarest], "images" if groups is None else "groups"


def _check_not_one_group(rarest: Any, count: int, groups: np.ndarray | None) -> None:
    if groups is None or count > 1:
        return
    every = len(np.unique(groups)) == 1
    raise ValueError(
        f"All images{'' if every else f' of class {rarest!r}'} are of one group, such as a patient "
        "(they stay together): none would be left to test a network trained on the others. "
        f"Check groups{'' if every else ', or merge or leave out that class'}."
    )


def _complete_folds(
    targets: np.ndarray, groups: np.ndarray | None, n_splits: int, random_state: Any
) -> list[Indices]:
    """Return the first shuffle in which every fold has every class, or else search for folds."""
    for found in _shuffles(targets, groups, n_splits, random_state):
        if all(_has_every_class(split, targets) for split in found):
            return found

    def dealt(n_parts: int) -> np.ndarray | None:
        shares = [1 / n_parts] * n_parts
        return deal(targets, np.asarray(groups), shares, _dealer(random_state))

    part_of = dealt(n_splits)
    if part_of is None:
        most = next((n for n in range(n_splits - 1, 1, -1) if dealt(n) is not None), None)
        raise ValueError(
            f"No way was found to deal the groups out to n_splits={n_splits} folds that all have "
            f"every class; {f'use n_splits<={most}' if most else 'merge or leave out a class'}."
        )
    tests = [part_of == part for part in range(n_splits)]
    return [(np.flatnonzero(~test), np.flatnonzero(test)) for test in tests]


def _shuffles(
    targets: np.ndarray, groups: np.ndarray | None, n_splits: int, random_state: Any
) -> Iterator[list[Indices]]:
    """Yield scikit-learn's folds for one seed after another.

    Groups are dealt out whole, one by one: now and then a fold goes without a class.
    """
    splitter: Any = StratifiedKFold if groups is None else StratifiedGroupKFold
    for seed in seed_sequence(random_state).generate_state(_SHUFFLES) >> 1:
        folds = splitter(n_splits=n_splits, shuffle=True, random_state=int(seed))
        yield list(folds.split(np.zeros(len(targets)), targets, groups))


def _dealer(random_state: Any) -> np.random.Generator:
    return np.random.default_rng(seed_sequence(random_state).generate_state(_SHUFFLES + 1)[-1])


def _has_every_class(split: Indices, targets: np.ndarray) -> bool:
    """Whether both parts of a split do."""
    n_classes = targets.max() + 1
    return all(len(np.unique(targets[part])) == n_classes for part in split)
