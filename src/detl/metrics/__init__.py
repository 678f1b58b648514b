"""Scores and intervals from predictions.

Every score is computed in each fold and averaged over the folds that have it. Its interval comes
from the same computation on redrawn data: whole groups where groups are known, since images of one
patient are not independent.
"""

from detl.metrics.calibration import reliability
from detl.metrics.curves import RocCurve, roc_curves
from detl.metrics.fold_scores import OVERALL, PER_CLASS, Predictions, class_table
from detl.metrics.intervals import Interval
from detl.metrics.scoring import Score, scores

__all__ = [
    "OVERALL",
    "PER_CLASS",
    "Interval",
    "Predictions",
    "RocCurve",
    "Score",
    "class_table",
    "reliability",
    "roc_curves",
    "scores",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
