"""Run every shortcut test that data and classifier allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detl.checks import check_number
from detl.renaming import renamed_arguments
from detl.shortcuts.baseline_tests import ask_baselines
from detl.shortcuts.examination import THRESHOLD, Examination
from detl.shortcuts.heatmap_tests import HEATMAP_THRESHOLD, ask_heatmaps
from detl.shortcuts.region_tests import ask_blanked, ask_outlines, hidden_parts
from detl.shortcuts.regions import BORDER, FILL, Region
from detl.shortcuts.retraining import Trainer
from detl.shortcuts.site_tests import ask_sites, check_sites
from detl.shortcuts.verdicts import ShortcutReport
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.results import CrossValidationResult


@renamed_arguments(
    transfer="classifier", collections="sites", attention_threshold="heatmap_threshold"
)
def examine(
    result: CrossValidationResult,
    classifier: Any,
    images: Any,
    *,
    region: Region | None = None,
    border: float | None = BORDER,
    sites: Any = None,
    sizes: Any = None,
    threshold: float = THRESHOLD,
    heatmap_threshold: float = HEATMAP_THRESHOLD,
    fill: float = FILL,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 1,
) -> ShortcutReport:
    """Run every shortcut test that data and classifier allow.

    With a region this trains all folds three more times, twice on a part of each image. With sites
    it trains about two more times. The baselines take seconds.

    Parameters
    ----------
    result : CrossValidationResult
        What :func:`detl.cross_validate` returned for the classifier under examination.
    classifier : DomainExtensionTransfer, or another classifier of scikit-learn
        The one that was cross-validated. Only a DomainExtensionTransfer has heatmaps, and so only
        it has the heatmap test.
    images : numpy.ndarray of shape (n, height, width, channels)
        Those that were cross-validated.
    region : (top, left, bottom, right), numpy.ndarray of bool, or callable, optional
        Where the object is, see :func:`region_test`. Without it only the border is tested alone,
        and there is no heatmap test.
    border : float or None, default=0.1
        Width of the border that is tested alone, as a share of the shorter side. None where the
        object reaches it.
    sites : array-like of shape (n,), optional
        Where each image comes from: its hospital, scanner or public collection, see
        :func:`site_test`.
    sizes : array-like of shape (n, 2), optional
        Height and width of each image before it was resized, pixels.
    threshold : float, default=0.33
        Share of the network's skill for a class that may remain without the object: 0 is none, 1 is
        all. More than this suggests a shortcut.
    heatmap_threshold : float, default=0.5
        Least share of the heatmap on the region, divided by the region's share of the image area.
        1 is what a uniform heatmap has. Less than the threshold suggests a shortcut.
    fill : float, default=128
        Pixel value of hidden parts, the same in all images.
    checkpoint_dir : path, optional
        Where each test that trains writes its finished folds, in a folder of its own.
    n_jobs, verbose
        As for :func:`detl.cross_validate`. Heatmaps are computed by one process.

    Returns
    -------
    ShortcutReport
        A verdict per test.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit the result. Nothing has been trained then.
    """
    examination = Examination(result, images, threshold=threshold)
    check_number("heatmap_threshold", heatmap_threshold, above=0, at_most=1)
    trainer = Trainer(
        examination, classifier, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose
    )
    if sites is not None:
        sites = check_sites(sites, len(examination.images))
    hidden = hidden_parts(examination, region, border)
    ask_baselines(examination, hidden, sizes, fill)
    ask_blanked(examination, trainer, hidden, fill)
    ask_outlines(examination, hidden)
    if "region" in hidden and isinstance(trainer.classifier, DomainExtensionTransfer):
        ask_heatmaps(examination, trainer, hidden["region"], heatmap_threshold, "gradcam")
    if sites is not None:
        ask_sites(examination, trainer, sites)
    return examination.report()
