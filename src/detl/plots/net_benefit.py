"""Net benefit over the threshold: the decision curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detl.plots.drawing import drawable, new_figure, require_matplotlib
from detl.screening import DecisionCurve

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def net_benefit(curve: DecisionCurve) -> Figure:
    """Draw the net benefit of acting on a class, against acting on all images and on none.

    Parameters
    ----------
    curve : DecisionCurve
        What ``result.net_benefit("covid")`` returned.

    Returns
    -------
    matplotlib.figure.Figure
        The higher curve is the better choice at a threshold. A bar below marks the thresholds at
        which the classifier is shown to be the best choice.

    References
    ----------
    Vickers, Elkin 2006, "Decision Curve Analysis", Fig. 2.
    """
    require_matplotlib()
    if not isinstance(curve, DecisionCurve):
        raise TypeError(
            f"curve is a {type(curve).__name__}; expected what result.net_benefit(...) returns."
        )
    figure = new_figure(5.4, 3.8)
    axis = figure.subplots()
    at = curve.thresholds
    axis.fill_between(at, curve.low, curve.high, color="tab:blue", alpha=0.2, linewidth=0)
    axis.plot(at, curve.net_benefit, color="tab:blue", linewidth=2, label="the classifier")
    axis.plot(at, curve.treat_all, color="tab:orange", linestyle="--", label="act on all")
    axis.axhline(0, color="grey", linestyle=":", label="act on none")
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
        color="tab:blue",
        markersize=6,
        label="shown to be best",
    )
    axis.set_xlabel("threshold probability")
    axis.set_ylabel("net benefit")
    axis.set_title(f"acting on {drawable(curve.class_name)}", parse_math=False)
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize="small")
    return figure
