"""Whether a training has learned its own images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_LITTLE = 0.2  # of the way from the largest class to all images
# Over the last fifth of the epochs, of the loss, and of that of naming no class: a small loss may
# halve without any use.
_FALLING, _STEEP = 0.1, 0.05
_LEARNED = 0.95  # accuracy above which a loss may fall
_LARGE = 0.9  # of the loss of naming no class
FEW_EPOCHS = 10  # under which a run is a trial, of which nothing is said


def not_learned(
    history: Mapping[str, Sequence[float]], targets: np.ndarray, *, weighted: bool = False
) -> str | None:
    """Say in words why a training was too short or too slow; None if it was not.

    Parameters
    ----------
    history : dict of str to list of float
        ``loss`` and ``accuracy`` on the training images, one entry per epoch.
    targets : numpy.ndarray of int, shape (n,)
        Classes of the training images.
    weighted : bool, default=False
        Whether the loss weights the classes. Then the share of the largest class is no baseline.
    """
    losses, accuracies = (history.get(name, ()) for name in ("loss", "accuracy"))
    if min(len(losses), len(accuracies)) < FEW_EPOCHS:
        return None
    counts = np.unique(targets, return_counts=True)[1]
    largest = counts.max() / len(targets)
    accuracy, unknowing = accuracies[-1], np.log(len(counts))
    if weighted and losses[-1] > _LARGE * unknowing:
        return (
            f"has hardly learned its training images: its loss is {losses[-1]:.2f}; "
            f"{unknowing:.2f} is the loss of equal probabilities for all classes"
        )
    if not weighted and accuracy < largest + _LITTLE * (1 - largest):
        return (
            f"has hardly learned its training images: {accuracy:.2f} of them are right; "
            f"{largest:.2f} would be right by always predicting the largest class"
        )
    last = len(losses) // 5
    before = losses[-1 - last]
    fall = before - losses[-1]
    if accuracy < _LEARNED and fall > max(_FALLING * before, _STEEP * unknowing):
        return f"was still learning: the loss fell by {fall / before:.0%} in the last {last} epochs"
    return None


def not_learned_in_folds(
    folds: Sequence[tuple[Mapping[str, Sequence[float]], np.ndarray]], *, weighted: bool = False
) -> str | None:
    """Say the same of folds, each with its history and the classes of its training images."""
    reasons = [reason for fold in folds if (reason := not_learned(*fold, weighted=weighted))]
    if not reasons:
        return None
    share = f"{len(reasons)} of {len(folds)}"
    return f"In {share} folds the network has not learned enough; one {reasons[0]}"


def advice(transfer: Any) -> str:
    """Return what to change."""
    return (
        f"Try more epochs (now {transfer.epochs}) or a higher learning_rate (now "
        f"{transfer.learning_rate:g})."
    )
