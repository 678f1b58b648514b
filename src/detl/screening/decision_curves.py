"""Net benefit: whether to act on a prediction, on all images, or on none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from detl import plots
from detl.checks import check_number
from detl.metrics.fold_scores import Predictions
from detl.notebook import ShowsItself
from detl.screening.pooling import draws, interval_of, pooled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DEFAULT = np.arange(1, 100) / 100


@dataclass(frozen=True, kw_only=True, eq=False)
class DecisionCurve(ShowsItself):
    """Net benefit over the threshold probability; prints the thresholds at which it helps.

    The threshold says how many needless actions one is ready to take for one that was needed: at
    0.1, nine. The net benefit is the share of true positives minus that of false positives, which
    counts ``threshold / (1 - threshold)``.

    Attributes
    ----------
    class_name : str, int or float
        The class that is acted on.
    thresholds : numpy.ndarray of shape (n_thresholds,)
        In (0, 1).
    net_benefit, low, high : numpy.ndarray of shape (n_thresholds,)
        Of acting where the probability is at least the threshold, and its pointwise 95 % interval.
    treat_all : numpy.ndarray of shape (n_thresholds,)
        Of acting on every image. Acting on none has 0.
    useful : numpy.ndarray of bool, shape (n_thresholds,)
        Whether the 95 % interval of the net benefit, less the better of acting on all and on none,
        lies above 0.
    prevalence : float
        Share of the class among the images.
    method : str
        How the intervals were found.

    References
    ----------
    Vickers, Elkin 2006, "Decision Curve Analysis: A Novel Method for Evaluating Prediction Models".
    """

    class_name: Any
    thresholds: np.ndarray
    net_benefit: np.ndarray
    low: np.ndarray = field(repr=False)
    high: np.ndarray = field(repr=False)
    treat_all: np.ndarray = field(repr=False)
    useful: np.ndarray = field(repr=False)
    prevalence: float
    method: str

    @property
    def verdict(self) -> str:
        """A sentence that says at which thresholds it helps."""
        runs = [
            f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}" for low, high in _runs(self)
        ]
        where = f"at thresholds of {', '.join(runs)}" if runs else "at no threshold"
        return f"Shown to be better than acting on all or on none {where}."

    def plot(self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None) -> Figure:
        """Draw the curve with :func:`detl.plots.net_benefit`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default, those of a new figure.
        figsize : tuple of (float, float), optional
            Width and height of a new figure in inches.

        Returns
        -------
        matplotlib.figure.Figure

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.dummy import DummyClassifier
        >>> from detl import evaluate
        >>> images, labels = np.zeros((80, 8, 8, 1), dtype="uint8"), ["covid", "normal"] * 40
        >>> found = evaluate(DummyClassifier().fit(images, labels), images, labels, random_state=0)
        >>> figure = found.net_benefit("covid").plot()
        >>> figure.axes[0].get_ylabel()
        'net benefit'
        """
        return plots.net_benefit(self, ax=ax, figsize=figsize)

    def __str__(self) -> str:
        """Return a few values, and the thresholds at which it helps."""
        rows = [
            f"{self.thresholds[i]:>9.2f}  {self.net_benefit[i]:+.3f} ({self.low[i]:+.3f} to "
            f"{self.high[i]:+.3f})  {self.treat_all[i]:+.3f}"
            for i in np.unique(np.linspace(0, len(self.thresholds) - 1, 7).round().astype(int))
        ]
        return "\n".join(
            [
                f"net benefit of acting on {self.class_name!r} (prevalence {self.prevalence:.3f})",
                "threshold  the classifier            on all",
                *rows,
                self.verdict,
                f"95 % intervals: {self.method}, for each threshold alone.",
            ]
        )


def _runs(curve: DecisionCurve) -> list[tuple[float, float]]:
    """Return the ends of each run of useful thresholds."""
    edges = np.flatnonzero(np.diff(np.r_[0, curve.useful.astype(int), 0]))
    return [
        (curve.thresholds[start], curve.thresholds[stop - 1])
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
    ]


def decision_curve(
    folds: Sequence[Predictions],
    target: int,
    class_name: Any,
    *,
    thresholds: Any = None,
    unit: str,
    random_state: Any,
) -> DecisionCurve:
    """Return the net benefit of acting on one class."""
    at = _checked(_DEFAULT if thresholds is None else thresholds)
    pool = pooled(folds)
    is_true = (pool.targets == target).astype(float)
    # In float32, as results keep probabilities.
    shares = pool.probabilities[:, target, np.newaxis].astype(np.float32)
    is_called = (shares >= at.astype(np.float32)).astype(float)
    odds = at / (1 - at)

    def values_of(weights: np.ndarray) -> np.ndarray:
        n = weights.sum(axis=1, keepdims=True)
        hits = weights @ (is_called * is_true[:, np.newaxis]) / n
        alarms = weights @ is_called / n - hits
        share = (weights @ is_true)[:, np.newaxis] / n
        benefit, of_all = hits - alarms * odds, share - (1 - share) * odds
        return np.concatenate([benefit, of_all, benefit - np.maximum(of_all, 0)], axis=1)

    values, drawn, method = draws(pool, values_of, unit=unit, random_state=random_state)
    benefit, of_all, _ = values.reshape(3, -1)
    of_benefit, _, of_gain = drawn.reshape(3, len(at), -1)
    intervals = [interval_of(row, method) for row in of_benefit]
    return DecisionCurve(
        class_name=class_name,
        thresholds=at,
        net_benefit=benefit,
        low=np.array([interval.low for interval in intervals]),
        high=np.array([interval.high for interval in intervals]),
        treat_all=of_all,
        useful=np.array([interval_of(row, method).low > 0 for row in of_gain]),
        prevalence=float(is_true.mean()),
        method=method,
    )


def _checked(thresholds: Any) -> np.ndarray:
    try:
        at = np.atleast_1d(np.asarray(thresholds))
    except ValueError:  # numpy's word for lists of unequal lengths
        raise ValueError(f"thresholds={thresholds!r}; expected (n,) probabilities.") from None
    if at.ndim != 1 or not len(at):
        raise ValueError(f"thresholds has shape {at.shape}; expected (n,) probabilities.")
    for value in at.tolist():
        check_number("thresholds", value, above=0, below=1)
    return np.unique(at).astype(float)
