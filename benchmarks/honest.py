"""How high an honest accuracy gets: levers of the target stage, chosen inside each fold.

Folds by patient, no patient of the target in the source's images. Every lever is tried twice: on an
inner split of each fold's training images, which chooses, and on the fold itself, which is
reported. So the accuracy of what was chosen is not that of the luckiest of many.

Run: ``python -m benchmarks.honest --data FOLDER --source SOURCE.keras [--further SOURCE.keras]``
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import detl
from benchmarks import radiographs
from examples.covid_chest_xray import experiment, material

SIZE, N_FOLDS = 128, 5
BASE = {"epochs": 50, "learning_rate": 1e-3, "class_weight": "balanced", "precision": "auto"}
PAPER = "the paper's rate, 1e-4"
SCRATCH = "from scratch"
# Each changes the base in one thing, but for the last ones, which were written down beforehand,
# too. "models" are trained from other seeds, and their probabilities averaged.
LEVERS: dict[str, dict[str, Any]] = {
    "base": {},
    PAPER: {"learning_rate": 1e-4},
    "rate 3e-3": {"learning_rate": 3e-3},
    "20 epochs": {"epochs": 20},
    "150 epochs": {"epochs": 150},
    "classes unweighted": {"class_weight": None},
    "4 augmented views": {"augmented_views": 4},
    "new layer only": {"trainable_from": "logits"},
    "one block more": {"trainable_from": "previous"},
    "everything": {"trainable_from": "input"},
    "three models": {"models": 3},
    "further source images": {"source": "further"},
    "everything, views, three models": {
        "trainable_from": "input",
        "augmented_views": 4,
        "models": 3,
    },
    "further, views, three models": {"source": "further", "augmented_views": 4, "models": 3},
    SCRATCH: {"source": "untrained", "trainable_from": "input"},
    "from scratch, views, three models": {
        "source": "untrained",
        "trainable_from": "input",
        "augmented_views": 4,
        "models": 3,
    },
}


def main() -> None:
    """Cross-validate all levers, choose by the inner splits, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--source", type=Path, required=True, help="what detl.pretrain trained")
    parser.add_argument("--further", type=Path, help="the same with further images")
    parser.add_argument("--only", nargs="+", choices=list(LEVERS), default=None)
    parser.add_argument("--checkpoints", type=Path, default=Path("runs/honest"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/honest"))
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()

    target = radiographs.read(parsed.data, seed=parsed.seed, pneumonia="any").target
    source = detl.load_source(parsed.source)
    keras.utils.set_random_seed(parsed.seed)  # of the untrained network's weights
    sources = {
        "source": source,
        "untrained": untrained(source),
        "further": detl.load_source(parsed.further) if parsed.further else None,
    }
    outer = detl.folds.stratified_folds(
        target.labels, groups=target.patients, n_splits=N_FOLDS, random_state=parsed.seed
    )
    inner = [inner_split(target, train, parsed.seed) for train, _ in outer]
    found: dict[str, dict[str, detl.CrossValidationResult]] = {"inner": {}, "outer": {}}
    for name in parsed.only or LEVERS:
        lever = BASE | {"source": "source", "models": 1} | LEVERS[name]
        if sources[lever["source"]] is None:
            continue
        for which, folds in (("inner", inner), ("outer", outer)):
            print(f"== {name}, {which}", flush=True)
            found[which][name] = cross_validated(
                lever, sources, target, folds, parsed.checkpoints / which / slug(name), parsed.seed
            )
            print(found[which][name], flush=True)
    outer_results = found["outer"]
    rivals = detl.shortcuts.rivals(
        next(iter(outer_results.values())),
        target.images,
        classifiers={"SVM": make_pipeline(StandardScaler(), SVC(C=10))},
    ).results
    chosen, result = nested(found["inner"], outer_results)
    write(parsed.output, found, result, chosen, rivals, target, parsed)


def untrained(source: detl.SourceModel) -> keras.Model:
    """Return the source's network with weights drawn anew."""
    network = keras.models.clone_model(source.model)
    return network


def inner_split(target: material.Part, train: np.ndarray, seed: int) -> tuple[Any, Any]:
    """Return a fifth of a fold's training patients to judge by, and the others to train on."""
    rows, held_out = detl.folds.stratified_folds(
        target.labels[train], groups=target.patients[train], n_splits=5, random_state=seed
    )[0]
    return train[rows], train[held_out]


def cross_validated(
    lever: Mapping[str, Any],
    sources: Mapping[str, Any],
    target: material.Part,
    folds: list[tuple[np.ndarray, np.ndarray]],
    checkpoints: Path,
    seed: int,
) -> detl.CrossValidationResult:
    """Cross-validate a lever; of several models, the mean of their probabilities."""
    source = sources[lever["source"]]
    options = {name: lever[name] for name in lever if name not in ("source", "models")}
    if options.get("trainable_from") == "previous":
        network = getattr(source, "model", source)
        options["trainable_from"] = detl.backbones.block_names(network)[-2]
    results = [
        detl.cross_validate(
            detl.DomainExtensionTransfer(source, **options),
            target.images,
            target.labels,
            groups=target.patients,
            cv=folds,
            on_leak="ignore",  # by patient: the audit would find copies, and does elsewhere
            checkpoint_dir=checkpoints / str(model),
            random_state=seed + 1000 * model,
        )
        for model in range(lever["models"])
    ]
    averaged = tuple(
        dataclasses.replace(
            same[0], probabilities=np.mean([fold.probabilities for fold in same], axis=0)
        )
        for same in zip(*(result.folds for result in results), strict=True)
    )
    return dataclasses.replace(results[0], folds=averaged)


def nested(
    inner: Mapping[str, detl.CrossValidationResult],
    outer: Mapping[str, detl.CrossValidationResult],
) -> tuple[list[str], detl.CrossValidationResult]:
    """Take in each fold what was best on its inner split."""
    names = list(inner)
    accuracies = np.array([inner[name].accuracies for name in names])
    chosen = [names[row] for row in accuracies.argmax(axis=0)]
    first = outer[names[0]]
    folds = tuple(outer[name].folds[k] for k, name in enumerate(chosen))
    return chosen, dataclasses.replace(first, folds=folds)


def write(
    folder: Path,
    found: Mapping[str, Mapping[str, detl.CrossValidationResult]],
    result: detl.CrossValidationResult,
    chosen: list[str],
    rivals: Mapping[str, detl.CrossValidationResult],
    target: material.Part,
    parsed: argparse.Namespace,
) -> None:
    """Write a row per lever, and what was chosen beside rivals and the network from scratch."""
    folder.mkdir(parents=True, exist_ok=True)
    outer = found["outer"]
    rows = [
        {
            "lever": name,
            "accuracy": cell(of_fold),
            "ROC AUC": f"{of_fold.scores['roc_auc'].mean:.3f}",
            "points more than base": points(of_fold, outer["base"], target),
            "inner accuracy": f"{found['inner'][name].accuracy:.3f}",
            "chosen in folds": chosen.count(name),
        }
        for name, of_fold in outer.items()
    ]
    rows.append(
        {
            "lever": "chosen in each fold",
            "accuracy": cell(result),
            "ROC AUC": f"{result.scores['roc_auc'].mean:.3f}",
            "points more than base": points(result, outer["base"], target),
            "inner accuracy": "",
            "chosen in folds": len(chosen),
        }
    )
    write_csv(folder / "levers.csv", rows)
    against = {name: rivals[name] for name in rivals if name != "network"}
    against |= {name: outer[name] for name in (SCRATCH, PAPER) if name in outer}
    write_csv(
        folder / "against.csv",
        [
            {
                "rival": name,
                "accuracy": cell(other),
                "points that the chosen is better": points(result, other, target),
            }
            for name, other in against.items()
        ],
    )
    figure = detl.plots.confusion_matrix(result)
    figure.figure.savefig(folder / "confusion_matrix.png", dpi=90)
    record = {
        "base": BASE,
        "levers": LEVERS,
        "seed": parsed.seed,
        "images": len(target.labels),
        "patients": len(set(target.patients.tolist())),
        "chosen": chosen,
        "versions": result.versions,
    }
    (folder / "settings.json").write_text(json.dumps(record, indent=2) + "\n")


def cell(result: detl.CrossValidationResult) -> str:
    """Return accuracy and interval."""
    return f"{result.accuracy:.3f} ({result.interval.low:.3f} to {result.interval.high:.3f})"


def points(
    better: detl.CrossValidationResult, other: detl.CrossValidationResult, target: material.Part
) -> str:
    """Return a difference in points of accuracy with its paired interval over patients."""
    more = experiment.worth(better, other, target.patients)
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in more.values()))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def slug(name: str) -> str:
    """Return a name for a folder."""
    return "".join(c if c.isalnum() else "_" for c in name)


if __name__ == "__main__":
    main()
