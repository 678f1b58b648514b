r"""Ask whether domain extension pays where no collection tells the class.

Radiographs that radiologists read, all of one hospital: from sources of the same domain, of another
and of none, with the library's defaults, on the same folds by patient. Then with fewer images of
each class. Everything random is drawn anew by each seed; intervals are over patients.

    python -m studies.does_domain_extension_pay.run --data FOLDER --imagenet LITE0.keras
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

import detl
from detl import CrossValidationResult, recipes
from examples.covid_chest_xray import differences, experiment
from studies.shared import tasks
from studies.shared.curves import draw
from studies.shared.tables import write_csv
from studies.shared.teachers import (
    ALL,
    children,
    drawn,
    first,
    folds_by_patient,
    slug,
    trained,
)

RESULTS = Path(__file__).parent / "results"
SIZE, WIDTH, N_FOLDS = 128, 0.25, 5
SEEDS = (0, 1, 2)
# Decided beforehand, the same for all. The children are 4,659 images.
SOURCE = {"epochs": 20, "class_weight": "balanced"}
N_SOURCE = 4600
PER_CLASS = (ALL, 10, 25, 50, 100)  # training images

ADULTS = "adults, normal or diseased (NIH)"
CHILDREN = "children, normal or pneumonia (Kermany)"
DRAWN = "phantoms, normal or diseased"
PROBE = "adults, linear probe"
SCRATCH = "none, everything trained"
FROZEN = "none, frozen all the same"
LITE = "EfficientNet-Lite0 of ImageNet, extended"
LITE_PROBE = "EfficientNet-Lite0 of ImageNet, linear probe"
THUMBNAIL = "thumbnail, logistic regression"
NAMES = (ADULTS, CHILDREN, DRAWN, PROBE, SCRATCH, FROZEN, LITE, LITE_PROBE, THUMBNAIL)
CURVES = (ADULTS, CHILDREN, PROBE, SCRATCH, LITE_PROBE, THUMBNAIL)

Found = Mapping[tuple[str, int, int], CrossValidationResult]


def main() -> None:
    """Train the sources, cross-validate from each, write the table and the curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with nih/, kermany/ and rsna/"
    )
    parser.add_argument("--imagenet", type=Path, required=True, help="EfficientNet-Lite0")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--per-class", type=int, nargs="+", default=list(PER_CLASS))
    parser.add_argument("--runs", type=Path, default=Path("runs/pay"), help="sources and results")
    parsed = parser.parse_args()
    parsed.runs.mkdir(parents=True, exist_ok=True)

    target = tasks.read("rsna", parsed.data)
    found: dict[tuple[str, int, int], CrossValidationResult] = {}
    for per_class in parsed.per_class:  # all images first, of every seed
        for seed in parsed.seeds:
            makers = classifiers(parsed, seed)
            for name in NAMES if per_class == ALL else CURVES:
                file = parsed.runs / f"{slug(name)}_{per_class or 'all'}_{seed}.json"
                if not file.exists():
                    cross_validated(makers[name](), target, per_class, seed).save(file)
                result = found[name, per_class, seed] = CrossValidationResult.load(file)
                print(f"{name}, {per_class or 'all'}, {seed}: {result.accuracy:.3f}", flush=True)
        write(RESULTS, found, target, tasks.views(parsed.data))


def classifiers(parsed: argparse.Namespace, seed: int) -> dict[str, Callable[[], Any]]:
    """Return what makes each classifier of a seed; a source is trained when it is first needed."""
    keras.utils.set_random_seed(seed)
    untrained = detl.backbones.alexnet((SIZE, SIZE, 1), width=WIDTH)
    grown = tasks.adults(parsed.data)
    teachers = {
        ADULTS: lambda: (grown.images, grown.labels, grown.groups),
        CHILDREN: lambda: children(parsed.data / "kermany", 10**6, SIZE),
        DRAWN: lambda: drawn(N_SOURCE, SIZE),
    }

    def source(name: str) -> detl.SourceModel:
        path = parsed.runs / f"{slug(name)}_{seed}.keras"
        teacher = teachers[name]
        return trained(untrained, lambda: first(teacher(), N_SOURCE), path, seed, **SOURCE)

    def photographs() -> keras.Model:
        return keras.saving.load_model(parsed.imagenet, compile=False)

    return {
        ADULTS: lambda: recipes.domain_extension(source(ADULTS)),
        CHILDREN: lambda: recipes.domain_extension(source(CHILDREN)),
        DRAWN: lambda: recipes.domain_extension(source(DRAWN)),
        PROBE: lambda: recipes.linear_probe(source(ADULTS)),
        SCRATCH: lambda: recipes.from_scratch(untrained),
        FROZEN: lambda: recipes.domain_extension(untrained),
        LITE: lambda: recipes.domain_extension(photographs()),
        LITE_PROBE: lambda: recipes.linear_probe(photographs()),
        THUMBNAIL: recipes.thumbnail,
    }


def cross_validated(
    classifier: Any, target: tasks.Set, per_class: int, seed: int
) -> CrossValidationResult:
    """Cross-validate by patient, with at most so many training images of each class."""
    return detl.cross_validate(
        classifier,
        target.images,
        target.labels,
        groups=target.groups,
        cv=folds_by_patient(target.labels, target.groups, N_FOLDS, per_class, seed),
        on_leak="ignore",  # of copies; no patient is on both sides
        random_state=seed,
        verbose=0,
    )


def write(folder: Path, found: Found, target: tasks.Set, view: np.ndarray) -> None:
    """Write a row for each source and number of images, and the curves."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = sorted({seed for _, _, seed in found})
    curves: dict[str, dict[int, tuple[float, float, float]]] = {}
    rows = []
    for name, per_class in dict.fromkeys((name, n) for name, n, _ in found):
        mine = [found[name, per_class, seed] for seed in seeds]
        reference = [found[ADULTS, per_class, seed] for seed in seeds]
        right = np.mean([experiment.right(result) for result in mine], axis=0)
        more = right - np.mean([experiment.right(result) for result in reference], axis=0)
        curves.setdefault(name, {})[per_class] = interval(right, target.groups)
        rows.append(
            {
                "source": name,
                "images per class": per_class or "all",
                "accuracy": "{:.3f} ({:.3f} to {:.3f})".format(*interval(right, target.groups)),
                "of each seed": " ".join(f"{result.accuracy:.3f}" for result in mine),
                "ROC AUC": f"{np.mean([result.scores['roc_auc'].mean for result in mine]):.3f}",
                "points more than domain extension": ""
                if name == ADULTS
                else points(more, target.groups),
                **within_views(mine, more, target, view, is_reference=name == ADULTS),
            }
        )
    write_csv(folder / "pay.csv", rows)
    n_classes = len(np.unique(target.labels))
    n_all = len(target.labels) * (N_FOLDS - 1) / N_FOLDS / n_classes
    if figure := draw(curves, n_all=n_all, n_classes=n_classes):
        figure.savefig(folder / "curves.png", dpi=110)
    record = {
        "source": SOURCE | {"images": N_SOURCE},
        "seeds": seeds,
        "images": len(target.labels),
        "patients": len(np.unique(target.groups)),
        "per class and view": {
            f"{name}, {one}": int(((target.labels == name) & (view == one)).sum())
            for name in np.unique(target.labels)
            for one in np.unique(view)
        },
        "versions": next(iter(found.values())).versions,
    }
    (folder / "settings.json").write_text(json.dumps(record, indent=2) + "\n")


def within_views(
    mine: list[CrossValidationResult],
    more: np.ndarray,
    target: tasks.Set,
    view: np.ndarray,
    *,
    is_reference: bool,
) -> dict[str, str]:
    """Return accuracy, area (each class against the rest) and difference within each view."""
    columns = {}
    for one in ("PA", "AP"):
        here = view == one
        right = np.mean([experiment.right(result)[here] for result in mine], axis=0)
        area = np.mean(
            [
                roc_auc_score(result.labels[here], result.probabilities[here], multi_class="ovr")
                for result in mine
            ]
        )
        columns[f"accuracy within {one}"] = f"{right.mean():.3f}"
        columns[f"ROC AUC within {one}"] = f"{area:.3f}"
        columns[f"points more within {one}"] = (
            "" if is_reference else points(more[here], target.groups[here])
        )
    return columns


def interval(values: np.ndarray, groups: np.ndarray) -> tuple[float, float, float]:
    """Return mean and 95 % interval, a bootstrap over patients."""
    mean, low, high = differences.paired(values, groups).values()
    return mean, low, high


def points(more: np.ndarray, groups: np.ndarray) -> str:
    """Return a difference in points with its interval."""
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * v for v in interval(more, groups)))


if __name__ == "__main__":
    main()
