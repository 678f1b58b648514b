"""How sure a difference between two classifiers of the same images is."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def paired(more: Array, patients: Array, *, n_draws: int = 2000) -> dict[str, float]:
    """Return the mean of a difference ``(n,)`` and its 95 % interval, a bootstrap over patients."""
    _, group = np.unique(patients, return_inverse=True)
    sums, sizes = np.bincount(group, more), np.bincount(group)
    drawn = np.random.default_rng(0).integers(len(sums), size=(n_draws, len(sums)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return {"accuracy": float(more.mean()), "low": float(low), "high": float(high)}
