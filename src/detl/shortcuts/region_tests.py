"""Whether classes are told with the object blanked out, or by the border alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detl.recipes.thumbnails import thumbnails
from detl.shortcuts.examination import THRESHOLD, Examination
from detl.shortcuts.regions import BORDER, FILL, Array, Region, blanked, border_mask, region_masks
from detl.shortcuts.retraining import Trainer
from detl.shortcuts.baseline_classifiers import DETAIL
from detl.shortcuts.verdicts import LIKELY, UNTOLD, ShortcutReport
from detl.validation.results import CrossValidationResult


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
    verbose: int = 1,
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
    """
    if region is None and border is None:
        raise ValueError("There is neither region nor border to test; give one of them.")
    examination = Examination(result, images, threshold=threshold)
    trainer = Trainer(
        examination, transfer, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose
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
        "region": ("region blanked", "Are classes told without the region, {:.0%} of the image?"),
        "all but border": ("border kept", "Are classes told without {:.0%} of the image?"),
    }
    for what, masks in hidden.items():
        name, question = questions[what]
        result = trainer.on_images(name, blanked(examination.images, masks, fill))
        examination.add_blind(name, question.format(masks.mean()), result)


def ask_outlines(examination: Examination, hidden: dict[str, Array]) -> None:
    """Ask whether the holes themselves tell the class, and then conclude nothing from them."""
    masks, tests = hidden.get("region"), examination.tests
    if masks is None or not (masks != masks[:1]).any():
        return  # a hole that is the same in all images tells nothing
    examination.add_linear(
        "region outline",
        "Are classes told by the outlines of the regions, by a logistic regression?",
        thumbnails(masks[..., np.newaxis], DETAIL),
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
