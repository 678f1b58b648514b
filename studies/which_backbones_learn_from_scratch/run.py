r"""Find which backbones learn from scratch at the paper's learning rate, and what makes them.

Every backbone, with and without batch normalisation, with and without warm-up and clipping, is
trained by ``detl.pretrain`` at the paper's rate (Adam, 1e-3, cosine) on NIH normal against diseased
radiographs. One row per run: training loss and balanced validation accuracy by epoch. A loss that
stays at 0.693 is chance.

    python -m studies.which_backbones_learn_from_scratch.run --nih Data_Entry_2017.csv \
        --images FOLDER
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import keras
import numpy as np

from detl import backbones, images, pretrain
from examples.covid_chest_xray.tables import DISEASED, NO_FINDING, NORMAL, read_nih

RESULTS = Path(__file__).parent / "results"

SEED = 0


def draw(arguments: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images, labels and patients: as many normal as diseased, pneumonia left out."""
    records = read_nih(arguments.nih, arguments.images, on_missing="skip")
    generator = np.random.default_rng(SEED)
    normal = records.labels == NO_FINDING
    diseased = ~normal & (np.char.find(records.labels.astype(str), "Pneumonia") < 0)
    half = arguments.n_images // 2
    rows = np.concatenate(
        [generator.permutation(np.flatnonzero(kind))[:half] for kind in (normal, diseased)]
    )
    loaded = images.load(list(records.paths[rows]), size=(arguments.size, arguments.size))
    labels = np.where(normal[rows], NORMAL, DISEASED)
    return loaded.images, labels, records.patients[rows]


def main() -> None:
    """Train every combination and write one row for each as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nih", type=Path, required=True, help="Data_Entry_2017.csv")
    parser.add_argument("--images", type=Path, required=True, help="folder of the NIH images")
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS / "backbones.csv",
    )
    parser.add_argument("--backbones", nargs="+", default=["alexnet", "vgg16", "resnet50"])
    parser.add_argument("--n-images", type=int, default=3000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    pixels, labels, patients = draw(arguments)

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with arguments.output.open("w", newline="", encoding="utf-8") as file:
        writer = None
        for name in arguments.backbones:
            for normalization in (None, "batch"):
                for warmup_epochs, gradient_clip in ((0, None), (1, 1.0)):
                    backbone = getattr(backbones, name)(
                        pixels.shape[1:], width=arguments.width, normalization=normalization
                    )
                    started = time.perf_counter()
                    source = pretrain(
                        backbone,
                        pixels,
                        labels,
                        groups=patients,
                        epochs=arguments.epochs,
                        warmup_epochs=warmup_epochs,
                        gradient_clip=gradient_clip,
                        precision=arguments.precision,
                        random_state=SEED,
                        verbose=0,
                    )
                    row = {
                        "backbone": name,
                        "normalization": normalization or "none",
                        "warmup_epochs": warmup_epochs,
                        "gradient_clip": gradient_clip or "none",
                        "loss": " ".join(f"{v:.3f}" for v in source.history["loss"]),
                        "validation_accuracy": " ".join(
                            f"{v:.3f}" for v in source.history["val_accuracy"]
                        ),
                        "seconds": round(time.perf_counter() - started),
                        "images": len(pixels),
                        "patients": len(set(patients)),
                        "size": arguments.size,
                        "width": arguments.width,
                        "precision": arguments.precision,
                        "seed": SEED,
                        "keras": keras.__version__,
                    }
                    if writer is None:
                        writer = csv.DictWriter(file, list(row))
                        writer.writeheader()
                    writer.writerow(row)
                    file.flush()
                    print(row, flush=True)


if __name__ == "__main__":
    main()
