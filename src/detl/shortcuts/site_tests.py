"""Does the site that an image comes from, such as its hospital, predict the class? Three tests."""

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
from detl.renaming import renamed_arguments
from detl.shortcuts.baseline_classifiers import class_shares, on_the_folds_of
from detl.shortcuts.examination import THRESHOLD, Examination
from detl.shortcuts.retraining import Trainer
from detl.shortcuts.shares import LEAST_SKILL, units_of, units_per_class
from detl.shortcuts.verdicts import FEW_PER_CLASS, NONE_FOUND, Estimate, ShortcutReport, listed
from detl.validation.results import CrossValidationResult

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@renamed_arguments(transfer="classifier", collections="sites")
def site_test(
    result: CrossValidationResult,
    classifier: Any,
    images: Any,
    sites: Any,
    *,
    threshold: float = THRESHOLD,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 1,
) -> ShortcutReport:
    """Test whether the site that an image comes from predicts its class.

    Parameters
    ----------
    result, classifier, images, threshold, checkpoint_dir, n_jobs, verbose
        As for :func:`examine`.
    sites : array-like of shape (n,)
        Where each image comes from: its hospital, scanner or public collection.

    Returns
    -------
    ShortcutReport
        ``"site"``: can the class be predicted from the name of the site alone, by the shares of
        the classes in it? ``"site from image"``: can the image show which site it comes from? The
        classifier is trained to predict the site among images of one class. 0 is chance, 1 is
        perfect. It is left out if ``"site"`` finds no shortcut. ``"site held out"``: each site is
        tested by a network that was trained on the other sites. The estimate is the share of the
        mean sensitivity above chance that is lost on the same images.
    """
    examination = Examination(result, images, threshold=threshold)
    trainer = Trainer(
        examination, classifier, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose
    )
    ask_sites(examination, trainer, check_sites(sites, len(examination.images)))
    return examination.report()


def check_sites(sites: Any, n: int) -> Array:
    """Return the site of each image, refusing a single one."""
    checked = check_labels(sites, n, name="sites")
    if len(np.unique(checked)) < 2:
        raise ValueError(
            f"sites has one value only, {checked.tolist()[0]!r}; expected at least two, or "
            "leave sites out."
        )
    return checked


def ask_sites(examination: Examination, trainer: Trainer, sites: Array) -> None:
    """Run all three tests; the second only if the site may predict the class."""
    network = examination.network
    predict = class_shares(examination.targets, len(network.classes), sites)
    examination.add_blind(
        "site",
        f"Can the class be predicted from the site alone ({len(np.unique(sites))} sites)?",
        on_the_folds_of(network, "site", predict),
    )
    if examination.tests["site"].verdict != NONE_FOUND:
        _site_from_image(examination, trainer, sites)
    _held_out(examination, trainer, sites)


def _site_from_image(examination: Examination, trainer: Trainer, sites: Array) -> None:
    """Predict the site among images of one class, so that the class itself does not help."""
    predicted: dict[Any, CrossValidationResult] = {}
    left_out = []
    for label in examination.network.classes.tolist():
        rows = np.flatnonzero(examination.network.labels == label)
        units, names = examination.units[rows], sites[rows]
        common = [
            name
            for name in np.unique(names).tolist()
            if len(np.unique(units[names == name])) >= FEW_PER_CLASS
        ]
        if len(common) < 2:
            left_out.append(label)
            continue
        name = f"site from image, {label}"
        predicted[label] = trainer.on_labels(name, sites, rows=rows[np.isin(names, common)])
        examination.results[name] = predicted[label]
    note = ""
    if left_out:
        note = (
            f"Not judged, because fewer than two sites have {FEW_PER_CLASS} groups or images of "
            f"them: {listed(left_out)}."
        )
    examination.add_test(
        "site from image",
        "Can the site be predicted from the image, among images of one class?",
        "twice the ROC AUC above 1/2, mean over sites",
        {label: _skill(result, of=len(predicted)) for label, result in predicted.items()},
        note,
    )


def _skill(result: CrossValidationResult, *, of: int) -> Estimate:
    """Return how well the site is predicted within one class, of ``of`` classes that are judged."""
    draws, _ = redrawn_scores(
        result.fold_predictions, unit=result.unit, random_state=result.settings["interval_seed"]
    )
    area = draws[[OVERALL.index("roc_auc")]]
    low, high = quantiles(2 * area - 1, 0.05 / of)[:, 0]
    return Estimate(
        value=2 * result.scores["roc_auc"].mean - 1,
        low=float(low),
        high=float(high),
        units=min(units_per_class(result).values()),
    )


def _held_out(examination: Examination, trainer: Trainer, sites: Array) -> None:
    labels = examination.network.labels
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            indices = folds.leave_one_site_out(labels, sites)
        except ValueError as error:  # no site can be held out
            judge_held_out(examination, None, str(error))
            return
    result = trainer.on_labels("site held out", labels, cv=indices)
    judge_held_out(examination, result, " ".join(str(warning.message) for warning in caught))


def judge_held_out(
    examination: Examination, result: CrossValidationResult | None, note: str
) -> None:
    """Add the test of what is lost on a site that was not trained on."""
    estimates: dict[Any, Estimate] = {}
    if result is not None:
        examination.results["site held out"] = result
        lost = _lost(result, examination.network)
        if lost is None:
            note = f"Not judged, because the network has no skill there. {note}".strip()
        else:
            estimates["all"] = lost
    examination.add_test(
        "site held out",
        "How much skill is lost on a site that was not trained on?",
        "share of the network's mean sensitivity above chance that is lost on the same images",
        estimates,
        note,
    )


def _lost(held_out: CrossValidationResult, network: CrossValidationResult) -> Estimate | None:
    """Return what is lost on images that both tested; None if the network has no skill there.

    The mean sensitivity is used because a network that always predicts the largest class keeps an
    accuracy equal to the share of that class.
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
    if not np.nanquantile(draws[0], 0.025) > chance + LEAST_SKILL:
        return None

    def lost(before: Any, after: Any) -> Any:
        return (before - after) / np.maximum(before - chance, LEAST_SKILL)

    low, high = np.nanquantile(lost(*draws), (0.025, 0.975))
    return Estimate(
        value=float(lost(*means)),
        low=float(low),
        high=float(high),
        units=min(len(np.unique(units[targets == name])) for name in there),
    )
