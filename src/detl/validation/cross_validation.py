"""Judge a classifier by k-fold cross-validation: every prediction is of an image not trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from detl.checks import check_choice
from detl.renaming import renamed_arguments
from detl.validation.fold_training import train_folds
from detl.validation.leaks import react_to_leaks
from detl.validation.preparation import prepare
from detl.validation.results import CrossValidationResult


@renamed_arguments(transfer="classifier")
def cross_validate(
    classifier: Any,
    images: Any,
    labels: Any,
    *,
    groups: Any = None,
    n_splits: int | None = None,
    n_repeats: int | None = None,
    cv: Any = None,
    source_groups: Any = None,
    on_leak: Literal["warn", "raise", "ignore"] = "warn",
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: int = 1,
) -> CrossValidationResult:
    """Cross-validate a classifier, by default with stratified folds that keep groups together.

    The frozen trunk runs once for all folds, and one compiled tail is reset before each.

    Parameters
    ----------
    classifier : DomainExtensionTransfer, or another classifier of scikit-learn
        Left unfitted; its ``random_state`` and ``verbose`` play no part. Another classifier, such
        as ``make_pipeline(FeatureExtractor(source), LogisticRegression())``, is fitted in each
        fold. Its own ``predict`` decides. Where it gives no probabilities, the softmax of its
        decisions stands for them and is not calibrated. If it splits its training images by group,
        as ``GridSearchCV(..., cv=StratifiedGroupKFold())`` does, it is given their ``groups``.
    images : numpy.ndarray of shape (n, height, width, channels)
        Pixels in [0, 255]; may be a memory map.
    labels : array-like of shape (n,)
        Class of each image, strings or integers.
    groups : array-like of shape (n,), optional
        Patient (or what else repeats) of each image. Without it, the same patient may be trained
        and tested on, and the accuracy flatters.
    n_splits : int, default=5
        Number of folds.
    n_repeats : int, default=1
        How often all images are split anew into ``n_splits`` folds.
    cv : scikit-learn splitter or iterable of (train, test), optional
        Folds of your own in place of ``n_splits`` and ``n_repeats``, such as
        ``StratifiedKFold(5, shuffle=True)`` or what
        :func:`detl.folds.leave_one_site_out` returns. A splitter without a seed of its own
        draws from ``random_state``.
    source_groups : array-like of shape (n_source,), optional
        Groups (patients) of the images that the source was trained on, for the audit.
    on_leak : {"warn", "raise", "ignore"}, default="warn"
        What to do when the audit finds groups or copies of images on both sides.
    checkpoint_dir : path, optional
        Where each finished fold is written as one file. A run that breaks off goes on from there,
        to the same result. Needs a ``random_state``; a directory of another run is refused.
    n_jobs : int, optional
        Number of folds of a DomainExtensionTransfer to train at the same time, each in its own
        process with its share of the processor's threads; -1 takes all cores. By default 1, or what
        ``joblib.parallel_config`` says. More than 1 does not pay on a single GPU. Runs with another
        number of threads agree to rounding, since it decides the order of sums.
    random_state : int, numpy generator or None
        Seeds the folds, augmented views and, spawned from it, each fold's new layer, order of
        images and dropout. None draws anew in every run, even after ``np.random.seed``.
    verbose : int, default=1
        1 shows a progress bar over folds and epochs in a terminal or a notebook, 0 nothing.

    Returns
    -------
    CrossValidationResult
        Out-of-fold predictions of every image, scores with intervals, and the audit of the folds.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit each other, or the audit found a leak and ``on_leak="raise"``.
        Nothing has been trained then.
    FoldError
        If a fold failed, such as by a training that diverged; the other folds are in it.

    References
    ----------
    Basu et al. 2020, sec. IV: stratified 5-fold cross-validation.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import DomainExtensionTransfer, backbones, cross_validate
    >>> images = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 1), dtype="uint8")
    >>> labels, patients = ["normal", "covid"] * 6, np.arange(12) // 2
    >>> source = backbones.alexnet((64, 64, 1), width=0.125)  # untrained: only to show the call
    >>> classifier = DomainExtensionTransfer(source, epochs=1)
    >>> result = cross_validate(
    ...     classifier, images, labels, groups=patients, n_splits=3, random_state=0
    ... )
    >>> result.interval.method
    'percentile bootstrap over 6 groups, 2000 draws, too narrow under 20 groups'
    >>> result.confusion_matrix.sum().item()
    12
    """
    check_choice("on_leak", on_leak, ("warn", "raise", "ignore"))
    (prepared,) = prepare(
        {"classifier": classifier},
        images,
        labels,
        groups=groups,
        n_splits=n_splits,
        n_repeats=n_repeats,
        cv=cv,
        source_groups=[source_groups],
        checkpoint_dir=checkpoint_dir,
        n_jobs=n_jobs,
        random_state=random_state,
    )
    react_to_leaks({"": prepared.audit}, on_leak)
    return train_folds(prepared, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose)
