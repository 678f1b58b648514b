"""The radiographs of the benchmarks: a folder with ``nih/`` and ``covid/``, at 128 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from examples.covid_chest_xray import material, tables

SIZE = 128


def read(folder: Path, *, seed: int = 0, **options: Any) -> material.Material:
    """Read source and target images; options are those of ``material.from_radiographs``."""
    nih, covid = folder / "nih", folder / "covid"
    return material.from_radiographs(
        nih=nih,
        nih_images=[nih / "images_128"],
        covid=covid,
        covid_images=[covid / "images_128"],
        size=SIZE,
        on_missing="skip",
        random_state=seed,
        **options,
    )


def controls(folder: Path) -> material.Part:
    """Read what the COVID-19 collections have without COVID-19."""
    covid = folder / "covid"
    records = tables.read_controls(covid / "metadata.csv", covid / "images_128", on_missing="skip")
    return material.load_part(records, SIZE)
