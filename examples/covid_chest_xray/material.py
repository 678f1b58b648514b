"""The images of an experiment, source and target, whether drawn or read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

import detl
from examples.covid_chest_xray import paper_sets, tables
from examples.covid_chest_xray.profiles import Phantoms

Array = np.ndarray[Any, Any]

# The NIH renames the table with each edition.
NIH_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Images with class, patient and collection; row i of every array is image i."""

    images: Array
    labels: Array
    patients: Array
    names: Array
    collections: Array

    def digest(self) -> str:
        """Return a fingerprint of images and labels."""
        fingerprint = hashlib.blake2b(digest_size=16)
        fingerprint.update(np.ascontiguousarray(self.images))
        fingerprint.update("|".join(self.labels.tolist()).encode())
        return fingerprint.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Material:
    """What an experiment works on.

    Attributes
    ----------
    kind : {"phantoms", "radiographs"}
        Whether the images are drawn.
    train, validation : Part
        Data-A, the source domain: normal and diseased.
    target : Part
        Data-B: normal, pneumonia, other disease, COVID-19.
    masks : ndarray of bool, shape (n, height, width), or None
        The lesions of the target images, known for phantoms.
    counts : list of dict
        Images and patients per class, beside the paper's Table I.
    facts : dict
        What else a reader of the results must know about the data, ready for JSON.
    """

    kind: Literal["phantoms", "radiographs"]
    train: Part
    validation: Part
    target: Part
    masks: Array | None
    counts: list[dict[str, Any]]
    facts: dict[str, Any]


def from_phantoms(numbers: Phantoms, *, size: int, random_state: int) -> Material:
    """Draw the whole material; no patient is in two of its parts."""
    seeds = np.random.SeedSequence(random_state).generate_state(3).tolist()
    wanted = {"train": numbers.train, "validation": numbers.validation, "target": numbers.target}
    drawn = [
        detl.datasets.make_phantoms(of_class, size=size, name=name, random_state=seed)
        for (name, of_class), seed in zip(wanted.items(), seeds, strict=True)
    ]
    train, validation, target = map(_part_of, drawn)
    return Material(
        kind="phantoms",
        train=train,
        validation=validation,
        target=target,
        masks=drawn[-1].masks,
        counts=paper_sets.counts(train, validation, target),
        facts={"caution": "Phantoms are drawn by code. They are not patients."},
    )


def from_radiographs(
    *,
    nih: str | Path,
    nih_images: Sequence[str | Path],
    covid: str | Path,
    covid_images: Sequence[str | Path],
    size: int,
    on_missing: tables.OnMissing = "raise",
    pneumonia: Literal["only", "any"] = "only",
    exclude: Literal["patients", "images", "nothing"] = "patients",
    random_state: int,
) -> Material:
    """Read the NIH table and a COVID-19 collection, draw Data-A and Data-B, load their images.

    ``nih`` and ``covid`` hold ``Data_Entry_2017.csv`` and ``metadata.csv``. All classes
    must come from images of one resolution. For ``on_missing`` see :func:`tables.read_nih`, for
    ``pneumonia`` and ``exclude`` :func:`paper_sets.data_b` and :func:`paper_sets.data_a`.
    """
    of_nih = tables.read_nih(_nih_table(Path(nih)), nih_images, on_missing=on_missing)
    of_covid = tables.read_covid(Path(covid) / "metadata.csv", covid_images, on_missing=on_missing)
    target = paper_sets.data_b(of_nih, of_covid, pneumonia=pneumonia, random_state=random_state)
    source = paper_sets.data_a(of_nih, target=target, exclude=exclude, random_state=random_state)
    return Material(
        kind="radiographs",
        train=load_part(source.train, size),
        validation=load_part(source.validation, size),
        target=load_part(target, size),
        masks=None,
        counts=paper_sets.counts(source.train, source.validation, target),
        facts={
            "pneumonia": pneumonia,
            "exclude": exclude,
            "target_images_known_to_the_source_model": paper_sets.overlap(source, target),
            "named_in_the_table_but_missing": {
                "nih": of_nih.n_missing,
                "covid": of_covid.n_missing,
            },
            "target_images_per_collection": dict(
                zip(*(a.tolist() for a in np.unique(target.sources, return_counts=True)))
            ),
            "caution": (
                "COVID-19 images come from other hospitals, machines and file formats than all "
                "others: a network may tell the collection instead of the disease."
            ),
        },
    )


def _nih_table(folder: Path) -> Path:
    for name in NIH_TABLES:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{folder} has none of {', '.join(NIH_TABLES)}; expected the folder that holds the NIH "
        "ChestX-ray14 table."
    )


def load_part(records: tables.Records, size: int) -> Part:
    """Read the images of records into one array."""
    loaded = detl.images.load(list(records.paths), size=(size, size), channels=1)
    return Part(
        images=loaded.images,
        labels=records.labels,
        patients=records.patients,
        names=np.array([path.name for path in records.paths]),
        collections=records.sources,
    )


def _part_of(drawn: detl.datasets.ImageSet) -> Part:
    return Part(
        images=drawn.images,
        labels=drawn.labels,
        patients=drawn.groups,
        names=np.array([f"phantom {i}" for i in range(len(drawn))]),
        collections=np.full(len(drawn), "phantoms"),
    )
