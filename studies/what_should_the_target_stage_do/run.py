"""Ask what a target stage should do when nobody tunes it, on six target sets.

Every recipe is cross-validated on the same folds of the same sources. Results are kept in
``--cache`` and found again. The settings were chosen on the tasks of ``--tasks tuned``; those of
``--tasks confirmed`` are for when they are fixed, and have not been run.

Run: ``python -m studies.what_should_the_target_stage_do.run --data FOLDER --cache FOLDER``
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import detl
from detl import CrossValidationResult, DomainExtensionTransfer, FeatureExtractor, cross_validate
from studies.shared import tasks

RESULTS = Path(__file__).parent / "results"
Recipe = Callable[[detl.SourceModel, tasks.Set], Any]


def transfer(**settings: Any) -> Recipe:
    """Return a recipe: the paper's target stage but for these settings."""
    return lambda source, _: DomainExtensionTransfer.as_published(source, **settings)


def features(source: detl.SourceModel, data: tasks.Set) -> Any:
    """Features of the block that inner folds choose, and a logistic regression."""
    inner = StratifiedKFold if data.groups is None else StratifiedGroupKFold
    return GridSearchCV(
        make_pipeline(
            FeatureExtractor(source, grid=2), StandardScaler(), LogisticRegression(max_iter=2000)
        ),
        {
            "featureextractor__layers": detl.backbones.block_names(source.model),
            "logisticregression__C": [1e-4, 1e-3, 1e-2, 1e-1],
        },
        cv=inner(4, shuffle=True),
        scoring="neg_log_loss",
    )


def scratch(source: detl.SourceModel, data: tasks.Set) -> Any:
    """Train the same network on the target set alone."""
    (backbone,) = (name for name in tasks.WIDTHS if name in source.model.name)
    network = tasks.untrained(data.images.shape[1:], backbone)
    return DomainExtensionTransfer.as_published(network, learning_rate=1e-2, trainable_from="input")


RIVALS: dict[str, Recipe] = {
    "old default": transfer(),
    "1e-3": transfer(learning_rate=1e-3),
    "everything, 1e-2": transfer(learning_rate=1e-2, trainable_from="input"),
    "scratch, 1e-2": scratch,
    "features": features,
}
LP = {"head_start": "linear_probe", "schedule": "cosine", "epochs": 30}
TRIALS: dict[str, Recipe] = {
    "probe alone": transfer(**LP | {"epochs": 1}, learning_rate=1e-9),
    "probe, 1e-3": transfer(**LP, learning_rate=1e-3),
    "probe, 3e-3": transfer(**LP, learning_rate=3e-3),
    "probe, 1e-2": transfer(**LP, learning_rate=1e-2),
    "random, 1e-2, cosine": transfer(**LP | {"head_start": "random"}, learning_rate=1e-2),
    "probe, 3e-3, from block 4": transfer(**LP, learning_rate=3e-3, trainable_from="block4"),
    "probe, 3e-3, from block 3": transfer(**LP, learning_rate=3e-3, trainable_from="block3"),
    "probe, 3e-3, everything": transfer(**LP, learning_rate=3e-3, trainable_from="input"),
    "random, 1e-2, cosine, everything": transfer(
        **LP | {"head_start": "random"}, learning_rate=1e-2, trainable_from="input"
    ),
}
RECIPES = RIVALS | TRIALS


def run(
    task: str, backbone: str, recipe: str, data: tasks.Set, source: detl.SourceModel, cache: Path
) -> CrossValidationResult:
    """Cross-validate, or find what was."""
    path = cache / f"{task}-{backbone}-{recipe}.json"
    if path.exists():
        return CrossValidationResult.load(path)
    classifier = RECIPES[recipe](source, data)
    result = cross_validate(
        classifier, data.images, data.labels, groups=data.groups, random_state=0, on_leak="ignore"
    )
    result.save(path)
    return result


def row(task: str, backbone: str, recipe: str, result: CrossValidationResult) -> dict[str, Any]:
    """Return what is published of a result."""
    scores = result.scores
    learned = [fold.history["accuracy"][-1] for fold in result.folds if "accuracy" in fold.history]
    return {
        "task": task,
        "backbone": backbone,
        "recipe": recipe,
        "images": len(result.labels),
        "patients": "" if result.groups is None else len(np.unique(result.groups)),
        "accuracy": f"{scores['accuracy'].mean:.3f}",
        "roc_auc": f"{scores['roc_auc'].mean:.3f}",
        "training accuracy": f"{np.mean(learned):.3f}" if learned else "",
    }


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write the rows of a table."""
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    """Cross-validate every recipe on every task, and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the radiographs")
    parser.add_argument("--cache", type=Path, required=True, help="folder of sources and results")
    parser.add_argument("--tasks", nargs="+", default=["tuned"])
    parser.add_argument("--backbones", nargs="+", default=["alexnet"])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parsed = parser.parse_args()
    sets = {"tuned": tasks.TUNED, "confirmed": tasks.CONFIRMED}
    parsed.cache.mkdir(exist_ok=True)
    rows = []
    for task in (task for name in parsed.tasks for task in sets.get(name, (name,))):
        data = tasks.read(task, parsed.data)
        for backbone in parsed.backbones:
            source = tasks.source(task, backbone, parsed.data, parsed.cache)
            for recipe in parsed.recipes:
                result = run(task, backbone, recipe, data, source, parsed.cache)
                rows.append(row(task, backbone, recipe, result))
                print(*rows[-1].values(), sep="\t", flush=True)
                detl.features.clear_cache()
    write(RESULTS / f"{'_'.join(parsed.tasks)}.csv", rows)


if __name__ == "__main__":
    main()
