"""A score over the number of training images, and what more of them would add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from detl import plots
from detl.metrics import OVERALL, Interval
from detl.metrics.intervals import quantiles
from detl.metrics.power_law import gains
from detl.metrics.scoring import redrawn_scores
from detl.notebook import ShowsItself
from detl.screening.pooling import Estimate, estimate_of
from detl.validation.results import CrossValidationResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FACTOR = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningCurve(ShowsItself):
    """Scores by number of training images; ``print`` it for a table and a forecast.

    Attributes
    ----------
    score : str
        What was measured.
    shares : tuple of float
        Shares of the training groups (or images), rising to 1.
    n_images, n_units : tuple of float
        Training images, and groups, of a fold at each share, on average.
    results : tuple of CrossValidationResult
        Of each share, all on the same test images.
    gain : Estimate
        What twice as many groups would add to the score, by a power law; its interval covers new
        test groups, the same for all shares.
    """

    score: str
    shares: tuple[float, ...]
    n_images: tuple[float, ...]
    n_units: tuple[float, ...]
    results: tuple[CrossValidationResult, ...] = field(repr=False)
    gain: Estimate

    @property
    def unit(self) -> str:
        """What the shares are of: ``"groups"`` or ``"images"``."""
        return self.results[0].unit

    @property
    def verdict(self) -> str:
        """A sentence about twice as many training groups."""
        value, low, high = (
            100 * x for x in (self.gain.value, self.gain.interval.low, self.gain.interval.high)
        )
        what = "patients (groups)" if self.unit == "groups" else "images"
        if np.isnan(value):
            return "No forecast: some share of the training images lacks the score in every fold."
        if not low > 0:
            return (
                f"The data do not show whether twice as many {what} would help: {value:+.1f} "
                f"points, with an interval from {low:+.1f} to {high:+.1f}."
            )
        return f"About {value:+.1f} points ({low:.1f} to {high:.1f}) from twice as many {what}."

    def plot(self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None) -> Figure:
        """Draw the scores and the forecast with :func:`detl.plots.training_sizes`.

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
        >>> from detl import learning_curve, recipes
        >>> images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 1), dtype="uint8")
        >>> labels = ["covid", "normal"] * 30
        >>> curve = learning_curve(recipes.thumbnail(), images, labels, n_splits=3, random_state=0)
        >>> figure = curve.plot()
        >>> figure.axes[0].get_xlabel()
        'training images (mean over folds)'
        """
        return plots.training_sizes(self, ax=ax, figsize=figsize)

    def __str__(self) -> str:
        """Return a row for each number of training images, and the forecast."""
        name = self.score.replace("_", " ")
        lines = [f"{self.unit:>6}  {'images':>6}  {name} (95 % interval)"]
        for images, units, result in zip(self.n_images, self.n_units, self.results, strict=True):
            estimate = estimate_of(result.scores[self.score])
            lines.append(f"{units:>6.0f}  {images:>6.0f}  {estimate}")
        return "\n".join(
            [
                *lines,
                self.verdict,
                f"A power law over {len(self.shares)} shares of the training {self.unit}; "
                f"intervals: {self.gain.interval.method}. They cover new test {self.unit}, neither "
                f"which {self.unit} were drawn for training nor the law itself.",
            ]
        )


def curve_of(
    results: Sequence[CrossValidationResult], shares: Sequence[float], score: str
) -> LearningCurve:
    """Return the curve of results on the same test images, one for each share."""
    row = OVERALL.index(score)
    drawn, methods = zip(
        *(
            redrawn_scores(
                result.fold_predictions,
                unit=result.unit,
                random_state=result.settings["interval_seed"],
            )
            for result in results
        )
    )
    n_images = [np.mean([len(fold.train) for fold in result.folds]) for result in results]
    n_units = [
        np.mean([len(np.unique(units[fold.train])) for fold in result.folds])
        for result in results
        for units in [np.arange(len(result.labels)) if result.groups is None else result.groups]
    ]
    means = np.array([[result.scores[score].mean] for result in results])
    (value,) = gains(np.array(n_units), means, factor=_FACTOR)
    of_draws = gains(np.array(n_units), np.stack([of_one[row] for of_one in drawn]), factor=_FACTOR)
    (low,), (high,) = quantiles(of_draws[np.newaxis])
    return LearningCurve(
        score=score,
        shares=tuple(shares),
        n_images=tuple(map(float, n_images)),
        n_units=tuple(map(float, n_units)),
        results=tuple(results),
        gain=Estimate(
            value=float(value),
            interval=Interval(low=float(low), high=float(high), method=methods[0]),
        ),
    )
