"""What `pretrain(ema_epochs=2)` is worth on radiographs: the example's source stage, both ways.

AlexNet at a quarter of its width on Data-A without Data-B's patients, with the settings of the
example's laptop profile. The same seed with and without averaging takes the same steps, so that
only the weights differ that are validated and kept.

Run: ``python -m studies.do_averaged_weights_help.run --data FOLDER``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

import detl
from examples.covid_chest_xray import tables
from examples.covid_chest_xray.profiles import PROFILES
from studies.shared.auc import drawn_aucs
from studies.shared.source_settings import is_diseased, read
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

WAYS = {"of the moment": None, "averaged over 2 epochs": 2.0}
PARTS = ("validation", "check")
SEEDS = (0, 1, 2)
N_DRAWS = 1000


def main() -> None:
    """Train each seed both ways and write what the networks know of patients not trained on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--runs", type=Path, default=Path("runs/averaged_weights"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parsed = parser.parse_args()
    data = read(parsed.data)
    profile = PROFILES["laptop"]
    train, validation = data["train"], data["validation"]
    rows = []
    for seed in SEEDS:
        said: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
        for way, ema_epochs in WAYS.items():
            source = detl.pretrain(
                detl.backbones.alexnet((profile.size, profile.size, 1), width=profile.width),
                train.images,
                train.labels,
                validation_data=(validation.images, validation.labels),
                epochs=profile.source_epochs,
                batch_size=profile.batch_size,
                learning_rate=profile.source_learning_rate,
                augmentation=detl.Augmentation(mirroring=profile.mirroring),
                class_weight=profile.class_weight,
                precision=profile.precision,
                ema_epochs=ema_epochs,
                checkpoint_dir=parsed.runs / f"{seed}_{ema_epochs}",
                random_state=seed,
                verbose=2,
            )
            column = source.classes.tolist().index(tables.DISEASED)
            row = {"seed": str(seed), "weights": way, "kept epoch": str(source.best_epoch + 1)}
            row["validation accuracy"] = f"{max(source.history['val_accuracy']):.3f}"
            for part in PARTS:
                p = source.model.predict(data[part].images, verbose=0)[:, column]
                said[part].append(p)
                row[f"{part} AUC"] = f"{roc_auc_score(is_diseased(data[part]), p):.3f}"
            rows.append(row)
            print(row, flush=True)
        for part in PARTS:
            diseased, patients = is_diseased(data[part]), data[part].patients
            plain, averaged = said[part]
            more = roc_auc_score(diseased, averaged) - roc_auc_score(diseased, plain)
            drawn = [drawn_aucs(diseased, p, patients, N_DRAWS) for p in (averaged, plain)]
            low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
            rows[-1][f"{part}: more, by patient"] = f"{more:+.3f} ({low:+.3f} to {high:+.3f})"
        write_csv(parsed.output / "averaged_weights.csv", rows)


if __name__ == "__main__":
    main()
