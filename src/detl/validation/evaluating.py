"""Evaluate a fitted classifier on images from elsewhere: another hospital, camera, year."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from detl.checks import check_choice, check_images, check_labels
from detl.folds.copies import copies_between, pixel_digests, sketch
from detl.seeds import integer_seed, seed_sequence
from detl.validation.estimators import check_classifier, decisions_of, probabilities_of
from detl.validation.evaluation import Evaluation
from detl.validation.results import CrossValidationResult

_NAMED = 3


def evaluate(
    classifier: Any,
    images: Any,
    labels: Any,
    *,
    groups: Any = None,
    internal: CrossValidationResult | None = None,
    seen_groups: Any = None,
    seen_images: Any = None,
    on_leak: Literal["warn", "raise", "ignore"] = "warn",
    random_state: Any = None,
) -> Evaluation:
    """Evaluate a fitted classifier on images that it was not trained on (external validation).

    Parameters
    ----------
    classifier : DomainExtensionTransfer, or another classifier of scikit-learn
        Fitted.
    images : numpy.ndarray of shape (n, height, width, channels)
        Pixels in [0, 255]; may be a memory map.
    labels : array-like of shape (n,)
        Class of each image. Classes may be missing. Images of classes that the classifier does not
        know are counted in the confusion matrix, and are in no score.
    groups : array-like of shape (n,), optional
        Patient (or what else repeats) of each image: the intervals redraw whole groups.
    internal : CrossValidationResult, optional
        What :func:`detl.cross_validate` found for this classifier: the evaluation then says what is
        lost, and its thresholds and temperature are chosen on the internal predictions.
    seen_groups : array-like, optional
        Groups that the classifier, or its source, was trained on, named as in ``groups``. Those of
        ``internal``, and those that a transfer was fitted with, are looked for anyway.
    seen_images : numpy.ndarray of shape (n_seen, height, width, channels), optional
        Images that it was trained on, to look for copies of. A transfer finds equal ones by itself.
    on_leak : {"warn", "raise", "ignore"}, default="warn"
        What to do when groups or copies of images are found that were trained on.
    random_state : int, numpy generator or None
        Seeds the bootstrap draws of the intervals.

    Returns
    -------
    Evaluation
        Scores, class scores and confusion matrix with intervals, and the change against the
        internal result.

    Raises
    ------
    TypeError, ValueError
        If the classifier is not fitted, arguments do not fit each other, no label is a class of the
        classifier, or there is a leak and ``on_leak="raise"``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from detl import evaluate
    >>> images = np.zeros((40, 8, 8, 1), dtype="uint8")
    >>> classifier = DummyClassifier().fit(images[:3], ["normal", "normal", "covid"])
    >>> external = evaluate(classifier, images, ["normal"] * 30 + ["covid"] * 10, random_state=0)
    >>> external.accuracy
    0.75
    """
    check_choice("on_leak", on_leak, ("warn", "raise", "ignore"))
    check_classifier(classifier, name="classifier")
    try:
        check_is_fitted(classifier)
    except NotFittedError:
        raise ValueError(
            f"classifier is a {type(classifier).__name__} that is not fitted; call fit first."
        ) from None
    images = check_images(images, any_scale=True)
    labels = check_labels(labels, len(images)).copy()
    if groups is not None:
        groups = check_labels(groups, len(images), name="groups").copy()
    classes = np.asarray(classifier.classes_)
    if not np.isin(labels, classes).any():
        raise ValueError(
            f"No label is a class of the classifier: labels are such as {labels.tolist()[0]!r}, "
            f"its classes are {classes.tolist()}. Name both alike."
        )
    _check_internal(internal, classes)
    leaks = _leaks(classifier, images, labels, groups, internal, seen_groups, seen_images)
    if leaks and on_leak == "raise":
        raise ValueError(f"{' '.join(leaks)} Leave these images out.")
    if leaks and on_leak == "warn":
        warnings.warn(" ".join(leaks), UserWarning, stacklevel=2)
    every = slice(None)
    probabilities = probabilities_of(classifier, images, classes, train=every, test=every)
    return Evaluation(
        classes=classes,
        labels=labels,
        groups=groups,
        probabilities=probabilities,
        decisions=decisions_of(classifier, images, classes, probabilities),
        leaks=tuple(leaks),
        internal=internal,
        settings={"interval_seed": integer_seed(seed_sequence(random_state))},
    )


def _check_internal(internal: Any, classes: np.ndarray) -> None:
    if internal is None:
        return
    if not isinstance(internal, CrossValidationResult):
        raise TypeError(
            f"internal is a {type(internal).__name__}; expected a CrossValidationResult, as "
            "detl.cross_validate returns it."
        )
    if internal.classes.tolist() != classes.tolist():
        raise ValueError(
            f"internal has the classes {internal.classes.tolist()}, the classifier "
            f"{classes.tolist()}; give the result of a classifier of the same classes."
        )


def _leaks(
    classifier: Any,
    images: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    internal: CrossValidationResult | None,
    seen_groups: Any,
    seen_images: Any,
) -> list[str]:
    """Return what of these images was trained on, in sentences."""
    found = []
    training = getattr(classifier, "training_", None)  # of a transfer
    if seen_groups is not None and groups is None:
        raise ValueError("seen_groups without groups; give both, to find what they share.")
    if groups is not None:
        known = (
            set() if seen_groups is None else _names(check_labels(seen_groups, name="seen_groups"))
        )
        if internal is not None and internal.groups is not None:
            known |= _names(internal.groups)
        if training is not None:
            known |= set(map(_name, training.groups or ()))
        shared = sorted(_names(groups) & known)
        if shared:
            n = sum(name in shared for name in map(_name, groups.tolist()))
            found.append(
                f"{len(shared)} groups have names that were trained on, such as "
                f"{', '.join(shared[:_NAMED])}: {n} of {len(images)} images. If both hospitals "
                "number their patients from 1, put the hospital's name in front."
            )
    if training is not None:
        same = np.isin(pixel_digests(images), training.image_digests)
        if same.any():
            found.append(
                f"{np.count_nonzero(same)} of {len(images)} images were trained on, such as image "
                f"{np.flatnonzero(same)[0]}."
            )
    if seen_images is not None:
        seen = check_images(seen_images, name="seen_images", any_scale=True)
        targets = np.unique(labels, return_inverse=True)[1]
        pairs = copies_between(sketch(images), sketch(seen), targets).pairs
        if len(pairs):
            row, of = pairs[0].tolist()
            found.append(
                f"{len(np.unique(pairs[:, 0]))} of {len(images)} images are copies of seen_images, "
                f"such as image {row} of seen image {of}."
            )
    return found


def _names(groups: np.ndarray) -> set[str]:
    return set(map(_name, groups.tolist()))


def _name(group: Any) -> str:
    """Return a name as text: a result that was read from a file has dates as such; 12.0 is 12."""
    is_whole = isinstance(group, float) and group.is_integer()
    return str(int(group) if is_whole else group)
