"""Means over images with their intervals."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

from detl.metrics.intervals import FEW_UNITS, Interval

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_DRAWS = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """A mean over images.

    Attributes
    ----------
    values : numpy.ndarray of shape (n,)
        Of each image; NaN where it has none.
    mean : float
        Over the images that have a value.
    interval : Interval
        95 % interval of the mean.
    """

    values: Array = field(repr=False)
    mean: float
    interval: Interval

    def __str__(self) -> str:
        """Return mean and interval."""
        return f"{self.mean:.3f} [{self.interval.low:.3f}, {self.interval.high:.3f}]"


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Estimates of heatmaps and of heatmaps that know nothing, with the parts of the first."""

    metric: str
    heatmaps: Estimate
    random: Estimate
    centre: Estimate
    blank: Array = field(repr=False)

    _quantity = ""  # what is said of the metric in the table

    @property
    def values(self) -> Array:
        """Value of each image, ``(n,)``."""
        return self.heatmaps.values

    @property
    def mean(self) -> float:
        """Mean over images."""
        return self.heatmaps.mean

    @property
    def interval(self) -> Interval:
        """95 % interval of the mean."""
        return self.heatmaps.interval

    def __str__(self) -> str:
        """Return a table: heatmaps, random maps, centre."""
        rows = [("heatmaps", self.heatmaps), ("random map", self.random), ("centre", self.centre)]
        return table(f"{self.metric}{self._quantity}", self.blank, rows)


def estimates(
    values: Any, *, groups: Any, seed: np.random.SeedSequence, weights: Array | None = None
) -> list[Estimate]:
    """Return an estimate for each row of values ``(k, n)``, NaN where an image has none.

    Groups are drawn as a whole; without them, images are. Rows known of the same images share
    their draws. Weights ``(n,)`` say how much each image counts, by default the same.
    """
    values = np.asarray(values, dtype=np.float64)
    n = values.shape[1]
    units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    unit, n_units = "images" if groups is None else "groups", int(units.max()) + 1
    known = ~np.isnan(values) * (np.ones(n) if weights is None else weights)
    # What each group adds to the sum and to the weight of the mean.
    sums, totals = (
        np.stack([np.bincount(units, row, n_units) for row in rows])
        for rows in (known * np.nan_to_num(values), known)
    )
    found: dict[int, Estimate] = {}
    selections, selection_of = np.unique(totals > 0, axis=0, return_inverse=True)
    for number, counts in enumerate(selections):
        rows = np.flatnonzero(selection_of.reshape(-1) == number)
        of_units = np.ix_(rows, np.flatnonzero(counts))
        means, ends, method = _redrawn(sums[of_units], totals[of_units], unit, seed)
        for row, mean, low, high in zip(rows, means, *ends):
            found[int(row)] = Estimate(
                values=values[row],
                mean=float(mean),
                interval=Interval(low=float(low), high=float(high), method=method),
            )
    return [found[row] for row in range(len(values))]


def _redrawn(
    sums: Array, totals: Array, unit: str, seed: np.random.SeedSequence
) -> tuple[Array, Array, str]:
    """Return the means ``(k,)``, their intervals' ends ``(2, k)``, and how those were found.

    ``sums`` and ``totals``, ``(k, n_units)``, are what each unit adds to the sum and to the weight.
    """
    n_units = sums.shape[1]

    def means(drawn: Array, axis: int = -1) -> Array:
        drawn = np.atleast_2d(drawn)
        with np.errstate(invalid="ignore"):  # without any unit: NaN
            return np.asarray(sums[:, drawn].sum(axis=axis) / totals[:, drawn].sum(axis=axis))

    centre = means(np.arange(n_units))[:, 0]
    if n_units < 2:
        return centre, np.full((2, len(sums)), np.nan), f"none: {n_units} of {unit} is too few"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # all images alike
        found = stats.bootstrap(
            (np.arange(n_units),),
            means,
            n_resamples=_DRAWS,
            batch=50,
            method="percentile",
            vectorized=True,
            rng=np.random.default_rng(seed),
        )
    ends = np.quantile(found.bootstrap_distribution, (0.025, 0.975), axis=1)
    method = f"percentile bootstrap over {n_units} {unit}, {_DRAWS} draws"
    if n_units < FEW_UNITS:
        method += f", too narrow under {FEW_UNITS} {unit}"
    return centre, ends, method


def table(title: str, blank: Array, rows: Sequence[tuple[str, Estimate]]) -> str:
    """Return a small table, one named estimate a line, and how the intervals were found."""
    width = max(len(name) for name, _ in rows)
    title += f", {len(blank)} images" + f", {blank.sum()} with a blank heatmap" * bool(blank.any())
    lines = [f"{name:<{width}}  {estimate}" for name, estimate in rows]
    return "\n".join([title, *lines, f"95 % intervals: {rows[0][1].interval.method}"])
