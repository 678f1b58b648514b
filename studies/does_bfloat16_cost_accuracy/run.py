"""Ask whether bfloat16 costs accuracy: the same folds in both number formats, three seeds.

On the four classes of the chest X-ray example, folds by patient.

Run: ``python -m studies.does_bfloat16_cost_accuracy.run --data FOLDER --source SOURCE.keras``
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import detl
from studies.shared import radiographs
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

SIZE = 128
SETTINGS = {"epochs": 50, "learning_rate": 1e-3, "class_weight": "balanced"}
PRECISIONS = ("float32", "mixed_bfloat16")


def main() -> None:
    """Compare the two for each seed and write a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--source", type=Path, required=True, help="what detl.pretrain trained")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS / "accuracy.csv",
    )
    parsed = parser.parse_args()

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
        write_csv(parsed.output, rows)


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
