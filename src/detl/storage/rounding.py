"""Numbers in a record that are the same on two machines to rounding alone."""

from __future__ import annotations

from typing import Any

import numpy as np


def are_rounded(entry: Any) -> bool:
    """Whether an entry holds such numbers: ``{"numbers": [...], "within": 0.001}``."""
    return isinstance(entry, dict) and set(entry) == {"numbers", "within"}


def agree(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether they are the same, but for a share ``within`` of the largest."""
    first, second = (np.asarray(entry["numbers"], dtype=float) for entry in (one, other))
    if first.shape != second.shape or one["within"] != other["within"]:
        return False
    largest = max(np.abs(first).max(initial=0), np.abs(second).max(initial=0))
    return np.allclose(first, second, rtol=0, atol=one["within"] * largest)
