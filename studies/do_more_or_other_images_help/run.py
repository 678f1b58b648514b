"""What lies between the best honest number and ten points above its rivals: which images, how many.

Data-B is drawn at random, as the experiment draws it, and from the patients of whom Data-A would
lose the fewest images, as ``what_limits_the_source`` counts it. The classifiers are those of
``how_high_without_leaks`` on features of ImageNet, with equal weights; the rivals its own. Folds by
patient; fewer images are fewer of the training patients, all test folds stay. Nothing is chosen. A
row that the table has is not computed again.

Run: ``python -m studies.do_more_or_other_images_help.run --data FOLDER --imagenet LITE0.keras``
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

import detl
from examples.covid_chest_xray import experiment, material, tables
from studies.shared.draws import DRAWS, data_b
from studies.shared.features import RIVALS, averaged, features, fitted, folds_of
from studies.shared.tables import cell, write_csv

RESULTS = Path(__file__).parent / "results"

SIZE = 128
SEEDS = (0, 1, 2)
SHARES = (1.0, 0.5, 0.25)
KEYS = ("Data-B drawn", "seed", "share of training patients")

Columns = Mapping[str, np.ndarray]


def main() -> None:
    """Cross-validate every draw and share, and write one row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--imagenet", type=Path, required=True, help="EfficientNet-Lite0")
    parser.add_argument("--draw", nargs="+", choices=DRAWS, default=DRAWS)
    parser.add_argument("--seed", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parsed = parser.parse_args()
    nih, covid = parsed.data / "nih", parsed.data / "covid"
    of_nih = tables.read_nih(nih / "Data_Entry_2017.csv", nih / "images_128", on_missing="skip")
    of_covid = tables.read_covid(covid / "metadata.csv", covid / "images_128", on_missing="skip")
    network = keras.saving.load_model(parsed.imagenet, compile=False)
    path = parsed.output / "draws.csv"
    rows: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    for draw, seed in itertools.product(parsed.draw, parsed.seed):
        keys = [dict(zip(KEYS, (draw, str(seed), f"{share:.0%}"))) for share in SHARES]
        missing = [key for key in keys if not any(key.items() <= row.items() for row in rows)]
        if not missing:
            continue
        drawn = data_b(of_nih, of_covid, draw=draw, seed=seed)
        target = material.load_part(drawn, SIZE)
        columns = features(network, target.images)
        result = folds_of(target, seed)
        for key in missing:
            share = SHARES[keys.index(key)]
            fewer = with_fewer_patients(result, target.patients, share, seed)
            rows.append(key | judged(fewer, columns, target))
            print(rows[-1], flush=True)
            order = {rule: number for number, rule in enumerate(DRAWS)}
            rows.sort(
                key=lambda row: (order[row[KEYS[0]]], row[KEYS[1]], -float(row[KEYS[2]].strip("%")))
            )
            write_csv(path, rows)


def with_fewer_patients(
    result: detl.CrossValidationResult, patients: np.ndarray, share: float, seed: int
) -> detl.CrossValidationResult:
    """Keep a share of each fold's training patients of each class, drawn at random."""
    rng = np.random.default_rng([seed, 1])
    folds = []
    for fold in result.folds:
        kept = []
        for name in result.classes:
            of_class = fold.train[result.labels[fold.train] == name]
            known = np.unique(patients[of_class])
            taken = rng.permutation(known)[: round(share * len(known))]
            kept.append(of_class[np.isin(patients[of_class], taken)])
        folds.append(dataclasses.replace(fold, train=np.sort(np.concatenate(kept))))
    return dataclasses.replace(result, folds=tuple(folds))


def judged(
    result: detl.CrossValidationResult, columns: Columns, target: material.Part
) -> dict[str, str]:
    """Return how good the features are, and the best of the rivals beside them."""
    ours = averaged(columns, result)
    rivals = {name: fitted(model, columns["thumbnail"], result) for name, model in RIVALS.items()}
    best = max(rivals, key=lambda name: rivals[name].accuracy)
    more = experiment.worth(ours, rivals[best], target.patients)
    of_nih = target.labels != tables.COVID
    diseased = 1 - ours.probabilities[:, result.classes.tolist().index(tables.NORMAL)]
    auc = roc_auc_score(target.labels[of_nih] != tables.NORMAL, diseased[of_nih])
    return {
        "training images": f"{np.mean([len(fold.train) for fold in result.folds]):.0f}",
        "patients of all": str(len(set(target.patients.tolist()))),
        "features of ImageNet": cell(ours),
        "best rival": f"{rivals[best].accuracy:.3f}, {best}",
        "points more": "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * v for v in more.values())),
        "AUC, normal against the NIH's others": f"{auc:.3f}",
    }


if __name__ == "__main__":
    main()
