"""A classifier and the images that it is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

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
    model: Any, images: Any, *, target_class: Any, groups: Any, batch_size: int
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
        classes=check_classes_of(model, target_class, probabilities),
        groups=groups,
        batch_size=batch_size,
    )


def check_groups(groups: Any, n: int) -> Array | None:
    """Return the group of each image, or None."""
    return None if groups is None else check_labels(groups, n, name="groups")
