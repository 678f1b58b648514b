"""Whether the heatmaps of a cross-validated network lie on the object."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from detl import faithfulness
from detl.gradcam.explanation import GradCAM
from detl.progress import progress_bar
from detl.renaming import renamed_arguments
from detl.shortcuts.examination import Examination
from detl.shortcuts.regions import Array, Region, region_masks
from detl.shortcuts.retraining import Trainer
from detl.shortcuts.verdicts import INCONCLUSIVE, LIKELY, Estimate, ShortcutReport, ShortcutTest
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.results import CrossValidationResult
from detl.validation.workers import train_fold

# Share of a heatmap on the region over the region's share of the area: half of what a uniform map
# has. 1 would be too strict, because the maps are coarse and edges of the object matter as well.
HEATMAP_THRESHOLD = 0.5


@renamed_arguments(transfer="classifier")
def heatmap_test(
    result: CrossValidationResult,
    classifier: Any,
    images: Any,
    *,
    region: Region,
    threshold: float = HEATMAP_THRESHOLD,
    method: str = "gradcam",
    verbose: int = 1,
) -> ShortcutReport:
    """Test whether the heatmaps lie on the object, given its share of the image area.

    All folds are trained once more, and each image is explained, for the class predicted, by the
    network that was not trained on it.

    Parameters
    ----------
    result, classifier, images, verbose
        As for :func:`examine`.
    region : (top, left, bottom, right), numpy.ndarray of bool, or callable
        Where the object is, see :func:`region_test`. Images without any are left out.
    threshold : float, default=0.5
        Least share of the heatmap on the region, divided by the region's share of the image area.
        1 is what a uniform heatmap has. Less than the threshold suggests a shortcut.
    method : str, default="gradcam"
        Of :class:`detl.GradCAM`.

    Returns
    -------
    ShortcutReport
        With the test ``"heatmaps"`` and an estimate for each predicted class, see
        :func:`detl.faithfulness.energy`. Blank heatmaps are left out and counted in the note. A
        shortcut is likely if all classes are below the threshold: heatmaps of a class without a
        lesion, such as normal, may lie anywhere. Heatmaps on the object do not rule out a
        shortcut, so the verdict is never ``"no shortcut found"``.
    """
    examination = Examination(result, images, threshold=threshold)
    trainer = Trainer(examination, classifier, verbose=verbose)
    masks = region_masks(region, examination.images)
    ask_heatmaps(examination, trainer, masks, threshold, method)
    return examination.report()


def out_of_fold_heatmaps(
    result: CrossValidationResult,
    classifier: DomainExtensionTransfer,
    images: Array,
    *,
    method: str,
    verbose: int,
) -> tuple[Array, Array]:
    """Train the folds once more, and explain what each network predicts for its test images.

    Returns the heatmaps ``(n, height, width)``, NaN where no fold tested the image, and the index
    of the class explained, ``(n,)``, there -1. Of repeats, the first is explained.
    """
    if not isinstance(classifier, DomainExtensionTransfer):
        raise TypeError(
            f"classifier is {type(classifier).__name__}, which has no heatmaps; give a "
            "DomainExtensionTransfer, or use region_test."
        )
    n = len(images)
    targets = np.searchsorted(result.classes, result.labels)
    extension = classifier._extend(result.classes)
    extension.training["groups"] = result.groups
    features = extension.trunk(images, verbose=verbose)
    fitted = clone(classifier)
    fitted.model_ = extension.network  # whose tail each fold trains: the features stay the same
    cam = GradCAM(fitted, method=method, batch_size=classifier.batch_size)
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
        network, trainer.classifier, images, method=method, verbose=verbose
    )
    judge_heatmaps(examination, heatmaps, predicted, masks, threshold)


def judge_heatmaps(
    examination: Examination, heatmaps: Array, predicted: Array, masks: Array, threshold: float
) -> None:
    """Compare the share of the heatmaps on the object with its share of the area."""
    network, units = examination.network, examination.units
    estimates, by_class = {}, []
    asked = masks.any(axis=(1, 2)) & (predicted >= 0)
    blank = asked & ~heatmaps.any(axis=(1, 2))  # no evidence for the class
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
        estimates[label] = Estimate(
            value=energy.mean,
            low=energy.interval.low,
            high=energy.interval.high,
            units=len(np.unique(units[rows])),
        )
        share = float(np.mean(energy.values * energy.area))
        by_class.append(f"{label} {share:.0%} on {energy.area.mean():.0%} of the area")
    # Heatmaps on the object do not rule out a shortcut: on phantoms with a marker in one class they
    # lay on the lungs as well. And heatmaps of a class without a lesion may lie anywhere.
    not_counted = f"{blank.sum()} of {asked.sum()} are blank and left out. " * bool(blank.any())
    elsewhere = [estimate.lies(threshold) == "below" for estimate in estimates.values()]
    examination.tests["heatmaps"] = ShortcutTest(
        question="Do the heatmaps of the predicted class lie on the region?",
        measure="share of the heatmap on the region, divided by the region's share of the area",
        estimates=estimates,
        threshold=threshold,
        suspicious="below",
        verdict=LIKELY if elsewhere and all(elsewhere) else INCONCLUSIVE,
        note=f"By predicted class: {'; '.join(by_class) or 'none'}. {not_counted}Heatmaps on the "
        "region do not rule out a shortcut.",
    )
