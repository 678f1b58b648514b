"""Does it give the class away where an image comes from, such as its hospital? Three tests."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from detl import folds
from detl.checks import check_labels
from detl.metrics import OVERALL, PER_CLASS, Predictions
from detl.metrics.fold_scores import weighted_scores
from detl.metrics.intervals import quantiles
from detl.metrics.scoring import redrawn_scores
from detl.shortcuts.examination import THRESHOLD, Examination
from detl.shortcuts.retraining import Trainer
from detl.shortcuts.baseline_classifiers import class_shares, on_the_folds_of
from detl.shortcuts.shares import LEAST_KNOWN, units_of, units_per_class
from detl.shortcuts.verdicts import FEW_PER_CLASS, NONE_FOUND, Figure, ShortcutReport, listed
from detl.validation.results import CrossValidationResult

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


def collection_test(
    result: CrossValidationResult,
    transfer: Any,
    images: Any,
    collections: Any,
    *,
    threshold: float = THRESHOLD,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 1,
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
    """
    examination = Examination(result, images, threshold=threshold)
    trainer = Trainer(
        examination, transfer, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose
    )
    ask_collections(examination, trainer, check_collections(collections, len(examination.images)))
    return examination.report()


def check_collections(collections: Any, n: int) -> Array:
    """Return the collection of each image, refusing a single one."""
    checked = check_labels(collections, n, name="collections")
    if len(np.unique(checked)) < 2:
        raise ValueError(
            f"collections has one value only, {checked.tolist()[0]!r}; expected at least two, or "
            "no collections."
        )
    return checked


def ask_collections(examination: Examination, trainer: Trainer, collections: Array) -> None:
    """Run all three; the images are asked only if the names alone may tell the class."""
    network = examination.network
    predict = class_shares(examination.targets, len(network.classes), collections)
    examination.add_blind(
        "collection",
        f"Are classes told by the names of {len(np.unique(collections))} collections alone?",
        on_the_folds_of(network, "collection", predict),
    )
    if examination.tests["collection"].verdict != NONE_FOUND:
        _collection_from_image(examination, trainer, collections)
    _held_out(examination, trainer, collections)


def _collection_from_image(examination: Examination, trainer: Trainer, collections: Array) -> None:
    """Tell collections of one class from each other: there the class itself is no help."""
    told: dict[Any, CrossValidationResult] = {}
    left_out = []
    for label in examination.network.classes.tolist():
        rows = np.flatnonzero(examination.network.labels == label)
        units, names = examination.units[rows], collections[rows]
        common = [
            name
            for name in np.unique(names).tolist()
            if len(np.unique(units[names == name])) >= FEW_PER_CLASS
        ]
        if len(common) < 2:
            left_out.append(label)
            continue
        name = f"collection from image, {label}"
        told[label] = trainer.on_labels(name, collections, rows=rows[np.isin(names, common)])
        examination.results[name] = told[label]
    note = ""
    if left_out:
        note = (
            f"Not judged, for no two collections have {FEW_PER_CLASS} groups or images of them: "
            f"{listed(left_out)}."
        )
    examination.add_test(
        "collection from image",
        "Are the collections of one class told from each other by the image?",
        "twice the ROC AUC above 1/2, mean over collections",
        {label: _told(result, of=len(told)) for label, result in told.items()},
        note,
    )


def _told(result: CrossValidationResult, *, of: int) -> Figure:
    """Return how well the collections of one class, ``of`` so many, are told apart."""
    draws, _ = redrawn_scores(
        result.fold_predictions, unit=result.unit, random_state=result.settings["interval_seed"]
    )
    area = draws[[OVERALL.index("roc_auc")]]
    low, high = quantiles(2 * area - 1, 0.05 / of)[:, 0]
    return Figure(
        value=2 * result.scores["roc_auc"].mean - 1,
        low=float(low),
        high=float(high),
        units=min(units_per_class(result).values()),
    )


def _held_out(examination: Examination, trainer: Trainer, collections: Array) -> None:
    labels = examination.network.labels
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            indices = folds.leave_one_collection_out(labels, collections)
        except ValueError as error:  # no collection can be held out
            judge_held_out(examination, None, str(error))
            return
    result = trainer.on_labels("collection held out", labels, cv=indices)
    judge_held_out(examination, result, " ".join(str(warning.message) for warning in caught))


def judge_held_out(
    examination: Examination, result: CrossValidationResult | None, note: str
) -> None:
    """Add the test of what is lost on a collection that was not trained on."""
    figures: dict[Any, Figure] = {}
    if result is not None:
        examination.results["collection held out"] = result
        lost = _lost(result, examination.network)
        if lost is None:
            note = f"Not judged, for the network does not tell the classes there. {note}".strip()
        else:
            figures["all"] = lost
    examination.add_test(
        "collection held out",
        "How much is lost on a collection that was not trained on?",
        "share of the network's mean sensitivity above chance that is lost on the same images",
        figures,
        note,
    )


def _lost(held_out: CrossValidationResult, network: CrossValidationResult) -> Figure | None:
    """Return what is lost on images that both tested; None if the network tells nothing there.

    It is lost of the mean sensitivity: a network that falls back to the largest class keeps as
    much accuracy as that class is large.
    """
    tested = np.flatnonzero((held_out.fold_of >= 0) & (network.fold_of >= 0))
    targets = np.searchsorted(network.classes, network.labels)[tested]
    units = np.unique(units_of(network)[tested], return_inverse=True)[1]
    there = np.unique(targets)
    first = len(OVERALL) + PER_CLASS.index("sensitivity")
    rows = first + len(PER_CLASS) * there
    draws, means = [], []
    for result in (network, held_out):
        pooled = Predictions(
            targets=targets, probabilities=result.probabilities[tested], units=units
        )
        drawn, _ = redrawn_scores(
            [pooled], unit=network.unit, random_state=network.settings["interval_seed"]
        )
        # A draw that lacks a class is the mean of the others.
        draws.append(np.nanmean(drawn[rows], axis=0))
        means.append(weighted_scores(pooled)[0, rows].mean())
    chance = 1 / len(network.classes)
    if not np.nanquantile(draws[0], 0.025) > chance + LEAST_KNOWN:
        return None

    def lost(before: Any, after: Any) -> Any:
        return (before - after) / np.maximum(before - chance, LEAST_KNOWN)

    low, high = np.nanquantile(lost(*draws), (0.025, 0.975))
    return Figure(
        value=float(lost(*means)),
        low=float(low),
        high=float(high),
        units=min(len(np.unique(units[targets == name])) for name in there),
    )
