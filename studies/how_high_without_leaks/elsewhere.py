"""Whether the average of classifiers on ImageNet's features is as far ahead on other images.

Its recipe was found on Data-B. Here it meets two sets that had no part in that, one of them without
the patients of Data-B: the fifteen classifiers of ``FEATURES`` on ImageNet's network, equal
weights, and the rivals on a thumbnail, on five folds by patient. Nothing is chosen; the best rival
is the best on the same test folds, which favours it.

Run: ``python -m studies.how_high_without_leaks.elsewhere --data FOLDER --imagenet LITE0.keras``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np

from examples.covid_chest_xray import material
from studies.shared import radiographs, tasks
from studies.shared.features import RIVALS, averaged, features, fitted, folds_of
from studies.shared.tables import cell, points, write_csv

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Cross-validate the average and its rivals on each set; write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the radiographs")
    parser.add_argument("--imagenet", type=Path, required=True, help="EfficientNet-Lite0")
    parsed = parser.parse_args()
    network = keras.saving.load_model(parsed.imagenet, compile=False)
    rows: list[dict[str, str]] = []
    for name in ("rsna", "kermany"):
        rows.append(compared(name, others(name, parsed.data), network))
        print(rows[-1], flush=True)
    write_csv(RESULTS / "elsewhere.csv", rows)


def others(name: str, folder: Path) -> material.Part:
    """Read the images of a set, but for patients of Data-B."""
    found = tasks.read(name, folder)
    assert found.groups is not None
    patients = found.groups.astype(str)
    if name == "rsna":
        patients = np.array([f"nih-{int(patient)}" for patient in patients])
    known = radiographs.read(folder, pneumonia="any").target.patients
    left = ~np.isin(patients, known)
    return material.Part(
        images=found.images[left],
        labels=found.labels[left],
        patients=patients[left],
        names=np.flatnonzero(left).astype(str),
        collections=np.full(left.sum(), name),
    )


def compared(name: str, target: material.Part, network: keras.Model) -> dict[str, str]:
    """Return accuracies, and the difference paired over patients."""
    folds = folds_of(target, seed=0)
    columns = features(network, target.images)
    average = averaged(columns, folds)
    rivals = {each: fitted(model, columns["thumbnail"], folds) for each, model in RIVALS.items()}
    best = max(rivals, key=lambda each: rivals[each].accuracy)
    return {
        "task": name,
        "images": str(len(target.labels)),
        "patients": str(len(np.unique(target.patients))),
        "mean of 15 classifiers": cell(average),
        "best rival": f"{cell(rivals[best])}, {best}",
        "points more than it": points(average, rivals[best], target),
    }


if __name__ == "__main__":
    main()
