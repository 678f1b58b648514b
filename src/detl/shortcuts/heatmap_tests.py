"""Whether the heatmaps of a cross-validated network lie on the object."""

from __future__ import annotations

from typing import Any

import numpy as np

from detl import faithfulness
from detl.gradcam.explanation import GradCAM
from detl.progress import progress_bar
from detl.shortcuts.examination import Examination
from detl.shortcuts.regions import Array, Region, region_masks
from detl.shortcuts.retraining import Trainer
from detl.shortcuts.verdicts import LIKELY, UNTOLD, Figure, ShortcutReport, ShortcutTest
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.results import CrossValidationResult
from detl.validation.workers import train_fold

# Of a heatmap on the region, over the region's share of the area: half of what chance would give.
# Chance itself is too much to ask, as the maps are coarse and edges of the object count, too.
ATTENTION_THRESHOLD = 0.5


def attention(
    result: CrossValidationResult,
    transfer: Any,
    images: Any,
    *,
    region: Region,
    threshold: float = ATTENTION_THRESHOLD,
    method: str = "gradcam",
    verbose: int = 1,
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
        shortcut is likely if those of all classes are below the threshold: a class that is known
        by what it lacks, such as normal, may look anywhere. The test can accuse, but not acquit:
        the verdict is never ``"no shortcut found"``.
    """
    examination = Examination(result, images, threshold=threshold)
    trainer = Trainer(examination, transfer, verbose=verbose)
    masks = region_masks(region, examination.images)
    ask_heatmaps(examination, trainer, masks, threshold, method)
    return examination.report()


def out_of_fold_heatmaps(
    result: CrossValidationResult,
    transfer: DomainExtensionTransfer,
    images: Array,
    *,
    method: str,
    verbose: int,
) -> tuple[Array, Array]:
    """Train the folds once more, and explain what each network predicts for its test images.

    Returns the heatmaps ``(n, height, width)``, NaN where no fold tested the image, and the index
    of the class explained, ``(n,)``, there -1. Of repeats, the first is explained.
    """
    if not isinstance(transfer, DomainExtensionTransfer):
        raise TypeError(
            f"transfer is {type(transfer).__name__}, which is no network from pixels to classes "
            "and has no heatmaps; give a DomainExtensionTransfer, or use region_test."
        )
    n = len(images)
    targets = np.searchsorted(result.classes, result.labels)
    extension = transfer._extend(result.classes)
    extension.training["groups"] = result.groups
    features = extension.trunk(images, verbose=verbose)
    cam = GradCAM(extension.network, method=method, batch_size=transfer.batch_size)
    heatmaps = np.full(images.shape[:3], np.nan, dtype="float32")
    predicted = np.full(n, -1)
    explained = np.zeros(n, dtype=bool)
    with progress_bar(
        len(result.folds), verbose=verbose, description="heatmaps", unit="fold"
    ) as bar:
        for fold in result.folds:
            rows = fold.test[~explained[fold.test]]
            if len(rows):
                train_fold(extension, features, targets, fold.train, fold.test, fold.seed)
                found = cam.explain(images[rows])
                heatmaps[rows], predicted[rows] = found.heatmaps, found.class_indices
                explained[rows] = True
            bar.update()
    return heatmaps, predicted


def ask_heatmaps(
    examination: Examination, trainer: Trainer, masks: Array, threshold: float, method: str
) -> None:
    """Explain all images, and judge where the heatmaps lie."""
    network, images, verbose = examination.network, examination.images, trainer.verbose
    heatmaps, predicted = out_of_fold_heatmaps(
        network, trainer.transfer, images, method=method, verbose=verbose
    )
    judge_heatmaps(examination, heatmaps, predicted, masks, threshold)


def judge_heatmaps(
    examination: Examination, heatmaps: Array, predicted: Array, masks: Array, threshold: float
) -> None:
    """Hold the share of the heatmaps on the object against its share of the area."""
    network, units = examination.network, examination.units
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
