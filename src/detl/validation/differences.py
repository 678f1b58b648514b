"""Differences between results on the same folds, with tests and intervals."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from detl import plots
from detl.checks import check_choice
from detl.metrics import OVERALL, Interval
from detl.metrics.fold_scores import weighted_scores
from detl.metrics.intervals import FEW_UNITS, quantiles, units_of
from detl.metrics.scoring import redrawn_scores
from detl.notebook import ShowsItself
from detl.renaming import warn_renamed
from detl.validation.leaks import leaks_of
from detl.validation.pairing import check_named, check_paired
from detl.validation.records import or_none
from detl.validation.results import CrossValidationResult
from detl.validation.significance import corrected_t_test, holm, smallest_detectable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much one classifier's score exceeds another's, over the same folds.

    Attributes
    ----------
    first, second : str
        Names of the classifiers.
    folds : tuple of float
        Score of the first less that of the second in each fold.
    mean : float
        Mean of ``folds``.
    interval : Interval
        95 % interval of the mean by paired bootstrap: both classifiers are scored on the same
        redrawn groups, or images.
    p_value : float
        Two-sided, of the corrected resampled t-test, see :func:`detl.validation.corrected_t_test`;
        NaN where the folds have no spread to test against.
    p_adjusted : float
        The same after Holm's correction for the number of pairs compared.
    detectable : float
        Smallest mean that the test could have shown, with this spread over the folds and this
        number of pairs; NaN where there is no spread.
    interval_excludes_zero : bool
        Whether the interval does so even when it is widened for the number of pairs (Bonferroni).
        False over fewer than 20 groups, or images, where intervals are too narrow.
    """

    first: str
    second: str
    folds: tuple[float, ...]
    mean: float
    interval: Interval
    p_value: float
    p_adjusted: float
    detectable: float = np.nan
    interval_excludes_zero: bool = False

    @property
    def shown_from(self) -> float:
        """Old name of ``detectable``."""
        warn_renamed("Difference.shown_from", "Difference.detectable")
        return self.detectable

    @property
    def has_power(self) -> bool:
        """Whether the test could have shown the largest difference inside the interval."""
        return self.detectable <= max(abs(self.interval.low), abs(self.interval.high))

    @property
    def better(self) -> str | None:
        """Name of the better one, None if no difference is shown.

        Test and interval must both exclude zero. Where the test has no power, the interval
        decides alone.
        """
        apart = self.interval.low > 0 or self.interval.high < 0
        if (apart and self.p_adjusted < 0.05) or self._by_interval:
            return self.first if self.mean > 0 else self.second
        return None

    @property
    def _by_interval(self) -> bool:
        return self.interval_excludes_zero and not (self.has_power or self.p_adjusted < 0.05)

    @property
    def verdict(self) -> str:
        """A sentence for the reader of the table."""
        if np.isnan(self.mean):
            return "no fold has the score"
        if self.better is None:
            untested = len(self.folds) > 1 and np.isnan(self.p_value)
            return "no spread to test against" if untested else "no difference shown"
        return f"{self.better} is better" + ", by the interval" * self._by_interval


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison(ShowsItself):
    """What :func:`compare` found; ``print`` it for a table.

    Attributes
    ----------
    score : str
        What was compared.
    results : dict of str to CrossValidationResult
        Of each classifier, all on the same folds.
    differences : tuple of Difference
        Of each pair.
    """

    score: str
    results: dict[str, CrossValidationResult] = field(repr=False)
    differences: tuple[Difference, ...]

    def plot(self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None) -> Figure:
        """Draw the differences as a forest plot with :func:`detl.plots.comparison`.

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
        >>> from detl import compare, recipes
        >>> images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 1), dtype="uint8")
        >>> labels = ["covid", "normal"] * 12
        >>> classifiers = {"a": recipes.thumbnail(), "b": recipes.thumbnail()}
        >>> figure = compare(classifiers, images, labels, n_splits=3, random_state=0).plot()
        >>> figure.axes[0].get_xlabel()
        'difference in accuracy (points)'
        """
        return plots.comparison(self, ax=ax, figsize=figsize)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in lists, strings and numbers that JSON can hold; None for NaN."""
        return {
            "score": self.score,
            "results": {name: result.to_dict() for name, result in self.results.items()},
            "differences": [
                {
                    "first": d.first,
                    "second": d.second,
                    "mean": or_none(d.mean),
                    "low": or_none(d.interval.low),
                    "high": or_none(d.interval.high),
                    "method": d.interval.method,
                    "p_value": or_none(d.p_value),
                    "p_adjusted": or_none(d.p_adjusted),
                    "detectable": or_none(d.detectable),
                    "folds": list(map(or_none, d.folds)),
                    "verdict": d.verdict,
                }
                for d in self.differences
            ],
        }

    def __str__(self) -> str:
        """Return the table as text."""
        any_result = next(iter(self.results.values()))
        names = [*self.results]
        width = max(map(len, names))
        title = self.score.replace("_", " ")
        lines = [
            f"{title}, mean ± standard deviation over {len(any_result.folds)} folds, with 95 % "
            f"interval ({any_result.interval.method})"
        ]
        for name, result in self.results.items():
            score = result.scores[self.score]
            low, high = score.interval.low, score.interval.high
            lines.append(
                f"{name:<{width}}  {score.mean:.3f} ± {score.std:.3f}  {low:.3f} to {high:.3f}"
            )
        pairs = [f"{d.first} - {d.second}" for d in self.differences]
        width = max(len("difference in points"), *map(len, pairs))
        lines += [
            "",
            f"{'difference in points':<{width}}   mean  95 % interval      p   detectable  verdict",
        ]
        for pair, d in zip(pairs, self.differences, strict=True):
            low, high = 100 * d.interval.low, 100 * d.interval.high
            p = "<0.001" if d.p_adjusted < 0.001 else f"{d.p_adjusted:6.3f}".replace("nan", "  -")
            detectable = f"{100 * d.detectable:8.1f}".replace("nan", "  -")
            lines.append(
                f"{pair:<{width}}  {100 * d.mean:+5.1f}  {low:+5.1f} to {high:+5.1f}  {p}  "
                f"{detectable}    {d.verdict}"
            )
        of_pairs = "1 pair" if len(pairs) == 1 else f"{len(pairs)} pairs"
        lines += [
            "",
            "p: corrected resampled t-test over the folds (Nadeau & Bengio 2003), after Holm for "
            f"{of_pairs};",
            "interval: paired bootstrap. One is called better if both exclude zero.",
            "detectable: the smallest difference that the test could have shown. Where the far end "
            "of the interval is smaller,",
            f"the test has no power, and the interval, widened for {of_pairs}, decides alone: it "
            f"covers new {any_result.unit}, not new training.",
        ]
        leaks = leaks_of({name: result.audit for name, result in self.results.items()})
        if leaks:
            lines += ["", "LEAKS", *(f"- {sentence}" for sentence in leaks)]
        return "\n".join(lines)


def compare_results(
    results: Mapping[str, CrossValidationResult], *, score: str = "accuracy"
) -> Comparison:
    """Compare results that are at hand, of the same folds.

    Parameters
    ----------
    results : dict of str to CrossValidationResult
        At least two, of the same images, labels, groups and folds.
    score : {"accuracy", "balanced_accuracy", "macro_f1", "roc_auc"}, default="accuracy"
        What to compare.

    Returns
    -------
    Comparison
        With the difference of each pair.
    """
    check_choice("score", score, COMPARED)
    check_named("results", results)
    check_paired(results)
    row = OVERALL.index(score)
    first = next(iter(results.values()))
    draws, per_fold = {}, {}
    for name, result in results.items():
        predictions = result.fold_predictions
        drawn, method = redrawn_scores(
            predictions, unit=result.unit, random_state=first.settings["interval_seed"]
        )
        draws[name] = drawn[row]
        per_fold[name] = np.array([weighted_scores(fold)[0, row] for fold in predictions])
    n_train = np.mean([len(fold.train) for fold in first.folds])
    n_test = np.mean([len(fold.test) for fold in first.folds])
    test_share = float(n_test / n_train)
    many_units = len(units_of(first.fold_predictions)) >= FEW_UNITS
    pairs = list(itertools.combinations(results, 2))
    found = []
    for a, b in pairs:
        folds = per_fold[a] - per_fold[b]
        known = folds[~np.isnan(folds)]
        drawn = (draws[a] - draws[b])[np.newaxis]
        (low,), (high,) = quantiles(drawn)
        (lowest,), (highest,) = quantiles(drawn, level=0.05 / len(pairs))
        p_value = corrected_t_test(known, test_share=test_share)
        found.append(
            Difference(
                first=a,
                second=b,
                folds=tuple(folds.tolist()),
                mean=float(known.mean()) if len(known) else np.nan,
                interval=Interval(low=float(low), high=float(high), method=f"paired {method}"),
                p_value=p_value,
                p_adjusted=p_value,
                detectable=smallest_detectable(known, test_share=test_share, n_pairs=len(pairs)),
                interval_excludes_zero=bool(many_units and (lowest > 0 or highest < 0)),
            )
        )
    adjusted = holm([difference.p_value for difference in found])
    differences = tuple(replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True))
    return Comparison(score=score, results=dict(results), differences=differences)
