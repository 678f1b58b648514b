"""Ask whether the classifier of the chest X-ray example looks at the lungs.

On its four classes, folds by patient. COVID-19 images come from four collections, all others from
the NIH, so that much is there to be found.

Run: ``python -m studies.does_the_network_need_the_lungs.run --data FOLDER --source SOURCE.keras``
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np

import detl
from examples.covid_chest_xray import material
from studies.shared import radiographs

RESULTS = Path(__file__).parent / "results"

SIZE = 128
# Chosen on the mean image of each class, and the same for all images: the lungs with a margin.
LUNGS = (0.10, 0.08, 0.88, 0.92)
BORDER = 0.08
# A third of the epochs of what_does_the_split_change: a shortcut is what is learned first.
SETTINGS = {"epochs": 15, "learning_rate": 1e-3, "class_weight": "balanced", "precision": "auto"}
NIH_SIZE = (1024, 1024)  # of every file that the NIH gives out


def main() -> None:
    """Cross-validate, examine, and write the report and its picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--source", type=Path, required=True, help="what detl.pretrain trained")
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/shortcut_report"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()

    target = radiographs.read(parsed.data, seed=parsed.seed).target
    transfer = detl.DomainExtensionTransfer.as_published(str(parsed.source), **SETTINGS)
    started = time.perf_counter()
    result = detl.cross_validate(
        transfer,
        target.images,
        target.labels,
        groups=target.patients,
        on_leak="ignore",  # known, see studies/what_does_the_split_change
        checkpoint_dir=parsed.checkpoints / "network",
        random_state=parsed.seed,
    )
    print(result, flush=True)
    report = detl.shortcuts.examine(
        result,
        transfer,
        target.images,
        region=LUNGS,
        border=BORDER,
        sites=target.collections,
        sizes=original_sizes(target, parsed.data / "covid/metadata.csv"),
        checkpoint_dir=parsed.checkpoints,
    )
    print(report)
    print(f"-- {time.perf_counter() - started:.0f} s")
    parsed.output.mkdir(parents=True, exist_ok=True)
    (parsed.output / "report.txt").write_text(f"{report}\n")
    detl.plots.shortcut_report(report).savefig(parsed.output / "report.png", dpi=80)
    record = {
        "settings": SETTINGS | {"size": SIZE, "region": LUNGS, "border": BORDER},
        "seed": parsed.seed,
        "versions": result.versions,
        "tests": {name: test.to_dict() for name, test in report.tests.items()},
    }
    (parsed.output / "report.json").write_text(json.dumps(record, indent=2) + "\n")


def original_sizes(target: material.Part, table: Path) -> np.ndarray:
    """Return height and width of each image's file as its collection gives it out, ``(n, 2)``."""
    with table.open(newline="", encoding="utf-8") as file:
        known = {
            row["filename"]: (float(row["original_height"]), float(row["original_width"]))
            for row in csv.DictReader(file)
        }
    return np.array(
        [
            NIH_SIZE if collection == "nih" else known[name]
            for name, collection in zip(target.names, target.collections)
        ]
    )


if __name__ == "__main__":
    main()
