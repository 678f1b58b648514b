"""Any classifier of scikit-learn in a cross-validation: what it is, seeded, fitted on one fold."""

from __future__ import annotations

import hashlib
import math
import time
from typing import Any

import joblib
import keras
import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, clone, is_classifier

from detl import _graphs
from detl._classifiers import probabilities_by_class
from detl._graphs import weights_digest
from detl.pretraining import SourceModel, load_source, source_network
from detl.results import FoldResult

# Parameters that do not decide what comes out, and seeds, of which each fold has its own.
_NOT_DECISIVE = ("verbose", "cache_dir", "random_state", "n_jobs", "memory")


def check_classifier(classifier: Any, *, name: str) -> None:
    """Refuse what is no classifier, or gives neither probabilities nor decisions."""
    if isinstance(classifier, type):
        raise TypeError(
            f"{name} is the class {classifier.__name__}; expected an object of it, "
            f"{classifier.__name__}(...)."
        )
    if not (isinstance(classifier, BaseEstimator) and is_classifier(classifier)):
        raise TypeError(
            f"{name} is {type(classifier).__name__}; expected a DomainExtensionTransfer or another "
            "classifier of scikit-learn, such as "
            "make_pipeline(FeatureExtractor(source), LogisticRegression())."
        )
    if not any(hasattr(classifier, what) for what in ("predict_proba", "decision_function")):
        raise TypeError(
            f"{name} is {type(classifier).__name__}, which gives neither probabilities nor "
            "decisions; wrap it in sklearn.calibration.CalibratedClassifierCV, or choose another."
        )


def check_groups(classifier: Any, groups: np.ndarray | None, *, name: str) -> None:
    """Refuse a classifier that splits by groups inside and gets none."""
    if groups is None and wants_groups(classifier):
        raise ValueError(
            f"{name} is {type(classifier).__name__} with inner folds by group, and there are no "
            "groups; give groups, the patient of each image, or another cv to it."
        )


def wants_groups(classifier: Any) -> bool:
    """Whether a search or the like in it splits its training images by group.

    As scikit-learn's metadata routing knows it: in a ``GridSearchCV(cv=StratifiedGroupKFold())``,
    also one in a pipeline.
    """
    try:
        return bool(classifier.get_metadata_routing().consumes("fit", ["groups"]))
    except NotImplementedError:  # AdaBoost and a few others, which pass on nothing
        return False


def described(classifier: Any) -> dict[str, Any]:
    """Return the parameters that decide the result, in JSON's terms."""
    found = {}
    for name, value in sorted(classifier.get_params(deep=True).items()):
        last = name.rsplit("__", 1)[-1]
        if last == "source" and str(value).endswith(".keras"):
            value = load_source(value)  # a file may change under its name
        if last not in _NOT_DECISIVE:
            found[name] = _in_words(value)
    return {"classifier": type(classifier).__name__, **found}


def fit_fold(
    classifier: Any,
    images: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    classes: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    seed: int,
) -> FoldResult:
    """Fit a clone on the training images of a fold, and ask it for the test images."""
    started = time.perf_counter()
    fitted = seeded(classifier, seed)
    if groups is not None and wants_groups(fitted):
        with config_context(enable_metadata_routing=True):
            fitted.fit(images[train], labels[train], groups=groups[train])
    else:
        fitted.fit(images[train], labels[train])
    probabilities = probabilities_by_class(fitted, images[test], classes)
    if not np.isfinite(probabilities).all():
        raise ValueError(f"{type(classifier).__name__} gives NaN or infinity.")
    return FoldResult(
        train=train,
        test=test,
        probabilities=probabilities.astype("float32"),
        history={},
        seed=seed,
        start="",
        seconds=time.perf_counter() - started,
    )


def seeded(classifier: Any, seed: int) -> Any:
    """Return an unfitted clone in which every ``random_state`` is the seed.

    Inner folds that are shuffled and have no seed get it too.
    """
    classifier = clone(classifier)
    parameters = classifier.get_params(deep=True)
    for name, value in parameters.items():
        if name.rsplit("__", 1)[-1] == "cv" and getattr(value, "random_state", seed) is None:
            value.random_state = seed  # the clone's own, for clones copy what is no estimator
    names = [name for name in parameters if name.rsplit("__", 1)[-1] == "random_state"]
    return classifier.set_params(**dict.fromkeys(names, seed))


def _in_words(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # NaN, which some take for a missing value, is not equal to itself
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, keras.Model | SourceModel):
        network = source_network(value)
        digest = weights_digest(network) + _graphs.graph_digest(network)
        return hashlib.sha256(digest.encode()).hexdigest()
    if isinstance(value, BaseEstimator):
        return type(value).__name__
    if isinstance(value, list | tuple):
        return [_in_words(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _in_words(part) for key, part in value.items()}
    # An object of somebody else: what it is made of, since its repr may be an address.
    return f"{type(value).__name__} {joblib.hash(value)}"
