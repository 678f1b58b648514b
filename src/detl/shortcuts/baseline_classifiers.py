"""Simple classifiers that hardly see the object, on the folds of a cross-validation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detl.recipes.thumbnails import PENALTY
from detl.validation.estimators import fit_fold
from detl.validation.results import CrossValidationResult, FoldResult

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

LINEAR = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=2000))
DETAIL = 32  # cells along a side of what a linear baseline sees of an image
_BINS = 32

# From a fold of the network's to the probabilities of its test rows.
Predict: TypeAlias = Callable[[FoldResult], Array]


def on_the_folds_of(
    result: CrossValidationResult, name: str, predict: Predict
) -> CrossValidationResult:
    """Return the result of a baseline on the same folds, for :func:`detl.compare_results`."""
    folds = []
    started = time.perf_counter()
    for fold in result.folds:
        began = time.perf_counter()
        folds.append(
            FoldResult(
                train=fold.train,
                test=fold.test,
                probabilities=predict(fold).astype("float32"),
                history={},
                seed=fold.seed,
                start="",
                seconds=time.perf_counter() - began,
            )
        )
    shared = ("images", "labels", "groups", "folds", "fold_seeds", "interval_seed")
    return replace(
        result,
        folds=tuple(folds),
        settings={key: result.settings[key] for key in shared} | {"transfer": {"baseline": name}},
        seconds={"features": 0.0, "total": time.perf_counter() - started},
    )


def fitted(classifier: Any, features: Array, network: CrossValidationResult) -> Predict:
    """Return a classifier of scikit-learn on features ``(n, ...)``, fitted anew in each fold."""

    def predict(fold: FoldResult) -> Array:
        known = features, network.labels, network.groups, network.classes
        return fit_fold(classifier, *known, fold.train, fold.test, fold.seed).probabilities

    return predict


def class_shares(targets: Array, n_classes: int, kinds: Array | None = None) -> Predict:
    """Return the shares of the classes among the training images, of each kind where given.

    The shares among all training images are added to each kind with the weight of one image. A
    kind without training images has the shares of all.
    """
    kinds = np.zeros(len(targets), dtype=int) if kinds is None else kinds
    numbers = np.unique(kinds, return_inverse=True)[1]

    def predict(fold: FoldResult) -> Array:
        train, test = fold.train, fold.test
        counts = np.zeros((numbers.max() + 1, n_classes))
        np.add.at(counts, (numbers[train], targets[train]), 1)
        counts += counts.sum(axis=0) / len(train)
        return (counts / counts.sum(axis=1, keepdims=True))[numbers[test]]

    return predict


def histograms(images: Array) -> Array:
    """Return the shares of the pixels in 32 bins from 0 to 255, by channel, ``(n, features)``."""
    found = []
    for image in images:
        channels = image.reshape(-1, image.shape[-1])
        counts = [np.histogram(channel, _BINS, range=(0, 256))[0] for channel in channels.T]
        found.append(np.concatenate(counts) / len(channels))
    return np.stack(found)


def shapes(sizes: Array) -> Array:
    """Return features of sizes ``(n, 2)``: the logarithms of the sides and of their ratio."""
    height, width = np.log(sizes.astype(np.float64)).T
    return np.stack([height, width, height - width], axis=1)
