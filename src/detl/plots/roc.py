"""ROC curves, one class against the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from detl import metrics
from detl.plots.drawing import (
    Array,
    characters,
    chart,
    check_result,
    checked_size,
    draw_shares,
    new_figure,
    with_interval,
    wrapped,
)
from detl.plots.theme import MAIN, PALETTE, SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LARGEST = 20.0  # width of a picture, inches: panels of more classes are smaller
_DASHES = ("-", "--", ":")  # on one axes, each with every colour


def roc_curves(
    result: Any, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None
) -> Figure:
    """Draw each class's ROC curve, one class against the rest.

    Parameters
    ----------
    result : CrossValidationResult or Evaluation
    ax : matplotlib.axes.Axes, optional
        Axes on which the mean curves of all classes are drawn, up to 21, without folds and bands.
        By default, each class has a panel of a new figure.
    figsize : tuple of (float, float), optional
        Width and height of a new figure in inches. By default it follows from the classes.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``. A panel per class: the mean over folds of the sensitivity
        at each false positive rate, its pointwise 95 % band, the folds as thin lines, and the area
        under the curve with its interval, which is ``result.class_scores[label]["roc_auc"]``. Folds
        that lack the class, or any other, are left out.

    Notes
    -----
    The band is a percentile bootstrap of 500 draws over the result's groups, or images where there
    are no groups, with the result's own seed, see :func:`detl.metrics.roc_curves`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from detl import evaluate, plots
    >>> images, labels = np.zeros((40, 8, 8, 1), dtype="uint8"), ["covid", "normal"] * 20
    >>> found = evaluate(DummyClassifier().fit(images, labels), images, labels, random_state=0)
    >>> figure = plots.roc_curves(found)
    >>> [axes.get_title() for axes in figure.axes]
    ['covid', 'normal']
    """
    check_result(result)
    areas = {name: scores["roc_auc"] for name, scores in result.class_scores.items()}
    if ax is not None:
        figure, axis = chart(ax, figsize, (4.6, 4.6))
        if len(areas) > len(PALETTE) * len(_DASHES):
            raise ValueError(
                f"The result has {len(areas)} classes; one axes shows up to "
                f"{len(PALETTE) * len(_DASHES)} that can be told apart. Leave ax out: each class "
                "gets a panel."
            )
        _draw_means(axis, _curves_of(result), areas)
        return figure
    columns = math.ceil(math.sqrt(len(areas))) if len(areas) > 3 else len(areas)
    n_rows = math.ceil(len(areas) / columns)
    panel = min(3.6, _LARGEST / columns)
    size = checked_size(figsize, (panel * columns, (panel + 0.1) * n_rows + 0.5))
    panel = min(size[0] / columns, (size[1] - 0.5) / n_rows - 0.1)
    curves = _curves_of(result)
    figure = new_figure(*size)
    axes = figure.subplots(n_rows, columns, squeeze=False)
    for axis in axes.flat[len(curves) :]:
        axis.set_axis_off()
    for axis, curve, (name, area) in zip(axes.flat, curves, areas.items()):
        _draw_panel(axis, curve, name, area, panel)
    band = f"band: 95 %, {curves[0].method}"
    lines = "thin lines: folds; " if len(result.fold_predictions) > 1 else ""
    figure.supxlabel(f"{lines}AUC with 95 % interval\n{band}", fontsize=SMALL)
    return figure


def _curves_of(result: Any) -> list[metrics.RocCurve]:
    return metrics.roc_curves(
        result.fold_predictions, unit=result.unit, random_state=result.settings["interval_seed"]
    )


def _draw_panel(
    axis: Axes, curve: metrics.RocCurve, name: Any, area: metrics.Score, panel: float
) -> None:
    """Draw one class; on a panel of less than 3 inches, what there is room for."""
    axis.set_aspect("equal")
    draw_shares(axis, x="1 - specificity", y="sensitivity")
    _draw_roc(axis, curve, area)
    is_small = panel < 3
    fontsize = 7 if is_small else 10
    title = wrapped(name, characters(panel, fontsize))
    if is_small:
        legend = axis.get_legend()
        if legend:
            legend.remove()
            title += f"\n{with_interval(area)}"
        axis.set(xlabel="", ylabel="", xticks=[], yticks=[])
    axis.set_title(title, fontsize=fontsize, parse_math=False)


def _draw_roc(axis: Axes, curve: metrics.RocCurve, area: metrics.Score) -> None:
    known = _known_folds(curve)
    if len(known) == 0:
        text = "no fold tests both images\nof this class and others"
        axis.text(0.5, 0.5, text, ha="center", va="center", backgroundcolor="white", fontsize=SMALL)
        return
    # Curves begin at the origin, which averages at a rate of 0 do not show.
    x = np.r_[0, curve.false_positive_rate]
    axis.fill_between(
        curve.false_positive_rate, curve.low, curve.high, color=MAIN, alpha=0.2, linewidth=0
    )
    for fold in known:
        axis.plot(x, np.r_[0, fold], color=MAIN, alpha=0.5, linewidth=0.6)
    left_out = f" of {len(curve.folds)}" if curve.n_missing else ""
    label = f"AUC {with_interval(area)}"
    if len(curve.folds) > 1:
        label = f"mean of {len(known)}{left_out} folds\n{label}"
    axis.plot(x, np.r_[0, curve.mean], color=MAIN, linewidth=2, label=label)
    axis.legend(loc="lower right", fontsize=SMALL, edgecolor="none")


def _draw_means(
    axis: Axes, curves: Sequence[metrics.RocCurve], areas: dict[Any, metrics.Score]
) -> None:
    """Draw the mean curves of all classes on one axes."""
    axis.set_aspect("equal")
    draw_shares(axis, x="1 - specificity", y="sensitivity")
    for number, (curve, (name, area)) in enumerate(zip(curves, areas.items(), strict=True)):
        if len(_known_folds(curve)) == 0:
            continue
        row, column = divmod(number, len(PALETTE))
        axis.plot(
            np.r_[0, curve.false_positive_rate],
            np.r_[0, curve.mean],
            color=PALETTE[column],
            linestyle=_DASHES[row],
            linewidth=2,
            label=f"{wrapped(name, 24)}, AUC {area.mean:.3f}",
        )
    legend = axis.legend(loc="lower right", fontsize=SMALL, edgecolor="none")
    for text in legend.get_texts():
        text.set_parse_math(False)


def _known_folds(curve: metrics.RocCurve) -> Array:
    """Return the curves of the folds that test both the class and others."""
    known: Array = curve.folds[~np.isnan(curve.folds).any(axis=1)]
    return known
