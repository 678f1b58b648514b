"""Which images of the NIH become the target: at random, or of patients with few images."""

from __future__ import annotations

import numpy as np

from examples.covid_chest_xray import paper_sets, tables

DRAWS = ("at random", "fewest diseased images first")


def draw_nih(nih: tables.Records, rule: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return which rows of the NIH's table each class of Data-B gets by a rule of ``DRAWS``.

    As the experiment has it, images with pneumonia alone come before those with other findings too.
    """
    labels, order = nih.labels, rng.random(len(nih))
    if rule != "at random":
        patients, place = np.unique(nih.patients, return_inverse=True)
        order += np.bincount(place, has_disease(nih), minlength=len(patients))[place]

    def first(candidates: np.ndarray, n: int) -> np.ndarray:
        return np.array(sorted(np.flatnonzero(candidates), key=order.__getitem__)[:n], int)

    wanted = paper_sets.PAPER_TARGET[tables.PNEUMONIA]
    pneumonia = first(labels == "Pneumonia", wanted)
    also = has_pneumonia(nih) & (labels != "Pneumonia")
    others = [
        first(labels == name, paper_sets.PAPER_PER_OTHER_DISEASE)
        for name in paper_sets.OTHER_DISEASES
    ]
    return {
        tables.NORMAL: first(labels == tables.NO_FINDING, paper_sets.PAPER_TARGET[tables.NORMAL]),
        tables.PNEUMONIA: np.concatenate([pneumonia, first(also, wanted - len(pneumonia))]),
        tables.OTHER: np.concatenate(others),
    }


def data_b(nih: tables.Records, covid: tables.Records, *, draw: str, seed: int) -> tables.Records:
    """Draw Table I's numbers of images of each class."""
    rng = np.random.default_rng(seed)
    rows = draw_nih(nih, draw, rng)
    parts = [nih.take(those, np.full(len(those), name)) for name, those in rows.items()]
    those = rng.permutation(len(covid))[: paper_sets.PAPER_TARGET[tables.COVID]]
    parts.append(covid.take(those, np.full(len(those), tables.COVID)))
    return tables.Records(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("paths", "labels", "patients", "sources")
        }
    )


def has_pneumonia(nih: tables.Records) -> np.ndarray:
    """Return whether pneumonia is among the findings of each image, ``(n,)``."""
    return np.char.find(nih.labels.astype(str), "Pneumonia") >= 0


def has_disease(nih: tables.Records) -> np.ndarray:
    """Return whether an image would be a diseased one of Data-A, ``(n,)``."""
    return (nih.labels != tables.NO_FINDING) & ~has_pneumonia(nih)
