"""The folds of any scikit-learn splitter, or folds made elsewhere, checked."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from detl.checks import check_classes, check_labels
from detl.folds.splitting import Indices


def from_splitter(cv: Any, labels: Any, *, groups: Any = None) -> list[Indices]:
    """Return the folds of any scikit-learn splitter, or folds made elsewhere, checked.

    Parameters
    ----------
    cv : splitter or iterable of (train, test)
        An object with ``split(X, y, groups)``, such as ``sklearn.model_selection.GroupKFold()``, or
        row indices.
    labels : array-like of shape (n,)
        Class of each image.
    groups : array-like of shape (n,), optional
        Passed on to the splitter.

    Returns
    -------
    list of (train, test)
        Sorted row indices.

    Raises
    ------
    ValueError
        If a fold's indices are out of range, in both parts or repeated, a part is empty, or the
        training part has one class only. The message names the fold, counted from 0.

    Examples
    --------
    >>> from detl import folds
    >>> folds.from_splitter([([0, 1, 2], [3])], ["cat", "dog", "cat", "dog"])
    [(array([0, 1, 2]), array([3]))]
    """
    labels = check_labels(labels)
    _, targets = check_classes(labels)
    if groups is not None:
        groups = check_labels(groups, len(labels), name="groups", of="labels")
    return checked_folds(cv, targets, groups, name="cv")


def checked_folds(
    cv: Any, targets: np.ndarray, groups: np.ndarray | None, *, name: str
) -> list[Indices]:
    """Return the folds of a splitter or of pairs; messages call them by the argument's name."""
    if hasattr(cv, "split") and not isinstance(cv, str | bytes):
        with warnings.catch_warnings():
            # Whoever splits by image in spite of groups wants the audit to see it.
            warnings.filterwarnings("ignore", "The groups parameter is ignored", UserWarning)
            cv = list(cv.split(np.zeros(len(targets)), targets, groups))
    if not np.iterable(cv) or isinstance(cv, str | bytes | Mapping):
        raise TypeError(
            f"{name} is {type(cv).__name__} {cv!r}; expected a scikit-learn splitter or (train, "
            "test) pairs of row indices; for a number of folds use n_splits."
        )
    found = [_checked_fold(f"Fold {i} of {name}", split, targets) for i, split in enumerate(cv)]
    if not found:
        raise ValueError(f"{name} has no folds; expected at least one (train, test) pair.")
    return found


def _checked_fold(fold: str, split: Any, targets: np.ndarray) -> Indices:
    """Return a pair of sorted index arrays, refusing what is not one."""
    try:
        train, test = (np.asarray(part) for part in split)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{fold} is not a (train, test) pair of row indices.") from error
    for name, part in (("train", train), ("test", test)):
        if part.ndim != 1 or part.size == 0:
            raise ValueError(
                f"{fold}: {name} has shape {part.shape}; expected row indices, at least one."
            )
        if part.dtype.kind not in "iu":
            raise TypeError(
                f"{fold}: {name} has dtype {part.dtype}; expected row indices, integers "
                "(np.flatnonzero turns a mask into them)."
            )
        outside = part[(part < 0) | (part >= len(targets))]
        if outside.size:
            raise ValueError(
                f"{fold}: {name} has row {outside[0]}; expected 0 to {len(targets) - 1}, "
                f"for there are {len(targets)} labels."
            )
        rows, counts = np.unique(part, return_counts=True)
        if counts.max() > 1:
            raise ValueError(f"{fold}: {name} has row {rows[counts > 1][0]} more than once.")
    shared = np.intersect1d(train, test)
    if shared.size:
        raise ValueError(
            f"{fold}: {shared.size} rows are in both train and test, such as {shared[0]}; "
            "an image must not be tested by a model that was trained on it."
        )
    if len(np.unique(targets[train])) < 2:
        raise ValueError(f"{fold}: train has one class only; expected at least two.")
    return np.sort(train).astype(np.intp), np.sort(test).astype(np.intp)
