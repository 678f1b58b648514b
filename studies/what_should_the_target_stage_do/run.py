"""Ask what a target stage should do when nobody tunes it, on six target sets.

Every recipe is cross-validated on the same folds of the same sources. Results are kept in
``--cache`` and found again. The settings were chosen on the tasks of ``--tasks tuned``; those of
``--tasks confirmed`` were run once, when they were fixed.

Run: ``python -m studies.what_should_the_target_stage_do.run --data FOLDER --cache FOLDER``
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import detl
from detl import CrossValidationResult, DomainExtensionTransfer, FeatureExtractor, cross_validate
from examples.covid_chest_xray import differences, experiment
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


class TowardsStart(keras.callbacks.Callback):
    """Pull the weights back to where they began (L2-SP; Li, Grandvalet & Davoine 2018).

    A step of its own after each of the optimizer's, so that momentum has no part in it.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def on_train_begin(self, logs: Any = None) -> None:
        """Keep the start."""
        self.start = [keras.ops.copy(each.value) for each in self.model.trainable_variables]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Go a little back."""
        step = float(self.model.optimizer.learning_rate) * self.strength
        for variable, start in zip(self.model.trainable_variables, self.start, strict=True):
            variable.assign(variable - step * (variable - start))


def towards_start() -> list[keras.callbacks.Callback]:
    """Return the callbacks of a fit."""
    return [TowardsStart(0.1)]


@keras.saving.register_keras_serializable("studies")
class FixedStatistics(keras.layers.BatchNormalization):
    """Normalise by the stored statistics, in training too."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise."""
        return super().call(inputs, training=False, mask=mask)


def fixed_statistics(source: detl.SourceModel, _: tasks.Set) -> Any:
    """Return the default, from a source whose normalisations do not follow the batch."""

    def fixed(layer: keras.Layer) -> keras.Layer:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        kind = FixedStatistics if is_norm else type(layer)
        return kind.from_config(layer.get_config())

    network = keras.models.clone_model(source.model, clone_function=fixed)
    network.set_weights(source.model.get_weights())
    return DomainExtensionTransfer(network)


def head_on(block: str) -> Recipe:
    """Return a recipe: the default, of the source without what lies above a block."""

    def shortened(source: detl.SourceModel, _: tasks.Set) -> Any:
        network = source.model
        last = [layer for layer in network.layers if layer.name.startswith(f"{block}_")][-1]
        features = keras.layers.GlobalAveragePooling2D()(last.output)
        return DomainExtensionTransfer(keras.Model(network.inputs, features))

    return shortened


RIVALS: dict[str, Recipe] = {
    "old default": transfer(),
    "1e-3": transfer(learning_rate=1e-3),
    "everything, 1e-2": transfer(learning_rate=1e-2, trainable_from="input"),
    "scratch, 1e-2": scratch,
    "features": features,
}
LP = {"head_start": "linear_probe", "schedule": "cosine", "epochs": 30}
DEFAULT = "default"  # the probe at 3e-3, of the last block
TRIALS: dict[str, Recipe] = {
    DEFAULT: lambda source, _: DomainExtensionTransfer(source),
    "probe alone": transfer(**LP | {"epochs": 1}, learning_rate=1e-9),
    "probe, 1e-3": transfer(**LP, learning_rate=1e-3),
    "probe, 1e-2": transfer(**LP, learning_rate=1e-2),
    "probe, 3e-3, from block 4": transfer(**LP, learning_rate=3e-3, trainable_from="block4"),
    "probe, 3e-3, from block 3": transfer(**LP, learning_rate=3e-3, trainable_from="block3"),
    "probe, 3e-3, everything": transfer(**LP, learning_rate=3e-3, trainable_from="input"),
    "head on block 4": head_on("block4"),
    "head on block 3": head_on("block3"),
    "probe, 1e-2, from block 4": transfer(**LP, learning_rate=1e-2, trainable_from="block4"),
    "probe, 1e-2, from block 3": transfer(**LP, learning_rate=1e-2, trainable_from="block3"),
    "probe, 3e-3, head 1e-2": transfer(**LP, learning_rate=3e-3, head_learning_rate=1e-2),
    "probe, 3e-3, L2-SP": transfer(**LP, learning_rate=3e-3, callbacks=towards_start),
    "probe, 3e-3, fixed statistics": fixed_statistics,
    "probe, 3e-3, stopped early": transfer(
        **LP, learning_rate=3e-3, validation_split=0.2, early_stopping=8
    ),
    "random, 1e-2, cosine": transfer(**LP | {"head_start": "random"}, learning_rate=1e-2),
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
    detl.features.clear_cache()
    result.save(path)
    return result


def row(
    task: str, backbone: str, recipe: str, result: CrossValidationResult, default: Any
) -> dict[str, Any]:
    """Return what is published of a result, and how much better it is than the default's."""
    scores = result.scores
    learned = [fold.history["accuracy"][-1] for fold in result.folds if "accuracy" in fold.history]
    more = ""
    if recipe != DEFAULT:
        units = np.arange(len(result.labels)) if result.groups is None else result.groups
        better = experiment.right(result) - experiment.right(default)
        found = differences.paired(better, units).values()
        more = "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in found))
    return {
        "task": task,
        "role": "chosen on" if task in tasks.TUNED else "confirmed",
        "backbone": backbone,
        "recipe": recipe,
        "images": len(result.labels),
        "patients": "" if result.groups is None else len(np.unique(result.groups)),
        "accuracy": f"{scores['accuracy'].mean:.3f}",
        "points more than the default": more,
        "roc_auc": f"{scores['roc_auc'].mean:.3f}",
        "training accuracy": f"{np.mean(learned):.3f}" if learned else "",
        "seconds": f"{result.seconds['total']:.0f}",
    }


def means(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean accuracy and area of what was run on every task, for each network."""
    found = []
    for backbone, recipe in dict.fromkeys((row["backbone"], row["recipe"]) for row in rows):
        of_network = [row for row in rows if row["backbone"] == backbone]
        mine = [row for row in of_network if row["recipe"] == recipe]
        n = len({row["task"] for row in of_network})
        if len(mine) == n > 1:
            scores = {
                name: f"{np.mean([float(row[name]) for row in mine]):.3f}"
                for name in ("accuracy", "roc_auc")
            }
            empty = dict.fromkeys(mine[0], "")
            head = {"task": f"mean of {n}", "backbone": backbone, "recipe": recipe}
            found.append(empty | head | scores)
    return found


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
    parser.add_argument("--tasks", nargs="+", default=["tuned", "confirmed"])
    parser.add_argument("--backbones", nargs="+", default=["alexnet"])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--output", type=Path, default=RESULTS / "recipes.csv")
    parsed = parser.parse_args()
    sets = {"tuned": tasks.TUNED, "confirmed": tasks.CONFIRMED}
    parsed.cache.mkdir(exist_ok=True)
    rows = []
    for task in (task for name in parsed.tasks for task in sets.get(name, (name,))):
        data = tasks.read(task, parsed.data)
        for backbone in parsed.backbones:
            source = tasks.source(task, backbone, parsed.data, parsed.cache)
            default = run(task, backbone, DEFAULT, data, source, parsed.cache)
            for recipe in parsed.recipes:
                result = run(task, backbone, recipe, data, source, parsed.cache)
                rows.append(row(task, backbone, recipe, result, default))
                print(*rows[-1].values(), sep="\t", flush=True)
    write(parsed.output, rows + means(rows))


if __name__ == "__main__":
    main()
