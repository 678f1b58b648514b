"""Compare a network with simple classifiers that hardly see the object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier

from detl.recipes.thumbnails import thumbnails
from detl.shortcuts.baseline_classifiers import (
    DETAIL,
    LINEAR,
    class_shares,
    fitted,
    histograms,
    shapes,
)
from detl.shortcuts.examination import THRESHOLD, Examination
from detl.shortcuts.region_tests import ask_outlines, hidden_parts
from detl.shortcuts.regions import BORDER, FILL, Array, Region, blanked
from detl.shortcuts.verdicts import ShortcutReport
from detl.validation.estimators import check_groups
from detl.validation.results import CrossValidationResult

_BASELINES = ("class prior", "thumbnail", "histogram", "background", "border", "sizes")


def baseline_test(
    result: CrossValidationResult,
    images: Any,
    *,
    region: Region | None = None,
    border: float | None = BORDER,
    sizes: Any = None,
    classifiers: Mapping[str, Any] | None = None,
    threshold: float = THRESHOLD,
    fill: float = FILL,
) -> ShortcutReport:
    """Compare the network with simple classifiers that hardly see the object, on the same folds.

    Parameters
    ----------
    result, images, region, border, sizes, threshold, fill
        As for :func:`examine`.
    classifiers : dict of str to scikit-learn classifier, optional
        Baselines of your own, such as ``{"SVM": make_pipeline(StandardScaler(), SVC())}``. Each is
        fitted anew in every fold, on the means of 32 × 32 cells of the images, with seeds and
        groups as in :func:`detl.cross_validate`.

    Returns
    -------
    ShortcutReport
        There are two kinds of baselines. The first kind does not see the object; a good score
        means a shortcut: ``"border"`` and ``"background"`` (all but the region), logistic
        regressions on 32 × 32 cells, and ``"sizes"``, a logistic regression on height, width and
        their ratio. The second kind sees the whole image; the verdict says whether the network
        is better: ``"class prior"``, ``"thumbnail"``, a logistic regression on 16 × 16 cells,
        ``"histogram"``, on the shares of 32 grey levels, and your own ``classifiers``.
    """
    examination = Examination(result, images, threshold=threshold)
    hidden = hidden_parts(examination, region, border)
    classifiers = _check_classifiers(classifiers)
    for name, classifier in classifiers.items():
        check_groups(classifier, result.groups, name=f"classifiers[{name!r}]")
    ask_baselines(examination, hidden, sizes, fill)
    for name, classifier in classifiers.items():
        question = f"Is the network better than {name} on {DETAIL} × {DETAIL} cells?"
        cells = thumbnails(examination.images, DETAIL)
        examination.add_baseline(name, question, fitted(classifier, cells, result))
    ask_outlines(examination, hidden)
    return examination.report()


def ask_baselines(
    examination: Examination, hidden: dict[str, Array], sizes: Any, fill: float
) -> None:
    """Run the baselines that see the whole image, then those that see a part of it."""
    images, network = examination.images, examination.network
    if sizes is not None:
        sizes = _check_sizes(sizes, len(images))
    prior = class_shares(examination.targets, len(network.classes))
    question = "Is the network better than predicting the shares of the classes?"
    examination.add_baseline("class prior", question, prior)
    for name, what, features in (
        ("thumbnail", "16 × 16 cells", thumbnails(images, 16)),
        ("histogram", "the histogram of intensities", histograms(images)),
    ):
        question = f"Is the network better than a logistic regression on {what}?"
        examination.add_baseline(name, question, fitted(LINEAR, features, network))
    for what, masks in hidden.items():
        name = {"region": "background", "all but border": "border"}[what]
        examination.add_linear(
            name,
            f"Can the class be predicted from the {name} alone (logistic regression on {DETAIL} × "
            f"{DETAIL} cells)?",
            thumbnails(blanked(images, masks, fill), DETAIL),
        )
    if sizes is not None:
        examination.add_linear(
            "sizes",
            "Can the class be predicted from the original size of the image (logistic regression)?",
            shapes(sizes),
        )


def _check_classifiers(classifiers: Any) -> dict[str, Any]:
    if classifiers is None:
        return {}
    if not isinstance(classifiers, Mapping) or not all(
        isinstance(model, BaseEstimator) and is_classifier(model) for model in classifiers.values()
    ):
        raise TypeError(
            f"classifiers is {classifiers!r}; expected a dict of names and scikit-learn "
            'classifiers, such as {"SVM": SVC()}.'
        )
    taken = {"network", *_BASELINES} & {str(name) for name in classifiers}
    if taken:
        raise ValueError(
            f"classifiers has {', '.join(map(repr, sorted(taken)))}, a name that is taken; rename."
        )
    return {str(name): model for name, model in classifiers.items()}


def _check_sizes(sizes: Any, n: int) -> Array:
    array = np.asarray(sizes)
    if array.shape != (n, 2) or array.dtype.kind not in "uif" or not (array > 0).all():
        raise ValueError(
            f"sizes has shape {array.shape} and dtype {array.dtype}; expected ({n}, 2), height and "
            "width of each image in pixels, all above 0."
        )
    return array
