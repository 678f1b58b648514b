"""Differences between results on the same folds, told from noise."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from detl.checks import check_choice
from detl.metrics import OVERALL, Interval
from detl.metrics.fold_scores import weighted_scores
from detl.metrics.intervals import quantiles
from detl.metrics.scoring import redrawn_scores
from detl.validation.leaks import leaks_of
from detl.validation.pairing import check_named, check_paired
from detl.validation.records import or_none
from detl.validation.results import CrossValidationResult
from detl.validation.significance import corrected_t_test, holm

COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much one transfer's score exceeds another's, over the same folds.

    Attributes
    ----------
    first, second : str
        Names of the transfers.
    folds : tuple of float
        Score of the first less that of the second in each fold.
    mean : float
        Mean of ``folds``.
    interval : Interval
        95 % interval of the mean by paired bootstrap: both transfers are scored on the same
        redrawn groups, or images.
    p_value : float
        Two-sided, of the corrected resampled t-test, see :func:`detl.validation.corrected_t_test`;
        NaN where the folds have no spread to test against.
    p_adjusted : float
        The same after Holm's correction for the number of pairs compared.
    """

    first: str
    second: str
    folds: tuple[float, ...]
    mean: float
    interval: Interval
    p_value: float
    p_adjusted: float

    @property
    def better(self) -> str | None:
        """Name of the better one; None unless test and interval both tell them apart."""
        apart = self.interval.low > 0 or self.interval.high < 0
        if not (apart and self.p_adjusted < 0.05):
            return None
        return self.first if self.mean > 0 else self.second

    @property
    def verdict(self) -> str:
        """A sentence for the reader of the table."""
        if np.isnan(self.mean):
            return "no fold has the score"
        if self.better is None:
            untested = len(self.folds) > 1 and np.isnan(self.p_value)
            return "no spread to test against" if untested else "no difference shown"
        return f"{self.better} is better"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What :func:`compare` found; ``print`` it for a table.

    Attributes
    ----------
    score : str
        What was compared.
    results : dict of str to CrossValidationResult
        Of each transfer, all on the same folds.
    differences : tuple of Difference
        Of each pair.
    """

    score: str
    results: dict[str, CrossValidationResult] = field(repr=False)
    differences: tuple[Difference, ...]

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
                    "folds": list(map(or_none, d.folds)),
                    "verdict": d.verdict,
                }
                for d in self.differences
            ],
        }

    def __str__(self) -> str:
        """Return the table worth pasting."""
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
            f"{'difference in points':<{width}}   mean  95 % interval      p   verdict",
        ]
        for pair, d in zip(pairs, self.differences, strict=True):
            low, high = 100 * d.interval.low, 100 * d.interval.high
            p = "<0.001" if d.p_adjusted < 0.001 else f"{d.p_adjusted:6.3f}".replace("nan", "  -")
            lines.append(
                f"{pair:<{width}}  {100 * d.mean:+5.1f}  {low:+5.1f} to {high:+5.1f}  {p}   "
                f"{d.verdict}"
            )
        lines += [
            "",
            "p: corrected resampled t-test over the folds (Nadeau & Bengio 2003), after Holm for "
            f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'};",
            "interval: paired bootstrap. One is called better only if both tell the two apart.",
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
    found = []
    for a, b in itertools.combinations(results, 2):
        folds = per_fold[a] - per_fold[b]
        known = folds[~np.isnan(folds)]
        (low,), (high,) = quantiles((draws[a] - draws[b])[np.newaxis])
        p_value = corrected_t_test(known, test_share=float(n_test / n_train))
        found.append(
            Difference(
                first=a,
                second=b,
                folds=tuple(folds.tolist()),
                mean=float(known.mean()) if len(known) else np.nan,
                interval=Interval(low=float(low), high=float(high), method=f"paired {method}"),
                p_value=p_value,
                p_adjusted=p_value,
            )
        )
    adjusted = holm([difference.p_value for difference in found])
    differences = tuple(replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True))
    return Comparison(score=score, results=dict(results), differences=differences)
