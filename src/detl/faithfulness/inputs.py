"""What a question is asked of: heatmaps, and a classifier with its images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from detl.checks import check_count, check_labels
from detl.faithfulness.estimates import Array
from detl.networks.classifiers import (
    check_classes_of,
    check_images_for,
    even_batch_size,
    network_of,
    probabilities_of,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Classified:
    """A network, the images it is asked about, and the class of each that is meant."""

    network: keras.Model
    images: Array
    classes: Array
    groups: Array | None
    batch_size: int


def classified(
    model: Any, images: Any, *, class_index: Any, groups: Any, batch_size: int
) -> Classified:
    """Check the classifier and its images; by default the class meant is the one predicted."""
    check_count("batch_size", batch_size)
    network = network_of(model)
    images = check_images_for(network, images)
    groups = check_groups(groups, len(images))
    batch_size = even_batch_size(len(images), batch_size)
    probabilities = probabilities_of(network, images, batch_size=batch_size)
    return Classified(
        network=network,
        images=images,
        classes=check_classes_of(model, class_index, probabilities),
        groups=groups,
        batch_size=batch_size,
    )


def check_heatmaps(heatmaps: Any, shape: tuple[int, ...] | None = None) -> Array:
    """Return the heatmaps as an array, refusing wrong shapes, NaN and values outside [0, 1]."""
    array = np.asarray(heatmaps)
    if array.dtype.kind not in "uif":
        raise TypeError(f"heatmaps has dtype {array.dtype}; expected floats in [0, 1].")
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"heatmaps has shape {array.shape}; expected (n, height, width), such as GradCAM gives."
        )
    if shape is not None and array.shape != shape:
        raise ValueError(
            f"heatmaps has shape {array.shape}; expected {shape}, one per image and of its size."
        )
    for row, heatmap in enumerate(array):  # one at a time: of many, a copy would be large
        if not np.isfinite(heatmap).all():
            raise ValueError(f"heatmaps has NaN or infinity, first in row {row}.")
        if heatmap.min() < 0 or heatmap.max() > 1:
            raise ValueError(
                f"heatmaps has values from {heatmap.min():.3g} to {heatmap.max():.3g} in row "
                f"{row}; expected [0, 1]: clip what is negative, divide by the maximum."
            )
    return array


def check_groups(groups: Any, n: int) -> Array | None:
    """Return the group of each image, or None."""
    return None if groups is None else check_labels(groups, n, name="groups")
