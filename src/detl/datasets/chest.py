"""How a chest phantom is exposed: anatomy, lesions and film to grey values.

A phantom is drawn as a film is exposed. Tissue attenuates, air in the lungs lets through, bones
add to it; a lesion is lung whose air has been replaced. Coordinates run from -1 to 1, ``x`` to
the right of the image (the patient's left) and ``y`` downwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

Array = np.ndarray[Any, Any]
Measures = Any  # a record array: numpy's types do not know its fields

N_BLOBS = 8  # of a lesion at most
AIR = 0.70  # share of the attenuation that a lung full of air takes away
VISIBLE = 0.05  # a lesion's mask is where it adds more attenuation than this


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


def expose(
    anatomy: Measures, view: Measures, kinds: Array, blobs: Measures, grain: Array
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


def _chest(a: Measures, v: Measures, *, size: int) -> _Chest:
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


def _lung_borders(a: Measures, depth: Array) -> tuple[Array, Array]:
    """Return how far the lungs' medial and lateral borders lie from the midline."""
    depth = np.clip(depth, 0, 1)
    lateral = 0.27 + (a.lung - 0.27) * np.sqrt(1 - (1 - depth) ** 2.6)
    lateral = lateral - 0.05 * np.clip(depth - 0.8, 0, 1) / 0.2
    medial = 0.27 - 0.20 * np.sqrt(1 - (1 - np.minimum(depth * 3, 1)) ** 2)
    return medial, lateral


def _trunk(a: Measures, chest: _Chest) -> Array:
    """Return the attenuation of the soft tissue, 0 outside the body."""
    u, y = np.abs(chest.x), chest.y
    shoulder = -0.93 + 0.30 * np.maximum(u - 0.22, 0) ** 0.8
    neck = _inside(0.25 + 0.10 * np.maximum(y + 0.95, 0) - u, 0.02)
    flank = a.chest + 0.28 * _inside(-0.28 - y, 0.07) + 0.03 * _inside(y - 0.45, 0.1)
    body = np.maximum(_inside(y - shoulder, 0.015) * _inside(flank - u, 0.015), neck)
    thickness = 0.50 + 0.36 * np.sqrt(np.clip(1 - (u / 1.25) ** 2, 0, 1))
    thickness = thickness + 0.12 * _inside(y - 0.45, 0.12) - 0.12 * _inside(-0.72 - y, 0.06)
    return body * (thickness + a.fat)


def _air(a: Measures, chest: _Chest) -> Array:
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


def _gas(a: Measures, chest: _Chest) -> Array:
    """Return the air of the windpipe, its two branches and the stomach, 0 to 1."""
    x, y, u = chest.x, chest.y, np.abs(chest.x)
    trachea = _inside(0.045 - np.abs(x - 0.5 * a.scoliosis), 0.012) * _inside(-0.22 - y, 0.02)
    branch = _inside(0.03 - np.abs(u - 0.75 * (y + 0.24)), 0.015) * _inside(0.14 - u, 0.03)
    branch = branch * _inside(y + 0.24, 0.02)
    from_bubble = ((x - 0.42) / 0.13) ** 2 + ((y - a.dome - 0.2) / 0.07) ** 2
    bubble = np.maximum(a.gas, 0) * np.exp(-(from_bubble**2)) * (1 - chest.lung)
    return 0.20 * trachea + 0.12 * branch + bubble


def _heart(a: Measures, chest: _Chest, *, wider: Any) -> Array:
    """Return the heart's shadow, 0 to 1, with its tip to the patient's left (image right)."""
    x, y = chest.x - 0.13 - 0.45 * wider, chest.y - 0.27
    cos, sin = np.cos(a.heart_tilt), np.sin(a.heart_tilt)
    along, athwart = cos * x + sin * y, -sin * x + cos * y
    half = a.heart_width + 0.8 * wider
    left = np.hypot(along / half, athwart / (0.66 * half))
    right = np.hypot((chest.x + 0.03) / (0.18 + 0.6 * wider), (chest.y - 0.28) / 0.25)
    return _inside(1 - np.minimum(left, right), 0.05)


def _bones(a: Measures, chest: _Chest) -> Array:
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
    anatomy: Measures, chest: _Chest, kinds: Array, blobs: Measures, texture: Array
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


def _fluid(chest: _Chest, kinds: Array, blobs: Measures) -> Array:
    """Return the share of the air below the meniscus of an effusion."""
    b = blobs[:, 0][:, None, None]
    # The level rises against the ribs and, less, against the mediastinum.
    level = -0.72 + 1.42 * b.depth - 0.42 * np.clip(chest.across, 0, 1.1) ** 4
    level = level - 0.10 * (1 - np.clip(chest.across, 0, 1)) ** 4
    fluid = b.opacity * _inside(chest.y - level, 0.02) * (np.sign(chest.x) == b.side)
    return fluid * (kinds == "effusion")[:, None, None]


def _heart_growth(a: Measures, chest: _Chest, kinds: Array, blobs: Measures) -> Array:
    """Return the share of the air that an enlarged heart takes."""
    enlarged = (kinds == "enlarged heart")[:, None, None].astype(np.float32)
    b = blobs[:, 0][:, None, None]
    return b.opacity * enlarged * _heart(a, chest, wider=enlarged * b.radius_x)


def _texture(grain: Array) -> Array:
    """Return smooth noise of unit variance, of features about a tenth of the image."""
    size = grain.shape[-1]
    smooth = ndimage.gaussian_filter(grain, (0, size / 28, size / 28), mode="wrap")
    return smooth / smooth.std(axis=(1, 2), keepdims=True)


def _film(attenuation: Array, v: Measures) -> Array:
    """Return grey values: the film's curve flattens where hardly anything comes through."""
    exposed = 1 - np.exp(-1.75 * v.exposure * np.maximum(attenuation, 0))
    return 278.0 * exposed**v.gamma


def _marker(v: Measures, size: int) -> Array:
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
