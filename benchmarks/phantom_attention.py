"""Where heatmaps lie on phantoms, whose lesions are known: by network, method and layer.

Each network is trained as in the example, from three seeds; heatmaps are of test images that the
explained model was not trained on, each for its true class. The figure is the share of the
heatmaps' energy inside the lesion over the lesion's share of the area: 1 is what chance gives.

Run: ``python -m benchmarks.phantom_attention``
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import detl
from examples.covid_chest_xray import experiment, material
from examples.covid_chest_xray.profiles import PROFILES, Profile

SEEDS = (0, 1, 2)
METHODS = ("gradcam", "gradcam++", "hirescam", "layercam", "xgradcam")


def main() -> None:
    """Train what was not trained yet, and write a row per network, method and layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", nargs="+", default=["vgg16", "resnet50", "alexnet"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--source-epochs", type=int)
    parser.add_argument("--runs", type=Path, default=Path("runs/phantom_attention"))
    parser.add_argument("--output", type=Path, default=Path("docs/results/phantom_attention.csv"))
    parsed = parser.parse_args()
    profile = PROFILES["phantoms"]
    if parsed.source_epochs:
        profile = replace(profile, source_epochs=parsed.source_epochs)
    rows: list[dict[str, Any]] = []
    for backbone in parsed.backbone:
        found: dict[tuple[str, str], list[dict[str, float]]] = {}
        for seed in parsed.seeds:
            for key, ratio in maps_of(backbone, seed, profile, parsed.runs).items():
                found.setdefault(key, []).append(ratio)
        rows += [row_of(backbone, *key, by_seed) for key, by_seed in found.items()]
        with parsed.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


def maps_of(
    backbone: str, seed: int, profile: Profile, runs: Path
) -> dict[tuple[str, str], dict[str, float]]:
    """Return accuracy and attention of one training, by method and layer."""
    path = runs / f"{backbone}_{seed}_{profile.source_epochs}.json"
    if path.exists():
        return {tuple(row["key"]): row["found"] for row in json.loads(path.read_text())}
    started = time.perf_counter()
    data = material.from_phantoms(profile.phantoms, size=profile.size, random_state=seed)
    target = data.target
    source, _, _ = experiment.source_stage(
        data,
        profile=profile,
        backbone=backbone,
        path=path.with_suffix(".keras"),
        random_state=seed,
    )
    transfer = detl.DomainExtensionTransfer(
        source,
        epochs=profile.target_epochs[0],
        batch_size=profile.batch_size,
        learning_rate=profile.target_learning_rate,
        random_state=seed,
    )
    train, test = detl.folds.stratified_folds(
        target.labels, groups=target.patients, n_splits=profile.n_splits, random_state=seed
    )[0]
    transfer.fit(target.images[train], target.labels[train])
    predictions = transfer.predict(target.images[test])
    accuracy = float((predictions == target.labels[test]).mean())
    found = {}
    blocks = detl.backbones.block_names(transfer.model_)
    layers: list[str | None] = [None, *last_layers(transfer.model_, blocks)]
    for layer in layers:
        for method in METHODS:
            cam = detl.GradCAM(transfer.model_, layer=layer, method=method)
            heatmaps = np.zeros((len(test), *target.images.shape[1:3]), np.float32)
            for index, name in enumerate(transfer.classes_):
                rows = np.flatnonzero(target.labels[test] == name)
                heatmaps[rows] = cam(target.images[test[rows]], class_index=index)
            attention = experiment.attention(
                experiment.Explanation(rows=test, heatmaps=heatmaps, predictions=predictions),
                target.labels,
                data.masks,
            )
            assert attention is not None
            found[method, layer or "default"] = {
                "accuracy": accuracy,
                "ratio": attention["all"].get("ratio", float("nan")),
                "blank": attention["all"]["empty_heatmaps"],
                **{
                    name: attention[name].get("ratio", float("nan"))
                    for name in ("covid-19", "other", "pneumonia")
                },
            }
    print(f"{backbone}, seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"key": key, "found": value} for key, value in found.items()]))
    return found


def last_layers(model: Any, blocks: list[str]) -> list[str]:
    """Return the last layer before pooling of the blocks below the last, the deepest first."""
    names = [layer.name for layer in model.layers]
    found = []
    for block in reversed(blocks[-3:-1]):
        inside = [n for n in names if n.startswith(block) and "pool" not in n]
        found.append(inside[-1])
    return found


def row_of(
    backbone: str, method: str, layer: str, by_seed: list[dict[str, float]]
) -> dict[str, Any]:
    """Return the mean over seeds, and each seed's."""
    ratios = [found["ratio"] for found in by_seed]
    return {
        "network": backbone,
        "layer": layer,
        "method": method,
        "times the area, mean": f"{np.mean(ratios):.2f}",
        "of each seed": " ".join(f"{ratio:.2f}" for ratio in ratios),
        **{
            name: f"{np.nanmean([found[name] for found in by_seed]):.2f}"
            for name in ("covid-19", "other", "pneumonia")
        },
        "blank": int(sum(found["blank"] for found in by_seed)),
        "accuracy": " ".join(f"{found['accuracy']:.2f}" for found in by_seed),
    }


if __name__ == "__main__":
    main()
