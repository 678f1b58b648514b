"""Draw the pictures of the landing page and of the README, from phantoms alone.

Run after the quickstart, in the folder of its ``source.keras``: ``python docs/tiles.py``. It takes
about a minute.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from PIL import Image

from detl import DomainExtensionTransfer, GradCAM, cross_validate, datasets, load_source, plots

TILES = Path(__file__).parent / "_static" / "tiles"
SIZE = (3.6, 2.0)  # inches: four tiles share a row of 1280 pixels
BLUE, GREY = "#2f5fa8", "#6b7280"
LUNGS = np.s_[8:52, 8:56]  # a box around the lungs of most phantoms
EXAMPLE = "covid-19"


def main() -> None:
    """Train, judge, explain; draw one picture of each."""
    matplotlib.use("Agg")
    source_set, target = datasets.load_phantoms()
    transfer = DomainExtensionTransfer(load_source("source.keras"), random_state=0, verbose=0)
    result = cross_validate(
        transfer, target.images, target.labels, groups=target.groups, random_state=0, verbose=0
    )
    first = result.folds[0]
    transfer.fit(target.images[first.train], target.labels[first.train])
    shown = right_and_sharp(transfer, target, first.test)

    write(extend(source_set, target), "extend")
    write(judge(result), "judge")
    write(explain(target, shown, columns=(EXAMPLE, "pneumonia")), "explain")
    write(shortcut(target, shown), "shortcut")
    write(explain(target, shown, columns=sorted(shown), outlines=True), "heatmaps")


def right_and_sharp(transfer: DomainExtensionTransfer, target, rows: np.ndarray) -> dict:
    """Return, of each class, the test image that is surest and right, with its heatmap."""
    probabilities = transfer.predict_proba(target.images[rows])
    cam = GradCAM(transfer, method="hirescam", layer="block3_conv3_relu")
    chosen = {}
    for column, name in enumerate(transfer.classes_):
        own = np.flatnonzero(target.labels[rows] == name)
        best = rows[own[probabilities[own, column].argmax()]]
        chosen[name] = best, cam(target.images[[best]])[0]
    return chosen


def extend(source_set, target) -> Figure:
    """Draw images of the source, an arrow, and images of the target with its classes."""
    figure = plt.figure(figsize=SIZE)
    for position, label in enumerate(["normal", "diseased"]):
        row = np.flatnonzero(source_set.labels == label)[0]
        axes = figure.add_axes((0.02, 0.48 - 0.46 * position, 0.21, 0.34))
        picture(axes, source_set.images[row], label)
    for position, label in enumerate(target.classes):
        row = np.flatnonzero(target.labels == label)[0]
        left, bottom = 0.46 + 0.27 * (position % 2), 0.48 - 0.46 * (position // 2)
        picture(figure.add_axes((left, bottom, 0.21, 0.34)), target.images[row], label)
    figure.text(0.125, 0.95, "1000 images", ha="center", fontsize=8, color=GREY)
    figure.text(0.695, 0.95, "240 images", ha="center", fontsize=8, color=GREY)
    arrow = {"arrowstyle": "-|>", "lw": 2, "color": BLUE, "mutation_scale": 16}
    figure.add_artist(FancyArrowPatch((0.28, 0.5), (0.43, 0.5), **arrow))
    return figure


def judge(result) -> Figure:
    """Draw the sensitivity of each class with its interval."""
    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    for position, scores in enumerate(result.class_scores.values()):
        sensitivity = scores["sensitivity"]
        interval = sensitivity.interval
        axes.plot([interval.low, interval.high], [position] * 2, color=BLUE, lw=3, alpha=0.4)
        axes.plot(sensitivity.mean, position, "o", color=BLUE, ms=7)
    axes.set(yticks=range(len(result.classes)), yticklabels=result.classes, xlim=(0, 1))
    axes.set_ylim(len(result.classes) - 0.5, -0.5)
    axes.set_xlabel("sensitivity, 95 % interval", fontsize=8, color=GREY)
    axes.tick_params(labelsize=8, colors=GREY, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.axvline(1 / len(result.classes), color=GREY, lw=1, ls=":")
    return figure


def explain(target, shown: dict, *, columns, outlines: bool = False) -> Figure:
    """Draw images above or beside their heatmaps; outline the lesions that are known."""
    rows = [shown[name][0] for name in columns]
    maps = np.stack([shown[name][1] for name in columns])
    blended = plots.overlay(target.images[rows], maps)
    if not outlines:
        figure, grid = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
        for axes, image, name in zip(grid, blended, columns):
            picture(axes, image, name)
        return figure
    figure, grid = plt.subplots(2, len(rows), figsize=(6, 3.2), layout="constrained")
    for column, name in enumerate(columns):
        picture(grid[0, column], target.images[rows[column]], name)
        picture(grid[1, column], blended[column], "")
        if target.masks[rows[column]].any():
            grid[1, column].contour(target.masks[rows[column]], [0.5], colors="white", linewidths=1)
    return figure


def shortcut(target, shown: dict) -> Figure:
    """Draw an image with a mark burnt into its corner, and the same with its lungs hidden."""
    marked = target.images[shown[EXAMPLE][0]].copy()
    marked[3:7, 3:7] = 255
    hidden = marked.copy()
    hidden[LUNGS] = 128
    figure, grid = plt.subplots(1, 2, figsize=SIZE, layout="constrained")
    for axes, image, title in zip(grid, (marked, hidden), (EXAMPLE, f"still {EXAMPLE}?")):
        picture(axes, image, title)
        axes.add_patch(Circle((4.5, 4.5), 5, fill=False, ec="#d9480f", lw=2))
    return figure


def picture(axes, image: np.ndarray, title: str) -> None:
    """Show one image without axes."""
    axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
    axes.set_title(title, fontsize=8, color=GREY, pad=3)
    axes.set_axis_off()


def write(figure: Figure, name: str) -> None:
    """Write one picture."""
    small(figure, dpi=100).save(TILES / f"{name}.png", optimize=True)
    plt.close(figure)


def small(figure: Figure, *, dpi: int) -> Image.Image:
    """Return a figure in 256 colours, which makes its file small."""
    pixels = BytesIO()
    figure.savefig(pixels, dpi=dpi)
    return Image.open(pixels).convert("RGB").quantize(256, kmeans=3)


if __name__ == "__main__":
    main()
