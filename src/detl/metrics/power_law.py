"""How a score grows with the number of training images."""

from __future__ import annotations

import numpy as np

# Exponents that are tried: below, the law is a straight line over the logarithm; above, a step.
_EXPONENTS = np.linspace(0.1, 1.5, 57)
_HIGHEST = 1.0  # no score ends above


def gains(sizes: np.ndarray, scores: np.ndarray, *, factor: float) -> np.ndarray:
    """Return how much a score would gain from ``factor`` times the largest number of images.

    Parameters
    ----------
    sizes : numpy.ndarray of shape (n_sizes,)
        Numbers of training images, at least three.
    scores : numpy.ndarray of shape (n_sizes, n_draws)
        The score at each number.
    factor : float

    Returns
    -------
    numpy.ndarray of shape (n_draws,)
        Of the power law ``limit - loss * (size / largest) ** -exponent`` with least squares, whose
        limit is at most 1; it may fall.

    References
    ----------
    Figueroa et al. 2012, "Predicting Sample Size Required for Classification Performance": an
    inverse power law.
    """
    _, loss, exponent = _fit(sizes, scores)
    gained: np.ndarray = loss * (1 - factor**-exponent)
    return gained


def law_at(sizes: np.ndarray, scores: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the values of the same law at other numbers of images, ``(len(at), n_draws)``."""
    limit, loss, exponent = _fit(sizes, scores)
    shares = at[:, np.newaxis] / sizes.max()
    values: np.ndarray = limit - loss * shares**-exponent
    return values


def _fit(sizes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return limit, loss and exponent of each draw's law; NaN where a score is."""
    n_draws = scores.shape[1]
    best = np.full(n_draws, np.inf)
    found = np.full((3, n_draws), np.nan)
    for exponent in _EXPONENTS:
        powers = (sizes / sizes.max()) ** -exponent
        limit, loss = _line(powers, scores)
        error = ((limit - np.outer(powers, loss) - scores) ** 2).sum(axis=0)
        better = error < best
        best[better] = error[better]
        found[:, better] = np.stack([limit, loss, np.full(n_draws, exponent)])[:, better]
    limits, losses, exponents = found
    return limits, losses, exponents


def _line(powers: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return limit and loss of ``limit - loss * powers``, the limit at most 1."""
    centred = powers - powers.mean()
    loss = -(centred @ scores) / (centred @ centred)
    limit = scores.mean(axis=0) + loss * powers.mean()
    bounded = (powers @ (_HIGHEST - scores)) / (powers @ powers)
    return np.minimum(limit, _HIGHEST), np.where(limit > _HIGHEST, bounded, loss)
