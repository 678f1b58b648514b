"""Splits of a data set that keep every class in every part, and no group in two.

All of them are scikit-learn's own; these functions choose between them and say what is wrong with
the labels before anything is trained.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from detl._batches import integer_seed, seed_sequence
from detl._checks import check_classes, check_count, check_labels

Indices = tuple[np.ndarray, np.ndarray]


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
        If a class has fewer images, or fewer groups, than there are folds: some fold would lack it.

    Examples
    --------
    >>> from detl import folds
    >>> labels = ["cat", "cat", "dog", "dog"]
    >>> [test.tolist() for _, test in folds.stratified_folds(labels, n_splits=2, random_state=0)]
    [[0, 3], [1, 2]]
    """
    labels = check_labels(labels, len(labels))
    classes, targets = check_classes(labels)
    check_count("n_splits", n_splits, at_least=2)
    _check_every_class_fills(classes, targets, n_splits, unit="images")
    if groups is None:
        splitter: Any = StratifiedKFold
    else:
        groups = check_labels(groups, len(labels), name="groups")
        splitter = StratifiedGroupKFold
        _check_every_class_fills(classes, targets, n_splits, unit="groups", groups=groups)
    seed = integer_seed(seed_sequence(random_state))
    split = splitter(n_splits=n_splits, shuffle=True, random_state=seed)
    return list(split.split(np.zeros(len(labels)), targets, groups))


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
        The smallest class limits it.
    random_state : int, numpy generator or None
        Seed of the draw.

    Returns
    -------
    train, validation : numpy.ndarray
        Sorted row indices. With groups, the images of held-out groups that would unbalance the
        validation set are in neither: in training they would be leaks.
    """
    if not 0 < fraction <= 0.5:
        raise ValueError(f"fraction={fraction!r}; expected a share in (0, 0.5], such as 0.2.")
    labels = check_labels(labels, len(labels))
    _, targets = check_classes(labels)
    n_splits = round(1 / fraction)
    train, pool = stratified_folds(
        labels, groups=groups, n_splits=n_splits, random_state=random_state
    )[0]
    per_class = min(np.bincount(targets[pool]))
    generator = np.random.default_rng(seed_sequence(random_state).spawn(1)[0])
    shuffled = generator.permutation(pool)
    kept = [shuffled[targets[shuffled] == target][:per_class] for target in np.unique(targets)]
    validation = np.sort(np.concatenate(kept))
    if groups is None:
        train = np.setdiff1d(np.arange(len(labels)), validation)
    return train, validation


def _check_every_class_fills(
    classes: np.ndarray,
    targets: np.ndarray,
    n_splits: int,
    *,
    unit: str,
    groups: np.ndarray | None = None,
) -> None:
    members = [targets == target for target in range(len(classes))]
    counts = [
        int(member.sum()) if groups is None else len(np.unique(groups[member]))
        for member in members
    ]
    rarest = int(np.argmin(counts))
    if counts[rarest] < n_splits:
        raise ValueError(
            f"n_splits={n_splits} exceeds the {counts[rarest]} {unit} of class "
            f"{classes.tolist()[rarest]!r}, so that some fold would lack it; "
            f"use n_splits<={counts[rarest]}, or merge or leave out that class."
        )
