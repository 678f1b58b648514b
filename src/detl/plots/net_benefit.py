"""Net benefit over the threshold: the decision curve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from detl.plots.drawing import chart, check_carries, drawable
from detl.plots.theme import MAIN, NEUTRAL, RIVAL, SMALL, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def net_benefit(
    curve: Any, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None
) -> Figure:
    """Draw the net benefit of acting on a class, against acting on all images and on none.

    Parameters
    ----------
    curve : DecisionCurve
        What ``result.net_benefit("covid")`` returned.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on. By default, those of a new figure.
    figsize : tuple of (float, float), default=(5.4, 3.8)
        Width and height of a new figure in inches.

    Returns
    -------
    matplotlib.figure.Figure
        The new figure, or that of ``ax``. The higher curve is the better choice at a threshold. A
        bar below marks the thresholds at which the classifier is shown to be the best choice.

    References
    ----------
    Vickers, Elkin 2006, "Decision Curve Analysis", Fig. 2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.dummy import DummyClassifier
    >>> from detl import evaluate, plots
    >>> images, labels = np.zeros((40, 8, 8, 1), dtype="uint8"), ["covid", "normal"] * 20
    >>> found = evaluate(DummyClassifier().fit(images, labels), images, labels, random_state=0)
    >>> figure = plots.net_benefit(found.net_benefit("covid"))
    >>> figure.axes[0].get_title()
    'acting on covid'
    """
    check_carries("curve", curve, "treat_all", "what result.net_benefit(...) returns")
    figure, axis = chart(ax, figsize, (5.4, 3.8))
    at = curve.thresholds
    axis.fill_between(at, curve.low, curve.high, color=MAIN, alpha=0.2, linewidth=0)
    axis.plot(at, curve.net_benefit, color=MAIN, linewidth=2, label="act on the classifier")
    axis.plot(at, curve.treat_all, color=RIVAL, linestyle="--", linewidth=2, label="act on all")
    axis.axhline(0, color=NEUTRAL, linestyle=":", label="act on none")
    # Acting on all falls far below 0, which would squeeze the curves into a line.
    least = -0.25 * curve.prevalence
    axis.set_ylim(least, 1.1 * max(curve.high.max(), curve.prevalence))
    axis.set_xlim(0, 1)
    height = 0.9 * least
    marked = at[curve.useful]
    axis.plot(
        marked,
        [height] * len(marked),
        "|",
        color=MAIN,
        markersize=6,
        markeredgewidth=1.5,
        label="classifier shown to be best",
    )
    axis.set_xlabel("threshold probability")
    axis.set_ylabel("net benefit")
    axis.set_title(f"acting on {drawable(curve.class_name)}", parse_math=False)
    finish(axis)
    axis.legend(frameon=False, fontsize=SMALL)
    return figure
