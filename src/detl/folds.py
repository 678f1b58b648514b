"""Splits of a data set that keep every class in every part, and no group in two.

All of them are scikit-learn's own; these functions choose between them and say what is wrong with
the labels before anything is trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from detl._batches import seed_sequence
from detl._checks import check_classes, check_count, check_labels

Indices = tuple[np.ndarray, np.ndarray]

# So many shuffles are tried for folds that all have every class; the first nearly always is one.
_SHUFFLES = 20


def stratified_folds(
    labels: Any,
    *,
    groups: Any = None,
    n_splits: int = 5,
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
    random_state : int, numpy generator or None
        Seed of the shuffling.

    Returns
    -------
    list of (train, test)
        Sorted row indices; every image is in exactly one ``test``.

    Raises
    ------
    ValueError
        If a class has fewer images, or fewer groups, than there are folds, or the groups cannot be
        dealt out otherwise: some fold would lack it.

    Examples
    --------
    >>> from detl import folds
    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> [test.tolist() for _, test in folds.stratified_folds(labels, n_splits=2, random_state=0)]
    [[0, 3], [1, 2]]
    """
    labels = check_labels(labels)
    classes, targets = check_classes(labels)
    check_count("n_splits", n_splits, at_least=2)
    if groups is not None:
        groups = check_labels(groups, len(labels), name="groups")
    rarest, count, unit = _rarest_class(classes, targets, groups)
    if count < n_splits:
        fewer = f"use n_splits<={count}, or " if count > 1 else ""
        raise ValueError(
            f"n_splits={n_splits} exceeds the {count} {unit} of class {rarest!r}, so that some "
            f"fold would lack it; {fewer}merge or leave out that class."
        )
    for found in _shuffles(targets, groups, n_splits, random_state):
        if all(_has_every_class(split, targets) for split in found):
            return found
    raise ValueError(
        f"In {_SHUFFLES} shuffles no way was found to deal {len(np.unique(groups))} groups out to "
        f"n_splits={n_splits} folds that all have every class; use fewer folds."
    )


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
        About this share of the images is held out: 20,000 of 108,379 in Basu et al. 2020, Table I.
        The smallest class limits it: of that class one image in ``round(1 / fraction)`` is held
        out, and as many of every other.
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
    if not 0 < fraction <= 0.5:
        raise ValueError(f"fraction={fraction!r}; expected a share in (0, 0.5], such as 0.2.")
    labels = check_labels(labels)
    classes, targets = check_classes(labels)
    if groups is not None:
        groups = check_labels(groups, len(labels), name="groups")
    n_splits = round(1 / fraction)
    rarest, count, unit = _rarest_class(classes, targets, groups)
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
        raise ValueError(
            f"In {_SHUFFLES} shuffles no fraction={fraction} of the groups was found that has "
            "every class; choose the validation_data of detl.pretrain yourself."
        )
    train, pool = split
    per_class = np.bincount(targets[pool]).min()
    generator = np.random.default_rng(seed_sequence(random_state).spawn(1)[0])
    shuffled = generator.permutation(pool)
    kept = [shuffled[targets[shuffled] == target][:per_class] for target in np.unique(targets)]
    validation = np.sort(np.concatenate(kept))
    if groups is None:
        train = np.setdiff1d(np.arange(len(labels)), validation)
    return train, validation


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


def _has_every_class(split: Indices, targets: np.ndarray) -> bool:
    """Whether both parts of a split do."""
    n_classes = targets.max() + 1
    return all(len(np.unique(targets[part])) == n_classes for part in split)
