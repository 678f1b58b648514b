"""Draw the two figures of the documentation's page from the tables in ``results/``.

Run: ``python -m studies.which_leaks_flatter_the_paper.figures``
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import matplotlib
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

RESULTS = Path(__file__).parent / "results"
NETWORKS = {"alexnet": "AlexNet", "vgg16": "VGG-16", "resnet50": "ResNet-50"}
COLOURS = {"alexnet": "#0072B2", "vgg16": "#D55E00", "resnet50": "#009E73"}
PROTOCOLS = {
    "paper": "paper\n(three leaks)",
    "new-images": "new-images",
    "new-patients": "new-patients",
    "strict": "strict\n(no leak)",
    "paper-by-heart": "paper-by-heart",
}
STEPS = {
    ("new-patients", "strict"): "a patient's images\nin training and test",
    ("new-images", "new-patients"): "target patients\nin the source",
    ("paper", "new-images"): "target images\nin the source",
    ("paper-by-heart", "paper"): "source images\nknown by heart",
    ("paper-by-heart", "strict"): "all together",
}
GREY = "#666666"


def main() -> None:
    """Write both figures beside the tables."""
    matplotlib.use("Agg")
    plt.rcParams["svg.hashsalt"] = "leaks"  # the same file each time
    plt.rcParams["font.size"] = 9
    draw(accuracies, "accuracies", (7.4, 3.6))
    draw(leaks, "leaks", (7.4, 3.6))


def accuracies(axes: Axes) -> None:
    """Draw the accuracy of each protocol with its interval, and the rival that sees a thumbnail."""
    rows = {(row["network"], row["protocol"]): row for row in table("protocols")}
    for place, protocol in enumerate(PROTOCOLS):
        for network in NETWORKS:
            row = rows[network, protocol]
            low, high = numbers(row["95 % interval"])
            bar(axes, place, network, numbers(row["accuracy"])[0], low, high)
    rivals = {row["rival"]: numbers(row["folds of patients"])[0] for row in table("rivals")}
    for name, text in (("thumbnail", "thumbnail, no network"), ("class prior", "largest class")):
        axes.axhline(rivals[name], color=GREY, lw=1, ls=":")
        axes.annotate(
            f"{text} {rivals[name]:.3f}",
            (4.45, rivals[name]),
            (0, 2),
            ha="right",
            color=GREY,
            fontsize=8,
            textcoords="offset points",
        )
    published = (0.8298, 0.9013, 0.8598)
    axes.axhspan(min(published), max(published), color="#E69F00", alpha=0.25, lw=0)
    axes.annotate(
        "reported by the paper: 0.83 to 0.90", (4.45, 0.865), ha="right", va="center", fontsize=8
    )
    axes.set_xticks(range(len(PROTOCOLS)), PROTOCOLS.values())
    axes.set(ylabel="accuracy", ylim=(0.2, 0.95), xlim=(-0.5, 4.5))
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.87), frameon=False, fontsize=8)


def leaks(axes: Axes) -> None:
    """Draw how many points of accuracy each leak adds, with its interval."""
    rows = {(row["network"], row["protocol"], row["less"]): row for row in table("leaks")}
    for place, step in enumerate(STEPS):
        for network in NETWORKS:
            row = rows[(network, *step)]
            low, high = numbers(row["95 % interval"])
            bar(axes, place, network, float(row["points of accuracy"]), low, high)
    axes.axhline(0, color=GREY, lw=1)
    axes.axvline(3.5, color=GREY, lw=0.5)
    axes.set_xticks(range(len(STEPS)), STEPS.values())
    axes.set(ylabel="points of accuracy added", xlim=(-0.5, 4.5))
    axes.legend(loc="upper left", frameon=False, fontsize=8)


def bar(axes: Axes, place: int, network: str, value: float, low: float, high: float) -> None:
    """Draw one value and its interval; each network has its own place beside the others."""
    x = place + 0.2 * (list(NETWORKS).index(network) - 1)
    colour = COLOURS[network]
    axes.plot([x, x], [low, high], color=colour, lw=3, alpha=0.4, solid_capstyle="butt")
    label = NETWORKS[network] if place == 0 else None
    axes.plot(x, value, "o", color=colour, ms=5, label=label)


def draw(fill, name: str, size: tuple[float, float]) -> None:
    """Write one figure as SVG."""
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    fill(axes)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", length=0, labelsize=8)
    figure.savefig(RESULTS / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def table(name: str) -> list[dict[str, str]]:
    """Read one of the tables that ``run.py`` published."""
    with (RESULTS / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def numbers(text: str) -> list[float]:
    """Return the numbers in a cell such as ``+1.4 (-0.5 to +3.3)``."""
    return [float(found) for found in re.findall(r"[+-]?\d+\.\d+", text)]


if __name__ == "__main__":
    main()
