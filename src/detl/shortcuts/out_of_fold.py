"""Heatmaps of a cross-validation: each image explained by a network that was not trained on it."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from detl.gradcam.explaining import GradCAM
from detl.progress import progress_bar
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.results import CrossValidationResult
from detl.validation.workers import train_fold

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def out_of_fold_heatmaps(
    result: CrossValidationResult,
    transfer: DomainExtensionTransfer,
    images: Array,
    *,
    method: str,
    verbose: int,
) -> tuple[Array, Array]:
    """Train the folds once more, and explain what each network predicts for its test images.

    Parameters
    ----------
    result : CrossValidationResult
        What the folds found, from the same transfer; of repeats, the first is explained.
    transfer : DomainExtensionTransfer
        With the ``random_state`` of its views set.
    images : numpy.ndarray of shape (n, height, width, channels)
        All images.
    method : str
        Of :class:`detl.GradCAM`.

    Returns
    -------
    heatmaps : numpy.ndarray of float32, shape (n, height, width)
        In [0, 1]; NaN where no fold tested the image.
    predicted : numpy.ndarray of int, shape (n,)
        Index of the class that was explained, the one predicted; -1 where no fold tested it.
    """
    if not isinstance(transfer, DomainExtensionTransfer):
        raise TypeError(
            f"transfer is {type(transfer).__name__}, which is no network from pixels to classes "
            "and has no heatmaps; give a DomainExtensionTransfer, or use region_test."
        )
    n = len(images)
    targets = np.searchsorted(result.classes, result.labels)
    training = transfer.training(result.classes)
    extension = transfer.extend(len(result.classes))
    features = extension.trunk(images, verbose=verbose)
    cam = GradCAM(extension.network, method=method, batch_size=transfer.batch_size)
    heatmaps = np.full(images.shape[:3], np.nan, dtype="float32")
    predicted = np.full(n, -1)
    explained = np.zeros(n, dtype=bool)
    with progress_bar(
        len(result.folds), verbose=verbose, description="heatmaps", unit="fold"
    ) as bar:
        for fold in result.folds:
            rows = fold.test[~explained[fold.test]]
            if len(rows):
                train_fold(extension, training, features, targets, fold.train, fold.test, fold.seed)
                found = cam.explain(images[rows])
                heatmaps[rows], predicted[rows] = found.heatmaps, found.class_indices
                explained[rows] = True
            bar.update()
    return heatmaps, predicted
