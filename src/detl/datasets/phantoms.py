"""Chest phantoms: frontal radiographs drawn by code, with every lesion's outline known.

They let a newcomer run the whole method without any data, and they are the ground truth against
which heatmaps and shortcut tests are judged. They are not patients: nothing measured on them says
anything about disease.

Anatomy belongs to a patient; pose, exposure, noise, side marker and lesion belong to an image.
Only the lesion depends on the class, so that nothing else gives it away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from detl.checks import check_count
from detl.datasets.chest import N_BLOBS, Array, expose
from detl.datasets.image_set import ImageSet
from detl.seeds import integer_seed, seed_sequence

# Which lesions a class may show; each image of it shows one of them.
LESIONS: dict[str, tuple[str, ...]] = {
    "normal": (),
    "pneumonia": ("consolidation",),
    "covid-19": ("ground glass",),
    "other": ("nodules", "effusion"),
    "diseased": ("nodules", "effusion", "mass", "enlarged heart"),
}

# How many images a patient has, and how often: follow-ups make patient groups mean something.
IMAGES_PER_PATIENT = ((1, 0.6), (2, 0.25), (3, 0.15))

# Each patient's measures, drawn evenly from these ranges.
ANATOMY: dict[str, tuple[float, float]] = {
    "chest": (0.90, 1.04),  # half width of the trunk
    "lung": (0.76, 0.85),  # half width of the rib cage at its widest
    "apex": (-0.78, -0.68),
    "sulcus": (0.64, 0.78),  # depth of the costophrenic angles
    "dome": (0.42, 0.54),  # top of the right diaphragm; the left one lies lower by:
    "dome_step": (0.03, 0.09),
    "heart_width": (0.33, 0.41),
    "heart_tilt": (0.35, 0.65),  # radians
    "mediastinum": (0.12, 0.17),
    "knob": (0.055, 0.085),  # radius of the aortic knob
    "rib_spacing": (0.165, 0.20),
    "rib_phase": (0.0, 1.0),
    "rib_slope": (0.28, 0.48),
    "rib_density": (0.07, 0.12),
    "clavicle_rise": (0.10, 0.22),
    "clavicle_height": (-0.57, -0.49),
    "scoliosis": (-0.03, 0.03),
    "vessels": (0.18, 0.34),
    "vessel_phase": (0.0, 2 * np.pi),
    "fat": (-0.05, 0.10),
    "breast": (-0.12, 0.16),  # negative: none to see
    "gas": (-0.25, 0.35),  # of the stomach bubble; negative: none to see
}

# Each image's circumstances, whatever its class.
VIEW: dict[str, tuple[float, float]] = {
    "rotation": (-0.06, 0.06),  # radians
    "shift_x": (-0.05, 0.05),
    "shift_y": (-0.05, 0.05),
    "zoom": (0.94, 1.06),
    "inspiration": (-0.03, 0.03),
    "exposure": (0.90, 1.12),
    "gamma": (0.88, 1.15),
    "noise": (2.0, 6.0),  # standard deviation, grey levels
    "marker": (-1.0, 1.0),  # where the side marker lies; beyond +-0.7 there is none
    "marker_height": (-0.93, -0.80),
}

# A blob lies in one lung: ``side`` is +1 on the patient's left and -1 on the right, ``depth`` runs
# from 0 at the apex to 1 at the costophrenic angle, ``across`` from 0 at the mediastinum to 1 at
# the ribs. Its ``opacity`` is the share of the lung's air that it replaces.
BLOB = ("side", "depth", "across", "radius_x", "radius_y", "opacity", "softness")

# Least and greatest number of blobs, and the ranges of their measures, for each kind of lesion.
BLOBS: dict[str, tuple[int, int, dict[str, tuple[float, float]]]] = {
    "consolidation": (
        4,
        4,
        {
            "depth": (0.24, 0.70),
            "across": (0.40, 0.66),
            "radius_x": (0.10, 0.17),
            "radius_y": (0.10, 0.17),
            "opacity": (0.62, 0.90),
            "softness": (0.35, 0.65),
        },
    ),
    "ground glass": (
        6,
        8,
        {
            "depth": (0.30, 0.85),
            "across": (0.72, 0.95),
            "radius_x": (0.09, 0.17),
            "radius_y": (0.12, 0.22),
            "opacity": (0.32, 0.55),
            "softness": (0.6, 0.9),
        },
    ),
    "nodules": (
        1,
        3,
        {
            "depth": (0.20, 0.62),
            "across": (0.42, 0.82),
            "radius_x": (0.045, 0.07),
            "opacity": (0.60, 0.85),
            "softness": (0.10, 0.20),
        },
    ),
    "mass": (
        1,
        1,
        {
            "depth": (0.25, 0.60),
            "across": (0.35, 0.75),
            "radius_x": (0.10, 0.16),
            "opacity": (0.70, 0.92),
            "softness": (0.10, 0.20),
        },
    ),
    # The depth of an effusion is the level of its fluid.
    "effusion": (1, 1, {"depth": (0.60, 0.78), "opacity": (0.85, 0.97)}),
    # The radius of an enlarged heart is how much wider it is.
    "enlarged heart": (1, 1, {"radius_x": (0.10, 0.18), "opacity": (0.92, 0.92)}),
}
BATCH = 128  # images drawn at once: bounds the memory
SMALLEST = 32  # pixels; below it no rib is visible


# Images of each class that load_phantoms draws.
SOURCE = {"normal": 500, "diseased": 500}
TARGET = {"normal": 60, "pneumonia": 60, "covid-19": 60, "other": 60}

_DESCRIPTION = (
    "Chest phantoms, drawn by code. They are not patients: nothing measured on them says anything "
    "about disease."
)


def load_phantoms(*, size: int = 64, random_state: Any = 0) -> tuple[ImageSet, ImageSet]:
    """Draw chest phantoms for both stages: a large source of two classes, a small target of four.

    Phantoms are not patients: nothing measured on them says anything about disease.

    Parameters
    ----------
    size : int, default=64
        Height and width in pixels, at least 32. Drawing takes a few seconds at 64, four times as
        long at 128; the same call later in the process takes none.
    random_state : int, numpy generator or None, default=0
        Seed of the drawing. The same number gives the same images to the last bit.

    Returns
    -------
    source : ImageSet
        500 images of "normal" and 500 of "diseased" (nodules, effusion, mass or an enlarged heart).
    target : ImageSet
        60 images each of "normal", "pneumonia" (one consolidation), "covid-19" (ground glass in
        both lungs) and "other" (nodules or an effusion).

    Notes
    -----
    ``images`` have shape ``(n, size, size, 1)``. ``groups`` are patients with one to three images,
    all of one class; no patient is in both sets. ``masks`` show where the lesion is visible.

    Examples
    --------
    >>> from detl import datasets
    >>> source, target = datasets.load_phantoms(size=32)
    >>> target
    ImageSet(
        images=uint8 (240, 32, 32, 1),
        labels={'covid-19': 60, 'normal': 60, 'other': 60, 'pneumonia': 60},
        groups=154,
        masks=bool (240, 32, 32),
        description='Chest phantoms, drawn by code. They are not patients: ...',
    )
    """
    check_count("size", size, at_least=SMALLEST)
    source, target = _both_sets(int(size), integer_seed(seed_sequence(random_state)))
    return _copy(source), _copy(target)


@lru_cache(maxsize=2)
def _both_sets(size: int, seed: int) -> tuple[ImageSet, ImageSet]:
    of_source, of_target = np.random.SeedSequence(seed).spawn(2)
    return (
        make_phantoms(SOURCE, size=size, name="source", random_state=of_source),
        make_phantoms(TARGET, size=size, name="target", random_state=of_target),
    )


def _copy(drawn: ImageSet) -> ImageSet:
    """Return a set whose arrays the caller may change: the kept ones stay as drawn."""
    arrays = {name: getattr(drawn, name).copy() for name in ("images", "labels", "groups", "masks")}
    return replace(drawn, **arrays)


def make_phantoms(
    images_per_class: Mapping[str, int],
    *,
    size: int = 64,
    lesions: bool = True,
    name: str = "phantom",
    random_state: Any = 0,
) -> ImageSet:
    """Draw as many chest phantoms of each class as you ask for.

    Phantoms are not patients: nothing measured on them says anything about disease.

    Parameters
    ----------
    images_per_class : mapping of str to int
        Number of images of each class. The classes are "normal", "pneumonia" (one lobar
        consolidation), "covid-19" (peripheral ground glass in both lungs), "other" (nodules or
        an effusion) and, for a source, "diseased" (nodules, effusion, mass or an enlarged heart).
    size : int, default=64
        Height and width in pixels, at least 32.
    lesions : bool, default=True
        False draws the same images (patient, pose, noise, label) without their lesions. Masks are
        then empty.
    name : str, default="phantom"
        Begins the name of every patient. Give sets that you use together different names and
        different ``random_state``.
    random_state : int, numpy generator or None, default=0
        Seed of the drawing. The same number gives the same images to the last bit.

    Returns
    -------
    ImageSet
        ``images`` of shape ``(n, size, size, 1)``, patients in random order.

    Examples
    --------
    >>> from detl import datasets
    >>> drawn = datasets.make_phantoms({"normal": 2, "pneumonia": 3}, size=32)
    >>> drawn.images.shape, sorted(drawn.labels.tolist())
    ((5, 32, 32, 1), ['normal', 'normal', 'pneumonia', 'pneumonia', 'pneumonia'])
    """
    unknown = set(images_per_class) - set(LESIONS)
    if unknown or not images_per_class:
        raise ValueError(
            f"images_per_class names the classes {sorted(images_per_class)}; expected some of "
            f"{', '.join(map(repr, LESIONS))}."
        )
    for label, wanted in images_per_class.items():
        check_count(f"images_per_class[{label!r}]", wanted)
    check_count("size", size, at_least=SMALLEST)

    root = np.random.default_rng(seed_sequence(random_state))
    who_rng, anatomy_rng, view_rng, lesion_rng, noise_rng = root.spawn(5)
    labels, patients = _assign_patients(images_per_class, who_rng)
    n = len(labels)
    anatomy = _uniform(ANATOMY, int(patients.max()) + 1, anatomy_rng)[patients]
    view = _uniform(VIEW, n, view_rng)
    kinds = _choose_lesions(labels, lesion_rng)
    blobs = _place_blobs(kinds, lesion_rng)
    if not lesions:
        kinds = np.full(n, "", kinds.dtype)

    images = np.empty((n, size, size, 1), np.uint8)
    masks = np.empty((n, size, size), bool)
    for start in range(0, n, BATCH):
        part = slice(start, start + BATCH)
        grain = noise_rng.standard_normal((2, *images[part].shape[:3]), np.float32)
        images[part, ..., 0], masks[part] = expose(
            anatomy[part], view[part], kinds[part], blobs[part], grain
        )
    return ImageSet(
        images=images,
        labels=labels,
        groups=np.array([f"{name}-{patient:05d}" for patient in patients]),
        masks=masks,
        description=_DESCRIPTION,
    )


def _assign_patients(
    images_per_class: Mapping[str, int], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return a label and a patient's number for every image, patients in random order."""
    labels, patients, first = [], [], 0
    numbers, shares = zip(*IMAGES_PER_PATIENT, strict=True)
    for label, n in images_per_class.items():
        images_each = rng.choice(numbers, size=n, p=shares)
        labels.append(np.full(n, label))
        patients.append(first + np.repeat(np.arange(n), images_each)[:n])
        first = patients[-1][-1] + 1
    order = rng.permutation(first)
    shuffled = order[np.concatenate(patients)]
    rows = np.argsort(shuffled, kind="stable")
    return np.concatenate(labels)[rows], shuffled[rows]


def _uniform(ranges: Mapping[str, tuple[float, float]], n: int, rng: np.random.Generator) -> Array:
    drawn = np.recarray(n, dtype=[(name, np.float32) for name in ranges])
    for name, (low, high) in ranges.items():
        drawn[name] = rng.uniform(low, high, n)
    return drawn


def _choose_lesions(labels: Array, rng: np.random.Generator) -> Array:
    """Return the kind of lesion in each image; "" in normal ones."""
    kinds = np.full(len(labels), "", "<U16")
    for label, choices in LESIONS.items():
        if choices:
            here = labels == label
            kinds[here] = rng.choice(choices, here.sum())
    return kinds


def _place_blobs(kinds: Array, rng: np.random.Generator) -> Array:
    """Return the blobs of each image's lesion, (n, N_BLOBS); unused ones have ``opacity`` 0."""
    n, index = len(kinds), np.arange(N_BLOBS)
    blobs = np.recarray((n, N_BLOBS), dtype=[(name, np.float32) for name in BLOB])
    for name in BLOB:
        blobs[name] = 0.0 if name == "opacity" else 1.0
    side = rng.choice([-1.0, 1.0], (n, N_BLOBS))
    spread = rng.normal(0, [[[0.07]], [[0.14]]], (2, n, N_BLOBS)) * (index > 0)
    for kind, (least, most, ranges) in BLOBS.items():
        rows = np.flatnonzero(kinds == kind)
        for name, (low, high) in ranges.items():
            blobs[name][rows] = rng.uniform(low, high, (len(rows), N_BLOBS))
        count = rng.integers(least, most + 1, (len(rows), 1))
        blobs.opacity[rows] *= index < count

        if kind == "ground glass":  # in both lungs, by turns
            blobs.side[rows] = np.where(index % 2 == 0, -1, 1)
        elif kind == "nodules":
            blobs.side[rows] = side[rows]
        else:
            blobs.side[rows] = side[rows, :1]
        if kind == "consolidation":  # within one lobe, around the first blob
            blobs.depth[rows] = blobs.depth[rows, :1] + spread[0, rows]
            blobs.across[rows] = blobs.across[rows, :1] + spread[1, rows]
        if kind in ("nodules", "mass"):
            blobs.radius_y[rows] = blobs.radius_x[rows]
    return blobs
