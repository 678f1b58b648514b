"""Ask how many augmented views of a target image are enough, against a new one every epoch.

On the four classes of the chest X-ray example, folds by patient. The trunk runs once per view, so
with as many views as epochs each is seen about once: that stands for a fresh view every epoch.

Run: ``python -m studies.how_many_augmented_views.run --data FOLDER --source SOURCE.keras``
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import detl
from studies.shared import radiographs
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

SIZE = 128
EPOCHS = 30
VIEWS = (0, 1, 4, EPOCHS)
SETTINGS = {
    "epochs": EPOCHS,
    "learning_rate": 1e-3,
    "class_weight": "balanced",
    "precision": "auto",
}
# Chests are not mirrored: the heart has its side.
AMOUNTS = detl.Augmentation(mirroring=False)


def main() -> None:
    """Cross-validate for each number of views and seed, and write a row for each number."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--source", type=Path, required=True, help="what detl.pretrain trained")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output", type=Path, default=RESULTS / "views.csv")
    parsed = parser.parse_args()

    target = radiographs.read(parsed.data).target
    source = detl.load_source(parsed.source)
    rows = []
    for n_views in VIEWS:
        accuracies, last, seconds = [], [], []
        for seed in parsed.seeds:
            detl.features.clear_cache()  # each number pays for its own views
            started = time.perf_counter()
            result = detl.cross_validate(
                detl.DomainExtensionTransfer.as_published(
                    source,
                    augmented_views=n_views,
                    augmentation=AMOUNTS if n_views else None,
                    **SETTINGS,
                ),
                target.images,
                target.labels,
                groups=target.patients,
                on_leak="ignore",
                random_state=seed,
            )
            seconds.append(time.perf_counter() - started)
            accuracies.append(result.scores["accuracy"].mean)
            last.append(np.mean([fold.history["accuracy"][-1] for fold in result.folds]))
            print(n_views, seed, f"{accuracies[-1]:.3f} in {seconds[-1]:.0f} s", flush=True)
        rows.append(
            {
                "views": n_views,
                "accuracy, mean of the seeds": f"{np.mean(accuracies):.3f}",
                "accuracy by seed": " ".join(f"{accuracy:.3f}" for accuracy in accuracies),
                "accuracy on the training images, last epoch": f"{np.mean(last):.3f}",
                "seconds, median": f"{np.median(seconds):.0f}",
            }
        )
        write_csv(parsed.output, rows)


if __name__ == "__main__":
    main()
