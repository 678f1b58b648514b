"""Classifiers on features of networks that are not trained, and their rivals on a thumbnail."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import detl
from examples.covid_chest_xray import material

N_FOLDS = 5
CLASSIFIERS = {
    "SVM": CalibratedClassifierCV(SVC(C=1), ensemble=False),
    "regression": LogisticRegression(C=0.01, max_iter=2000),
}
# Nothing of the network trained: a support vector machine or a logistic regression learns from what
# a block gives, averaged in a grid. Added when inner splits of seed 1 (and none of its test folds)
# had shown that this is better than training the last block; fixed before any of seed 2 ran.
FEATURES: dict[str, dict[str, Any]] = {
    f"{source}: {classifier} on {block}, grid {grid}": {
        "source": "given" if source == "AlexNet" else source,
        "layers": block,
        "grid": grid,
        "classifier": classifier,
    }
    for source, blocks, grids, classifier in (
        ("ImageNet", (3, 4, 5, 6), (1, 2, 4), "SVM"),
        ("ImageNet", (4, 5, 6), (1,), "regression"),
        ("AlexNet", (2, 3, 4), (1, 2), "SVM"),
        ("ImageNet, then NIH", (4, 5, 6), (2,), "SVM"),
    )
    for block in (f"block{number}" for number in blocks)
    for grid in grids
}
MEMBERS = {name: of for name, of in FEATURES.items() if of["source"] == "ImageNet"}
# The thumbnail's rivals of how_high_without_leaks.
RIVALS = {
    "logistic regression": LogisticRegression(C=0.01, max_iter=2000),
    "SVM, C=1": SVC(C=1),
    "SVM, C=10": SVC(C=10),
}


def features(network: keras.Model, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the blocks see, each in its grid, and the thumbnail."""
    found = {"thumbnail": thumbnails(images)}
    for grid in sorted({of["grid"] for of in MEMBERS.values()}):
        blocks = sorted({of["layers"] for of in MEMBERS.values() if of["grid"] == grid})
        together = detl.FeatureExtractor(network, layers=blocks, grid=grid).fit(images)
        values, start = together.transform(images), 0
        for block in blocks:
            alone = detl.FeatureExtractor(network, layers=block, grid=grid).fit(images)
            end = start + len(alone.get_feature_names_out())
            found[f"{block} {grid}"], start = values[:, start:end], end
    return found


def folds_of(target: material.Part, seed: int) -> detl.CrossValidationResult:
    """Return the folds by patient, with a classifier that has learned nothing."""
    return detl.cross_validate(
        DummyClassifier(),
        target.images,
        target.labels,
        groups=target.patients,
        n_splits=N_FOLDS,
        on_leak="ignore",
        random_state=seed,
        verbose=0,
    )


def fitted(
    model: ClassifierMixin, values: np.ndarray, result: detl.CrossValidationResult
) -> detl.CrossValidationResult:
    """Fit a classifier on each fold; one without probabilities is sure of what it says."""
    folds = []
    for fold in result.folds:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one = make_pipeline(StandardScaler(), clone(model))
            one.fit(values[fold.train], result.labels[fold.train])
        said = (
            one.predict_proba(values[fold.test])
            if hasattr(one, "predict_proba")
            else np.equal.outer(one.predict(values[fold.test]), result.classes).astype("float64")
        )
        folds.append(dataclasses.replace(fold, probabilities=said))
    return dataclasses.replace(result, folds=tuple(folds))


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Return images ``(n, height, width, 1)`` as means over 32 x 32 tiles, ``(n, 1024)``."""
    n, height, width, _ = images.shape
    tiles = images.reshape(n, 32, height // 32, 32, width // 32).astype("float32")
    return tiles.mean(axis=(2, 4)).reshape(n, -1)


def averaged(
    columns: Mapping[str, np.ndarray], result: detl.CrossValidationResult
) -> detl.CrossValidationResult:
    """Return the mean of the classifiers on features of ImageNet, with equal weights."""
    return detl.average_results(
        [
            fitted(CLASSIFIERS[of["classifier"]], columns[f"{of['layers']} {of['grid']}"], result)
            for of in MEMBERS.values()
        ]
    )
