"""Predictions of three folds, made up: groups of two images, probabilities that know something."""

import numpy as np
import pytest

from detl.metrics import Predictions


@pytest.fixture(scope="session")
def make_folds():
    """Return a function that makes predictions of so many folds."""

    def make(n_folds=3, n=40, n_classes=3, seed=0, sharpness=1.0):
        generator = np.random.default_rng(seed)
        folds = []
        for number in range(n_folds):
            logits = generator.normal(0, 1.5, (n, n_classes))
            shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            targets = (generator.uniform(size=(n, 1)) > shares.cumsum(axis=1)[:, :-1]).sum(axis=1)
            sharp = np.exp(sharpness * logits)
            folds.append(
                Predictions(
                    targets=targets,
                    probabilities=sharp / sharp.sum(axis=1, keepdims=True),
                    units=number * n + np.arange(n) // 2,
                )
            )
        return folds

    return make
