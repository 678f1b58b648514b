r"""Plant copies among images of several kinds: which are found, and which other images are accused.

    pip install scikit-image
    python -m studies.how_alike_is_a_copy.run --data FOLDER

Expects ``nih/``, ``covid/``, ``kermany/`` and ``medmnist/`` in the folder; sets that are not there
are left out. Digits are scikit-learn's, textures scikit-image's, phantoms ours.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage import data as pictures
from sklearn.datasets import load_digits

from detl import images
from detl.datasets import make_phantoms
from detl.folds.copies import copies_within, sketch
from examples.covid_chest_xray import tables
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

SEEDS = (0, 1, 2)
N_IMAGES = 2000
BEFORE = 0.8  # the threshold for all sets, until this study
Loaded = tuple[np.ndarray, np.ndarray, np.ndarray]  # images, classes, patients


# ---------------------------------------------------------------------------------------- copies


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a grey image at another size."""
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def saved(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the image as a JPEG file of quality 30 to 80 gives it back."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(generator.integers(30, 81)))
    return np.asarray(Image.open(file))


def rescaled(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the image reduced to 0.5 to 0.9 of its size and enlarged again."""
    small = [max(1, round(side * generator.uniform(0.5, 0.9))) for side in image.shape]
    return resized(resized(image, *small), *image.shape)


def brightened(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the image with other contrast and brightness, cut off at black and white."""
    contrast, brightness = generator.uniform(0.8, 1.2), generator.uniform(-25, 25)
    return np.clip(image * contrast + brightness, 0, 255).astype("uint8")


def cropped(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the image without 5 % of height and width, at its old size."""
    height, width = (round(0.95 * side) for side in image.shape)
    top = generator.integers(image.shape[0] - height + 1)
    left = generator.integers(image.shape[1] - width + 1)
    return resized(image[top : top + height, left : left + width], *image.shape)


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "exact": lambda image, generator: image,
    "JPEG": saved,
    "rescaled": rescaled,
    "brightened": brightened,
    "cropped 5 %": cropped,
    "mirrored": lambda image, generator: image[:, ::-1],
}


# ------------------------------------------------------------------------------------------ sets


def some(pixels: np.ndarray, classes: Any, patients: Any, seed: int) -> Loaded:
    """Return at most ``N_IMAGES`` of them, drawn at random."""
    rows = np.random.default_rng(seed).permutation(len(pixels))[:N_IMAGES]
    return pixels[rows], np.asarray(classes)[rows], np.asarray(patients)[rows]


def read(records: tables.Records, size: int, seed: int) -> Loaded:
    """Return images of a collection."""
    rows = np.random.default_rng(seed).permutation(len(records.paths))[:N_IMAGES]
    pixels = images.load(records.paths[rows], size=(size, size)).images[..., 0]
    return pixels, records.labels[rows], records.patients[rows]


def nih(folder: Path, seed: int) -> Loaded:
    """Return radiographs of adults; "No Finding" or any finding."""
    records = tables.read_nih(
        folder / "Data_Entry_2017.csv", folder / "images_128", on_missing="skip"
    )
    return read(records, 128, seed)


def covid(folder: Path, seed: int) -> Loaded:
    """Return radiographs of COVID-19."""
    return read(tables.read_covid(folder / "metadata.csv", folder / "images_128"), 128, seed)


def children(folder: Path, seed: int) -> Loaded:
    """Return radiographs of children, normal or with pneumonia."""
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    chosen = np.random.default_rng(seed).permutation(len(rows))[:N_IMAGES]
    rows = [rows[i] for i in chosen]
    pixels = images.load([folder / row["filename"] for row in rows], size=(112, 112)).images
    classes = np.array([row["finding"] for row in rows])
    return pixels[..., 0], classes, np.array([row["patientid"] for row in rows])


def pneumonia_mnist(folder: Path, seed: int) -> Loaded:
    """Return radiographs of children at 28 pixels; the patients are not known."""
    with np.load(folder / "pneumoniamnist.npz") as file:
        pixels, classes = file["train_images"], file["train_labels"].ravel()
    pixels = pixels.reshape(len(pixels), 28, 28)
    return some(pixels, classes, np.arange(len(pixels)), seed)


def digits(folder: Path, seed: int) -> Loaded:
    """Return digits of 8 pixels, each four times as wide."""
    found = load_digits()
    pixels = (found.images * 15.9).astype("uint8").repeat(4, axis=1).repeat(4, axis=2)
    return some(pixels, found.target, np.arange(len(pixels)), seed)


def textures(folder: Path, seed: int) -> Loaded:
    """Return brick, grass and gravel in parts of 64 pixels, side by side."""
    whole = np.stack([pictures.brick(), pictures.grass(), pictures.gravel()])
    pixels = whole.reshape(3, 8, 64, 8, 64).transpose(0, 1, 3, 2, 4).reshape(-1, 64, 64)
    return some(pixels, np.repeat([0, 1, 2], 64), np.arange(len(pixels)), seed)


def drawn(folder: Path, seed: int) -> Loaded:
    """Return phantoms of a chest."""
    found = make_phantoms(
        {"normal": 600, "pneumonia": 600, "covid-19": 300}, size=64, random_state=seed
    )
    return some(found.images[..., 0], found.labels, found.groups, seed)


SETS: dict[str, tuple[str, Callable[[Path, int], Loaded]]] = {
    "NIH": ("nih", nih),
    "COVID-19": ("covid", covid),
    "children": ("kermany", children),
    "PneumoniaMNIST": ("medmnist", pneumonia_mnist),
    "digits": (".", digits),
    "textures": (".", textures),
    "phantoms": (".", drawn),
}


# ---------------------------------------------------------------------------------------- report


def measured(loaded: Loaded, seed: int) -> dict[str, float]:
    """Return percentages of images that are accused, and of planted copies that are found."""
    pixels, classes, patients = loaded
    n = len(pixels)
    generator = np.random.default_rng(seed)
    n_copies = min(100, n // 10)
    originals = generator.permutation(n)[: n_copies * len(KINDS)].reshape(len(KINDS), n_copies)
    planted = [
        make(pixels[i], generator) for make, rows in zip(KINDS.values(), originals) for i in rows
    ]
    together = np.concatenate([pixels, np.stack(planted)])[..., np.newaxis]
    targets = np.unique(classes, return_inverse=True)[1]
    targets = np.concatenate([targets, targets[originals.ravel()]])
    sketches = sketch(together)
    result: dict[str, float] = {"images": n, "patients": len(np.unique(patients))}
    for name, threshold in (("before", BEFORE), ("now", None)):
        found = copies_within(sketches, targets, threshold=threshold)
        accused = found.pairs[(found.pairs < n).all(axis=1) & ~found.exact]
        same = patients[accused[:, 0]] == patients[accused[:, 1]]
        for of_whom, chosen in (("others", ~same), ("same patient", same)):
            count = len(np.unique(accused[chosen]))
            result[f"accused {name}, {of_whom}, %"] = 100 * count / n
    result["threshold"] = found.thresholds.max()
    pairs = set(map(tuple, found.pairs.tolist()))
    for number, (kind, rows) in enumerate(zip(KINDS, originals)):
        copies = n + number * n_copies + np.arange(n_copies)
        hits = [pair in pairs for pair in zip(rows.tolist(), copies.tolist())]
        result[f"found: {kind}"] = np.mean(hits)
    return result


def main() -> None:
    """Measure every set with every seed, and write the table of means."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS / "copies.csv")
    arguments = parser.parse_args()
    table = []
    for name, (folder, load) in SETS.items():
        if not (arguments.data / folder).is_dir():
            continue
        runs = [measured(load(arguments.data / folder, seed), seed) for seed in SEEDS]
        means = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
        counts = {key: round(means.pop(key)) for key in ("images", "patients")}
        table.append({"set": name, **counts, **{k: f"{v:.3g}" for k, v in means.items()}})
        print(table[-1], flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.output, table)


if __name__ == "__main__":
    main()
