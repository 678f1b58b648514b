"""ROC curves, one class against the rest."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from detl import metrics
from detl.plots.drawing import (
    characters,
    check_result,
    draw_shares,
    new_figure,
    with_interval,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from detl.validation.results import CrossValidationResult

_LARGEST = 20.0  # width of a picture, inches: panels of more classes are smaller


def roc_curves(result: CrossValidationResult) -> Figure:
    """Draw each class's ROC curve, one class against the rest.

    Parameters
    ----------
    result : CrossValidationResult

    Returns
    -------
    matplotlib.figure.Figure
        A panel per class: the mean over folds of the sensitivity at each false positive rate, its
        pointwise 95 % band, the folds as thin lines, and the area under the curve with its
        interval, which is ``result.class_scores[label]["roc_auc"]``. Folds that lack the class, or
        any other, are left out.

    Notes
    -----
    The band is a percentile bootstrap of 500 draws over the result's groups, or images where there
    are no groups, with the result's own seed, see :func:`detl.metrics.roc_curves`.
    """
    check_result(result)
    curves = metrics.roc_curves(
        result.fold_predictions, unit=result.unit, random_state=result.settings["interval_seed"]
    )
    columns = math.ceil(math.sqrt(len(curves))) if len(curves) > 3 else len(curves)
    n_rows = math.ceil(len(curves) / columns)
    panel = min(3.6, _LARGEST / columns)
    is_small = panel < 3
    figure = new_figure(panel * columns, (panel + 0.1) * n_rows + 0.5)
    axes = figure.subplots(n_rows, columns, squeeze=False)
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    for axis, curve, (name, scores) in zip(axes.flat, curves, result.class_scores.items()):
        area = scores["roc_auc"]
        axis.set_aspect("equal")
        draw_shares(axis, x="1 - specificity", y="sensitivity")
        _draw_roc(axis, curve, area)
        fontsize = 7 if is_small else 10
        title = wrapped(name, characters(panel, fontsize))
        if is_small and axis.get_legend():  # there is no room for it
            axis.get_legend().remove()
            title += f"\n{with_interval(area)}"
        if is_small:
            axis.set(xlabel="", ylabel="", xticks=[], yticks=[])
        axis.set_title(title, fontsize=fontsize, parse_math=False)
    caption = f"thin lines: folds; AUC with 95 % interval\nband: 95 %, {curves[0].method}"
    figure.supxlabel(caption, fontsize="small")
    return figure


def _draw_roc(axis: Axes, curve: metrics.RocCurve, area: metrics.Score) -> None:
    known = curve.folds[~np.isnan(curve.folds).any(axis=1)]
    if len(known) == 0:
        text = "no fold tests both images\nof this class and others"
        axis.text(0.5, 0.5, text, ha="center", va="center", backgroundcolor="white")
        return
    # Curves begin at the origin, which averages at a rate of 0 do not show.
    x = np.r_[0, curve.false_positive_rate]
    axis.fill_between(
        curve.false_positive_rate, curve.low, curve.high, color="tab:blue", alpha=0.2, linewidth=0
    )
    for fold in known:
        axis.plot(x, np.r_[0, fold], color="tab:blue", alpha=0.5, linewidth=0.6)
    left_out = f" of {len(curve.folds)}" if curve.n_missing else ""
    label = f"mean of {len(known)}{left_out} folds\nAUC {with_interval(area)}"
    axis.plot(x, np.r_[0, curve.mean], color="tab:blue", linewidth=2, label=label)
    axis.legend(loc="lower right", fontsize="small", frameon=False)
