"""Run a classifier, whatever carries it: from images to the probabilities of their classes."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from scipy.special import softmax
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from detl.checks import check_images
from detl.networks.pixels import takes_bytes
from detl.networks.prediction import predict_on_batch

_ROUNDING = 1e-2  # of probabilities in bfloat16
_LARGEST_DECISION = 5.0  # far larger ones all have the probability 1 in float32


def network_of(model: Any) -> keras.Model:
    """Return the Keras model that was given, or that what was given carries."""
    for candidate in (model, getattr(model, "model_", None), getattr(model, "model", None)):
        if isinstance(candidate, keras.Model):
            return candidate
    if hasattr(model, "fit"):
        try:
            check_is_fitted(model)
        except NotFittedError:
            raise ValueError(
                f"This {type(model).__name__} is not fitted; call fit first."
            ) from None
    raise TypeError(
        f"model is {type(model).__name__}; expected a keras.Model, a SourceModel or a fitted "
        "DomainExtensionTransfer."
    )


def class_names_of(model: Any) -> list[str] | None:
    """Return the names of the classes in the order of their columns, where the model has them."""
    classes = getattr(model, "classes_", getattr(model, "classes", None))
    if classes is None or not all(isinstance(name, str) for name in classes):
        return None
    return [str(name) for name in classes]


def check_images_for(network: keras.Model, images: Any) -> np.ndarray:
    """Return the images as an array that fits the network."""
    shape = getattr(network, "input_shape", None)  # a subclassed model has none
    shape = tuple(shape[1:]) if isinstance(shape, tuple) and len(shape) == 4 else None
    return check_images(images, shape=shape, any_scale=not takes_bytes(network))


def even_batch_size(n: int, batch_size: int) -> int:
    """Return the size, at most the given one, of batches so even that the last is nearly full."""
    return -(-n // -(-n // batch_size))


def probabilities_of(network: keras.Model, images: np.ndarray, *, batch_size: int) -> np.ndarray:
    """Return the probability of each class, ``(n, classes)``; a single unit stands for two."""
    batches = []
    for start in range(0, len(images), batch_size):
        # float32 whatever came in, and the last batch as large as the others: each new type or
        # shape would be traced anew.
        batch = np.asarray(images[start : start + batch_size], dtype=np.float32)
        missing = batch_size - len(batch)
        full = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)]) if missing else batch
        batches.append(predict_on_batch(network, full)[: len(batch)])
    found = np.concatenate(batches).astype(np.float64)
    if found.ndim != 2:
        raise ValueError(
            f"The model gives {('n', *found.shape[1:])}; expected (n, classes), a classifier."
        )
    if not np.isfinite(found).all():
        raise ValueError("The model gives NaN or infinity; training may have diverged.")
    if found.min() < -_ROUNDING or found.max() > 1 + _ROUNDING:
        raise ValueError(
            f"The model gives values from {found.min():.3g} to {found.max():.3g}, which are no "
            "probabilities. Where they are logits, give "
            "keras.Sequential([model, keras.layers.Softmax()])."
        )
    if found.shape[1] == 1:
        found = np.concatenate([1 - found, found], axis=1)
    return found


def check_classes_of(model: Any, target_class: Any, probabilities: np.ndarray) -> np.ndarray:
    """Return the column of one class per image, by default the one predicted."""
    n, n_classes = probabilities.shape
    if target_class is None:
        return probabilities.argmax(axis=1)
    return check_target_class(target_class, n=n, n_classes=n_classes, names=class_names_of(model))


def check_target_class(
    target_class: Any, *, n: int, n_classes: int, names: Sequence[str] | None
) -> np.ndarray:
    """Return the column of one class per image: given as that, or by name where names are known."""
    wanted = np.asarray(target_class)
    if wanted.dtype.kind in "UO" and all(isinstance(name, str) for name in wanted.flat):
        wanted = _columns_of(wanted, names)
    if wanted.dtype.kind not in "ui":
        raise TypeError(
            f"target_class={target_class!r} has dtype {wanted.dtype}; expected a whole number or "
            "one per image, the column of the class in the model's output, or the name of a class."
        )
    if wanted.shape not in ((), (n,)):
        raise ValueError(
            f"target_class has shape {wanted.shape} for {n} images; expected one number for all or "
            f"({n},), one per image."
        )
    if wanted.min() < 0 or wanted.max() >= n_classes:
        wrong = wanted.min() if wanted.min() < 0 else wanted.max()
        raise ValueError(
            f"target_class={wrong}, but the model has the classes 0 to {n_classes - 1}: a number "
            "is a column of the model's output, also where classes are named by numbers."
        )
    return np.broadcast_to(wanted, n).astype(int)


def _columns_of(wanted: np.ndarray, names: Sequence[str] | None) -> np.ndarray:
    """Return the columns of classes that were named."""
    if names is None:
        raise ValueError(
            f"target_class={str(wanted.flat[0])!r}, but this model has no class names; give the "
            "column of the class, or give the SourceModel or the fitted DomainExtensionTransfer "
            "instead of its Keras model."
        )
    unknown = [str(name) for name in wanted.flat if name not in names]
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=3, cutoff=0.4) or names
        raise ValueError(
            f"target_class={unknown[0]!r} is not a class of this model; "
            f"the nearest are {', '.join(map(repr, near))}."
        )
    return np.array([names.index(name) for name in wanted.flat]).reshape(wanted.shape)


def probabilities_by_class(
    fitted: Any,
    X: np.ndarray,
    classes: np.ndarray,
    *,
    train: np.ndarray | slice,
    test: np.ndarray | slice,
) -> np.ndarray:
    """Return a fitted scikit-learn classifier's probabilities on the ``test`` rows of X.

    They are ``(n_test, n_classes)``, 0 for a class that it has not seen. Where it gives none, the
    softmax of its decisions stands for them, which is not calibrated. All decisions are first
    divided by one number, so that the largest on the ``train`` rows is at most 5: the class on top
    stays, and of two classes the ranks.
    """
    if hasattr(fitted, "predict_proba"):
        found = np.asarray(fitted.predict_proba(X[test]))
    else:
        found = np.asarray(fitted.decision_function(X[test]))
        found = found / _scale_of(np.asarray(fitted.decision_function(X[train])))
        if found.ndim == 1:  # of two classes it says only one
            found = np.stack([np.zeros_like(found), found], axis=1)
        if found.shape[1] != len(fitted.classes_):
            raise ValueError(
                f"{type(fitted).__name__} gives {found.shape[1]} decisions on an image for "
                f"{len(fitted.classes_)} classes; expected one for each class."
            )
        found = softmax(found, axis=1)
    probabilities = np.zeros((len(found), len(classes)))
    probabilities[:, np.searchsorted(classes, fitted.classes_)] = found
    return probabilities


def _scale_of(decisions: np.ndarray) -> float:
    """Return the number, at least 1, that brings the largest of these decisions down to 5."""
    sizes = np.abs(decisions[np.isfinite(decisions)])
    return max(1.0, float(sizes.max(initial=0)) / _LARGEST_DECISION)
