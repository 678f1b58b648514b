"""Ask whether a source network that is better at its own task is a better teacher.

The networks are those that ``which_source_settings`` kept, the epoch of the best validation AUC of
each run; none has seen an image of a target patient. They are not trained further: support vector
machines learn from what two late blocks of convolutions see, averaged in grids of one and of two
cells a side, and the four count alike. Folds by patient, seed 0. Every network is reported and
nothing is chosen; the same is done with ImageNet's network, as ``do_more_or_other_images_help``
does it.

Run after ``which_source_settings``, whose networks it reads:
``python -m studies.is_a_better_source_a_better_teacher.run --data FOLDER --imagenet LITE0.keras``
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import keras
import numpy as np
from scipy.stats import spearmanr

import detl
from examples.covid_chest_xray import experiment
from studies.shared import features, radiographs
from studies.shared.source_settings import (
    VARIANTS,
    Variant,
    baseline_of,
    equalised,
    standardised,
    stem,
)
from studies.shared.tables import cell, points, write_csv

RESULTS = Path(__file__).parent / "results"

SEED = 0
BLOCKS = {
    "alexnet": ("block3", "block4"),
    "vgg16": ("block4", "block5"),
    "resnet50": ("block4", "block5"),
}
GRIDS = (1, 2)
SCORES = ("validation AUC", "check AUC")
N_DRAWS = 2000

Rows = list[dict[str, str]]
Results = dict[str, detl.CrossValidationResult]


def main() -> None:
    """Cross-validate the target on what every source network sees, and write two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--imagenet", type=Path, required=True, help="EfficientNet-Lite0")
    parser.add_argument("--models", type=Path, default=Path("runs/source_tuning"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parsed = parser.parse_args()
    data = radiographs.read(parsed.data, seed=SEED)
    target = data.target
    seen = np.concatenate([data.train.patients, data.validation.patients])
    if len(np.intersect1d(seen, target.patients)):
        raise SystemExit("patients of the target are among the source's")
    with Path("studies/which_source_settings/results/runs.csv").open(newline="") as file:
        runs = list(csv.DictReader(file))
    folds = features.folds_of(target, SEED)

    taught: Results = {}
    for run in runs:
        source = detl.load_source(parsed.models / f"{stem(run['run'])}.keras")
        taught[run["run"]] = teach(source, VARIANTS[run["run"]], target.images, folds)
        print(run["run"], cell(taught[run["run"]]), flush=True)
    columns = features.features(keras.saving.load_model(parsed.imagenet), target.images)
    rivals = {
        name: features.fitted(model, columns["thumbnail"], folds)
        for name, model in features.RIVALS.items()
    }
    rival = max(rivals.values(), key=lambda result: result.accuracy)
    of_imagenet = features.averaged(columns, folds)
    of_all = detl.average_results(list(taught.values()))
    together = {
        f"mean of these {len(runs)}": of_all,
        "ImageNet's features": of_imagenet,
        "the last two averaged": detl.average_results([of_all, of_imagenet]),
    }
    rows = [
        {
            "source network": run["run"],
            "network": f"{run['backbone']}, width {run['width']}",
            **{f"source: {score}": run[f"average: {score}"] for score in SCORES},
            "target accuracy": cell(taught[run["run"]]),
            "points more than its baseline": ""
            if baseline_of(run["run"]) == run["run"]
            else points(taught[run["run"]], taught[baseline_of(run["run"])], target),
            "points more than the best thumbnail": points(taught[run["run"]], rival, target),
        }
        for run in runs
    ]
    rows += [
        dict.fromkeys(rows[0], "")
        | {
            "source network": name,
            "target accuracy": cell(result),
            "points more than the best thumbnail": points(result, rival, target),
        }
        for name, result in together.items()
    ]
    write_csv(parsed.output / "teachers.csv", rows)
    write_csv(parsed.output / "ranks.csv", ranks(runs, taught, target.patients))


def teach(
    source: detl.SourceModel,
    variant: Variant,
    images: np.ndarray,
    folds: detl.CrossValidationResult,
) -> detl.CrossValidationResult:
    """Return what classifiers on a network's features say, with equal weights."""
    change = {"standardised": standardised, "equalised": equalised}.get(variant.pixels)
    images = images if change is None else change(images)
    return detl.average_results(
        [
            features.fitted(
                features.CLASSIFIERS["SVM"],
                detl.FeatureExtractor(source, layers=block, grid=grid).fit_transform(images),
                folds,
            )
            for block in BLOCKS[variant.backbone]
            for grid in GRIDS
        ]
    )


def ranks(runs: Rows, taught: Results, patients: np.ndarray) -> Rows:
    """Return how the order of the networks at their own task goes with that on the target."""
    rows = []
    for what, chosen in (
        ("all", runs),
        ("AlexNet alone", [run for run in runs if run["backbone"] == "alexnet"]),
    ):
        hits = np.stack([experiment.right(taught[run["run"]]) for run in chosen])
        shares = hits.mean(axis=1)
        row = {
            "networks": what,
            "number": str(len(chosen)),
            "target accuracy, least to most": f"{shares.min():.3f} to {shares.max():.3f}",
        }
        for score in SCORES:
            found, low, high = correlation(
                [float(run[f"average: {score}"]) for run in chosen], hits, patients
            )
            row[f"rank correlation with the {score}"] = f"{found:+.2f} ({low:+.2f} to {high:+.2f})"
        rows.append(row)
    return rows


def correlation(
    scores: list[float], hits: np.ndarray, patients: np.ndarray
) -> tuple[float, float, float]:
    """Return Spearman's rank correlation with the accuracies, and its interval.

    The networks are taken as they are; patients of the target are drawn, ``hits`` is
    ``(n_networks, n_images)``.
    """
    generator = np.random.default_rng(0)
    _, unit = np.unique(patients, return_inverse=True)
    n_units = unit.max() + 1
    right = np.stack([np.bincount(unit, row, n_units) for row in hits])
    drawn = []
    for _ in range(N_DRAWS):
        times = np.bincount(generator.integers(n_units, size=n_units), minlength=n_units)
        drawn.append(spearmanr(scores, right @ times).statistic)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(spearmanr(scores, hits.mean(axis=1)).statistic), float(low), float(high)


if __name__ == "__main__":
    main()
