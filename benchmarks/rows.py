"""Rows of results: what each says of the machine, and the file that they are written to."""

from __future__ import annotations

import csv
import os
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file with the columns of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def measured_with(*packages: str) -> dict[str, str]:
    """Return the last columns of a row: the machine with its load, and versions of packages."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "versions": ", ".join(f"{name} {metadata.version(name)}" for name in packages),
    }


def spread(values: np.ndarray, form: str) -> str:
    """Return the lowest and the highest value as a text."""
    return f"{format(values.min(), form)} to {format(values.max(), form)}"
