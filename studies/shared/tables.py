"""Rows of results as text, and tables of them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import detl
from examples.covid_chest_xray import experiment, material


def cell(result: detl.CrossValidationResult) -> str:
    """Return accuracy and interval."""
    return f"{result.accuracy:.3f} ({result.interval.low:.3f} to {result.interval.high:.3f})"


def points(
    better: detl.CrossValidationResult, other: detl.CrossValidationResult, target: material.Part
) -> str:
    """Return a difference in points of accuracy with its paired interval over patients."""
    more = experiment.worth(better, other, target.patients)
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * value for value in more.values()))


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
