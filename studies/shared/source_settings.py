"""The ways to train the source stage that were tried, and the images they train on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import detl
from examples.covid_chest_xray import material, tables
from studies.shared import radiographs

AUGMENTATION = [field.name for field in dataclasses.fields(detl.Augmentation)]


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to train the source stage; the defaults are where the search begins."""

    backbone: str = "alexnet"
    width: float = 0.25
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 1e-3
    rotation: float = 10.0
    scaling: float = 0.1
    mirroring: bool = False
    translation: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    erasing: float = 0.0
    class_weight: str | None = "balanced"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    dropout: float = 0.5
    pixels: str = "as they are"
    further: str = "none"
    share: float = 1.0
    precision: str = "auto"
    seed: int = 0


# Each changes one lever of the baseline of its backbone; the order is that of the search.
BASE = Variant()
STRONGER = {
    "rotation": 15.0,
    "scaling": 0.2,
    "translation": 0.1,
    "contrast": 0.2,
    "brightness": 0.1,
    "erasing": 0.4,
}
LEVERS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "baseline, seed 1": {"seed": 1},
    "baseline, seed 2": {"seed": 2},
    "further images, 64 px": {"further": "images_64"},
    "half of the patients": {"share": 0.5},
    "quarter of the patients": {"share": 0.25},
    "stronger augmentation": STRONGER,
    "stronger augmentation, seed 1": {**STRONGER, "seed": 1},
    "stronger augmentation, seed 2": {**STRONGER, "seed": 2},
    "mirrored": {"mirroring": True},
    "no augmentation": {"rotation": 0.0, "scaling": 0.0},
    "classes unweighted": {"class_weight": None},
    "weight decay 0.1": {"weight_decay": 0.1},
    "label smoothing 0.1": {"label_smoothing": 0.1},
    "learning rate 3e-4": {"learning_rate": 3e-4},
    "batch size 128": {"batch_size": 128},
    "standardised": {"pixels": "standardised"},
    "CLAHE": {"pixels": "equalised"},
    "width 0.125": {"width": 0.125},
    "width 0.5": {"width": 0.5},
    "60 epochs": {"epochs": 60},
    "resnet50": {"backbone": "resnet50"},
    "resnet50, stronger augmentation": {"backbone": "resnet50", **STRONGER},
    "resnet50, learning rate 3e-4": {"backbone": "resnet50", "learning_rate": 3e-4},
    "resnet50, mirrored": {"backbone": "resnet50", "mirroring": True},
    "vgg16": {"backbone": "vgg16", "width": 0.125},
    "vgg16, stronger augmentation": {"backbone": "vgg16", "width": 0.125, **STRONGER},
    "vgg16, further images": {
        "width": 0.125,
        "precision": "float32",
        "backbone": "vgg16",
        "epochs": 8,
        "further": "images_64",
        "translation": 0.05,
        "contrast": 0.1,
        "brightness": 0.05,
    },
    "resnet50, further images": {
        "backbone": "resnet50",
        "epochs": 8,
        "further": "images_64",
        "translation": 0.05,
        "contrast": 0.1,
        "brightness": 0.05,
    },
}
# Added when the first ten of AlexNet had been seen.
LEVERS["stronger augmentation, further images"] = {**STRONGER, "further": "images_64"}
# Added for a GPU, when all others had been seen: networks as wide as the paper's.
LEVERS |= {
    "width 1": {"width": 1.0},
    "vgg16, width 1": {"backbone": "vgg16", "width": 1.0},
    "resnet50, width 1": {"backbone": "resnet50", "width": 1.0},
    "resnet50, width 1, stronger augmentation, further images": {
        **STRONGER,
        "backbone": "resnet50",
        "width": 1.0,
        "further": "images_64",
    },
}
VARIANTS = {name: dataclasses.replace(BASE, **change) for name, change in LEVERS.items()}
# Which weights a run could end with; detl.pretrain keeps the epoch of the best accuracy.
RULES = {
    ("epoch", "best accuracy"): "accuracy",
    ("epoch", "best AUC"): "AUC",
    ("epoch", "last"): "last",
    ("average", "best AUC"): "average",
}


def changes(variant: Variant) -> str:
    """Return what of a variant is not the baseline's, backbone, width, epochs and seed aside."""
    told = {"backbone", "width", "epochs", "seed"}
    return "; ".join(
        f"{field.name}={getattr(variant, field.name)}"
        for field in dataclasses.fields(variant)
        if field.name not in told and getattr(variant, field.name) != getattr(BASE, field.name)
    )


def stem(name: str) -> str:
    """Return a run's name as a file's."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def baseline_of(name: str) -> str:
    """Return the run of the same network and seed in which nothing is changed."""
    variant = VARIANTS[name]
    return next(
        other
        for other, its in VARIANTS.items()
        if (its.backbone, its.seed) == (variant.backbone, variant.seed) and not changes(its)
    )


def rows_of(part: material.Part, share: float, seed: np.random.SeedSequence) -> np.ndarray:
    """Return the rows of a share of the patients, drawn at random."""
    patients = np.random.default_rng(seed).permutation(np.unique(part.patients))
    return np.flatnonzero(np.isin(part.patients, patients[: round(share * len(patients))]))


def read(folder: Path) -> dict[str, material.Part]:
    """Read Data-A, the check images and the further images of other folders."""
    nih = folder / "nih"
    data = radiographs.read(folder)
    table = nih / "Data_Entry_2017.csv"
    used = np.concatenate([part.names for part in (data.train, data.validation, data.target)])
    of_128 = tables.read_nih(table, nih / "images_128", on_missing="skip")
    names = np.array([path.name for path in of_128.paths])
    check = np.isin(of_128.patients, data.target.patients) & ~np.isin(names, used)
    return {
        "train": data.train,
        "validation": data.validation,
        "check": radiographs.binary(of_128, check),
        "images_64": radiographs.further(folder, data),
    }


def joined(*parts: material.Part) -> material.Part:
    """Return several parts as one."""
    return material.Part(
        **{
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(material.Part)
        }
    )


def taken(part: material.Part, rows: np.ndarray) -> material.Part:
    """Return the rows of a part."""
    return material.Part(
        **{
            field.name: getattr(part, field.name)[rows]
            for field in dataclasses.fields(material.Part)
        }
    )


def standardised(images: np.ndarray) -> np.ndarray:
    """Give every image mean 128 and standard deviation 64."""
    pixels = images.astype("float32")
    mean = pixels.mean(axis=(1, 2, 3), keepdims=True)
    deviation = np.maximum(1, pixels.std(axis=(1, 2, 3), keepdims=True))
    return np.clip(128.5 + 64 * (pixels - mean) / deviation, 0, 255).astype("uint8")


def equalised(images: np.ndarray) -> np.ndarray:
    """Equalise the contrast of each image in tiles (CLAHE)."""
    from skimage.exposure import equalize_adapthist

    return np.stack(
        [255 * equalize_adapthist(image[..., 0], clip_limit=0.01)[..., None] for image in images]
    ).astype("uint8")


def is_diseased(part: material.Part) -> np.ndarray:
    """Return a claim per image, ``(n,)``."""
    return part.labels == tables.DISEASED
