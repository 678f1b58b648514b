"""Pictures from results and heatmaps.

Every result has a method ``plot`` for the picture that suits it best; the functions here draw that
and all others. ``ax`` draws on axes of your own, ``figsize`` sizes a new figure. Figures are
matplotlib's own objects, made without its global state: save them with
``figure.savefig("name.png")``. They need no screen. The colours are told apart by people with any
kind of colour blindness. Without matplotlib, the extra ``plots``, every function here raises an
ImportError.
"""

from detl.plots.audit import audit
from detl.plots.comparison import comparison
from detl.plots.confusion import confusion_matrix
from detl.plots.heatmaps import heatmap_grid, overlay
from detl.plots.learning import learning_curves
from detl.plots.mistakes import most_confused
from detl.plots.net_benefit import net_benefit
from detl.plots.reliability import reliability_diagram
from detl.plots.roc import roc_curves
from detl.plots.shortcuts import shortcut_report
from detl.plots.subgroups import subgroups
from detl.plots.training_sizes import training_sizes

__all__ = [
    "audit",
    "comparison",
    "confusion_matrix",
    "heatmap_grid",
    "learning_curves",
    "most_confused",
    "net_benefit",
    "overlay",
    "reliability_diagram",
    "roc_curves",
    "shortcut_report",
    "subgroups",
    "training_sizes",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
