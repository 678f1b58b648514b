"""Ask whether heatmaps of an extended network lie where radiologists drew boxes of opacity.

The 237 radiographs of the RSNA with boxes, each explained by the network of the fold that was not
trained on its patient. The class "lung_opacity" is explained on all of them, also where the network
says another. Judged by :mod:`detl.faithfulness` beside random maps, the centre of the image, and
the heatmaps of other patients: opacities lie in the lungs, and a map that always showed the same
place in there would hit some.

Run: ``python -m studies.do_heatmaps_find_the_opacities.run --data FOLDER --cache FOLDER``
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import detl
from detl import faithfulness
from studies.shared import tasks
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

SIZE = 128
ORIGINAL = 1024  # pixels of the frame of the boxes
OPACITY = "lung_opacity"
METHODS = {"Grad-CAM": "gradcam", "HiResCAM": "hirescam"}
N_FOLDS, SEED = 5, 0


def main() -> None:
    """Train a network for each fold, explain what it has not seen, write table and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="with nih and rsna")
    parser.add_argument("--cache", type=Path, required=True, help="of sources")
    parser.add_argument("--backbones", nargs="+", default=["alexnet"])
    parsed = parser.parse_args()
    target, (boxed, masks) = tasks.read("rsna", parsed.data), boxes(parsed.data / "rsna")
    rows, means = [], {}
    for backbone in parsed.backbones:
        source = tasks.source("rsna", backbone, parsed.data, parsed.cache)
        maps, said = explained(source, target, boxed)
        for title, heatmaps in maps.items():
            means[f"{title}, {backbone}"] = heatmaps.mean(axis=0)
            for which, chosen in (("all", said >= 0), ("called an opacity", said == 1)):
                rows += judged(
                    {"network": backbone, "heatmap": title, "images": f"{which} ({chosen.sum()})"},
                    heatmaps[chosen],
                    masks[chosen],
                    target.groups[boxed][chosen],
                )
    write_csv(RESULTS / "boxes.csv", rows)
    draw({"boxes": masks.mean(axis=0), **means}).savefig(RESULTS / "means.png", dpi=110)


def boxes(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the target with boxes, and a mask of each, ``(n, SIZE, SIZE)``."""
    found: dict[str, list[list[float]]] = {}
    with (folder / "boxes.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            x, y, width, height = (float(row[name]) for name in ("x", "y", "width", "height"))
            found.setdefault(row["filename"], []).append([x, y, width, height])
    with (folder / "metadata.csv").open(newline="") as file:
        names = [row["filename"] for row in csv.DictReader(file)]
    rows = np.array([index for index, name in enumerate(names) if name in found])
    scaled = [np.array(found[names[index]]) * SIZE / ORIGINAL for index in rows]
    return rows, faithfulness.box_masks(scaled, (SIZE, SIZE))


def explained(
    source: detl.SourceModel, target: tasks.Set, boxed: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return heatmaps of the images with boxes, and whether each was called an opacity."""
    maps = {title: np.zeros((len(boxed), SIZE, SIZE), "float32") for title in METHODS}
    said = np.zeros(len(boxed), int)
    folds = detl.folds.stratified_folds(
        target.labels, groups=target.groups, n_splits=N_FOLDS, random_state=SEED
    )
    for train, test in folds:
        transfer = detl.DomainExtensionTransfer(source, random_state=SEED)
        transfer.fit(target.images[train], target.labels[train])
        mine = np.flatnonzero(np.isin(boxed, test))
        images = target.images[boxed[mine]]
        column = transfer.classes_.tolist().index(OPACITY)
        said[mine] = transfer.predict(images) == OPACITY
        for title, method in METHODS.items():
            cam = detl.GradCAM(transfer, method=method)
            maps[title][mine] = cam.explain(images, target_class=column).heatmaps
    return maps, said


def judged(
    of: dict[str, str], heatmaps: np.ndarray, masks: np.ndarray, patients: np.ndarray
) -> list[dict[str, object]]:
    """Return a row for each measure."""
    measures = {
        "pointing game": faithfulness.pointing_game,
        "energy over area": faithfulness.energy,
    }
    rows: list[dict[str, object]] = []
    for title, measure in measures.items():
        found = measure(heatmaps, masks, groups=patients, random_state=SEED)
        print(*of.values(), found, sep="\n", flush=True)
        rows.append(
            {
                **of,
                "measure": title,
                "heatmaps": found.heatmaps,
                "of other patients": found.others,
                "random map": found.random,
                "centre": found.centre,
            }
        )
    return rows


def draw(means: dict[str, np.ndarray]) -> Figure:
    """Draw mean maps side by side, each on its own scale."""
    figure = Figure(figsize=(2.4 * len(means), 2.8), layout="constrained")
    for axis, (title, mean) in zip(figure.subplots(1, len(means)), means.items(), strict=True):
        axis.imshow(mean, cmap="inferno")
        axis.set_title(title, fontsize="small")
        axis.set_axis_off()
    return figure


if __name__ == "__main__":
    main()
