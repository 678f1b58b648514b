"""Randomness: everything random is seeded from ``random_state``."""

from __future__ import annotations

from typing import Any

import numpy as np


def seed_sequence(random_state: Any) -> np.random.SeedSequence:
    """Return the root from which all seeds of one call are spawned.

    Parameters
    ----------
    random_state : int, numpy.random.RandomState, numpy.random.Generator or None
        As in scikit-learn; None draws fresh entropy from the operating system.
    """
    if random_state is None:
        return np.random.SeedSequence()
    if isinstance(random_state, np.random.SeedSequence):
        return random_state
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(int(random_state.integers(2**32)))
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence(int(random_state.randint(2**32, dtype=np.uint32)))
    if isinstance(random_state, (int, np.integer)) and random_state >= 0:
        return np.random.SeedSequence(int(random_state))
    raise ValueError(
        f"random_state={random_state!r}; expected a whole number >= 0, a numpy generator or None."
    )


def integer_seed(sequence: np.random.SeedSequence) -> int:
    """Return a seed that Keras and scikit-learn take."""
    return int(sequence.generate_state(1)[0] >> 1)
