"""Ask what holds the source stage back: rivals that know no chest, a ceiling, and each finding.

Run after ``which_source_settings``, whose predictions it reads:
``python -m studies.what_limits_the_source.run --data FOLDER --imagenet LITE0.keras --of "RUN"``
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import detl
from examples.covid_chest_xray import material, tables
from studies.shared.auc import drawn_aucs, interval
from studies.shared.draws import DRAWS, draw_nih, has_disease
from studies.shared.features import thumbnails
from studies.shared.source_settings import (
    RULES,
    baseline_of,
    is_diseased,
    joined,
    read,
    rows_of,
    stem,
    taken,
)
from studies.shared.tables import write_csv

PARTS = ("validation", "check")
N_DRAWS = 1000
FEATURES, GRID = ("block3", "block4", "block5", "block6"), 2
TABLE_FACTS = (("view",), ("age",), ("sex",), ("follow-up",), ("view", "age", "sex", "follow-up"))
# Decided before: about two thirds of the network are trained, with one augmented view.
CEILING = {
    "trainable_from": "block5",
    "epochs": 12,
    "learning_rate": 3e-3,
    "class_weight": "balanced",
    "augmented_views": 1,
    "augmentation": detl.Augmentation(mirroring=False),
    "precision": "auto",
    "random_state": 0,
}


Rows = list[dict[str, str]]
Predictions = dict[str, np.ndarray]


def main() -> None:
    """Write one table of rivals and ceiling, and one of findings."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--imagenet", type=Path, help="EfficientNet-Lite0 with its weights")
    parser.add_argument("--fine-tune", action="store_true", help="train it too, which takes hours")
    parser.add_argument("--models", type=Path, default=Path("runs/source_tuning"))
    parser.add_argument("--of", nargs="+", required=True, help="runs whose findings are told")
    parser.add_argument("--output", type=Path, default=Path("studies"))
    parsed = parser.parse_args()
    data = read(parsed.data)
    with (parsed.data / "nih" / "Data_Entry_2017.csv").open(newline="") as file:
        known = {Path(row["Image Index"]).stem: row for row in csv.DictReader(file)}

    found: dict[str, Predictions] = {}
    for names in TABLE_FACTS:
        rows = {part: facts(data[part], known, names) for part in ("train", *PARTS)}
        found[f"table: {', '.join(names)}"] = regression(rows, data, strength=1.0)
    for share in (0.25, 0.5, 1.0):
        fewer = taken(data["train"], rows_of(data["train"], share, np.random.SeedSequence(0)))
        found[f"thumbnail, {share:.0%} of the patients"] = thumbnail_rival(fewer, data)
    more = joined(data["train"], data["images_64"])
    found["thumbnail, the further images too"] = thumbnail_rival(more, data)
    if parsed.imagenet:
        found |= on_features(keras.saving.load_model(parsed.imagenet), data)
    if parsed.imagenet and parsed.fine_tune:
        found |= ceiling(parsed.imagenet, data, parsed.models)
    with (parsed.output / "which_source_settings/results/runs.csv").open(newline="") as file:
        runs = list(csv.DictReader(file))
    found[f"mean of the {len(runs)} networks that were tuned"] = averaged(
        [of_run(parsed.models / f"{stem(run['run'])}.npz", data) for run in runs]
    )
    write(
        parsed.output / "what_limits_the_source/results/rivals.csv",
        [scored(*item, data) for item in found.items()],
    )
    more = {run["run"]: differences(run["run"], parsed.models, data) for run in runs}
    write(parsed.output / "which_source_settings/results/summary.csv", summary(runs, more))
    write(parsed.output / "which_source_settings/results/which_weights.csv", rules(runs))
    nih = parsed.data / "nih"
    records = tables.read_nih(nih / "Data_Entry_2017.csv", nih / "images_128", on_missing="skip")
    write(
        parsed.output / "do_more_or_other_images_help/results/images_left_for_the_source.csv",
        draws(records),
    )
    of_runs = {name: of_run(parsed.models / f"{stem(name)}.npz", data) for name in parsed.of}
    write(
        parsed.output / "what_limits_the_source/results/findings.csv",
        by_finding(of_runs, data, known),
    )


def summary(runs: Rows, more: Mapping[str, dict[str, str]]) -> Rows:
    """Return what a page has room for, of the networks whose weights were averaged."""
    return [
        {
            "run": run["run"],
            "network": f"{run['backbone']}, width {run['width']}, {run['epochs']} epochs",
            "images (patients)": f"{run['images']} ({run['patients']})",
            "validation AUC": f"{run['average: validation AUC']} "
            f"({run['average: validation interval']})",
            "validation accuracy": run["average: validation accuracy"],
            "check AUC": f"{run['average: check AUC']} ({run['average: check interval']})",
            **more[run["run"]],
            "training accuracy, last epoch": run["training accuracy"],
        }
        for run in runs
    ]


def differences(name: str, models: Path, data: dict[str, material.Part]) -> dict[str, str]:
    """Return how much more AUC a run has than the baseline of its network, paired over patients."""
    baseline = baseline_of(name)
    row = {}
    for part in PARTS:
        diseased, patients = is_diseased(data[part]), data[part].patients
        mine, its = (of_run(models / f"{stem(of)}.npz", data)[part] for of in (name, baseline))
        drawn = [drawn_aucs(diseased, p, patients, N_DRAWS) for p in (mine, its)]
        low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
        value = roc_auc_score(diseased, mine) - roc_auc_score(diseased, its)
        row[f"{part}: more than the baseline"] = (
            "" if name == baseline else f"{value:+.3f} ({low:+.3f} to {high:+.3f})"
        )
    return row


def rules(runs: Rows) -> Rows:
    """Return what each rule of which weights to keep is worth, over all runs."""
    usual = np.array([float(run["accuracy: check AUC"]) for run in runs])
    rows = []
    for (kind, score), rule in RULES.items():
        check = np.array([float(run[f"{rule}: check AUC"]) for run in runs])
        more = check - usual
        rows.append(
            {
                "weights": {"epoch": "of one epoch", "average": "averaged along the way"}[kind],
                "epoch": {"last": "the last"}.get(score, f"of the {score} in validation"),
                "runs": str(len(runs)),
                "check AUC, mean": f"{check.mean():.3f}",
                "more than the first row, mean": f"{more.mean():+.3f}",
                "least to most": f"{more.min():+.3f} to {more.max():+.3f}",
                "better / worse in": f"{(more > 0).sum()} / {(more < 0).sum()} runs",
            }
        )
    return rows


def draws(nih: tables.Records) -> Rows:
    """Count what Data-A keeps when Data-B is drawn at random, and from those with few images.

    Data-A gives up all images of every patient in Data-B, so that it costs more to draw a patient
    of whom there are twenty than one of whom there are two.
    """
    normal, diseased = nih.labels == tables.NO_FINDING, has_disease(nih)
    rows = []
    for rule in DRAWS:
        parts = draw_nih(nih, rule, np.random.default_rng(0))
        drawn = np.concatenate(list(parts.values()))
        free = ~np.isin(nih.patients, nih.patients[drawn])
        rows.append(
            {
                "patients of Data-B drawn": rule,
                "NIH images in Data-B": str(len(drawn)),
                "patients in Data-B": str(len(set(nih.patients[drawn]))),
                "normal left for Data-A": str((normal & free).sum()),
                "diseased left for Data-A": str((diseased & free).sum()),
            }
        )
    return rows


def facts(
    part: material.Part, known: dict[str, dict[str, str]], names: tuple[str, ...]
) -> np.ndarray:
    """Return what the NIH table says of each image, ``(n, len(names))``."""
    read_as = {
        "view": lambda row: row["View Position"] == "AP",
        "age": lambda row: int(row["Patient Age"].rstrip("Y")),
        "sex": lambda row: row["Patient Gender"] == "M",
        "follow-up": lambda row: int(row["Follow-up #"]),
    }
    rows = [known[Path(name).stem] for name in part.names]
    return np.array([[read_as[name](row) for name in names] for row in rows], "float64")


def thumbnail_rival(train: material.Part, data: dict[str, material.Part]) -> Predictions:
    """Fit a logistic regression on 32 x 32 pixels."""
    parts = data | {"train": train}
    rows = {name: thumbnails(parts[name].images) for name in ("train", *PARTS)}
    return regression(rows, parts, strength=1e-3)


def regression(
    rows: dict[str, np.ndarray], data: dict[str, material.Part], *, strength: float
) -> Predictions:
    """Fit a balanced logistic regression and return how sure it is of disease, for each part."""
    model = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=strength, class_weight="balanced", max_iter=1000),
    ).fit(rows["train"], is_diseased(data["train"]))
    return {part: model.predict_proba(rows[part])[:, 1] for part in PARTS}


def ceiling(path: Path, data: dict[str, material.Part], models: Path) -> dict[str, Predictions]:
    """Fine-tune an ImageNet network on the same images, and on the further ones as well.

    What it says is kept beside the runs of ``which_source_settings``, and read where it is there.
    """
    found = {}
    for name, file, train in (
        ("EfficientNet-Lite0, ImageNet, fine-tuned", "fine_tuned", data["train"]),
        (
            "the same on the further images too",
            "fine_tuned_further",
            joined(data["train"], data["images_64"]),
        ),
    ):
        kept = models / f"{file}.npz"
        if not kept.exists():
            transfer = detl.DomainExtensionTransfer.as_published(
                keras.saving.load_model(path), **CEILING
            )
            transfer.fit(train.images, train.labels)
            print(name, "training accuracy", transfer.history_["accuracy"][-1], flush=True)
            said = {part: transfer.predict_proba(data[part].images)[:, 0] for part in PARTS}
            np.savez(kept, **said)
        found[name] = dict(np.load(kept))
    return found


def on_features(imagenet: keras.Model, data: dict[str, material.Part]) -> dict[str, Predictions]:
    """Learn from what blocks of an ImageNet network see, which is not trained."""
    together = detl.FeatureExtractor(imagenet, layers=FEATURES, grid=GRID, verbose=1)
    rows = {part: together.fit_transform(data[part].images) for part in ("train", *PARTS)}
    images = data["train"].images
    alone = [
        detl.FeatureExtractor(imagenet, layers=name, grid=GRID).fit(images) for name in FEATURES
    ]
    ends = np.cumsum([len(extractor.get_feature_names_out()) for extractor in alone])
    found = {}
    for block, start, end in zip(FEATURES, [0, *ends], ends):
        name = f"EfficientNet-Lite0, ImageNet: logistic regression on {block}"
        columns = {part: features[:, start:end] for part, features in rows.items()}
        found[name] = regression(columns, data, strength=1e-3)
    return found


def of_run(path: Path, data: dict[str, material.Part]) -> Predictions:
    """Return what the kept network of a run of ``which_source_settings`` says of both parts."""
    kept = np.load(path)
    diseased = is_diseased(data["validation"])
    best = np.argmax([roc_auc_score(diseased, p) for p in kept["validation average"]])
    return {"validation": kept["validation average"][best], "check": kept["check average"]}


def averaged(networks: list[Predictions]) -> Predictions:
    """Return the mean of what several networks say."""
    return {part: np.mean([network[part] for network in networks], axis=0) for part in PARTS}


def scored(name: str, predictions: Predictions, data: dict[str, material.Part]) -> dict[str, str]:
    """Return AUC with interval by patient on both parts."""
    row = {"what": name}
    for part, p in predictions.items():
        diseased = is_diseased(data[part])
        low, high = interval(diseased, p, data[part].patients)
        row[f"{part} AUC"] = f"{roc_auc_score(diseased, p):.3f} ({low:.3f} to {high:.3f})"
    return row


def by_finding(
    of_runs: dict[str, Predictions],
    data: dict[str, material.Part],
    known: dict[str, dict[str, str]],
) -> Rows:
    """Return a row per finding: the AUC of the images that have it against all normal ones."""
    rows = []
    for finding in (*tables.DISEASES, "all findings"):
        row = {"finding": finding}
        for part in PARTS:
            diseased = is_diseased(data[part])
            told = [known[Path(name).stem]["Finding Labels"] for name in data[part].names]
            has = np.array([finding in labels.split("|") for labels in told])
            has = diseased if finding == "all findings" else has
            row[f"{part} images"] = str(has.sum())
            for name, predictions in of_runs.items():
                row[f"{name}: {part} AUC"] = auc_with_interval(
                    has, ~diseased, predictions[part], data[part].patients
                )
        if row["check images"] != "0":
            rows.append(row)
    return sorted(rows, key=lambda row: row[f"{next(iter(of_runs))}: check AUC"], reverse=True)


def auc_with_interval(has: np.ndarray, normal: np.ndarray, p: np.ndarray, patients: Any) -> str:
    """Return the AUC as text, where there are ten images of the finding at least."""
    if has.sum() < 10:
        return "too few"
    rows = has | normal
    low, high = interval(has[rows], p[rows], patients[rows])
    return f"{roc_auc_score(has[rows], p[rows]):.3f} ({low:.3f} to {high:.3f})"


def write(path: Path, rows: Rows) -> None:
    """Write rows of equal columns."""
    for row in rows:
        print(row, flush=True)
    write_csv(path, rows)


if __name__ == "__main__":
    main()
