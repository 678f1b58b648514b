r"""Where heatmaps lie on phantoms, whose lesions are known: by network, method, layer and score.

Each network is trained as the example once did; heatmaps are of test images that the explained
model was not trained on, each for its true class, or for that class rather than normal (the
difference of their logits). The figure is the share of the heatmaps' energy inside the lesion over
the lesion's share of the area: 1 is what chance gives. The first three seeds are to choose by, the
others to check what was chosen.

The second command halves the source epochs and takes ResNet-50 too:

    python -m studies.which_heatmap_finds_the_lesion.run
    python -m studies.which_heatmap_finds_the_lesion.run --source-epochs 8 \
        --backbone vgg16 resnet50 \
        --output studies/which_heatmap_finds_the_lesion/results/8_source_epochs.csv
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import detl
from examples.covid_chest_xray import heatmaps, material, source_stage, tables
from examples.covid_chest_xray.profiles import PROFILES, Profile
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

# The example is smaller now, and its target stage is the library's default.
SETTINGS: dict[str, Any] = {"size": 96, "batch_size": 16, "target_learning_rate": 1e-3}
SEEDS = (0, 1, 2)
CHECK_SEEDS = (3, 4)
METHODS = ("gradcam", "hirescam", "layercam")
CLASS, CONTRAST = "the class", "the class rather than normal"
Key = tuple[str, str, str]  # layer, method, score


def main() -> None:
    """Train what was not trained yet, and write a row per network, method and layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", nargs="+", default=["vgg16"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[*SEEDS, *CHECK_SEEDS])
    parser.add_argument("--source-epochs", type=int)
    parser.add_argument("--runs", type=Path, default=Path("runs/phantom_attention"))
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS / "16_source_epochs.csv",
    )
    parsed = parser.parse_args()
    profile = replace(PROFILES["phantoms"], **SETTINGS)
    if parsed.source_epochs:
        profile = replace(profile, source_epochs=parsed.source_epochs)
    rows: list[dict[str, Any]] = []
    for backbone in parsed.backbone:
        found: dict[Key, dict[int, dict[str, float]]] = {}
        for seed in parsed.seeds:
            for key, ratio in maps_of(backbone, seed, profile, parsed.runs).items():
                found.setdefault(key, {})[seed] = ratio
        rows += [row_of(backbone, *key, by_seed) for key, by_seed in found.items()]
        write_csv(parsed.output, rows)


def maps_of(backbone: str, seed: int, profile: Profile, runs: Path) -> dict[Key, dict[str, float]]:
    """Return accuracy and attention of one training."""
    name = f"{backbone}_{seed}_{profile.source_epochs}"
    path = runs / f"{name}_heatmaps.json"
    if path.exists():
        return {tuple(row["key"]): row["found"] for row in json.loads(path.read_text())}
    started = time.perf_counter()
    data = material.from_phantoms(profile.phantoms, size=profile.size, random_state=seed)
    target = data.target
    source, _, _ = source_stage.pretrained(
        data,
        profile=profile,
        backbone=backbone,
        path=runs / f"{name}.keras",
        random_state=seed,
    )
    transfer = detl.DomainExtensionTransfer.as_published(
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
    normal = int(np.flatnonzero(transfer.classes_ == tables.NORMAL)[0])
    lower = detl.backbones.block_names(transfer.model_)[-2:-4:-1]
    layers = [None, *(heatmaps.last_maps(transfer.model_, block) for block in lower)]
    for layer, method, score in itertools.product(layers, METHODS, (CLASS, CONTRAST)):
        cam = detl.GradCAM(transfer.model_, layer=layer, method=method)
        maps = np.zeros((len(test), *target.images.shape[1:3]), np.float32)
        for index, label in enumerate(transfer.classes_):
            rows = np.flatnonzero(target.labels[test] == label)
            explained = index if score == CLASS else heatmaps.rather_than(normal, index)
            maps[rows] = cam(target.images[test[rows]], target_class=explained)
        attention = heatmaps.attention(
            heatmaps.Explanation(rows=test, heatmaps=maps, predictions=predictions),
            target.labels,
            data.masks,
        )
        assert attention is not None
        found[layer or "default", method, score] = {
            "accuracy": accuracy,
            "ratio": attention["all"].get("ratio", float("nan")),
            "blank": attention["all"]["empty_heatmaps"],
            **{
                label: attention[label].get("ratio", float("nan"))
                for label in ("covid-19", "other", "pneumonia")
            },
        }
    print(f"{backbone}, seed {seed}: {time.perf_counter() - started:.0f} s", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{"key": key, "found": value} for key, value in found.items()]))
    return found


def row_of(
    backbone: str, layer: str, method: str, score: str, by_seed: dict[int, dict[str, float]]
) -> dict[str, Any]:
    """Return means over the seeds to choose by and those to check by, and each seed's."""
    chosen_by = [found for seed, found in by_seed.items() if seed not in CHECK_SEEDS]
    checked = [found for seed, found in by_seed.items() if seed in CHECK_SEEDS]
    return {
        "network": backbone,
        "layer": layer,
        "method": method,
        "explained": score,
        "times the area": f"{np.mean([found['ratio'] for found in chosen_by]):.2f}",
        "check": f"{np.mean([found['ratio'] for found in checked]):.2f}" if checked else "",
        "of each seed": " ".join(f"{found['ratio']:.2f}" for found in by_seed.values()),
        **{
            name: f"{np.nanmean([found[name] for found in by_seed.values()]):.2f}"
            for name in ("covid-19", "other", "pneumonia")
        },
        "blank": int(sum(found["blank"] for found in by_seed.values())),
        "accuracy": " ".join(f"{found['accuracy']:.2f}" for found in by_seed.values()),
        "seeds": " ".join(map(str, by_seed)),
    }


if __name__ == "__main__":
    main()
