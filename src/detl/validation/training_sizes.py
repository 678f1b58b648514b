"""Would more images help? Cross-validate with shares of the training images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from detl.checks import check_choice, check_number
from detl.validation.differences import COMPARED
from detl.validation.fold_training import train_folds
from detl.validation.leaks import react_to_leaks
from detl.validation.learning_curves import LearningCurve, curve_of
from detl.validation.preparation import prepare
from detl.validation.results import CrossValidationResult

_FEWEST = 3  # sizes that a law of three numbers goes through


def learning_curve(
    classifier: Any,
    images: Any,
    labels: Any,
    *,
    groups: Any = None,
    shares: Sequence[float] = (0.25, 0.5, 0.75, 1.0),
    score: str = "accuracy",
    n_splits: int | None = None,
    n_repeats: int | None = None,
    cv: Any = None,
    on_leak: Literal["warn", "raise", "ignore"] = "warn",
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: int = 1,
) -> LearningCurve:
    """Cross-validate with shares of the training groups, and say what more of them would add.

    All shares are tested on the same images. A smaller share is part of a larger one, and has the
    same share of each class. The frozen trunk runs once for all.

    Parameters
    ----------
    classifier : DomainExtensionTransfer, or another classifier of scikit-learn
        Left unfitted.
    images, labels, groups, n_splits, n_repeats, cv, on_leak, n_jobs, random_state, verbose
        As for :func:`detl.cross_validate`.
    shares : sequence of float in (0, 1], default=(0.25, 0.5, 0.75, 1.0)
        Shares of the training groups (without groups, of the images), at least three; 1 is added.
    score : {"accuracy", "balanced_accuracy", "macro_f1", "roc_auc"}, default="accuracy"
        What to measure.
    checkpoint_dir : path, optional
        Where each finished fold is written, in a folder for each share.

    Returns
    -------
    LearningCurve
        Scores by number of training images, and what twice as many would add.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from detl import learning_curve
    >>> images, labels = np.zeros((40, 8, 8, 1), dtype="uint8"), ["normal", "covid"] * 20
    >>> curve = learning_curve(
    ...     DummyClassifier(), images, labels, on_leak="ignore", random_state=0
    ... )
    >>> curve.n_images
    (8.0, 16.0, 24.0, 32.0)
    >>> curve.verdict
    'The data do not show whether twice as many images would help: ...'
    """
    check_choice("score", score, COMPARED)
    check_choice("on_leak", on_leak, ("warn", "raise", "ignore"))
    shares = _checked(shares)
    (whole,) = prepare(
        {"classifier": classifier},
        images,
        labels,
        groups=groups,
        n_splits=n_splits,
        n_repeats=n_repeats,
        cv=cv,
        source_groups=[None],
        checkpoint_dir=checkpoint_dir,
        n_jobs=n_jobs,
        random_state=random_state,
    )
    react_to_leaks({"": whole.audit}, on_leak)
    ranks = [
        _ranks(whole.labels[train], None if whole.groups is None else whole.groups[train], seed)
        for (train, _), seed in zip(whole.indices, whole.fold_seeds, strict=True)
    ]
    sizes = {
        tuple(int(np.count_nonzero(rank < share)) for rank in ranks): share for share in shares
    }
    if len(sizes) < _FEWEST:
        raise ValueError(
            f"shares={tuple(shares)} of so few training images make {len(sizes)} different "
            f"training sets; expected at least {_FEWEST}. Take shares further apart."
        )
    results: list[CrossValidationResult] = []
    for share in shares:
        folds = [
            (train[rank < share], test)
            for rank, (train, test) in zip(ranks, whole.indices, strict=True)
        ]
        results.append(
            train_folds(
                replace(whole, indices=folds),
                checkpoint_dir=checkpoint_dir and Path(checkpoint_dir) / f"share_{share:g}",
                n_jobs=n_jobs,
                verbose=verbose,
                description=f"folds, {share:.0%} of the training images",
            )
        )
    return curve_of(results, shares, score)


def _checked(shares: Any) -> list[float]:
    found = list(shares) if np.iterable(shares) and not isinstance(shares, str) else [shares]
    for share in found:
        check_number("shares", share, above=0, at_most=1)
    found = sorted({*map(float, found), 1.0})
    if len(found) < _FEWEST:
        raise ValueError(
            f"shares={shares!r}; expected at least {_FEWEST} with 1, such as (0.25, 0.5, 1), for a "
            "curve to go through."
        )
    return found


def _ranks(labels: np.ndarray, groups: np.ndarray | None, seed: int) -> np.ndarray:
    """Return a number in [0, 1) for each image: those below a share are that share of each class.

    Images of a group have the same number. A group of several classes counts among one of them.
    """
    if groups is None:
        groups = np.arange(len(labels))
    _, first, of_group = np.unique(groups, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(first))
    ranks = np.empty(len(first))
    for name in np.unique(labels[first]):
        members = order[labels[first][order] == name]
        ranks[members] = np.arange(len(members)) / len(members)
    return ranks[of_group]
