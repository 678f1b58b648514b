"""Six target sets, and the sources to extend to them.

Rules of the target stage are chosen on RSNA, Kermany and the digits; the others are there to
confirm. No source has seen a patient of the target set that is extended to.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np

import detl
from examples.covid_chest_xray import material, tables
from examples.covid_chest_xray.profiles import PROFILES
from examples.covid_net import covid_net
from studies.shared import radiographs

TUNED = ("rsna", "kermany", "digits")
CONFIRMED = ("data-b", "nih", "phantoms")
SINGLE_FINDINGS = ("No Finding", "Atelectasis", "Effusion", "Infiltration", "Pneumothorax")
PER_FINDING = 100
PER_CHILD_CLASS = 166
WIDTHS = {"alexnet": 0.25, "vgg16": 0.125, "resnet50": 0.125, "covid_net": 0.125}


@dataclass(frozen=True, kw_only=True)
class Set:
    """Images with their class and patient; row i of every array is image i."""

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None


def read(name: str, folder: Path) -> Set:
    """Read or draw one of the six target sets."""
    makers = {
        "rsna": partial(_rsna, folder),
        "kermany": partial(_kermany, folder),
        "digits": partial(_digits, "target"),
        "data-b": lambda: _of_part(_data_b(folder).target),
        "nih": lambda: _of_part(material.load_part(_single_findings(folder), radiographs.SIZE)),
        "phantoms": lambda: _of_part(_phantoms().target),
    }
    return makers[name]()


def source(task: str, backbone: str, folder: Path, cache: Path) -> detl.SourceModel:
    """Return the source for a task, pretrained once for each domain and backbone."""
    domain = task if task in ("digits", "phantoms", "data-b") else "nih"
    path = cache / f"{domain}-{backbone}.keras"
    if path.exists():
        return detl.load_source(path)
    data = {
        "digits": partial(_digits, "source"),
        "phantoms": _phantom_source,
        "data-b": lambda: _of_part(_data_b(folder).train),
        "nih": partial(_nih_source, folder),
    }[domain]()
    model = detl.pretrain(
        untrained(data.images.shape[1:], backbone),
        data.images,
        data.labels,
        groups=data.groups,
        epochs=25,
        class_weight="balanced",
        random_state=0,
    )
    model.save(path)
    return model


def untrained(shape: tuple[int, ...], backbone: str) -> keras.Model:
    """Build the network of the sources."""
    keras.utils.set_random_seed(0)  # of one that is trained from scratch on the target
    build = covid_net if backbone == "covid_net" else getattr(detl.backbones, backbone)
    return build(shape, width=WIDTHS[backbone])


def _rsna(folder: Path) -> Set:
    rows = _table(folder / "rsna" / "metadata.csv")
    return _loaded(
        [folder / "rsna" / "images_128" / row["filename"] for row in rows],
        [row["rsna_class"] for row in rows],
        [row["patientid"] for row in rows],
    )


def views(folder: Path) -> np.ndarray:
    """Return how each patient of ``rsna`` stood to the beam: "PA" (standing) or "AP"."""
    return np.array([row["view"] for row in _table(folder / "rsna" / "metadata.csv")])


def adults(folder: Path) -> Set:
    """Read normal and diseased images of the NIH, but for the patients of ``rsna``."""
    records = _nih(folder)
    return _of_part(radiographs.binary(records, ~np.isin(records.patients, _of_rsna(folder))))


def kermany_names(folder: Path) -> list[str]:
    """Return the file of each image of ``kermany``."""
    return [name for name, _, _ in _some_children(folder)]


def _kermany(folder: Path) -> Set:
    names, labels, children = zip(*_some_children(folder), strict=True)
    return _loaded([folder / "kermany" / name for name in names], labels, children)


def _some_children(folder: Path) -> list[tuple[str, str, str]]:
    """Draw children of three classes; return file, class and child of one image of each."""
    rows = _table(folder / "kermany" / "metadata.csv")
    order = np.random.default_rng(0).permutation(len(rows))
    chosen: dict[str, dict[str, str]] = {"normal": {}, "bacteria": {}, "virus": {}}
    seen = set()
    for row in (rows[index] for index in order):
        of_class = chosen[row["subtype"] or "normal"]
        if len(of_class) < PER_CHILD_CLASS and row["patientid"] not in seen:
            of_class[row["patientid"]] = row["filename"]
            seen.add(row["patientid"])
    return [
        (name, label, child)
        for label, of_class in chosen.items()
        for child, name in of_class.items()
    ]


def _digits(stage: str) -> Set:
    """Handwritten digits; each of their 8 x 8 pixels becomes a block, as in all results so far."""
    source, target = detl.datasets.load_digits(size=8)
    digits = source if stage == "source" else target
    images = digits.images.repeat(8, axis=1).repeat(8, axis=2)
    return Set(images=images, labels=digits.labels, groups=None)


def _data_b(folder: Path) -> material.Material:
    return radiographs.read(folder, pneumonia="any")


def _nih(folder: Path) -> tables.Records:
    nih = folder / "nih"
    return tables.read_nih(nih / "Data_Entry_2017.csv", nih / "images_128", on_missing="skip")


def _single_findings(folder: Path) -> tables.Records:
    """Draw images with one finding, or none, of patients drawn first."""
    records = _nih(folder)
    generator = np.random.default_rng(0)
    place = np.unique(records.patients, return_inverse=True)[1]
    order = np.argsort(generator.permutation(place.max() + 1)[place], kind="stable")
    rows = [order[records.labels[order] == name][:PER_FINDING] for name in SINGLE_FINDINGS]
    chosen = np.concatenate(rows)
    return records.take(chosen, records.labels[chosen])


def _nih_source(folder: Path) -> Set:
    """Read the normal and diseased images, but for patients of RSNA and of single findings."""
    records = _nih(folder)
    known = np.concatenate([_single_findings(folder).patients, _of_rsna(folder)])
    return _of_part(radiographs.binary(records, ~np.isin(records.patients, known)))


def _of_rsna(folder: Path) -> list[str]:
    return [f"nih-{int(row['patientid'])}" for row in _table(folder / "rsna" / "metadata.csv")]


def _phantoms() -> material.Material:
    numbers = PROFILES["phantoms"].phantoms
    assert numbers is not None
    return material.from_phantoms(numbers, size=96, random_state=0)


def _phantom_source() -> Set:
    return _of_part(_phantoms().train)


def _of_part(part: material.Part) -> Set:
    return Set(images=part.images, labels=part.labels, groups=part.patients)


def _loaded(paths: list[Path], labels: object, groups: object) -> Set:
    size = (radiographs.SIZE, radiographs.SIZE)
    images = detl.images.load(paths, size=size, channels=1).images
    return Set(images=images, labels=np.array(labels), groups=np.array(groups))


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
