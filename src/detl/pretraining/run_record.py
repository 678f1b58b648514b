"""All that decides a training, by which its checkpoints are known again."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any

import joblib
import keras
import numpy as np

from detl.networks.digests import graph_digest, weights_digest
from detl.networks.probe import output_on_noise
from detl.pretraining.augmentation import Augmentation
from detl.storage.digests import array_digest, names_digest
from detl.storage.run_directory import versions


def described_run(
    network: keras.Model,
    *,
    settings: dict[str, Any],
    training: tuple[np.ndarray, np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray, np.ndarray],
    seeds: list[int],
) -> dict[str, Any]:
    """Return all that decides a training, each of the two sets given as (images, labels, rows)."""
    (images, labels, rows), (held_out_images, held_out_labels, held_out) = training, validation
    digest = array_digest(images)
    return {
        "settings": {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in settings.items()
        },
        "network": graph_digest(network),
        "outputs on noise": output_on_noise(network),
        "initial weights": weights_digest(network),
        "images": digest,
        "labels": names_digest(labels),
        "validation images": digest if held_out_images is images else array_digest(held_out_images),
        "validation labels": names_digest(held_out_labels),
        "split": array_digest(np.concatenate([rows, [-1], held_out])),
        "seeds": seeds,
        "versions": versions(),
    }


def described_augmentation(augmentation: Any) -> str:
    """Return what tells one augmentation from another in any process, unlike an address does."""
    if augmentation is None or type(augmentation) is Augmentation:
        return repr(augmentation)
    try:
        return hashlib.sha256(joblib.hash(augmentation).encode()).hexdigest()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(
            f"augmentation={augmentation!r} cannot be pickled, so it cannot be compared with the "
            "saved one when the training continues; give a function that is defined in a module, "
            "or leave checkpoint_dir out."
        ) from error
