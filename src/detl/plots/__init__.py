"""Pictures from results and heatmaps.

Figures are matplotlib's own objects, made without its global state: save them with
``figure.savefig("name.png")``. They need no screen.
"""

from detl.plots.pictures import (
    confusion_matrix,
    heatmap_grid,
    learning_curves,
    most_confused,
    overlay,
    reliability_diagram,
    roc_curves,
    shortcut_report,
)

__all__ = [
    "confusion_matrix",
    "heatmap_grid",
    "learning_curves",
    "most_confused",
    "overlay",
    "reliability_diagram",
    "roc_curves",
    "shortcut_report",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
