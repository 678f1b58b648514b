r"""How high an honest accuracy gets: levers of the target stage, chosen inside each fold.

Folds by patient, no patient of the target in the source's images. Every lever is tried twice: on an
inner split of each fold's training images, which chooses, and on the fold itself, which is
reported. So the accuracy of what was chosen is not that of the luckiest of many. Where it stopped,
a later run goes on.

``--source`` is the example's, ``runs/covid_chest_xray/alexnet/source_patients.keras``.

    python -m studies.how_high_without_leaks.run --data FOLDER --source SOURCE.keras \
        --imagenet LITE0.keras
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import detl
from examples.covid_chest_xray import material
from studies.shared import radiographs
from studies.shared.efficientnet_lite import efficientnet_lite0
from studies.shared.features import CLASSIFIERS, FEATURES, N_FOLDS
from studies.shared.tables import cell, points, write_csv

RESULTS = Path(__file__).parent / "results"

SIZE, WIDTH = 128, 0.25
BASE = {"epochs": 30, "learning_rate": 1e-3, "class_weight": "balanced", "precision": "auto"}
ENSEMBLE = 3  # models trained from other seeds, whose probabilities are averaged
PAPER = "the paper's rate, 1e-4, for 200 epochs"
# Written down before any was run, but for what is said to be later. Each changes the base in one
# thing, but for ImageNet's, which have another network, and the last ones.
LEVERS: dict[str, dict[str, Any]] = {
    "base": {},
    "rate 3e-3": {"learning_rate": 3e-3},
    "10 epochs": {"epochs": 10},
    "100 epochs": {"epochs": 100},
    "new layer ten times faster": {"head_learning_rate": 1e-2},
    "labels smoothed, 0.1": {"label_smoothing": 0.1},
    "classes unweighted": {"class_weight": None},
    "4 augmented views": {"augmented_views": 4},
    "new layer only": {"trainable_from": "logits"},
    "one block more": {"trainable_from": "previous"},
    "everything": {"trainable_from": "input"},
    "three models": {"models": ENSEMBLE},
    "further source images": {"source": "further"},
    "ImageNet": {"source": "ImageNet"},
    "ImageNet, then NIH": {"source": "ImageNet, then NIH"},
    "further, views, three models": {"source": "further", "augmented_views": 4, "models": ENSEMBLE},
    "ImageNet, then NIH, views, three models": {
        "source": "ImageNet, then NIH",
        "augmented_views": 4,
        "models": ENSEMBLE,
    },
    # Added when the first six had been seen: three times the rate had helped.
    "rate 1e-2": {"learning_rate": 1e-2},
    "ImageNet, rate 1e-2": {"source": "ImageNet", "learning_rate": 1e-2},
    "ImageNet, then NIH, rate 1e-2": {"source": "ImageNet, then NIH", "learning_rate": 1e-2},
    "ImageNet, rate 1e-2, views, three models": {
        "source": "ImageNet",
        "learning_rate": 1e-2,
        "augmented_views": 4,
        "models": ENSEMBLE,
    },
}
# Added when these had been seen: ImageNet's features at 1e-2 were best.
LEVERS["ImageNet, one block more, rate 1e-2"] = {
    "source": "ImageNet",
    "trainable_from": "previous",
    "learning_rate": 1e-2,
}
LEVERS["ImageNet, one block more, rate 1e-2, views"] = LEVERS[
    "ImageNet, one block more, rate 1e-2"
] | {"augmented_views": 4}
# Added when seed 0 had been seen whole, for other seeds: the network in the size that it knows.
LEVERS["ImageNet, enlarged to 224 pixels, rate 1e-2"] = {
    "source": "ImageNet, enlarged",
    "learning_rate": 1e-2,
}
LEVERS["ImageNet, enlarged to 224 pixels, rate 1e-2, views"] = LEVERS[
    "ImageNet, enlarged to 224 pixels, rate 1e-2"
] | {"augmented_views": 4}
ENLARGED_TO = 224
# Added for a GPU, when seed 2 had been seen: all of the ImageNet network trained.
LEVERS["ImageNet, everything"] = {"source": "ImageNet", "trainable_from": "input"}
LEVERS["ImageNet, everything, views"] = LEVERS["ImageNet, everything"] | {"augmented_views": 4}
LEVERS |= FEATURES
# Of levers above, their probabilities averaged: networks that learned from other images err
# differently. Added with the last ones.
AVERAGES = {
    "two networks averaged": ("rate 1e-2", "ImageNet, rate 1e-2"),
    "three networks averaged": (
        "rate 1e-2",
        "ImageNet, rate 1e-2",
        "ImageNet, then NIH, rate 1e-2",
    ),
}
# A network that has learned nothing before may need other settings: chosen likewise, among these.
_UNTRAINED = {"source": "untrained", "trainable_from": "input"}
SCRATCH: dict[str, dict[str, Any]] = {
    "from scratch": _UNTRAINED,
    "from scratch, rate 1e-2": _UNTRAINED | {"learning_rate": 1e-2},
}
# What the chosen one is compared with; never chosen.
COMPARED: dict[str, dict[str, Any]] = {
    PAPER: {"learning_rate": 1e-4, "epochs": 200},
    "from scratch, three models": _UNTRAINED | {"models": ENSEMBLE},
}
# Added with the enlarged images: all that was tried, from scratch too, enters one average, whose
# weights the inner split finds (Caruana et al. 2004, "Ensemble Selection from Libraries of Models",
# ICML: one after another what lowers the log loss most, with replacement).
SELECTED, ROUNDS = "average selected in each fold", 20
# The same without one of the two kinds. Added with the features; never what is reported first.
TRAINED_ALONE = "average selected in each fold, trained networks alone"
FEATURES_ALONE = "average selected in each fold, features alone"
# Without any choice: all levers and from scratch with equal weights. Added when part of seed 1 had
# been seen; never chosen. With seed 1 it is better than the selected average once features take
# part, so for seed 2 it was made the first figure, before any of its averages and features was
# looked at.
ALL = "all averaged, nothing chosen"
# The lever in which the last block of the same network is trained; of AlexNet's, the best one.
TRAINED = {
    "ImageNet": "ImageNet, rate 1e-2",
    "ImageNet, then NIH": "ImageNet, then NIH, rate 1e-2",
    "given": "rate 3e-3",
}
AGAINST = (ALL, SELECTED, "chosen in each fold")
NIH_EPOCHS, NIH_RATE = 10, 1e-3  # of the ImageNet network on the NIH's images, decided beforehand


def main() -> None:
    """Cross-validate all levers, choose by the inner splits, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--source", type=Path, required=True, help="what detl.pretrain trained")
    parser.add_argument("--imagenet", type=Path, help="EfficientNet-Lite0")
    parser.add_argument("--only", nargs="+", choices=[*LEVERS, *SCRATCH, *COMPARED])
    parser.add_argument("--backbone", default="alexnet", help="of the source, for from scratch")
    parser.add_argument("--runs", type=Path, default=Path("runs/honest"))
    parser.add_argument("--output", type=Path, default=RESULTS / "seed_0")
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    if parsed.only and not set(parsed.only) & set(LEVERS):
        parser.error(f"--only has no lever to choose from; name one of: {', '.join(LEVERS)}.")

    parsed.runs /= str(parsed.seed)
    data = radiographs.read(parsed.data, seed=parsed.seed, pneumonia="any")
    check_source(parsed.source, data)
    sources = Sources(parsed, data)
    target = data.target
    outer = detl.folds.stratified_folds(
        target.labels, groups=target.patients, n_splits=N_FOLDS, random_state=parsed.seed
    )
    inner = [inner_split(target, train, parsed.seed) for train, _ in outer]
    found: dict[str, dict[str, detl.CrossValidationResult]] = {"inner": {}, "outer": {}}
    for name, change in (LEVERS | SCRATCH | COMPARED).items():
        lever = change if name in FEATURES else BASE | {"source": "given", "models": 1} | change
        if (parsed.only and name not in parsed.only) or not sources.known(lever["source"]):
            continue
        for which, folds in (("inner", inner), ("outer", outer)):
            if which == "inner" and name in COMPARED:
                continue
            print(f"== {name}, {which}", flush=True)
            found[which][name] = cross_validated(
                lever, sources, target, folds, parsed.runs / which, parsed.seed
            )
            print(found[which][name].interval, flush=True)
    for name, parts in AVERAGES.items():
        for known in found.values():
            if all(part in known for part in parts):
                known[name] = detl.average_results([known[part] for part in parts])
    rivals = dict(
        detl.shortcuts.baseline_test(
            next(iter(found["outer"].values())),
            target.images,
            classifiers={
                f"SVM, C={penalty}": make_pipeline(StandardScaler(), SVC(C=penalty))
                for penalty in (10, 1)
            },
        ).results
    )
    chosen, result = nested(of(LEVERS | AVERAGES, found["inner"]), found["outer"])
    scratch = of(SCRATCH, found["inner"])
    if scratch:
        rivals["from scratch, chosen in each fold"] = nested(scratch, found["outer"])[1]
    members = of(LEVERS | SCRATCH, found["inner"])
    shares, average = selected(members, found["outer"])
    everything = detl.average_results([found["outer"][name] for name in members])
    nests = {ALL: everything, SELECTED: average, "chosen in each fold": result}
    parts = {
        TRAINED_ALONE: [name for name in members if name not in FEATURES],
        FEATURES_ALONE: [name for name in members if name in FEATURES],
    }
    if all(parts.values()):
        for title, names in parts.items():
            nests[title] = selected(of(dict.fromkeys(names), members), found["outer"])[1]
    write(parsed.output, found, nests, chosen, shares, rivals, target, parsed)


def of(names: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was found of these names."""
    return {name: found[name] for name in names if name in found}


def check_source(path: Path, data: material.Material) -> None:
    """Refuse a source that was trained on other images, for it may know the target's patients."""
    record = path.with_suffix(".json")
    if not record.exists():
        raise SystemExit(f"{record} is missing; give a source that the chest X-ray example wrote.")
    if json.loads(record.read_text())["settings"]["train"] != data.train.digest():
        raise SystemExit(
            f"{path} was trained on other images than those without the target's patients; give "
            "the example's source_patients.keras, of the same seed and --pneumonia any."
        )


class Sources:
    """The networks to start from, each trained when it is first asked for."""

    def __init__(self, parsed: argparse.Namespace, data: material.Material) -> None:
        self.parsed, self.data = parsed, data

    def known(self, name: str) -> bool:
        """Whether there is what this source needs."""
        return not name.startswith("ImageNet") or self.parsed.imagenet is not None

    def __call__(self, name: str, *, seed: int) -> Any:
        """Return a source, a new object every time; the seed is of an untrained one's weights."""
        if name == "given":
            return detl.load_source(self.parsed.source)
        if name == "untrained":
            keras.utils.set_random_seed(seed)
            build = getattr(detl.backbones, self.parsed.backbone)
            return build((SIZE, SIZE, 1), width=WIDTH)
        if name == "ImageNet":
            return keras.saving.load_model(self.parsed.imagenet, compile=False)
        if name == "ImageNet, enlarged":
            network = efficientnet_lite0((SIZE, SIZE, 1), enlarged_to=ENLARGED_TO)
            network.set_weights(self("ImageNet", seed=seed).get_weights())
            return network
        path = self.parsed.runs / f"{name.replace(', ', '_')}.keras"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            print(f"== source: {name}", flush=True)
            train = {"further": self.further, "ImageNet, then NIH": self.imagenet_then_nih}[name]
            train().save(path)
        return detl.load_source(path) if name == "further" else keras.saving.load_model(path)

    def further(self) -> detl.SourceModel:
        """Train the given source's network on further images too, 64 pixels blown up to 128."""
        part = radiographs.further(self.parsed.data, self.data)
        given = detl.load_source(self.parsed.source)
        headless = keras.Model(given.model.input, given.model.layers[-3].output)
        validation = self.data.validation
        return detl.pretrain(
            headless,
            np.concatenate([self.data.train.images, part.images]),
            np.concatenate([self.data.train.labels, part.labels]),
            validation_data=(validation.images, validation.labels),
            epochs=len(given.history["loss"]),
            class_weight="balanced",
            precision="auto",
            random_state=self.parsed.seed,
            verbose=2,
        )

    def imagenet_then_nih(self) -> keras.Model:
        """Extend the ImageNet network to the NIH's two classes, everything trained."""
        train = self.data.train
        transfer = detl.DomainExtensionTransfer.as_published(
            keras.saving.load_model(self.parsed.imagenet, compile=False),
            trainable_from="input",
            epochs=NIH_EPOCHS,
            learning_rate=NIH_RATE,
            class_weight="balanced",
            precision="auto",
            random_state=self.parsed.seed,
            verbose=2,
        )
        return transfer.fit(train.images, train.labels).model_


def inner_split(target: material.Part, train: np.ndarray, seed: int) -> tuple[Any, Any]:
    """Return a fifth of a fold's training patients to judge by, and the others to train on."""
    rows, held_out = detl.folds.stratified_folds(
        target.labels[train], groups=target.patients[train], n_splits=5, random_state=seed
    )[0]
    return train[rows], train[held_out]


def cross_validated(
    lever: Mapping[str, Any],
    sources: Sources,
    target: material.Part,
    folds: list[tuple[np.ndarray, np.ndarray]],
    runs: Path,
    seed: int,
) -> detl.CrossValidationResult:
    """Cross-validate a lever; of several models, the mean of their probabilities."""
    options = {name: lever[name] for name in lever if name != "models"}
    # By what it is and not by its name: the first of three models is the lever without them.
    folder = hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]
    name = options.pop("source")
    build = on_features if "layers" in options else trained
    results = []
    for model in range(lever.get("models", 1)):
        its_seed = seed + 1000 * model
        results.append(
            detl.cross_validate(
                build(sources(name, seed=its_seed), **options),
                target.images,
                target.labels,
                groups=target.patients,
                cv=folds,
                on_leak="ignore",  # by patient: the audit would find copies, and does elsewhere
                checkpoint_dir=runs / folder / str(model),
                random_state=its_seed,
            )
        )
    return detl.average_results(results)


def trained(source: Any, **options: Any) -> detl.DomainExtensionTransfer:
    """Return the transfer of a lever."""
    if options.get("trainable_from") == "previous":
        network = getattr(source, "model", source)
        options["trainable_from"] = detl.backbones.block_names(network)[-2]
    return detl.DomainExtensionTransfer.as_published(source, **options)


def on_features(source: Any, *, layers: str, grid: int, classifier: str) -> Pipeline:
    """Return a classifier on features of a network that is not trained."""
    extractor = detl.FeatureExtractor(source, layers=layers, grid=grid)
    return make_pipeline(extractor, StandardScaler(), CLASSIFIERS[classifier])


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


def selected(
    inner: Mapping[str, detl.CrossValidationResult],
    outer: Mapping[str, detl.CrossValidationResult],
) -> tuple[dict[str, float], detl.CrossValidationResult]:
    """Average in each fold what lowers the log loss on its inner split, one after another.

    Returns
    -------
    shares : dict of str to float
        Weight of each lever in the average, mean over the folds.
    result : CrossValidationResult
    """
    first = outer[next(iter(inner))]
    shares = dict.fromkeys(inner, 0.0)
    folds = []
    for k, fold in enumerate(first.folds):
        said = {name: inner[name].fold_predictions[k].probabilities for name in inner}
        targets = next(iter(inner.values())).fold_predictions[k].targets
        taken: list[str] = []
        for _ in range(ROUNDS):
            losses = {
                name: log_loss(
                    targets,
                    np.mean([said[part] for part in [*taken, name]], axis=0),
                    labels=range(len(first.classes)),
                )
                for name in inner
            }
            taken.append(min(losses, key=losses.__getitem__))
        for name in taken:
            shares[name] += 1 / (ROUNDS * len(first.folds))
        probabilities = np.mean([outer[name].folds[k].probabilities for name in taken], axis=0)
        folds.append(dataclasses.replace(fold, probabilities=probabilities))
    return shares, dataclasses.replace(first, folds=tuple(folds))


def write(
    folder: Path,
    found: Mapping[str, Mapping[str, detl.CrossValidationResult]],
    nests: Mapping[str, detl.CrossValidationResult],
    chosen: list[str],
    shares: Mapping[str, float],
    rivals: Mapping[str, detl.CrossValidationResult],
    target: material.Part,
    parsed: argparse.Namespace,
) -> None:
    """Write a row per lever, and what was chosen beside rivals and the network from scratch."""
    folder.mkdir(parents=True, exist_ok=True)
    inner, outer = found["inner"], found["outer"]
    base = next(iter(outer.values()))
    write_csv(
        folder / "levers.csv",
        [
            {
                "lever": name,
                "accuracy": cell(result),
                "ROC AUC": f"{result.scores['roc_auc'].mean:.3f}",
                "points more than base": points(result, base, target) if result is not base else "",
                "inner accuracy": f"{inner[name].accuracy:.3f}" if name in inner else "",
                "chosen in folds": chosen.count(name) if name in inner else "",
                "share of the selected average": f"{shares[name]:.2f}" if name in shares else "",
            }
            for name, result in (outer | nests).items()
        ],
    )
    against = {name: rivals[name] for name in rivals if name != "network"}
    against |= {name: outer[name] for name in COMPARED if name in outer}
    write_csv(
        folder / "against.csv",
        [
            {"rival": name, "accuracy": cell(other)}
            | {f"points more: {nest}": points(nests[nest], other, target) for nest in AGAINST}
            for name, other in against.items()
        ],
    )
    features = {name: FEATURES[name] for name in FEATURES if name in outer}
    if features:
        write_csv(
            folder / "features.csv",
            [
                {
                    "features": name,
                    "accuracy": cell(outer[name]),
                    "its last block trained": TRAINED[lever["source"]],
                    "points more": points(outer[name], outer[TRAINED[lever["source"]]], target),
                }
                for name, lever in features.items()
                if TRAINED[lever["source"]] in outer
            ],
        )
    axes = detl.plots.confusion_matrix(nests[ALL])
    axes.figure.savefig(folder / "confusion_matrix.png", dpi=90)
    record = {
        "base": BASE,
        "levers": LEVERS,
        "averages": AVERAGES,
        "classifiers on features": {name: repr(model) for name, model in CLASSIFIERS.items()},
        "from scratch": SCRATCH,
        "compared with": COMPARED,
        "ImageNet network on the NIH's": {"epochs": NIH_EPOCHS, "learning_rate": NIH_RATE},
        "seed": parsed.seed,
        "images": len(target.labels),
        "patients": len(set(target.patients.tolist())),
        "chosen": chosen,
        "shares of the selected average": {name: round(share, 4) for name, share in shares.items()},
        "versions": base.versions,
    }
    (folder / "settings.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
