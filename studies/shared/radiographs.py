"""The radiographs of the studies: a folder with ``nih/`` and ``covid/``, at 128 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from examples.covid_chest_xray import material, tables

SIZE = 128


def read(folder: Path, *, seed: int = 0, size: int = SIZE, **options: Any) -> material.Material:
    """Read source and target images; options are those of ``material.from_radiographs``."""
    nih, covid = folder / "nih", folder / "covid"
    return material.from_radiographs(
        nih=nih,
        nih_images=[nih / "images_128"],
        covid=covid,
        covid_images=[covid / "images_128"],
        size=size,
        on_missing="skip",
        random_state=seed,
        **options,
    )


def further(folder: Path, data: material.Material) -> material.Part:
    """Read the NIH images of which only copies of 64 pixels are at hand, blown up.

    Normal and diseased, without pneumonia, of no patient of the target and validation images.
    """
    nih = folder / "nih"
    records = tables.read_nih(nih / "Data_Entry_2017.csv", nih / "images_64", on_missing="skip")
    known = np.concatenate([data.target.patients, data.validation.patients])
    return binary(records, ~np.isin(records.patients, known))


def binary(records: tables.Records, which: np.ndarray) -> material.Part:
    """Read some NIH images as normal or diseased, pneumonia left out."""
    which = which & (np.char.find(records.labels.astype(str), "Pneumonia") < 0)
    labels = np.where(records.labels == tables.NO_FINDING, tables.NORMAL, tables.DISEASED)
    return material.load_part(records.take(which, labels[which]), SIZE)


def controls(folder: Path) -> material.Part:
    """Read what the COVID-19 collections have without COVID-19."""
    covid = folder / "covid"
    records = tables.read_controls(covid / "metadata.csv", covid / "images_128", on_missing="skip")
    return material.load_part(records, SIZE)
