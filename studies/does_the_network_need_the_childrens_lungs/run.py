r"""Ask whether a network that reads children's radiographs looks at the lungs that were drawn.

On the three classes of Kermany et al. 2018, one image a child, with a mask of the lungs for each:
the shortcut report of the default target stage, of a source trained on adults. Once with each
child's own lungs, whose outlines may tell the class; once with one region for all.

    python -m studies.does_the_network_need_the_childrens_lungs.run \
        --data FOLDER --cache FOLDER
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import detl
from studies.shared import tasks

RESULTS = Path(__file__).parent / "results"

SIZE = 128
SEED = 0
RARELY = 0.1  # the one region is where more of the children have lungs


def main() -> None:
    """Cross-validate, examine, and write the report and its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="with nih and kermany")
    parser.add_argument("--cache", type=Path, required=True, help="of sources")
    parsed = parser.parse_args()
    children, lungs = with_lungs(parsed.data)
    source = tasks.source("kermany", "alexnet", parsed.data, parsed.cache)
    transfer = detl.DomainExtensionTransfer(source)
    result = detl.cross_validate(
        transfer, children.images, children.labels, groups=children.groups, random_state=SEED
    )
    print(result, flush=True)
    record: dict[str, Any] = {
        "images": len(children.labels),
        "area of the lungs": {
            name: round(float(lungs[children.labels == name].mean()), 3)
            for name in np.unique(children.labels)
        },
        "seed": SEED,
        "versions": result.versions,
    }
    one = np.broadcast_to(lungs.mean(axis=0) > RARELY, lungs.shape)
    record["area of the one region"] = round(float(one.mean()), 3)
    for name, region in (("own", lungs), ("one", one)):
        report = detl.shortcuts.examine(
            result, transfer, children.images, region=region, border=None
        )
        print(report)
        (RESULTS / f"{name}.txt").write_text(f"{report}\n")
        detl.plots.shortcut_report(report).savefig(RESULTS / f"{name}.png", dpi=80)
        record[name] = {test: of_one.to_dict() for test, of_one in report.tests.items()}
    (RESULTS / "reports.json").write_text(json.dumps(record, indent=2) + "\n")


def with_lungs(folder: Path) -> tuple[tasks.Set, np.ndarray]:
    """Return the children whose lungs were drawn, and the masks, ``(n, SIZE, SIZE)``."""
    drawn = folder / "kermany" / "lung_masks"
    with (drawn / "masks.csv").open(newline="") as file:
        known = {row["image"]: drawn / row["mask"] for row in csv.DictReader(file)}
    names = tasks.kermany_names(folder)
    rows = np.array([index for index, name in enumerate(names) if name in known])
    masks = [
        np.asarray(Image.open(known[names[index]]).resize((SIZE, SIZE), Image.Resampling.NEAREST))
        for index in rows
    ]
    children = tasks.read("kermany", folder)
    assert children.groups is not None
    chosen = tasks.Set(
        images=children.images[rows], labels=children.labels[rows], groups=children.groups[rows]
    )
    return chosen, np.array(masks) > 0


if __name__ == "__main__":
    main()
