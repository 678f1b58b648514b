"""Run every shortcut test that data and classifier allow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from detl.checks import check_number
from detl.shortcuts.site_tests import ask_collections, check_collections
from detl.shortcuts.examination import THRESHOLD, Examination
from detl.shortcuts.heatmap_tests import ATTENTION_THRESHOLD, ask_heatmaps
from detl.shortcuts.region_tests import ask_blanked, ask_outlines, hidden_parts
from detl.shortcuts.regions import BORDER, FILL, Region
from detl.shortcuts.retraining import Trainer
from detl.shortcuts.baseline_tests import ask_rivals
from detl.shortcuts.verdicts import ShortcutReport
from detl.transfer.classifier import DomainExtensionTransfer
from detl.validation.results import CrossValidationResult


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
    verbose: int = 1,
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
        If an argument does not fit the result. Nothing has been trained then.
    """
    examination = Examination(result, images, threshold=threshold)
    check_number("attention_threshold", attention_threshold, above=0, at_most=1)
    trainer = Trainer(
        examination, transfer, checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose
    )
    if collections is not None:
        collections = check_collections(collections, len(examination.images))
    hidden = hidden_parts(examination, region, border)
    ask_rivals(examination, hidden, sizes, fill)
    ask_blanked(examination, trainer, hidden, fill)
    ask_outlines(examination, hidden)
    if "region" in hidden and isinstance(trainer.transfer, DomainExtensionTransfer):
        ask_heatmaps(examination, trainer, hidden["region"], attention_threshold, "gradcam")
    if collections is not None:
        ask_collections(examination, trainer, collections)
    return examination.report()
