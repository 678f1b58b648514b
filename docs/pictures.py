"""Draw the pictures of the pages about plots, from phantoms alone.

Run after the quickstart, in the folder of its ``source.keras``: ``python docs/pictures.py``. It
takes some minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tiles import right_and_sharp, small

import detl
from detl import datasets, folds, plots, recipes, shortcuts

PICTURES = Path(__file__).parent / "_static" / "plots"


def main() -> None:
    """Write one picture for each function of ``detl.plots``."""
    PICTURES.mkdir(exist_ok=True)
    for name, figure in drawn():
        small(figure, dpi=90).save(PICTURES / f"{name}.png", optimize=True)


def drawn() -> Iterator[tuple[str, Figure]]:
    """Yield the name of each function and what it draws."""
    _, target = datasets.load_phantoms()
    images, labels, groups = target.images, target.labels, target.groups
    source = detl.load_source("source.keras")
    transfer = detl.DomainExtensionTransfer(source, random_state=0, verbose=0)
    same = {"groups": groups, "random_state": 0, "verbose": 0}
    result = detl.cross_validate(transfer, images, labels, **same)
    yield "confusion_matrix", plots.confusion_matrix(result)
    yield "roc_curves", plots.roc_curves(result)
    yield "reliability_diagram", plots.reliability_diagram(result)
    yield "most_confused", plots.most_confused(result, images, n=4)
    yield "net_benefit", plots.net_benefit(result.net_benefit("covid-19"))
    yield "learning_curves", plots.learning_curves(source.history)

    first = result.folds[0]
    transfer.fit(images[first.train], labels[first.train])
    chosen = right_and_sharp(transfer, target, first.test)
    rows = [row for row, _ in chosen.values()]
    maps = np.stack([heatmap for _, heatmap in chosen.values()])
    known = {"labels": labels[rows], "predicted": labels[rows], "masks": target.masks[rows]}
    yield "heatmap_grid", plots.heatmap_grid(images[rows], maps, columns=2, **known)
    yield "overlay", side_by_side(plots.overlay(images[rows], maps))

    _, visit = np.unique(groups, return_inverse=True)
    follow_up = np.array([np.sum(visit[:row] == own) for row, own in enumerate(visit)])
    film = np.where(follow_up == 0, "first", "follow-up")
    yield "subgroups", plots.subgroups(result.subgroups({"film": film}))

    compared = detl.compare(
        {"domain extension": transfer, "thumbnail": recipes.thumbnail()}, images, labels, **same
    )
    yield "comparison", plots.comparison(compared)
    torn = folds.stratified_folds(labels, n_splits=5, random_state=0)
    yield "audit", plots.audit(folds.audit(torn, labels, groups=groups))
    yield (
        "training_sizes",
        plots.training_sizes(
            detl.learning_curve(recipes.linear_probe(source), images, labels, **same)
        ),
    )
    inside = np.zeros(images.shape[1:3], bool)
    inside[8:52, 8:56] = True
    report = shortcuts.examine(result, transfer, images, region=inside, verbose=0)
    yield "shortcut_report", plots.shortcut_report(report)


def side_by_side(images: np.ndarray) -> Figure:
    """Show images in a row."""
    figure = Figure(figsize=(1.5 * len(images), 1.5), layout="constrained")
    for axes, image in zip(figure.subplots(1, len(images)), images):
        axes.imshow(image)
        axes.set_axis_off()
    return figure


if __name__ == "__main__":
    main()
