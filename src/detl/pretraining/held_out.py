"""The images that a training is validated on."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from detl.checks import check_images, check_labels
from detl.networks.prediction import in_native_order
from detl.pretraining.batches import steps_per_epoch


class HeldOut(keras.utils.PyDataset):
    """Batches of some rows in their order, all by default: a memory map is never copied whole.

    Not a generator: Keras 3.15 begins every validation but the first with batches it had before.
    """

    def __init__(
        self,
        images: np.ndarray,
        targets: np.ndarray,
        *,
        rows: np.ndarray | None = None,
        batch_size: int,
    ) -> None:
        super().__init__()
        self.images, self.targets = images, targets
        self.rows = np.arange(len(targets)) if rows is None else rows
        self._batch_size = batch_size

    def __len__(self) -> int:
        return steps_per_epoch(len(self.rows), self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        start = index * self._batch_size
        chosen = self.rows[start : start + self._batch_size]
        return in_native_order(self.images[chosen]), self.targets[chosen]


def checked_validation(
    validation_data: tuple[Any, Any] | list[Any], classes: np.ndarray, **expected: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return images and class indices of ``(images, labels)``, refusing other classes.

    ``expected`` is what :func:`detl.checks.check_images` takes.
    """
    if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
        raise TypeError("validation_data is not a pair; expected (images, labels).")
    images = check_images(validation_data[0], name="validation images", **expected)
    labels = check_labels(validation_data[1], len(images), name="validation labels")
    unknown = np.setdiff1d(labels, classes)
    if len(unknown):
        raise ValueError(
            f"validation labels have classes that the training labels lack: {unknown.tolist()}; "
            f"expected only {classes.tolist()}."
        )
    return images, np.searchsorted(classes, labels)
