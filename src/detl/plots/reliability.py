"""Accuracy over confidence: the reliability diagram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detl.metrics.calibration import reliability_by_bin
from detl.plots.drawing import (
    chart,
    check_result,
    checked_size,
    draw_shares,
    new_figure,
    with_interval,
)
from detl.plots.theme import ALARM, MAIN, SMALL, TITLE, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def reliability_diagram(
    result: Any,
    *,
    n_bins: int = 10,
    ax: Axes | None = None,
    figsize: tuple[float, float] | None = None,
) -> Figure:
    """Draw how often the classifier is right over how sure it is.

    As in Fig. 1 of Guo et al. 2017.

    Parameters
    ----------
    result : CrossValidationResult or Evaluation
    n_bins : int, default=10
        Bins of equal width between 0 and 1.
    ax : matplotlib.axes.Axes, optional
        Axes to draw the diagram on, without the bars below it. By default, those of a new figure.
    figsize : tuple of (float, float), default=(4.6, 5.6)
        Width and height of a new figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``. Above, the accuracy in each bin of confidence (the
        predicted class's probability), over the test images of all folds; the more images, the
        larger the point. A point below the diagonal means that the classifier is surer than it is
        right. Below, the number of images in each bin; with repeats, each counts as often as it
        was tested.

    Notes
    -----
    The calibration error is ``result.scores["calibration_error"]``: the mean over folds, in 15
    bins, whatever ``n_bins`` is.

    References
    ----------
    Guo et al. 2017, "On Calibration of Modern Neural Networks".

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from detl import evaluate, plots
    >>> images, labels = np.zeros((40, 8, 8, 1), dtype="uint8"), ["covid"] * 30 + ["normal"] * 10
    >>> found = evaluate(DummyClassifier().fit(images, labels), images, labels, random_state=0)
    >>> figure = plots.reliability_diagram(found)  # 0.75 sure, and right as often
    >>> figure.axes[0].collections[1].get_offsets().tolist()
    [[0.75, 0.75]]
    """
    check_result(result)
    every = np.concatenate([fold.probabilities for fold in result.fold_predictions])
    targets = np.concatenate([fold.targets for fold in result.fold_predictions])
    sure = every.max(axis=1)
    bins, confidence, accuracy, images = reliability_by_bin(
        every.argmax(axis=1) == targets, sure, n_bins
    )
    if ax is not None:
        figure, above = chart(ax, figsize, (4.6, 5.6))
        draw_shares(above, x="confidence", y="accuracy")
    else:
        figure = new_figure(*checked_size(figsize, (4.6, 5.6)))
        above, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
        draw_shares(above, x="", y="accuracy")
        bars = below.bar(
            (bins + 0.5) / n_bins, images, width=1 / n_bins, color="lightgrey", edgecolor="grey"
        )
        if n_bins <= 20:  # the numbers of more would stand on each other
            below.bar_label(bars, fontsize="x-small", padding=1)
        below.margins(y=0.2)
        below.set(xlabel="confidence", ylabel="images")
        finish(below, grid=None)
    above.vlines(confidence, accuracy, confidence, color=ALARM, linewidth=1.5, label="gap")
    size = 10 + 200 * images / images.max()  # a bin of few images is mostly chance
    above.scatter(confidence, accuracy, s=size, color=MAIN, zorder=2, label="accuracy")
    above.legend(frameon=False, loc="lower right", markerscale=0.6, fontsize=SMALL)
    error = with_interval(result.scores["calibration_error"])
    mean = "mean over folds, with " if len(result.fold_predictions) > 1 else ""
    above.set_title(f"calibration error {error}\n{mean}95 % interval", fontsize=TITLE)
    return figure
