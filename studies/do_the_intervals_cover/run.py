"""How often 95 % bootstrap intervals over few groups hold the true accuracy.

Run: ``python -m studies.do_the_intervals_cover.run``
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from scipy import stats

RESULTS = Path(__file__).parent / "results"
GROUPS = (5, 10, 15, 20, 30, 50)
ACCURACIES = (0.7, 0.9)
CORRELATION = 0.3  # of the images of one group: whether both are judged rightly
LARGEST_GROUP = 5
REPEATS, DRAWS = 2000, 1000


def coverage(n_groups: int, accuracy: float, rng: np.random.Generator) -> dict[str, float]:
    """Return the share of simulated data sets whose interval holds the accuracy, per method.

    Every group has its own probability of being judged rightly, and 1 to 5 images.
    """
    held = {"percentile": 0, "BCa": 0}
    shape = (1 - CORRELATION) / CORRELATION
    for _ in range(REPEATS):
        images = rng.integers(1, LARGEST_GROUP + 1, n_groups)
        hits = rng.binomial(images, rng.beta(accuracy * shape, (1 - accuracy) * shape, n_groups))
        drawn = rng.integers(0, n_groups, (DRAWS, n_groups))
        draws = hits[drawn].sum(axis=1) / images[drawn].sum(axis=1)
        for method, levels in (
            ("percentile", (0.025, 0.975)),
            ("BCa", bca_levels(hits, images, draws)),
        ):
            low, high = np.quantile(draws, levels)
            held[method] += low <= accuracy <= high
    return {method: count / REPEATS for method, count in held.items()}


def bca_levels(hits: np.ndarray, images: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return which quantiles of the draws are the ends (Efron & Tibshirani 1993, eq. 14.10)."""
    found = hits.sum() / images.sum()
    below = (draws < found).mean() + (draws == found).mean() / 2
    bias = stats.norm.ppf(np.clip(below, 1 / DRAWS, 1 - 1 / DRAWS))
    without = (hits.sum() - hits) / (images.sum() - images)
    pulls = without.mean() - without
    spread = (pulls**2).sum() ** 1.5
    skew = (pulls**3).sum() / (6 * spread) if spread else 0.0
    shifted = bias + stats.norm.ppf([0.025, 0.975])
    return stats.norm.cdf(bias + shifted / (1 - skew * shifted))


def main() -> None:
    """Simulate and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=RESULTS / "coverage.csv")
    parsed = parser.parse_args()
    rng = np.random.default_rng(0)
    with parsed.output.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["accuracy", "groups", "percentile", "BCa"])
        for accuracy in ACCURACIES:
            for n_groups in GROUPS:
                found = coverage(n_groups, accuracy, rng)
                row = [accuracy, n_groups, *(f"{share:.3f}" for share in found.values())]
                writer.writerow(row)
                print(*row)


if __name__ == "__main__":
    main()
