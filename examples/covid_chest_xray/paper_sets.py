"""The paper's two data sets, Data-A and Data-B, drawn from the owners' tables.

References
----------
Basu, Mitra & Saha 2020, "Deep Learning for Screening COVID-19 using Chest X-Ray Images", Table I.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from examples.covid_chest_xray.tables import (
    COVID,
    DISEASED,
    NO_FINDING,
    NORMAL,
    OTHER,
    PNEUMONIA,
    Array,
    Records,
)

PAPER_TRAIN = {NORMAL: 47_560, DISEASED: 40_819}
PAPER_VALIDATION = {NORMAL: 10_000, DISEASED: 10_000}
PAPER_TARGET = {NORMAL: 350, PNEUMONIA: 322, OTHER: 300, COVID: 305}
OTHER_DISEASES = ("Atelectasis", "Cardiomegaly", "Infiltration", "Effusion", "Nodule", "Mass")
PAPER_PER_OTHER_DISEASE = 50


@dataclass(frozen=True, kw_only=True)
class DataA:
    """The source domain, normal against diseased: no patient is in both parts."""

    train: Records
    validation: Records


def data_b(
    nih: Records,
    covid: Records,
    *,
    pneumonia: Literal["only", "any"] = "only",
    random_state: int | None = None,
) -> Records:
    """Draw the target set by Table I: normal, pneumonia, other disease, COVID-19.

    A class that the tables cannot fill stays smaller; :func:`counts` says so. With ``pneumonia``
    "only", the paper's rule, images whose only finding is pneumonia are drawn; "any" also takes
    those with further findings, for copies of the data that hold few pneumonias, but those with
    pneumonia alone come first.
    """
    if pneumonia not in ("only", "any"):
        raise ValueError(f"pneumonia={pneumonia!r}; expected 'only' or 'any'.")
    rng = np.random.default_rng(random_state)

    def draw(candidates: Array, n: int) -> Array:
        return rng.permutation(np.flatnonzero(candidates))[:n]

    pneumonias = draw(nih.labels == "Pneumonia", PAPER_TARGET[PNEUMONIA])
    if pneumonia == "any":
        also = _mentions(nih, "Pneumonia") & (nih.labels != "Pneumonia")
        missing = PAPER_TARGET[PNEUMONIA] - len(pneumonias)
        pneumonias = np.concatenate([pneumonias, draw(also, missing)])
    others = [draw(nih.labels == name, PAPER_PER_OTHER_DISEASE) for name in OTHER_DISEASES]

    parts = [
        _labelled(nih, draw(nih.labels == NO_FINDING, PAPER_TARGET[NORMAL]), NORMAL),
        _labelled(nih, pneumonias, PNEUMONIA),
        _labelled(nih, np.concatenate(others), OTHER),
        _labelled(covid, draw(covid.labels == COVID, PAPER_TARGET[COVID]), COVID),
    ]
    return _concatenate(parts)


def data_a(
    nih: Records,
    *,
    target: Records,
    exclude: Literal["patients", "images", "nothing"] = "patients",
    random_state: int | None = None,
) -> DataA:
    """Draw the source set by Table I: normal / diseased, to train and to validate.

    Diseased means any of 13 diseases; an image with pneumonia among its labels is left out.
    Validation is balanced and of patients whose images are not trained on. Where the table is
    smaller than the paper's, validation keeps the paper's share of it and training takes all
    the rest.

    ``exclude`` is what of Data-B, the target, stays out: "nothing" is the paper's own way, in which
    the source model has seen target images, which flatters the result.
    """
    if exclude not in ("patients", "images", "nothing"):
        raise ValueError(f"exclude={exclude!r}; expected 'patients', 'images' or 'nothing'.")
    allowed = ~_mentions(nih, "Pneumonia")
    if exclude == "patients":
        allowed &= ~np.isin(nih.patients, target.patients)
    elif exclude == "images":
        of_target = set(target.paths)
        allowed &= np.array([path not in of_target for path in nih.paths], bool)
    labels = np.where(nih.labels == NO_FINDING, NORMAL, DISEASED)
    pool = nih.take(allowed, labels[allowed])
    classes = np.unique(pool.labels).tolist()
    if len(classes) < 2:
        raise ValueError(
            f"Data-A would have the classes {classes} only; expected {NORMAL!r} "
            f"and {DISEASED!r}. The table or the image folder is too small for exclude={exclude!r}."
        )

    rng = np.random.default_rng(random_state)
    fraction = min(
        1.0,
        *(
            np.sum(pool.labels == name) / (PAPER_TRAIN[name] + PAPER_VALIDATION[name])
            for name in PAPER_TRAIN
        ),
    )
    per_class = max(1, round(fraction * PAPER_VALIDATION[NORMAL]))
    validation = _balanced_patients(pool, per_class, rng)
    rest = ~np.isin(pool.patients, pool.patients[validation])
    train = np.concatenate(
        [
            rng.permutation(np.flatnonzero(rest & (pool.labels == name)))[:n]
            for name, n in PAPER_TRAIN.items()
        ]
    )
    return DataA(train=pool.take(train), validation=pool.take(validation))


def counts(train: Any, validation: Any, target: Any) -> list[dict[str, Any]]:
    """Return images and patients of each class beside Table I, one dictionary per row.

    Each part has ``labels`` and ``patients``, be it records or images.
    """
    parts = (
        ("Data-A train", train, PAPER_TRAIN),
        ("Data-A validation", validation, PAPER_VALIDATION),
        ("Data-B", target, PAPER_TARGET),
    )
    return [
        {
            "set": title,
            "class": name,
            "paper_images": wanted,
            "images": int(np.sum(part.labels == name)),
            "patients": len(set(part.patients[part.labels == name])),
        }
        for title, part, paper in parts
        for name, wanted in paper.items()
    ]


def overlap(source: DataA, target: Records) -> dict[str, int]:
    """Count what of Data-B the source model has seen: images, and images of known patients."""
    seen = (source.train, source.validation)
    paths = {path for records in seen for path in records.paths}
    patients = {patient for records in seen for patient in records.patients}
    return {
        "images": sum(path in paths for path in target.paths),
        "images_of_shared_patients": sum(patient in patients for patient in target.patients),
    }


def counts_text(rows: Iterable[dict[str, Any]], *, beside_paper: bool = True) -> str:
    """Write the rows of :func:`counts` as a table, beside the paper's Table I on request."""
    paper = f" {'Table I':>8}" if beside_paper else ""
    lines = [f"{'set':<18} {'class':<10}{paper} {'images':>8} {'patients':>9}"]
    for row in rows:
        paper = f" {row['paper_images']:>8,}" if beside_paper else ""
        lines.append(
            f"{row['set']:<18} {row['class']:<10}{paper} {row['images']:>8,} {row['patients']:>9,}"
        )
    return "\n".join(lines)


def _mentions(nih: Records, finding: str) -> Array:
    return np.array([finding in findings.split("|") for findings in nih.labels], bool)


def _labelled(records: Records, which: Array, label: str) -> Records:
    return records.take(which, np.full(len(which), label))


def _concatenate(parts: Sequence[Records]) -> Records:
    return Records(
        paths=np.concatenate([part.paths for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        patients=np.concatenate([part.patients for part in parts]),
        sources=np.concatenate([part.sources for part in parts]),
    )


def _balanced_patients(pool: Records, per_class: int, rng: np.random.Generator) -> Array:
    """Return the indices of ``per_class`` images per class, whole patients only.

    Patients are visited at random and taken where they fit, so the last few taken have few
    images; should they not fill both classes alike, the fuller one gives images up.
    """
    _, inverse = np.unique(pool.patients, return_inverse=True)
    is_diseased = pool.labels == DISEASED
    images_of = np.stack([np.bincount(inverse, ~is_diseased), np.bincount(inverse, is_diseased)])
    taken, room = [], np.array([per_class, per_class])
    for patient in rng.permutation(inverse.max() + 1):
        if np.all(images_of[:, patient] <= room):
            taken.append(patient)
            room = room - images_of[:, patient]
    inside = np.isin(inverse, taken)
    drawn = [rng.permutation(np.flatnonzero(inside & (is_diseased == d))) for d in (False, True)]
    balanced = min(map(len, drawn))
    return np.concatenate([indices[:balanced] for indices in drawn])
