"""Means over images with their intervals, and heatmaps that know nothing, to compare with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from scipy import ndimage, stats

from detl.checks import check_labels
from detl.metrics.intervals import FEW_UNITS, Interval

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_DRAWS = 2000
_GRID = 8  # pixels of a random map before it is resized, about those of a Grad-CAM


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


def estimates(
    values: Any, *, groups: Any, seed: np.random.SeedSequence, weights: Array | None = None
) -> list[Estimate]:
    """Return an estimate for each row of values; rows known of the same share their draws.

    Parameters
    ----------
    values : array-like of shape (k, n)
        NaN where an image has no value.
    groups : array-like of shape (n,) or None
        What is drawn as a whole; None draws images.
    seed : numpy.random.SeedSequence
        Of the draws.
    weights : numpy.ndarray of shape (n,), optional
        How much each image counts, by default the same.
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


def table(title: str, rows: Sequence[tuple[str, Estimate]]) -> str:
    """Return a small table, one named estimate a line, and how the intervals were found."""
    width = max(len(name) for name, _ in rows)
    method = rows[0][1].interval.method
    lines = [f"{name:<{width}}  {estimate}" for name, estimate in rows]
    return "\n".join([title, *lines, f"95 % intervals: {method}"])


def counted(n: int, blank: Array) -> str:
    """Return how many images, and for how many of them nothing spoke."""
    return f"{n} images" + (f", {blank.sum()} with a blank heatmap" if blank.any() else "")


# --------------------------------------------------------------------------------- the baselines


def random_maps(n: int, size: tuple[int, int], generator: np.random.Generator) -> Array:
    """Return noise as coarse as a Grad-CAM: single pixels would be no rival in a deletion.

    What leaves the image on one side comes in on the other, and all is shifted at random, so that
    no place is likelier than another to be high.
    """
    drawn = generator.random((n, _GRID**2 + 2), dtype=np.float32)  # row i is that of map i alone
    noise, shifts = drawn[:, :-2].reshape(n, _GRID, _GRID), (drawn[:, -2:] * size).astype(int)
    factors = (1, size[0] / _GRID, size[1] / _GRID)
    maps = ndimage.zoom(noise, factors, order=1, mode="grid-wrap", grid_mode=True)
    shifted = [np.roll(each, shift, axis=(0, 1)) for each, shift in zip(maps, shifts)]
    return np.clip(np.stack(shifted), 0, 1)


def centre_maps(n: int, size: tuple[int, int]) -> Array:
    """Return a Gaussian at the centre of the image, a quarter of each side wide (sd)."""
    rows, columns = (
        np.exp(-(((np.arange(side) + 0.5) / side - 0.5) ** 2) / (2 * 0.25**2)) for side in size
    )
    return np.broadcast_to(np.outer(rows, columns).astype(np.float32), (n, *size))


# ------------------------------------------------------------------------------------ the checks


def check_heatmaps(heatmaps: Any, shape: tuple[int, ...] | None = None) -> Array:
    """Return the heatmaps as an array, refusing wrong shapes, NaN and values outside [0, 1]."""
    array = np.asarray(heatmaps)
    if array.dtype.kind not in "uif":
        raise TypeError(f"heatmaps has dtype {array.dtype}; expected floats in [0, 1].")
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(
            f"heatmaps has shape {array.shape}; expected (n, height, width), such as GradCAM gives."
        )
    if shape is not None and array.shape != shape:
        raise ValueError(
            f"heatmaps has shape {array.shape}; expected {shape}, one per image and of its size."
        )
    for row, heatmap in enumerate(array):  # one at a time: of many, a copy would be large
        if not np.isfinite(heatmap).all():
            raise ValueError(f"heatmaps has NaN or infinity, first in row {row}.")
        if heatmap.min() < 0 or heatmap.max() > 1:
            raise ValueError(
                f"heatmaps has values from {heatmap.min():.3g} to {heatmap.max():.3g} in row "
                f"{row}; expected [0, 1]: clip what is negative, divide by the maximum."
            )
    return array


def check_groups(groups: Any, n: int) -> Array | None:
    """Return the group of each image, or None."""
    return None if groups is None else check_labels(groups, n, name="groups")
