"""What a network was trained on, remembered without the images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from detl.folds.copies import pixel_digests
from detl.storage.run_directory import versions


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingRecord:
    """What a transfer was trained on, without the images.

    Attributes
    ----------
    image_digests : numpy.ndarray of uint64, shape (n,)
        Hash of each image's pixels. An image of equal pixels has the same, ``uint8`` or float.
    groups : tuple of str, int, float or bool, or None
        Names of the groups, sorted and each once; None if ``fit`` was given none. Names of any
        other type, such as dates, are here as strings.
    class_counts : numpy.ndarray of int, shape (n_classes,)
        Number of images of each class, in the order of ``classes_``.
    versions : dict of str to str
        Of Python and the packages that trained it.
    source_digest : str or None
        SHA-256 digest of the weights that the source gave: ``settings["source"]`` of a
        cross-validation with the same source. It is computed when the transfer is saved; None
        before.
    """

    image_digests: np.ndarray
    groups: tuple[Any, ...] | None
    class_counts: np.ndarray
    versions: dict[str, str]
    source_digest: str | None = None


def training_record(
    images: np.ndarray, targets: np.ndarray, groups: np.ndarray | None
) -> TrainingRecord:
    """Return what is remembered."""
    return TrainingRecord(
        image_digests=pixel_digests(images),
        groups=None if groups is None else _names(groups),
        class_counts=np.bincount(targets),
        versions=versions(),
    )


def _names(groups: np.ndarray) -> tuple[Any, ...]:
    """Return the names of groups as JSON has them."""
    names = np.unique(groups)
    if names.dtype.kind in "mM":  # of a date in nanoseconds, tolist makes a number
        names = names.astype(str)
    return tuple(
        name if isinstance(name, str | int | float) else str(name) for name in names.tolist()
    )
