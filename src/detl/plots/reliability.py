"""Accuracy over confidence: the reliability diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from detl.metrics.calibration import reliability_by_bin
from detl.plots.drawing import check_result, draw_shares, new_figure, with_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from detl.validation.results import CrossValidationResult


def reliability_diagram(result: CrossValidationResult, *, n_bins: int = 10) -> Figure:
    """Draw how often the classifier is right over how sure it is, as Guo et al. 2017, Fig. 1.

    Parameters
    ----------
    result : CrossValidationResult
    n_bins : int, default=10
        Bins of equal width between 0 and 1.

    Returns
    -------
    matplotlib.figure.Figure
        Above, the accuracy in each bin of confidence (the predicted class's probability), over the
        test images of all folds; the more images, the larger the point. A point below the diagonal
        means that the classifier is surer than it is right. Below, the number of images in each
        bin; with repeats, each counts as often as it was tested.

    Notes
    -----
    The calibration error is ``result.scores["calibration_error"]``: the mean over folds, in 15
    bins, whatever ``n_bins`` is.

    References
    ----------
    Guo et al. 2017, "On Calibration of Modern Neural Networks".
    """
    check_result(result)
    every = np.concatenate([fold.probabilities for fold in result.fold_predictions])
    targets = np.concatenate([fold.targets for fold in result.fold_predictions])
    sure = every.max(axis=1)
    bins, confidence, accuracy, images = reliability_by_bin(
        every.argmax(axis=1) == targets, sure, n_bins
    )
    figure = new_figure(4.6, 5.6)
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    draw_shares(above, x="", y="accuracy")
    above.vlines(confidence, accuracy, confidence, color="tab:red", linewidth=1.5, label="gap")
    size = 10 + 200 * images / images.max()  # a bin of few images is mostly chance
    above.scatter(confidence, accuracy, s=size, color="tab:blue", zorder=2, label="accuracy")
    above.legend(frameon=False, loc="lower right", markerscale=0.6)
    error = with_interval(result.scores["calibration_error"])
    above.set_title(
        f"calibration error {error}\nmean over folds, with 95 % interval", fontsize="medium"
    )
    bars = below.bar(
        (bins + 0.5) / n_bins,
        images,
        width=1 / n_bins,
        color="lightgrey",
        edgecolor="grey",
    )
    if n_bins <= 20:  # the numbers of more would stand on each other
        below.bar_label(bars, fontsize="x-small", padding=1)
    below.margins(y=0.2)
    below.set(xlabel="confidence", ylabel="images")
    return figure
