"""The area under the ROC curve with an interval over patients."""

from __future__ import annotations

import numpy as np


def interval(
    diseased: np.ndarray, p: np.ndarray, patients: np.ndarray, n: int = 1000
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the AUC, patients drawn and not images."""
    low, high = np.quantile(drawn_aucs(diseased, p, patients, n), [0.025, 0.975])
    return float(low), float(high)


def drawn_aucs(diseased: np.ndarray, p: np.ndarray, patients: np.ndarray, n: int) -> np.ndarray:
    """Return the AUC in each of n draws of patients, ``(n,)``: the same draws for every ``p``."""
    generator = np.random.default_rng(0)
    _, group = np.unique(patients, return_inverse=True)
    values, place = np.unique(p, return_inverse=True)
    n_patients = group.max() + 1
    found = []
    for _ in range(n):
        times = np.bincount(generator.integers(n_patients, size=n_patients), minlength=n_patients)
        above, below = (
            np.bincount(place, times[group] * which, minlength=len(values))
            for which in (diseased, ~diseased)
        )
        # Pairs in the right order, and half of the ties.
        won = above @ (np.cumsum(below) - below / 2)
        found.append(won / (above.sum() * below.sum()))
    return np.array(found)
