"""Find out whether a classifier looks at what it should, or something else gives the class away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier

from detl import faithfulness
from detl.checks import check_positive
from detl.shortcuts.collection_tests import ask_collections, check_collections
from detl.shortcuts.examination import Array, Examination, Trainer
from detl.shortcuts.out_of_fold import out_of_fold_heatmaps
from detl.shortcuts.regions import Region, blanked, border_mask, region_masks
from detl.shortcuts.rival_classifiers import class_shares, histograms, linear, shapes, thumbnails
from detl.shortcuts.verdicts import LIKELY, UNTOLD, Figure, ShortcutReport, ShortcutTest
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.estimators import check_groups
from detl.validation.results import CrossValidationResult

# Finds a marker in half of the images of a class, see studies/are_planted_shortcuts_found.
THRESHOLD = 0.33
# Of a heatmap on the region, over the region's share of the area: half of what chance would give.
# Chance itself is too much to ask, as the maps are coarse and edges of the object count, too.
ATTENTION_THRESHOLD = 0.5
# The middle of the scale: the same in every image, so that it says nothing of any.
FILL = 128
BORDER = 0.1

_RIVALS = ("class prior", "thumbnail", "histogram", "background", "border", "sizes")
_DETAIL = 32  # cells along a side of what a linear rival sees of a border or a background


def examine(
    result: CrossValidationResult,
    transfer: Any,
    images: Any,
    *,
    region: Region | None = None,
    border: float | None = BORDER,
    collections: Any = None,
    sizes: Any = None,
    threshold: float = THRESHOLD,
    attention_threshold: float = ATTENTION_THRESHOLD,
    fill: float = FILL,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> ShortcutReport:
    """Run every shortcut test that data and classifier allow.

    With a region this trains all folds three times more, two of them on a part of each image; with
    collections about twice more. The rivals take seconds.

    Parameters
    ----------
    result : CrossValidationResult
        What :func:`detl.cross_validate` found: the classifier under examination.
    transfer : DomainExtensionTransfer, or another classifier of scikit-learn
        The one that was cross-validated. Only a transfer has heatmaps, and the test of attention.
    images : numpy.ndarray of shape (n, height, width, channels)
        Those that were cross-validated.
    region : (top, left, bottom, right), numpy.ndarray of bool, or callable, optional
        Where the object is, see :func:`region_test`. Without it nothing is blanked out but all
        inside the border, and there is no test of attention.
    border : float or None, default=0.1
        Width of the border that is tested alone, as a share of the shorter side. None where the
        object reaches it.
    collections : array-like of shape (n,), optional
        Where each image comes from, such as its hospital, see :func:`collection_test`.
    sizes : array-like of shape (n, 2), optional
        Height and width of each image before it was resized, pixels.
    threshold : float, default=0.33
        Of what the network knows of a class, the share above which it is suspicious that the class
        is told without the object.
    attention_threshold : float, default=0.5
        Of the heatmaps' energy in the region over the region's area, below which it is suspicious.
    fill : float, default=128
        What stands where images are blanked out: one grey for all.
    checkpoint_dir : path, optional
        Each test that trains has its finished folds in a folder of its own in there.
    n_jobs, verbose
        As for :func:`detl.cross_validate`. Heatmaps are computed by one process.

    Returns
    -------
    ShortcutReport
        A verdict per test.

    Raises
    ------
    TypeError, ValueError
        If the images, the transfer or the regions do not fit the result. Nothing has been trained
        then.
    """
    examination = Examination(result, images, threshold=threshold)
    check_positive("attention_threshold", attention_threshold)
    trainer = Trainer(
        examination, transfer, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose
    )
    if collections is not None:
        collections = check_collections(collections, len(examination.images))
    hidden = _hidden(examination, region, border)
    _ask_rivals(examination, hidden, sizes, fill)
    _ask_blanked(examination, trainer, hidden, fill)
    _ask_outlines(examination, hidden)
    if "region" in hidden and isinstance(trainer.transfer, DomainExtensionTransfer):
        _ask_heatmaps(examination, trainer, hidden["region"], attention_threshold, "gradcam")
    if collections is not None:
        ask_collections(examination, trainer, collections)
    return examination.report()


def region_test(
    result: CrossValidationResult,
    transfer: Any,
    images: Any,
    *,
    region: Region | None = None,
    border: float | None = BORDER,
    threshold: float = THRESHOLD,
    fill: float = FILL,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> ShortcutReport:
    """Train and test with the object blanked out, and with nothing but the border.

    A network that still tells the classes has something else to go by.

    Parameters
    ----------
    result, transfer, images, threshold, fill, checkpoint_dir, n_jobs, verbose
        As for :func:`examine`.
    region : (top, left, bottom, right), numpy.ndarray of bool, or callable, optional
        Where the object is. A box, as a tuple, a list or an array: floats are shares of height and
        width, whole numbers pixels. A mask ``(height, width)`` for all images, or one per image
        ``(n, height, width)``. Or a function from the images to such masks.
    border : float or None, default=0.1
        As for :func:`examine`. Where the region reaches into the border, it is blanked out there.

    Returns
    -------
    ShortcutReport
        With the tests ``"region blanked"`` and ``"border kept"``. With a mask per image also
        ``"region outline"``: if the outlines alone tell the class, then so do the holes that
        blanking leaves, and nothing is concluded from ``"region blanked"``.

    Raises
    ------
    TypeError, ValueError
        As for :func:`examine`, or if there is neither region nor border.
    """
    if region is None and border is None:
        raise ValueError("There is neither region nor border to test; give one of them.")
    examination = Examination(result, images, threshold=threshold)
    trainer = Trainer(
        examination, transfer, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose
    )
    hidden = _hidden(examination, region, border)
    _ask_blanked(examination, trainer, hidden, fill)
    _ask_outlines(examination, hidden)
    return examination.report()


def rivals(
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
    """Hold the network against classifiers that know next to nothing, on the same folds.

    Parameters
    ----------
    result, images, region, border, sizes, threshold, fill
        As for :func:`examine`.
    classifiers : dict of str to scikit-learn classifier, optional
        Rivals of your own, such as ``{"SVM": make_pipeline(StandardScaler(), SVC())}``. Each is
        fitted anew in every fold, on the grey levels of 32 × 32 cells of the images, with seeds and
        groups as in :func:`detl.cross_validate`.

    Returns
    -------
    ShortcutReport
        Two kinds of rivals. Those that do not see the object get a verdict: ``"border"`` and
        ``"background"`` (all but the region), logistic regressions on 32 × 32 cells, and
        ``"sizes"``, on height, width and their ratio. Those that see all of the image are no
        shortcuts, and it is said who is better: ``"class prior"``, ``"thumbnail"``, a logistic
        regression on 16 × 16 cells, ``"histogram"``, on the shares of 32 grey levels, and those of
        your own.

    Raises
    ------
    TypeError, ValueError
        If images, region, sizes or classifiers do not fit the result.
    """
    examination = Examination(result, images, threshold=threshold)
    hidden = _hidden(examination, region, border)
    classifiers = _check_classifiers(classifiers)
    for name, classifier in classifiers.items():
        check_groups(classifier, result.groups, name=f"classifiers[{name!r}]")
    _ask_rivals(examination, hidden, sizes, fill)
    for name, classifier in classifiers.items():
        question = f"Is it better than {name} on {_DETAIL} × {_DETAIL} cells?"
        cells = thumbnails(examination.images, _DETAIL)
        examination.add_classifier(name, question, classifier, cells)
    _ask_outlines(examination, hidden)
    return examination.report()


def collection_test(
    result: CrossValidationResult,
    transfer: Any,
    images: Any,
    collections: Any,
    *,
    threshold: float = THRESHOLD,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> ShortcutReport:
    """Ask whether where an image comes from gives its class away.

    Parameters
    ----------
    result, transfer, images, threshold, checkpoint_dir, n_jobs, verbose
        As for :func:`examine`.
    collections : array-like of shape (n,)
        Where each image comes from, such as its hospital, scanner or file format.

    Returns
    -------
    ShortcutReport
        ``"collection"``: the class is told from the name of the collection alone, by the shares of
        the classes in it. Unless that is excluded, ``"collection from image"``: the transfer is
        trained to tell the collections of one class from each other, so that the class is no help;
        its figure is how far the ROC AUC is above 1/2, as a share of the most there could be.
        ``"collection held out"``: each collection is tested by a network that saw none of it; its
        figure is the share of the mean sensitivity above chance that is lost on the same images.

    Raises
    ------
    TypeError, ValueError
        If the images, the transfer or the collections do not fit the result, or there is one
        collection only.
    """
    examination = Examination(result, images, threshold=threshold)
    trainer = Trainer(
        examination, transfer, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose
    )
    ask_collections(examination, trainer, check_collections(collections, len(examination.images)))
    return examination.report()


def attention(
    result: CrossValidationResult,
    transfer: Any,
    images: Any,
    *,
    region: Region,
    threshold: float = ATTENTION_THRESHOLD,
    method: str = "gradcam",
    verbose: int = 0,
) -> ShortcutReport:
    """Ask how much of the heatmaps lies on the object, beside its share of the image.

    All folds are trained once more, and each image is explained, for the class predicted, by the
    network that was not trained on it.

    Parameters
    ----------
    result, transfer, images, verbose
        As for :func:`examine`.
    region : (top, left, bottom, right), numpy.ndarray of bool, or callable
        Where the object is, see :func:`region_test`. Images without any are left out.
    threshold : float, default=0.5
        A class is suspicious if its heatmaps have less on the region than so many times what the
        region's area explains.
    method : str, default="gradcam"
        Of :class:`detl.GradCAM`.

    Returns
    -------
    ShortcutReport
        With the test ``"attention"``, and a figure for each class that was predicted, see
        :func:`detl.faithfulness.energy`; blank heatmaps are left out, and counted in the note. A
        shortcut is likely if those of all classes are below the
        threshold: a class that is known by what it lacks, such as normal, may look anywhere. It
        can accuse, but not acquit: the verdict is never ``"no shortcut found"``.

    Raises
    ------
    TypeError, ValueError
        As for :func:`examine`.
    """
    examination = Examination(result, images, threshold=threshold)
    trainer = Trainer(examination, transfer, verbose=verbose)
    masks = region_masks(region, examination.images)
    _ask_heatmaps(examination, trainer, masks, threshold, method)
    return examination.report()


# ------------------------------------------------------------------------------- the questions


def _hidden(
    examination: Examination, region: Region | None, border: float | None
) -> dict[str, Array]:
    """Return masks of what is hidden: the region, all but the border, or both in turn."""
    hidden = {}
    if region is not None:
        hidden["region"] = region_masks(region, examination.images)
    if border is not None:
        size = examination.images.shape[1:3]
        hidden["all but border"] = ~border_mask(border, size, without=hidden.get("region"))
    return hidden


def _ask_blanked(
    examination: Examination, trainer: Trainer, hidden: dict[str, Array], fill: float
) -> None:
    questions = {
        "region": ("region blanked", "Are classes told without the region, {:.0%} of the image?"),
        "all but border": ("border kept", "Are classes told without {:.0%} of the image?"),
    }
    for what, masks in hidden.items():
        name, question = questions[what]
        result = trainer.on_images(name, blanked(examination.images, masks, fill))
        examination.add_blind(name, question.format(masks.mean()), result)


def _ask_outlines(examination: Examination, hidden: dict[str, Array]) -> None:
    """Ask whether the holes themselves tell the class, and then conclude nothing from them."""
    masks, tests = hidden.get("region"), examination.tests
    if masks is None or not (masks != masks[:1]).any():
        return  # a hole that is the same in all images tells nothing
    examination.add_linear(
        "region outline",
        "Are classes told by the outlines of the regions, by a logistic regression?",
        thumbnails(masks[..., np.newaxis], _DETAIL),
    )
    if tests["region outline"].verdict != LIKELY:
        return
    for name in {"background", "region blanked"} & tests.keys():
        tests[name] = replace(
            tests[name],
            verdict=UNTOLD,
            note=f"{tests[name].note} The outlines of the regions tell classes, and so do the "
            "holes that blanking leaves; give one region for all images.".strip(),
        )
    tests["region outline"] = replace(
        tests["region outline"],
        verdict=UNTOLD,
        note="Outlines are no part of the images: this is about the regions alone.",
    )


def _ask_rivals(
    examination: Examination, hidden: dict[str, Array], sizes: Any, fill: float
) -> None:
    images, targets = examination.images, examination.targets
    n_classes = len(examination.network.classes)
    if sizes is not None:
        sizes = _check_sizes(sizes, len(images))
    examination.add_rival(
        "class prior",
        "Is the network better than the shares of the classes?",
        class_shares(targets, n_classes),
    )
    examination.add_rival(
        "thumbnail",
        "Is it better than a logistic regression on 16 × 16 cells?",
        linear(thumbnails(images, 16), targets, n_classes),
    )
    examination.add_rival(
        "histogram",
        "Is it better than a logistic regression on the histogram of intensities?",
        linear(histograms(images), targets, n_classes),
    )
    for what, masks in hidden.items():
        name = {"region": "background", "all but border": "border"}[what]
        examination.add_linear(
            name,
            f"Are classes told by the {name}, by a logistic regression on {_DETAIL} × {_DETAIL} "
            "cells?",
            thumbnails(blanked(images, masks, fill), _DETAIL),
        )
    if sizes is not None:
        examination.add_linear(
            "sizes",
            "Are classes told by the images' original sizes, by a logistic regression?",
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
    taken = {"network", *_RIVALS} & {str(name) for name in classifiers}
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


def _ask_heatmaps(
    examination: Examination, trainer: Trainer, masks: Array, threshold: float, method: str
) -> None:
    network, units = examination.network, examination.units
    heatmaps, predicted = out_of_fold_heatmaps(
        network, trainer.transfer, examination.images, method=method, verbose=trainer.verbose
    )
    figures, spoken = {}, []
    asked = masks.any(axis=(1, 2)) & (predicted >= 0)
    blank = asked & ~heatmaps.any(axis=(1, 2))  # nothing spoke for the class
    for number, label in enumerate(network.classes.tolist()):
        rows = np.flatnonzero(asked & ~blank & (predicted == number))
        if not len(rows):
            continue
        energy = faithfulness.energy(
            heatmaps[rows],
            masks[rows],
            groups=units[rows],
            random_state=network.settings["interval_seed"],
        )
        figures[label] = Figure(
            value=energy.mean,
            low=energy.interval.low,
            high=energy.interval.high,
            units=len(np.unique(units[rows])),
        )
        share = float(np.mean(energy.values * energy.area))
        spoken.append(f"{label} {share:.0%} on {energy.area.mean():.0%} of the area")
    # Heatmaps can accuse, but not acquit: on phantoms with a marker that gave a class away they lay
    # on the lungs as well. And a class that is known by what it lacks may look anywhere.
    not_counted = f"{blank.sum()} of {asked.sum()} are blank, and not counted. " * bool(blank.any())
    elsewhere = [figure.lies(threshold) == "below" for figure in figures.values()]
    examination.tests["attention"] = ShortcutTest(
        question="Do the heatmaps of the predicted class lie on the region?",
        measure="share of the heatmap on the region, over the region's share of the area",
        figures=figures,
        threshold=threshold,
        suspicious="below",
        verdict=LIKELY if elsewhere and all(elsewhere) else UNTOLD,
        note=f"By predicted class: {'; '.join(spoken) or 'none'}. {not_counted}Heatmaps on the "
        "region are no proof that there is no shortcut.",
    )
