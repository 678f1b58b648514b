"""Chest phantoms: frontal radiographs drawn by code, with every lesion's outline known.

They let the whole experiment run without any data, and they are the ground truth against which
heatmaps and shortcut tests are judged. They are not patients: nothing measured on them says
anything about disease.

A phantom is drawn as a film is exposed. Tissue attenuates, air in the lungs lets through, bones
add to it; a lesion is lung whose air has been replaced. Coordinates run from -1 to 1, ``x`` to
the right of the image (the patient's left) and ``y`` downwards.

Anatomy belongs to a patient; pose, exposure, noise, side marker and lesion belong to an image.
Only the lesion depends on the class, so that nothing else gives it away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

Array = np.ndarray[Any, Any]

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
N_BLOBS = 8

AIR = 0.70  # share of the attenuation that a lung full of air takes away
VISIBLE = 0.05  # a lesion's mask is where it adds more attenuation than this
BATCH = 128  # images drawn at once: bounds the memory


@dataclass(frozen=True, kw_only=True)
class PhantomSet:
    """Drawn phantoms; row i of every array is image i.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, size, size, 1)
        Grey values in [0, 255].
    labels : ndarray of str, shape (n,)
        Class of each image.
    patients : ndarray of str, shape (n,)
        Images of one patient share their anatomy, and their class.
    masks : ndarray of bool, shape (n, size, size)
        True where the lesion is to be seen: where it raises the attenuation by more than 0.05,
        the trunk's greatest being about 1. Empty in normal images.
    """

    images: Array
    labels: Array
    patients: Array
    masks: Array

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


def draw(
    images_per_class: Mapping[str, int],
    *,
    size: int = 64,
    lesions: bool = True,
    name: str = "phantom",
    random_state: int | None = None,
) -> PhantomSet:
    """Draw chest phantoms.

    Parameters
    ----------
    images_per_class : mapping of str to int
        How many images of each class; classes are "normal", "pneumonia" (one lobar
        consolidation), "covid-19" (peripheral ground glass in both lungs), "other" (nodules or
        an effusion) and, for a source set, "diseased" (nodules, effusion, mass or an enlarged
        heart).
    size : int
        Height and width in pixels.
    lesions : bool
        False draws the very same images (patient, pose, noise, label) without their lesions:
        what they would have been in health. Masks are then empty.
    name : str
        Begins every patient's name. Give sets that are used together different names and
        different ``random_state``.
    random_state : int, optional
        The same seed gives the same images.

    Returns
    -------
    PhantomSet
        In random order of patients.

    Examples
    --------
    >>> phantoms = draw({"normal": 2, "pneumonia": 3}, size=32, random_state=0)
    >>> phantoms.images.shape, sorted(phantoms.labels)
    ((5, 32, 32, 1), ['normal', 'normal', 'pneumonia', 'pneumonia', 'pneumonia'])
    """
    unknown = set(images_per_class) - set(LESIONS)
    if unknown or not images_per_class:
        raise ValueError(
            f"images_per_class names the classes {sorted(images_per_class)}; expected some of "
            f"{', '.join(map(repr, LESIONS))}."
        )
    if size < 32:
        raise ValueError(f"size={size}; expected at least 32, below which no rib is to be seen.")

    who_rng, anatomy_rng, view_rng, lesion_rng, noise_rng = np.random.default_rng(
        random_state
    ).spawn(5)
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
        images[part, ..., 0], masks[part] = _expose(
            anatomy[part], view[part], kinds[part], blobs[part], grain
        )
    return PhantomSet(
        images=images,
        labels=labels,
        patients=np.array([f"{name}-{patient:05d}" for patient in patients]),
        masks=masks,
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
        first = patients[-1][-1] + 1 if n else first
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


@dataclass(frozen=True, kw_only=True)
class _Chest:
    """Maps of one batch, each (n, size, size), in patient coordinates."""

    x: Array
    y: Array
    left: Array  # 1 on the patient's left (image right), 0 on the right
    across: Array
    lung: Array
    lateral: Array
    diaphragm: Array


def _expose(
    anatomy: Array, view: Array, kinds: Array, blobs: Array, grain: Array
) -> tuple[Array, Array]:
    """Return images and lesion masks, each (n, size, size)."""
    a = anatomy[:, None, None]
    v = view[:, None, None]
    chest = _chest(a, v, size=grain.shape[-1])
    trunk = _trunk(a, chest)
    bones = _bones(a, chest)
    heart = _heart(a, chest, wider=0.0)
    air = _air(a, chest) * (1 - 0.92 * heart)
    gas = _gas(a, chest)

    texture = _texture(grain[1])
    opacity = _blob_opacity(anatomy, chest, kinds, blobs, texture)
    opacity = np.maximum(opacity, _fluid(chest, kinds, blobs))
    opacity = np.maximum(opacity, _heart_growth(a, chest, kinds, blobs))
    added = AIR * trunk * air * opacity
    attenuation = trunk * (1 - AIR * np.minimum(air + gas, 1)) + bones + added

    image = _film(attenuation, v) + _marker(v, grain.shape[-1])
    image = ndimage.gaussian_filter(image, (0, 0.45, 0.45))
    quantum = ndimage.gaussian_filter(grain[0], (0, 0.35, 0.35))
    image = image + v.noise * quantum
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), added > VISIBLE


def _chest(a: Array, v: Array, *, size: int) -> _Chest:
    """Return the coordinates of every pixel and the outline of the lungs."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    column, row = axis[None, None, :], axis[None, :, None]
    cos, sin = np.cos(v.rotation) / v.zoom, np.sin(v.rotation) / v.zoom
    x = cos * (column - v.shift_x) + sin * (row - v.shift_y)
    y = -sin * (column - v.shift_x) + cos * (row - v.shift_y)

    u, left = np.abs(x), (x > 0).astype(np.float32)
    edge = max(0.012, 1.2 / size)
    depth = (y - a.apex) / (a.sulcus - a.apex)
    medial, lateral = _lung_borders(a, depth)
    # The liver lifts the right dome (image left) above the left one.
    top = a.dome + v.inspiration + a.dome_step * left
    from_dome = u - 0.40
    diaphragm = top + 0.5 * from_dome**2 + np.maximum(from_dome, 0) ** 2
    lung = (
        _inside(lateral - u, edge)
        * _inside(u - medial, edge)
        * _inside(diaphragm - y, edge)
        * (depth > 0)
    )
    return _Chest(
        x=x,
        y=y,
        left=left,
        across=(u - medial) / np.maximum(lateral - medial, 0.05),
        lung=lung,
        lateral=lateral,
        diaphragm=diaphragm,
    )


def _lung_borders(a: Array, depth: Array) -> tuple[Array, Array]:
    """Return how far the lungs' medial and lateral borders lie from the midline."""
    depth = np.clip(depth, 0, 1)
    lateral = 0.27 + (a.lung - 0.27) * np.sqrt(1 - (1 - depth) ** 2.6)
    lateral = lateral - 0.05 * np.clip(depth - 0.8, 0, 1) / 0.2
    medial = 0.27 - 0.20 * np.sqrt(1 - (1 - np.minimum(depth * 3, 1)) ** 2)
    return medial, lateral


def _trunk(a: Array, chest: _Chest) -> Array:
    """Return the attenuation of the soft tissue, 0 outside the body."""
    u, y = np.abs(chest.x), chest.y
    shoulder = -0.93 + 0.30 * np.maximum(u - 0.22, 0) ** 0.8
    neck = _inside(0.25 + 0.10 * np.maximum(y + 0.95, 0) - u, 0.02)
    flank = a.chest + 0.28 * _inside(-0.28 - y, 0.07) + 0.03 * _inside(y - 0.45, 0.1)
    body = np.maximum(_inside(y - shoulder, 0.015) * _inside(flank - u, 0.015), neck)
    thickness = 0.50 + 0.36 * np.sqrt(np.clip(1 - (u / 1.25) ** 2, 0, 1))
    thickness = thickness + 0.12 * _inside(y - 0.45, 0.12) - 0.12 * _inside(-0.72 - y, 0.06)
    return body * (thickness + a.fat)


def _air(a: Array, chest: _Chest) -> Array:
    """Return how much of the path through the lungs is air, 0 to 1."""
    x, y, u = chest.x, chest.y, np.abs(chest.x)
    rim = 1 - np.exp(-np.maximum(chest.lateral - u, 0) / 0.09)
    air = chest.lung * (0.62 + 0.38 * rim)

    # Vessels leave each hilum at three heights, wind, and thin out towards the ribs.
    hilum_x, hilum_y = 0.17, 0.01 - 0.03 * chest.left
    phase = a.vessel_phase + 2.1 * chest.left
    vessels = np.zeros_like(x)
    for branches, reach, lower in ((5, 0.30, 0.10), (8, 0.34, -0.08), (14, 0.45, 0.02)):
        dx, dy = u - hilum_x + 0.05, y - hilum_y - lower
        radius, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
        turns = branches * angle + phase * branches / 3
        winding = 2.5 * np.sin(4 * radius + phase) + 0.9 * np.sin(13 * radius + turns)
        wave = np.cos(turns + winding)
        vessels += np.exp((4 + 26 * radius) * (wave - 1)) * np.exp(-radius / reach)
    hilum = np.exp(-(((u - hilum_x) / 0.085) ** 2) - ((y - hilum_y - 0.03) / 0.16) ** 2)
    air = air * (1 - np.clip(a.vessels * vessels + 0.50 * hilum, 0, 0.9))

    # Left of the midline (image right) the great vessels widen towards the heart.
    widening = 0.10 * np.clip((y + 0.30) / 0.42, 0, 1) ** 1.5
    mediastinum = _inside(a.mediastinum + widening * chest.left - u, 0.025)
    knob = _inside(a.knob - np.hypot(x - a.mediastinum - 0.01, y + 0.30), 0.015)
    return air * (1 - np.maximum(mediastinum, 0.85 * knob))


def _gas(a: Array, chest: _Chest) -> Array:
    """Return the air of the windpipe, its two branches and the stomach, 0 to 1."""
    x, y, u = chest.x, chest.y, np.abs(chest.x)
    trachea = _inside(0.045 - np.abs(x - 0.5 * a.scoliosis), 0.012) * _inside(-0.22 - y, 0.02)
    branch = _inside(0.03 - np.abs(u - 0.75 * (y + 0.24)), 0.015) * _inside(0.14 - u, 0.03)
    branch = branch * _inside(y + 0.24, 0.02)
    from_bubble = ((x - 0.42) / 0.13) ** 2 + ((y - a.dome - 0.2) / 0.07) ** 2
    bubble = np.maximum(a.gas, 0) * np.exp(-(from_bubble**2)) * (1 - chest.lung)
    return 0.20 * trachea + 0.12 * branch + bubble


def _heart(a: Array, chest: _Chest, *, wider: Any) -> Array:
    """Return the heart's shadow, 0 to 1, with its tip to the patient's left (image right)."""
    x, y = chest.x - 0.13 - 0.45 * wider, chest.y - 0.27
    cos, sin = np.cos(a.heart_tilt), np.sin(a.heart_tilt)
    along, athwart = cos * x + sin * y, -sin * x + cos * y
    half = a.heart_width + 0.8 * wider
    left = np.hypot(along / half, athwart / (0.66 * half))
    right = np.hypot((chest.x + 0.03) / (0.18 + 0.6 * wider), (chest.y - 0.28) / 0.25)
    return _inside(1 - np.minimum(left, right), 0.05)


def _bones(a: Array, chest: _Chest) -> Array:
    """Return what ribs, clavicles, spine, scapulae and shoulder joints add."""
    x, y, u = chest.x, chest.y, np.abs(chest.x)
    cage = _inside(chest.lateral + 0.035 - u, 0.012) * _inside(y - a.apex + 0.02, 0.03)
    fade = 1 - 0.65 * _inside(y - chest.diaphragm - 0.02, 0.03)

    # Back ribs run outwards and down, front ribs inwards and down, fainter.
    level = (y - a.apex) / (a.sulcus - a.apex)
    back = y - a.rib_slope * (0.45 + 0.8 * level) * u**1.7 + 0.10 * np.sin(2.2 * u)
    back_ribs = _rib(back / a.rib_spacing + a.rib_phase, 0.22) * _inside(u - 0.09, 0.02)
    front = y + 0.62 * (u - 0.45) - 0.25 * (u - 0.45) ** 2
    front_ribs = _rib(front / (1.12 * a.rib_spacing) + a.rib_phase + 0.4, 0.25)
    front_ribs = front_ribs * _inside(u - 0.30 - 0.15 * level, 0.05) * _inside(0.75 - level, 0.05)
    ribs = a.rib_density * cage * fade * (back_ribs + 0.55 * front_ribs)

    bend = 0.03 * np.sin(9 * (u - 0.08))
    collar = y - (a.clavicle_height - a.clavicle_rise * (u - 0.08) + bend)
    clavicles = _tube(collar, 0.036) * _inside(u - 0.08, 0.015) * _inside(0.86 - u, 0.03)

    middle = x - a.scoliosis * np.sin(2 * y)
    discs = 0.75 + 0.25 * np.cos(2 * np.pi * y / (0.17 + 0.03 * y))
    spine = _inside(0.095 - np.abs(middle), 0.02) * discs
    spinous = np.exp(-((middle / 0.02) ** 2)) * (discs > 0.8)

    blade = u - (0.66 + 0.20 * (y + 0.45))
    scapulae = _inside(blade, 0.02) * _inside(0.05 - y, 0.04) * _inside(y + 0.62, 0.04)
    scapulae = scapulae * _inside(0.28 - blade, 0.05)
    joints = _inside(0.14 - np.hypot(u - 1.0, y + 0.60), 0.02)
    breasts = np.clip(a.breast, 0, 1) * _inside(0.34 - np.hypot(u - 0.50, 1.1 * (y - 0.28)), 0.03)
    return (
        ribs
        + 0.19 * clavicles
        + 0.13 * spine
        + 0.04 * spinous
        + 0.05 * scapulae
        + 0.13 * joints
        + 0.6 * breasts
    )


def _rib(phase: Array, half_width: float) -> Array:
    """Return a periodic bar with a denser rim, as a rib's cortex is."""
    distance = np.abs(phase - np.rint(phase))
    return _tube(distance, half_width)


def _tube(distance: Array, radius: float) -> Array:
    """Return the shadow of a hollow tube seen from the side."""
    r = np.abs(distance) / radius
    return _inside(1 - r, 0.12) * (0.7 + 0.5 * r**2)


def _blob_opacity(
    anatomy: Array, chest: _Chest, kinds: Array, blobs: Array, texture: Array
) -> Array:
    """Return the share of the air that consolidation, ground glass, nodules or mass replace."""
    blobby = np.isin(kinds, ("consolidation", "ground glass", "nodules", "mass"))
    used = blobby[:, None] & (blobs.opacity > 0)
    # Ragged edges for what fills lung tissue, smooth ones for what displaces it.
    ragged = np.isin(kinds, ("consolidation", "ground glass"))[:, None, None].astype(np.float32)
    clear = np.ones_like(chest.x)
    for i in range(N_BLOBS):
        here = np.flatnonzero(used[:, i])
        if not len(here):
            continue
        a, b = anatomy[here][:, None, None], blobs[here, i][:, None, None]
        medial, lateral = _lung_borders(a, b.depth)
        x0 = b.side * (medial + b.across * (lateral - medial))
        y0 = a.apex + b.depth * (a.sulcus - a.apex)
        r = np.hypot((chest.x[here] - x0) / b.radius_x, (chest.y[here] - y0) / b.radius_y)
        r = r + 0.28 * ragged[here] * texture[here]
        # A ball is thickest in its middle.
        thickness = np.maximum(ragged[here], np.sqrt(np.clip(1.25 - r**2, 0.05, 1)))
        clear[here] *= 1 - b.opacity * thickness * _inside(1 - r, 0.5 * b.softness)
    opacity = 1 - clear
    # Hazy, uneven, and thinning out towards the hilum.
    glass = (kinds == "ground glass")[:, None, None]
    patchy = np.clip(0.95 + 0.30 * texture, 0.4, 1.3) * np.clip(chest.across * 1.6, 0, 1)
    return np.where(glass, np.minimum(opacity * patchy, 0.75), opacity)


def _fluid(chest: _Chest, kinds: Array, blobs: Array) -> Array:
    """Return the share of the air below the meniscus of an effusion."""
    b = blobs[:, 0][:, None, None]
    # The level rises against the ribs and, less, against the mediastinum.
    level = -0.72 + 1.42 * b.depth - 0.42 * np.clip(chest.across, 0, 1.1) ** 4
    level = level - 0.10 * (1 - np.clip(chest.across, 0, 1)) ** 4
    fluid = b.opacity * _inside(chest.y - level, 0.02) * (np.sign(chest.x) == b.side)
    return fluid * (kinds == "effusion")[:, None, None]


def _heart_growth(a: Array, chest: _Chest, kinds: Array, blobs: Array) -> Array:
    """Return the share of the air that an enlarged heart takes."""
    enlarged = (kinds == "enlarged heart")[:, None, None].astype(np.float32)
    b = blobs[:, 0][:, None, None]
    return b.opacity * enlarged * _heart(a, chest, wider=enlarged * b.radius_x)


def _texture(grain: Array) -> Array:
    """Return smooth noise of unit variance, of features about a tenth of the image."""
    size = grain.shape[-1]
    smooth = ndimage.gaussian_filter(grain, (0, size / 28, size / 28), mode="wrap")
    return smooth / smooth.std(axis=(1, 2), keepdims=True)


def _film(attenuation: Array, v: Array) -> Array:
    """Return grey values: the film's curve flattens where hardly anything comes through."""
    exposed = 1 - np.exp(-1.75 * v.exposure * np.maximum(attenuation, 0))
    return 278.0 * exposed**v.gamma


def _marker(v: Array, size: int) -> Array:
    """Return a letter-like side marker, in any class alike."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    x, y = axis[None, None, :] - 1.25 * v.marker, axis[None, :, None] - v.marker_height
    stem = (np.abs(x) < 0.018) & (np.abs(y) < 0.055)
    foot = (np.abs(y - 0.045) < 0.016) & (x > 0) & (x < 0.06)
    shown = (np.abs(v.marker) > 0.5) & (np.abs(v.marker) < 0.7)
    return np.float32(140) * ((stem | foot) & shown)


def _inside(distance: Array, softness: Any) -> Array:
    """Return 1 well inside, 0 well outside, 1/2 on the edge."""
    return 0.5 + 0.5 * np.tanh(distance / (2 * softness))
