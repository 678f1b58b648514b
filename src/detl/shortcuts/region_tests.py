"""Whether the class can be predicted with the object hidden, or from the border alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detl.features.lookup import PrecomputedFeatures
from detl.recipes.thumbnails import thumbnails
from detl.renaming import renamed_arguments
from detl.shortcuts.baseline_classifiers import DETAIL
from detl.shortcuts.examination import REMAINS, THRESHOLD, Examination
from detl.shortcuts.regions import BORDER, FILL, Array, Region, blanked, border_mask, region_masks
from detl.shortcuts.retraining import Trainer
from detl.shortcuts.verdicts import INCONCLUSIVE, LIKELY, ShortcutReport
from detl.validation.results import CrossValidationResult


@renamed_arguments(transfer="classifier")
def region_test(
    result: CrossValidationResult,
    classifier: Any,
    images: Any,
    *,
    region: Region | None = None,
    border: float | None = BORDER,
    threshold: float = THRESHOLD,
    fill: float = FILL,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 1,
) -> ShortcutReport:
    """Train and test with the object hidden, and with nothing but the border.

    A network that still predicts the classes uses something other than the object.

    Parameters
    ----------
    result, classifier, images, threshold, fill, checkpoint_dir, n_jobs, verbose
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
        ``"region outline"``: if the outlines alone predict the class, so do the holes in the
        images, and ``"region blanked"`` is inconclusive. If a classifier of
        :func:`detl.features.precomputed` has no features of the changed images, nothing is trained,
        and both are inconclusive.
    """
    if region is None and border is None:
        raise ValueError("There is neither region nor border to test; give one of them.")
    examination = Examination(result, images, threshold=threshold)
    trainer = Trainer(
        examination, classifier, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose
    )
    hidden = hidden_parts(examination, region, border)
    ask_blanked(examination, trainer, hidden, fill)
    ask_outlines(examination, hidden)
    return examination.report()


def hidden_parts(
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


def ask_blanked(
    examination: Examination, trainer: Trainer, hidden: dict[str, Array], fill: float
) -> None:
    """Train and test on images in which a part is hidden."""
    questions = {
        "region": (
            "region blanked",
            "Can the class be predicted without the region ({:.0%} of the image)?",
        ),
        "all but border": (
            "border kept",
            "Can the class be predicted from the border alone ({:.0%} of the image)?",
        ),
    }
    for what, masks in hidden.items():
        name, question = questions[what]
        share = masks.mean() if what == "region" else 1 - masks.mean()
        question = question.format(share)
        changed = blanked(examination.images, masks, fill)
        if reason := _without_features(trainer.classifier, changed):
            note = f"Not judged, because the changed images cannot be looked up: {reason}"
            examination.add_test(name, question, REMAINS, {}, note)
        else:
            examination.add_blind(name, question, trainer.on_images(name, changed))


def _without_features(classifier: Any, images: Array) -> str:
    """Return why a classifier cannot see these images; empty if it can."""
    for part in classifier.get_params().values():
        if isinstance(part, PrecomputedFeatures):
            try:
                part.fit(images)
            except ValueError as error:
                return str(error)
    return ""


def ask_outlines(examination: Examination, hidden: dict[str, Array]) -> None:
    """Test whether the shape of the holes predicts the class; then they are inconclusive."""
    masks, tests = hidden.get("region"), examination.tests
    if masks is None or not (masks != masks[:1]).any():
        return  # a hole that is the same in all images predicts nothing
    examination.add_linear(
        "region outline",
        "Can the class be predicted from the outline of the region (logistic regression)?",
        thumbnails(masks[..., np.newaxis], DETAIL),
    )
    if tests["region outline"].verdict != LIKELY:
        return
    for name in {"background", "region blanked"} & tests.keys():
        tests[name] = replace(
            tests[name],
            verdict=INCONCLUSIVE,
            note=f"{tests[name].note} The outline of the region predicts the class, and so "
            "does the hole in the image; give one region for all images.".strip(),
        )
    tests["region outline"] = replace(
        tests["region outline"],
        verdict=INCONCLUSIVE,
        note="The outlines are not part of the images: this says something of the regions only.",
    )
