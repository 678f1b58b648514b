"""What a reviewer asks of predictions: thresholds, net benefit, calibration, subgroups.

Results have these as methods, such as ``result.operating_point("covid", sensitivity=0.95)``.
"""

from detl.screening.decision_curves import DecisionCurve
from detl.screening.operating_points import OperatingPoint
from detl.screening.pooling import Estimate
from detl.screening.recalibration import Recalibration
from detl.screening.subgroups import Subgroup, Subgroups

__all__ = [
    "DecisionCurve",
    "Estimate",
    "OperatingPoint",
    "Recalibration",
    "Subgroup",
    "Subgroups",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
