"""A function that pretrains a tiny network, and images by which epochs are judged."""

import numpy as np
import pytest

from detl import pretrain

SHAPE = (16, 16, 1)
LIKE_TINY_SOURCE = {"epochs": 4, "batch_size": 8, "learning_rate": 0.03, "random_state": 0}


@pytest.fixture(scope="session")
def train(tiny_backbone, tiny_images, tiny_labels):
    """Return a function that pretrains as for ``tiny_source``, but for what it is given."""

    def trained(backbone=tiny_backbone, images=tiny_images, labels=tiny_labels, **changes):
        return pretrain(
            backbone, images, labels, **{**LIKE_TINY_SOURCE, "verbose": 0, "epochs": 1, **changes}
        )

    return trained


@pytest.fixture(scope="module")
def validation(tiny_images):
    """Return grey images with labels by chance, so that accuracy goes up and down."""
    levels = np.linspace(20, 235, 60).astype("uint8")
    images = np.broadcast_to(levels[:, None, None, None], (60, *SHAPE))
    return images, np.random.default_rng(3).choice(["dim", "bright"], 60)


@pytest.fixture(scope="module")
def judged(tiny_backbone, tiny_images, tiny_labels, validation):
    """Return a source whose best validation accuracy is neither the first nor the last."""
    return pretrain(
        tiny_backbone,
        tiny_images,
        tiny_labels,
        validation_data=validation,
        **{**LIKE_TINY_SOURCE, "epochs": 6, "verbose": 0},
    )
