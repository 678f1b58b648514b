"""Accuracy against the number of training images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from detl.plots.theme import colours
from studies.shared.teachers import ALL


def draw(
    curves: Mapping[str, Mapping[int, tuple[float, float, float]]],
    *,
    n_all: float,
    n_classes: int,
) -> Figure | None:
    """Draw accuracy, with its interval, against the training images of each class.

    ``ALL`` stands for ``n_all`` images. None if no curve has more than one number of images. What
    comes from photographs, or from no network, is dashed.
    """
    drawn = {name: curve for name, curve in curves.items() if len(curve) > 1}
    if not drawn:
        return None
    figure = Figure(figsize=(7.2, 5.2), layout="constrained")
    axis = figure.subplots()
    palette = colours(len(drawn))
    for i, (name, curve) in enumerate(drawn.items()):
        found = sorted((n_all if n == ALL else n, *values) for n, values in curve.items())
        n, mean, low, high = np.array(found).T
        apart = 1.03 ** (i - (len(drawn) - 1) / 2)  # so that intervals do not hide one another
        axis.errorbar(
            n * apart,
            mean,
            yerr=(mean - low, high - mean),
            color=palette[i],
            marker="o",
            markersize=4,
            linewidth=1.4,
            elinewidth=0.8,
            linestyle="--" if name.startswith(("EfficientNet", "thumbnail")) else "-",
            label=name,
        )
    axis.axhline(1 / n_classes, color="grey", linewidth=0.8, linestyle=":", label="chance")
    ticks = sorted({n_all if n == ALL else n for curve in drawn.values() for n in curve})
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"all ({n:.0f})" if n == n_all else f"{n:.0f}" for n in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlabel("training images of each class")
    axis.set_ylabel("accuracy")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize="small")
    return figure
