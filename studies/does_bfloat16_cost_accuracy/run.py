"""Ask whether bfloat16 costs accuracy: the same training in both number formats, three seeds.

The target stage on the four classes of the chest X-ray example, folds by patient; the source stage
on three tasks, a fifth of the patients kept to test.

Run: ``python -m studies.does_bfloat16_cost_accuracy.run --data FOLDER --source SOURCE.keras``
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import detl
from examples.covid_chest_xray import differences
from studies.shared import radiographs, tasks
from studies.shared.tables import write_csv
from studies.shared.teachers import Taught, children, drawn, first

RESULTS = Path(__file__).parent / "results"

SIZE = 128
SETTINGS = {"epochs": 50, "learning_rate": 1e-3, "class_weight": "balanced"}
PRECISIONS = ("float32", "mixed_bfloat16")
SOURCE = {"epochs": 12, "class_weight": "balanced"}
N_SOURCE = 4000


def main() -> None:
    """Compare the two in both stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with nih/, covid/, kermany/ and rsna/"
    )
    parser.add_argument("--source", type=Path, help="what detl.pretrain trained; for the target")
    parser.add_argument("--backbones", nargs="+", default=["alexnet"], help="for the source stage")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--stages", nargs="+", default=["target", "source"])
    parsed = parser.parse_args()
    if "target" in parsed.stages:
        target_stage(parsed)
    if "source" in parsed.stages:
        source_stage(parsed)


def source_stage(parsed: argparse.Namespace) -> None:
    """Pretrain in both formats, by turns, and write a row for each task, network and seed."""
    teachers: dict[str, Callable[[], Taught]] = {
        "phantoms": lambda: drawn(N_SOURCE, SIZE),
        "children (Kermany)": lambda: children(parsed.data / "kermany", N_SOURCE, SIZE),
        "adults (NIH)": lambda: first(adults(parsed.data), N_SOURCE),
    }
    rows = []
    for name, teacher in teachers.items():
        taught = teacher()
        for backbone in parsed.backbones:
            for seed in parsed.seeds:
                rows.append({"task": name, "network": backbone, "seed": seed})
                rows[-1] |= pretrained(taught, backbone, seed)
                print(rows[-1], flush=True)
                write_csv(RESULTS / "source_stage.csv", rows)


def adults(folder: Path) -> Taught:
    """Return normal and diseased images of the NIH."""
    grown = tasks.adults(folder)
    return grown.images, grown.labels, grown.groups


def pretrained(taught: Taught, backbone: str, seed: int) -> dict[str, Any]:
    """Return accuracies on patients that are kept to test, and their difference."""
    images, labels, patients = taught
    folds = detl.folds.stratified_folds(labels, groups=patients, n_splits=5, random_state=seed)
    train, test = folds[0]
    right = {}
    for precision in PRECISIONS:
        network = tasks.untrained((SIZE, SIZE, 1), backbone)
        source = detl.pretrain(
            network,
            images[train],
            labels[train],
            groups=patients[train],
            precision=precision,
            random_state=seed,
            verbose=0,
            **SOURCE,
        )
        said = source.model.predict(images[test], verbose=0).argmax(axis=1)
        right[precision] = (source.classes[said] == labels[test]).astype(float)
        keras.backend.clear_session()
    row = {f"accuracy, {name}": interval(right[name], patients[test]) for name in PRECISIONS}
    more = differences.paired(right["float32"] - right["mixed_bfloat16"], patients[test])
    row["difference in points"] = "{:+.1f} ({:+.1f} to {:+.1f})".format(
        *(100 * value for value in more.values())
    )
    row["test images"] = len(test)
    return row


def interval(right: np.ndarray, patients: np.ndarray) -> str:
    """Return accuracy and its 95 % interval, a bootstrap over patients."""
    return "{:.3f} ({:.3f} to {:.3f})".format(*differences.paired(right, patients).values())


def target_stage(parsed: argparse.Namespace) -> None:
    """Cross-validate in both formats for each seed and write a row for each."""
    target = radiographs.read(parsed.data).target
    source = detl.load_source(parsed.source)
    transfers = {
        precision: detl.DomainExtensionTransfer.as_published(
            source, precision=precision, **SETTINGS
        )
        for precision in PRECISIONS
    }
    rows = []
    for seed in parsed.seeds:
        comparison = detl.compare(
            transfers,
            target.images,
            target.labels,
            groups=target.patients,
            on_leak="ignore",
            random_state=seed,
        )
        rows.append(row_of(seed, comparison))
        print(rows[-1], flush=True)
        write_csv(RESULTS / "accuracy.csv", rows)


def row_of(seed: int, comparison: detl.Comparison) -> dict[str, Any]:
    """Return accuracies with intervals, and their paired difference."""
    row: dict[str, Any] = {"seed": seed}
    for name, result in comparison.results.items():
        row[f"accuracy, {name}"] = with_interval(result.scores["accuracy"])
    (difference,) = comparison.differences
    row["difference in points"] = (
        f"{100 * difference.mean:+.1f} ({100 * difference.interval.low:+.1f} to "
        f"{100 * difference.interval.high:+.1f})"
    )
    first, second = comparison.results.values()
    row["images predicted alike"] = f"{(first.predictions == second.predictions).mean():.3f}"
    row["images"] = len(first.predictions)
    return row


def with_interval(score: detl.metrics.Score) -> str:
    """Return mean and 95 % interval."""
    return f"{score.mean:.3f} ({score.interval.low:.3f} to {score.interval.high:.3f})"


if __name__ == "__main__":
    main()
