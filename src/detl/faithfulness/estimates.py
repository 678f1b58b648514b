"""Means over images with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from detl.metrics.intervals import FEW_UNITS, Interval

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_DRAWS, _BATCH = 2000, 50


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
    """Estimates of heatmaps and of their baselines, with the parts of the first."""

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
        """Return a table of heatmaps and baselines."""
        rows = [("heatmaps", self.heatmaps), *self._baselines()]
        return table(f"{self.metric}{self._quantity}", self.blank, rows)

    def _baselines(self) -> list[tuple[str, Estimate]]:
        """Return the baselines by name."""
        return [("random map", self.random), ("centre", self.centre)]


def estimates(
    values: Any, *, groups: Any, seed: np.random.SeedSequence, weights: Array | None = None
) -> list[Estimate]:
    """Return an estimate for each row of values ``(k, n)``, NaN where an image has none.

    Groups are drawn as a whole; without them, images are, the same for rows of the same images.
    Weights ``(n,)`` say how much each image counts, by default the same.
    """
    found = []
    for row in np.asarray(values, dtype=np.float64):
        n = len(row)
        units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
        known = ~np.isnan(row) * (np.ones(n) if weights is None else weights)
        # What each unit adds to the sum and to the weight of the mean.
        sums, totals = (np.bincount(units, part) for part in (known * np.nan_to_num(row), known))
        unit, counts = "images" if groups is None else "groups", totals > 0
        mean, interval = _mean(sums[counts], totals[counts], unit, np.random.default_rng(seed))
        found.append(Estimate(values=row, mean=mean, interval=interval))
    return found


def _mean(
    sums: Array, totals: Array, unit: str, generator: np.random.Generator
) -> tuple[float, Interval]:
    """Return a mean, from what each unit adds to its sum and to its weight, and its interval."""
    n = len(sums)

    def means(drawn: Array) -> Array:
        """Return the mean of each column of units."""
        return np.asarray(sums.take(drawn).sum(axis=0) / totals.take(drawn).sum(axis=0))

    # Like those of the draws, these sums go from one unit to the next.
    mean = float(sums.cumsum()[-1] / totals.cumsum()[-1]) if n else np.nan
    if n < 2:
        method = f"none: {n} of {unit} is too few"
        return mean, Interval(low=np.nan, high=np.nan, method=method)
    draws = [means(generator.integers(0, n, (_BATCH, n)).T) for _ in range(_DRAWS // _BATCH)]
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    method = f"percentile bootstrap over {n} {unit}, {_DRAWS} draws"
    if n < FEW_UNITS:
        method += f", too narrow under {FEW_UNITS} {unit}"
    return mean, Interval(low=low, high=high, method=method)


def table(title: str, blank: Array, rows: Sequence[tuple[str, Estimate]]) -> str:
    """Return a small table, one named estimate a line, and how the intervals were found."""
    width = max(len(name) for name, _ in rows)
    title += f", {len(blank)} images" + f", {blank.sum()} with a blank heatmap" * bool(blank.any())
    lines = [f"{name:<{width}}  {estimate}" for name, estimate in rows]
    return "\n".join([title, *lines, f"95 % intervals: {rows[0][1].interval.method}"])
