"""What helps against shortcuts: change the images, and examine the classifier again.

The four classes of the chest X-ray example, folds by patient, each change made to all images
alike, whatever their class. Only the target images are changed; the source model stays.

    python -m studies.what_helps_against_shortcuts.run --data FOLDER --source SOURCE.keras
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.exposure import equalize_adapthist, match_histograms

import detl
from examples.covid_chest_xray import material
from studies.shared import radiographs
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

SIZE = 128
# As in does_the_network_need_the_lungs: chosen on the mean image of each class, the same for all.
GREY = 128  # as the shortcut tests fill a region
LUNGS = (0.10, 0.08, 0.88, 0.92)
BORDER = 0.08
SETTINGS = {"epochs": 15, "learning_rate": 1e-3, "class_weight": "balanced", "precision": "auto"}
REFERENCES = 200  # source images whose pooled histogram is matched
CONTROLS = "controls of the same collections"
TESTS = (
    "region blanked",
    "border kept",
    "background",
    "border",
    "site from image",
    "site held out",
)

Change = Callable[[np.ndarray, material.Material], np.ndarray]


def cropped(images: np.ndarray, data: material.Material) -> np.ndarray:
    """Return the lungs' box alone, as large as the images were."""
    top, left, bottom, right = box()
    return np.stack(
        [
            np.asarray(
                Image.fromarray(image[top:bottom, left:right, 0]).resize(
                    (SIZE, SIZE), Image.Resampling.BILINEAR
                )
            )
            for image in images
        ]
    )[..., np.newaxis]


def masked(images: np.ndarray, data: material.Material) -> np.ndarray:
    """Return the images with one grey around the lungs' box."""
    top, left, bottom, right = box()
    found = np.full_like(images, GREY)
    found[:, top:bottom, left:right] = images[:, top:bottom, left:right]
    return found


def equalised(images: np.ndarray, data: material.Material) -> np.ndarray:
    """Equalise the contrast of each image in tiles (CLAHE)."""
    return np.stack(
        [255 * equalize_adapthist(image[..., 0], clip_limit=0.01)[..., None] for image in images]
    ).astype("uint8")


def matched(images: np.ndarray, data: material.Material) -> np.ndarray:
    """Give every image the grey levels of the source images."""
    drawn = np.random.default_rng(0).permutation(len(data.train.images))[:REFERENCES]
    reference = data.train.images[drawn].reshape(-1, SIZE)
    return np.stack(
        [np.round(match_histograms(image[..., 0], reference))[..., np.newaxis] for image in images]
    ).astype("uint8")


def degraded(images: np.ndarray, data: material.Material) -> np.ndarray:
    """Bring all images to 64 pixels and the same JPEG quality, and back."""
    found = []
    for image in images:
        small = Image.fromarray(image[..., 0]).resize((64, 64), Image.Resampling.BOX)
        file = io.BytesIO()
        small.save(file, "JPEG", quality=50)
        again = Image.open(file).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        found.append(np.asarray(again)[..., np.newaxis])
    return np.stack(found)


def all_of_them(images: np.ndarray, data: material.Material) -> np.ndarray:
    """Degrade, match and crop."""
    for change in (degraded, matched, cropped):
        images = change(images, data)
    return images


CHANGES: dict[str, Change | None] = {
    "none": None,
    "cropped to the lungs": cropped,
    "grey around the lungs": masked,
    "CLAHE": equalised,
    "histograms matched": matched,
    "64 px and JPEG 50 for all": degraded,
    "all three: 64 px, matched, cropped": all_of_them,
    CONTROLS: None,
}
# What is left of the box where the image was cropped to it: all but a border.
CROPPED = ("cropped to the lungs", "all three: 64 px, matched, cropped")


def box() -> tuple[int, int, int, int]:
    """Return the lungs' box in pixels."""
    top, left, bottom, right = (round(share * SIZE) for share in LUNGS)
    return top, left, bottom, right


def main() -> None:
    """Examine the classifier after each change that has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--source", type=Path, required=True, help="what detl.pretrain trained")
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/mitigations"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()

    data = radiographs.read(parsed.data, seed=parsed.seed, pneumonia="any")
    controls = radiographs.controls(parsed.data)
    parsed.output.mkdir(parents=True, exist_ok=True)
    record_path = parsed.output / "mitigations.json"
    record: dict[str, Any] = json.loads(record_path.read_text()) if record_path.exists() else {}
    for name in parsed.only:
        if name in record:
            continue
        print(f"== {name}", flush=True)
        record[name] = examined(name, data, controls, parsed)
        record_path.write_text(json.dumps(record, indent=2) + "\n")
    write(parsed.output / "mitigations.csv", record)


def examined(
    name: str, data: material.Material, controls: material.Part, parsed: argparse.Namespace
) -> dict[str, Any]:
    """Cross-validate and examine one way to treat the images."""
    part = data.target
    if name == CONTROLS:
        part = material.Part(
            **{
                field.name: np.concatenate(
                    [getattr(part, field.name), getattr(controls, field.name)]
                )
                for field in dataclasses.fields(material.Part)
            }
        )
    change = CHANGES[name]
    images = part.images if change is None else change(part.images, data)
    started = time.perf_counter()
    transfer = detl.DomainExtensionTransfer.as_published(str(parsed.source), **SETTINGS)
    folder = parsed.checkpoints / "".join(c if c.isalnum() else "_" for c in name)
    result = detl.cross_validate(
        transfer,
        images,
        part.labels,
        groups=part.patients,
        on_leak="ignore",  # known, see studies/what_does_the_split_change
        checkpoint_dir=folder / "network",
        random_state=parsed.seed,
    )
    report = detl.shortcuts.examine(
        result,
        transfer,
        images,
        region=region_of(name),
        border=BORDER,
        sites=part.collections,
        checkpoint_dir=folder,
    )
    print(report, flush=True)
    return {
        "images": len(images),
        "accuracy": result.accuracy,
        "interval": [result.interval.low, result.interval.high],
        "roc_auc": result.scores["roc_auc"].mean,
        "sensitivity": {
            str(label): found["sensitivity"].mean for label, found in result.class_scores.items()
        },
        "tests": {test: report.tests[test].to_dict() for test in report.tests},
        "settings": SETTINGS | {"seed": parsed.seed, "region": region_of(name), "border": BORDER},
        "versions": result.versions,
        "seconds": round(time.perf_counter() - started),
    }


def region_of(name: str) -> tuple[float, float, float, float]:
    """Return where the lungs are after a change, in shares of the sides."""
    return (BORDER, BORDER, 1 - BORDER, 1 - BORDER) if name in CROPPED else LUNGS


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a row per change: accuracy, and for each test the class that looks worst."""
    rows = []
    for name, found in record.items():
        low, high = found["interval"]
        row = {
            "change": name,
            "images": found["images"],
            "accuracy": f"{found['accuracy']:.3f} ({low:.3f} to {high:.3f})",
            "ROC AUC": f"{found['roc_auc']:.3f}",
            "sensitivity covid-19": f"{found['sensitivity']['covid-19']:.2f}",
        }
        for test in TESTS:
            row[test] = worst(found["tests"].get(test))
        rows.append(row)
    write_csv(path, rows)


def worst(test: dict[str, Any] | None) -> str:
    """Return estimate and interval of the most suspicious class, and the verdict."""
    if test is None or not test["estimates"]:
        return "not judged"
    known = [estimate for estimate in test["estimates"] if estimate["value"] is not None]
    if not known:
        return test["verdict"]
    most = max(known, key=lambda estimate: estimate["low"] if estimate["low"] is not None else -1)
    between = "" if most["low"] is None else f" ({most['low']:.2f} to {most['high']:.2f})"
    return f"{most['value']:.2f}{between} {most['class']}: {test['verdict']}"


if __name__ == "__main__":
    main()
