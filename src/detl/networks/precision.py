"""Which number format a network computes in."""

from __future__ import annotations

import logging
from typing import Literal

from detl.checks import check_choice
from detl.networks.devices import has_bfloat16_units

Precision = Literal["float32", "mixed_bfloat16", "auto"]

_logger = logging.getLogger("detl")


def dtype_policy(precision: Precision) -> str:
    """Return the Keras dtype policy for a precision; weights are float32 in either.

    ``"auto"`` takes bfloat16 where the device that computes, processor or GPU, multiplies it
    natively. What one machine gives, another then may not: results agree to about three digits.
    """
    check_choice("precision", precision, ("float32", "mixed_bfloat16", "auto"))
    if precision != "auto":
        return precision
    chosen = "mixed_bfloat16" if has_bfloat16_units() else "float32"
    _logger.info("precision='auto' chose %s for this machine.", chosen)
    return chosen
