"""Evaluate a classifier of one hospital on children of another, and look at its subgroups.

Run: ``python -m studies.what_is_lost_elsewhere.run --data FOLDER --cache FOLDER``
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

import detl
from detl import plots
from studies.shared import tasks

RESULTS = Path(__file__).parent / "results"
SICK = "pneumonia or opacity"
BORDERS = (18, 40, 60)  # years


def main() -> None:
    """Cross-validate inside, fit on all, evaluate outside, write the tables as they print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="with nih, rsna and kermany")
    parser.add_argument("--cache", type=Path, required=True, help="of sources and folds")
    parsed = parser.parse_args()
    source = tasks.source("rsna", "alexnet", parsed.data, parsed.cache)
    adults, children = tasks.read("rsna", parsed.data), tasks.read("kermany", parsed.data)
    known = attributes(parsed.data / "rsna" / "metadata.csv")

    all_classes = three_classes(source, adults, parsed.cache)
    write("subgroups.txt", all_classes.subgroups(known, class_name="lung_opacity"))
    write("auc_by_view.txt", auc_by_view(all_classes, np.array(known["view"])))
    point = all_classes.operating_point("lung_opacity", sensitivity=0.9, prevalence=0.1)
    write("operating_point.txt", point)
    write("recalibration.txt", all_classes.recalibration())
    curve = all_classes.net_benefit("lung_opacity")
    write("net_benefit.txt", curve)
    plots.net_benefit(curve).savefig(RESULTS / "net_benefit.png", dpi=110)

    kept = adults.labels != "not_normal"
    images, patients = adults.images[kept], adults.groups[kept]
    labels = np.where(adults.labels[kept] == "normal", "normal", SICK)
    transfer = detl.DomainExtensionTransfer(source, random_state=0)
    inside = detl.cross_validate(
        transfer,
        images,
        labels,
        groups=patients,
        on_leak="ignore",  # of copies; no patient is on both sides
        checkpoint_dir=parsed.cache / "adults",
        random_state=0,
    )
    outside = detl.evaluate(
        transfer.fit(images, labels),
        children.images,
        np.where(children.labels == "normal", "normal", SICK),
        groups=[f"kermany-{child}" for child in children.groups],
        internal=inside,
        random_state=0,
    )
    write("internal.txt", inside)
    write("internal_operating_point.txt", inside.operating_point(SICK, sensitivity=0.9))
    write("external.txt", outside)
    write("external_operating_point.txt", outside.operating_point(SICK, sensitivity=0.9))


def three_classes(
    source: detl.SourceModel, adults: tasks.Set, cache: Path
) -> detl.CrossValidationResult:
    """Cross-validate all three readings of the radiologists."""
    return detl.cross_validate(
        detl.DomainExtensionTransfer(source),
        adults.images,
        adults.labels,
        groups=adults.groups,
        on_leak="ignore",
        checkpoint_dir=cache / "three_classes",
        random_state=0,
    )


def attributes(path: Path) -> dict[str, list[str]]:
    """Return view, sex and age of each radiograph."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ["under 18", "18 to 39", "40 to 59", "60 or more"]
    ages = np.digitize([int(row["age"]) for row in rows], BORDERS)
    return {
        "view": [row["view"] for row in rows],
        "sex": [row["sex"] for row in rows],
        "age": [names[age] for age in ages],
    }


def auc_by_view(result: detl.CrossValidationResult, views: np.ndarray) -> str:
    """Return the area under the ROC curve of opacity against the rest within each view."""
    column = result.classes.tolist().index("lung_opacity")
    lines = ["ROC AUC of 'lung_opacity' against the rest, mean over folds"]
    for view in np.unique(views):
        folds = []
        for fold, found in zip(result.folds, result.fold_predictions, strict=True):
            rows = views[fold.test] == view
            folds.append(
                detl.metrics.Predictions(
                    targets=found.targets[rows],
                    probabilities=found.probabilities[rows],
                    units=found.units[rows],
                )
            )
        _, of_classes = detl.metrics.scores(folds, unit="groups", random_state=0)
        area = of_classes[column]["roc_auc"]
        low, high = area.interval.low, area.interval.high
        lines.append(f"{view}  {area.mean:.3f} ({low:.3f} to {high:.3f})  {area.interval.method}")
    return "\n".join(lines)


def write(name: str, found: object) -> None:
    """Write what was found as it prints."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / name).write_text(f"{found}\n", encoding="utf-8")
    print(found, "\n", flush=True)


if __name__ == "__main__":
    main()
