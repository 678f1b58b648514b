"""One row for each group: what is said of a patient, not of an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np

from detl.checks import check_choice

Join: TypeAlias = "Literal['mean', 'max'] | Callable[[np.ndarray], Any]"
_NAMED = 5


def rows_of_groups(
    labels: np.ndarray, groups: np.ndarray | None, *, several_labels: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first image of each group, and the row of each image's group.

    With ``several_labels="split"``, a row is a group with one of its labels.
    """
    check_choice("several_labels", several_labels, ("raise", "split"))
    if groups is None:
        raise ValueError(
            "There are no groups; give groups=, such as the patient of each image, where the "
            "result is made."
        )
    names, of_group = np.unique(groups, return_inverse=True)
    classes, targets = np.unique(labels, return_inverse=True)
    keys, first, row_of = np.unique(
        of_group * len(classes) + targets, return_index=True, return_inverse=True
    )
    if several_labels == "raise" and len(keys) > len(names):
        several = names[np.bincount(keys // len(classes)) > 1]
        named = ", ".join(str(name) for name in several[:_NAMED])
        raise ValueError(
            f"{len(several)} of {len(names)} groups have images of several classes: {named}"
            f"{', ...' * (len(several) > _NAMED)}. several_labels='split' makes a row of each "
            "class of a group."
        )
    return first, row_of


def joined(
    probabilities: np.ndarray, decisions: np.ndarray | None, place: np.ndarray, join: Join
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return probabilities, and decisions if there are any, of rows made of several images.

    ``place`` is the number of each image's row. The images of a row vote where there are decisions;
    of equal votes, the probability decides.
    """
    if not callable(join):
        check_choice("join", join, ("mean", "max"))
    found = np.stack([_one(probabilities[place == k], join) for k in range(place.max() + 1)])
    if decisions is None:
        return found.astype("float32"), None
    if join == "max":
        raise ValueError(
            "join='max', but this classifier decides otherwise than by the most probable class; "
            "with join='mean' the images of a group vote."
        )
    votes = found / 2  # less than one vote
    np.add.at(votes, (place, decisions), 1)
    return found.astype("float32"), votes.argmax(axis=1)


def name_of(join: Join, *, several_labels: str) -> str:
    """Return what a record says of how images were joined."""
    name = join if isinstance(join, str) else str(getattr(join, "__name__", "function"))
    return name + ", split by label" * (several_labels == "split")


def _one(probabilities: np.ndarray, join: Join) -> np.ndarray:
    """Return one row of probabilities, which sum to one, for several."""
    if not callable(join):
        row = getattr(probabilities.astype(np.float64), join)(axis=0)
        return np.asarray(row / row.sum())
    row = np.asarray(join(probabilities))
    n_classes = probabilities.shape[1]
    fits = row.shape == (n_classes,) and row.dtype.kind in "biuf"
    if not (fits and (row >= 0).all() and 0 < row.sum() < np.inf):
        raise ValueError(
            f"join returned {row!r} for probabilities of shape {probabilities.shape}; expected "
            f"{n_classes} numbers >= 0, not all of them 0."
        )
    return np.asarray(row / row.sum())
