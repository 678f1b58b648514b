"""Any classifier of scikit-learn in a cross-validation: what it is, seeded, fitted on one fold."""

from __future__ import annotations

import hashlib
import math
import pickle
import time
from dataclasses import asdict
from typing import Any

import joblib
import keras
import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.ensemble import StackingClassifier
from sklearn.pipeline import Pipeline

from detl.metrics.fold_scores import check_predictions
from detl.networks.classifiers import probabilities_by_class
from detl.networks.digests import graph_digest, weights_digest
from detl.networks.probe import output_on_noise
from detl.pretraining.source import SourceModel, load_source, source_network
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.results import FoldResult

# Parameters that do not decide what comes out, and seeds, of which each fold has its own.
_NOT_DECISIVE = ("verbose", "cache_dir", "random_state", "n_jobs", "memory")
_SHARES = ("predict_proba", "decision_function")
_NOT_PICKLABLE = (pickle.PicklingError, AttributeError, TypeError)


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
    if not (_gives_shares(classifier) or _is_undecided(classifier)):
        raise _mute(classifier, name)


def _gives_shares(classifier: Any) -> bool:
    return any(hasattr(classifier, what) for what in _SHARES)


def _is_undecided(classifier: Any) -> bool:
    """Whether only a fit tells what it gives: that of a classifier which it brings by default."""
    inner = _deciding(classifier)
    brings_its_own = any(
        value is None and name.endswith(("estimator", "classifier"))
        for name, value in inner.get_params(deep=False).items()
    )
    return brings_its_own and any(hasattr(type(inner), what) for what in _SHARES)


def _deciding(classifier: Any) -> Any:
    """Return the classifier in pipelines and searches whose decisions come out of them."""
    while True:
        if isinstance(classifier, Pipeline):
            classifier = classifier.steps[-1][1]
        elif hasattr(classifier, "refit") and hasattr(classifier, "estimator"):
            classifier = getattr(classifier, "best_estimator_", classifier.estimator)
        else:
            return classifier


def _mute(classifier: Any, name: str) -> TypeError:
    return TypeError(
        f"{name} is {type(classifier).__name__}, which gives neither probabilities nor "
        "decisions; wrap it in sklearn.calibration.CalibratedClassifierCV, or choose another."
    )


def check_decisions(classifier: Any, n_classes: int, *, name: str) -> None:
    """Refuse decisions between pairs of classes where those on each class are needed."""
    inner = _deciding(classifier)
    pairs = getattr(inner, "decision_function_shape", None) == "ovo"
    if n_classes > 2 and pairs and not hasattr(classifier, "predict_proba"):
        raise ValueError(
            f"{name} decides by {type(inner).__name__} with decision_function_shape='ovo', between "
            f"pairs of {n_classes} classes; set it to 'ovr', a decision on each class."
        )


def check_groups(classifier: Any, groups: np.ndarray | None, *, name: str) -> None:
    """Refuse a classifier that splits by groups inside and gets none."""
    parts = {"": classifier, **classifier.get_params(deep=True)}
    splitting = [name for name, part in parts.items() if _splits_by_group(part)]
    # A stack hands groups to its last estimator too, which does not know them (1.9).
    lost = not wants_groups(classifier) or any(
        isinstance(part, StackingClassifier) for part in parts.values()
    )
    for parameter in splitting:
        if lost:
            raise ValueError(
                f"{name} is {type(classifier).__name__} with inner folds by group, "
                f"{parameter}={parts[parameter]!r}, to which scikit-learn passes no groups on; "
                "give another cv to it."
            )
    if groups is None and splitting:  # others, such as a LinearProbe, do without
        raise ValueError(
            f"{name} is {type(classifier).__name__} with inner folds by group, and there are no "
            "groups; give groups, the patient of each image, or another cv to it."
        )


def _splits_by_group(value: Any) -> bool:
    """Whether it is a splitter by group of scikit-learn; strings split too, and a class."""
    is_splitter = hasattr(value, "split") and hasattr(value, "get_metadata_routing")
    return is_splitter and not isinstance(value, type) and _consumes_groups(value, "split")


def wants_groups(classifier: Any) -> bool:
    """Whether it, or a search in it, splits its training images by group where there are groups.

    As scikit-learn's metadata routing knows it: in a ``GridSearchCV(cv=StratifiedGroupKFold())``,
    also one in a pipeline.
    """
    return _consumes_groups(classifier, "fit")


def _consumes_groups(estimator: Any, method: str) -> bool:
    try:
        return bool(estimator.get_metadata_routing().consumes(method, ["groups"]))
    # AdaBoost and a few others pass on nothing; RidgeClassifierCV asks itself without end.
    except (NotImplementedError, RecursionError):
        return False


def check_picklable(classifier: Any, *, name: str) -> None:
    """Refuse for checkpoints what cannot be pickled: nothing would tell it from another."""
    for parameter, value in _decisive(classifier):
        try:
            _in_words(value, by_name=False)
        except _NOT_PICKLABLE as error:
            raise ValueError(
                f"{name} has {parameter}={value!r}, which cannot be pickled, so that nothing would "
                "tell it from another one when the run goes on; give a function that is defined in "
                "a module, or leave checkpoint_dir out."
            ) from error


def described(classifier: Any) -> dict[str, Any]:
    """Return the parameters that decide the result, in JSON's terms."""
    found = dict(_decisive(classifier))
    if isinstance(classifier, DomainExtensionTransfer):
        del found["source"]  # the network made of it is on record
        if found["augmentation"] is not None:
            found["augmentation"] = asdict(found["augmentation"])
        return {name: _in_words(value) for name, value in found.items()}
    for name, value in found.items():
        if name.rsplit("__", 1)[-1] == "source" and str(value).endswith(".keras"):
            found[name] = load_source(value)  # a file may change under its name
    words = {name: _in_words(value) for name, value in found.items()}
    return {"classifier": type(classifier).__name__, **words}


def _decisive(classifier: Any) -> list[tuple[str, Any]]:
    return [
        (name, value)
        for name, value in sorted(classifier.get_params(deep=True).items())
        if name.rsplit("__", 1)[-1] not in _NOT_DECISIVE
    ]


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
    name = "the classifier"
    fitted = seeded(classifier, seed)
    if groups is not None and wants_groups(fitted):
        with config_context(enable_metadata_routing=True):
            fitted.fit(images[train], labels[train], groups=groups[train])
    else:
        fitted.fit(images[train], labels[train])
    if not _gives_shares(fitted):
        raise _mute(fitted, name)
    check_decisions(fitted, len(classes), name=name)  # a search may have chosen other ones
    probabilities = probabilities_of(fitted, images, classes, train=train, test=test)
    return FoldResult(
        train=train,
        test=test,
        probabilities=probabilities,
        decisions=decisions_of(fitted, images[test], classes, probabilities),
        history={},
        seed=seed,
        start="",
        chosen={name: _in_words(value) for name, value in _chosen(fitted).items()},
        seconds=time.perf_counter() - started,
    )


def _chosen(fitted: Any) -> dict[str, Any]:
    """Return the settings that a search chose, also the last step of a pipeline."""
    search = fitted.steps[-1][1] if isinstance(fitted, Pipeline) else fitted
    return dict(getattr(search, "best_params_", {}))


def probabilities_of(
    fitted: Any, images: np.ndarray, classes: np.ndarray, *, train: Any, test: Any
) -> np.ndarray:
    """Return the probabilities of the test images, float32, refusing what are none.

    ``train`` and ``test`` are rows of ``images``, or slices.
    """
    found = probabilities_by_class(fitted, images, classes, train=train, test=test)
    n_test = len(np.arange(len(images))[test])
    try:
        check_predictions(found, None, n_test, len(classes))
    except ValueError as error:
        raise ValueError(f"{type(fitted).__name__} gives {error}.") from None
    return found.astype("float32")


def decisions_of(
    fitted: Any, images: np.ndarray, classes: np.ndarray, probabilities: np.ndarray
) -> np.ndarray | None:
    """Return the index of the class it decides for, if that is not always the most probable.

    A tuned threshold decides otherwise, and so does an SVC that fits probabilities beside.
    """
    if not hasattr(fitted, "predict"):
        return None
    found = np.searchsorted(classes, fitted.predict(images))
    return None if np.array_equal(found, probabilities.argmax(axis=1)) else found


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


def _in_words(value: Any, *, by_name: bool = True) -> Any:
    """Return a parameter in JSON's terms; what cannot be pickled is known by its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # NaN, which some take for a missing value, is not equal to itself
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, keras.Model | SourceModel):
        network = source_network(value)
        digest = hashlib.sha256((weights_digest(network) + graph_digest(network)).encode())
        return {"digest": digest.hexdigest(), "outputs on noise": output_on_noise(network)}
    if isinstance(value, BaseEstimator):
        return type(value).__name__
    if isinstance(value, list | tuple):
        return [_in_words(part, by_name=by_name) for part in value]
    if isinstance(value, dict):
        return {str(key): _in_words(part, by_name=by_name) for key, part in value.items()}
    # An object of somebody else: what it is made of, since its repr may be an address.
    try:
        return f"{type(value).__name__} {joblib.hash(value)}"
    except _NOT_PICKLABLE:
        if not by_name:
            raise
        return str(getattr(value, "__name__", type(value).__name__))
