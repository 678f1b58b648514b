"""A score over the number of training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from detl.metrics.power_law import law_at
from detl.plots.drawing import chart, check_carries
from detl.plots.theme import MAIN, NEUTRAL, RIVAL, SMALL, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AHEAD = 2.0  # how far the law is drawn: twice as many images


def training_sizes(
    curve: Any, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None
) -> Figure:
    """Draw a score over the number of training images, and the law that forecasts more of them.

    Loss over the epochs is in :func:`learning_curves`.

    Parameters
    ----------
    curve : LearningCurve
        What :func:`detl.learning_curve` returned.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default, those of a new figure.
    figsize : tuple of (float, float), default=(5.4, 3.8)
        Width and height of a new figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``. Points are the score with its 95 % interval at each
        number of training groups (or images); the dashed line is the power law, and the open point
        its forecast for twice as many, with the interval of the gain.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import learning_curve, plots, recipes
    >>> images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), dtype="uint8")
    >>> labels = ["covid", "normal"] * 30
    >>> curve = learning_curve(recipes.thumbnail(), images, labels, n_splits=3, random_state=0)
    >>> figure = plots.training_sizes(curve)
    >>> figure.axes[0].get_ylabel()
    'accuracy'
    """
    check_carries("curve", curve, "gain", "a LearningCurve, as detl.learning_curve returns it")
    figure, axis = chart(ax, figsize, (5.4, 3.8))
    sizes = np.array(curve.n_units)
    scores = [result.scores[curve.score] for result in curve.results]
    means = np.array([score.mean for score in scores])
    at = np.linspace(sizes.min(), _AHEAD * sizes.max(), 100)
    (law,) = law_at(sizes, means[:, np.newaxis], at).T
    axis.plot(at, law, color=NEUTRAL, linestyle="--", linewidth=1.2, label="power law")
    _draw_points(
        axis,
        sizes,
        means,
        [(score.interval.low, score.interval.high) for score in scores],
        color=MAIN,
        label="measured, 95 % interval",
    )
    if not np.isnan(curve.gain.value):
        # The interval is that of the gain from the law's end at all images.
        end = law[-1] - curve.gain.value
        interval = curve.gain.interval
        _draw_points(
            axis,
            at[-1:],
            law[-1:],
            [(end + interval.low, end + interval.high)],
            color=RIVAL,
            markerfacecolor="white",
            label="forecast for twice as many",
        )
    axis.set_xlim(left=0)
    axis.set_xlabel(f"training {curve.unit} (mean over folds)")
    axis.set_ylabel(curve.score.replace("_", " "))
    finish(axis)
    axis.legend(frameon=False, fontsize=SMALL, loc="lower right")
    return figure


def _draw_points(axis: Axes, x: Any, y: Any, ends: Any, *, color: str, **style: Any) -> None:
    low, high = np.array(ends).T
    axis.vlines(x, low, high, color=color, linewidth=1.5)
    axis.plot(x, y, "o", color=color, markersize=6, **style)
