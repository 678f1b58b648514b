"""What source networks are taught, and the few target images that they may then learn from."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import detl
from detl.datasets import make_phantoms

Taught = tuple[np.ndarray, np.ndarray, np.ndarray]  # images, labels, patients
ALL = 0


def trained(
    backbone: keras.Model, teacher: Callable[[], Taught], path: Path, seed: int, **settings: Any
) -> detl.SourceModel:
    """Pretrain, or load what was pretrained; a fifth of the patients is held out to validate."""
    if path.exists():
        return detl.load_source(path)
    images, labels, patients = teacher()
    source = detl.pretrain(
        backbone, images, labels, groups=patients, random_state=seed, verbose=0, **settings
    )
    print(f"{path.name}: validation accuracy {max(source.history['val_accuracy']):.3f}", flush=True)
    source.save(path)
    return source


def children(folder: Path, n: int, size: int) -> Taught:
    """Return n images, labels and patients of Kermany et al. 2018, drawn at random."""
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows = [rows[i] for i in np.sort(np.random.default_rng(0).permutation(len(rows))[:n])]
    paths = [folder / row["filename"] for row in rows]
    images = detl.images.load(paths, size=(size, size), channels=1).images
    labels = np.array([row["finding"].lower() for row in rows])
    return images, labels, np.array([row["patientid"] for row in rows])


def drawn(n: int, size: int) -> Taught:
    """Return n phantoms."""
    each = {"normal": n - n // 2, "diseased": n // 2}
    part = make_phantoms(each, size=size, name="teacher", random_state=0)
    return part.images, part.labels, part.groups


def first(taught: Taught, n: int) -> Taught:
    """Return n images of patients drawn at random, the last of them perhaps not whole."""
    images, labels, patients = taught
    place = np.unique(patients, return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(place.max() + 1)[place]
    rows = np.sort(np.argsort(order, kind="stable")[:n])
    return images[rows], labels[rows], patients[rows]


def folds_by_patient(
    labels: np.ndarray, patients: np.ndarray, n_splits: int, per_class: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return folds that train on at most ``per_class`` images of each class, or on ``ALL``."""
    folds = detl.folds.stratified_folds(
        labels, groups=patients, n_splits=n_splits, random_state=seed
    )
    if per_class == ALL:
        return folds
    generator = np.random.default_rng(seed)
    return [(some(train, labels, per_class, generator), test) for train, test in folds]


def some(
    rows: np.ndarray, labels: np.ndarray, n: int, generator: np.random.Generator
) -> np.ndarray:
    """Return n of the rows of each class, drawn at random."""
    names = np.unique(labels[rows])
    few = [generator.permutation(rows[labels[rows] == name])[:n] for name in names]
    return np.sort(np.concatenate(few))


def slug(name: str) -> str:
    """Return a source's name as part of a file's."""
    return "".join(c if c.isalnum() else "_" for c in name)
