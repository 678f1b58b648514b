"""Does a heatmap lie where the object is? Heatmaps against masks; no model is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import ndimage

from detl.checks import check_heatmaps, check_number
from detl.faithfulness.baselines import centre_maps, other_images, random_maps
from detl.faithfulness.estimates import Array, Compared, Estimate, estimates
from detl.faithfulness.inputs import check_groups
from detl.seeds import seed_sequence

_RANDOM_DRAWS = 10  # random maps, and heatmaps of other images, whose values are averaged
_CHUNK = 64  # images at once: bounds the memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Localization(Compared):
    """How well heatmaps lie on masks, compared with random and centred heatmaps.

    Attributes
    ----------
    metric : str
    heatmaps : Estimate
        Its parts are at hand as ``values``, ``mean`` and ``interval``.
    random : Estimate
        Of random maps: noise on an 8 × 8 grid, resized, ten per image.
    centre : Estimate
        Of a Gaussian at the centre of the image, its standard deviation a quarter of each side.
    others : Estimate
        Of the heatmaps of other images, ten per image, of other groups where there are groups.
        Images that are taken alike have their objects in like places: heatmaps that hit no more
        often than those of other images say nothing of the image at hand. NaN where more than half
        of the images are of one group.
    area : numpy.ndarray of shape (n,)
        Share of the pixels of each image that the mask covers.
    blank : numpy.ndarray of bool, shape (n,)
        Whether the heatmap is zero everywhere. Such an image counts, as a miss: 0.
    """

    others: Estimate
    area: Array = field(repr=False)

    def _baselines(self) -> list[tuple[str, Estimate]]:
        others = [("of other images", self.others)] if np.isfinite(self.others.mean) else []
        return [*others, *super()._baselines()]


def pointing_game(
    heatmaps: Any,
    masks: Any,
    *,
    tolerance: float = 0,
    groups: Any = None,
    random_state: Any = None,
) -> Localization:
    """Ask how often the highest point of a heatmap lies on the object.

    Parameters
    ----------
    heatmaps : array-like of shape (n, height, width)
        In [0, 1], such as :class:`detl.GradCAM` gives.
    masks : array-like of bool, shape (n, height, width)
        Where the object is, in every image; :func:`box_masks` makes them from boxes.
    tolerance : float, default=0
        A point that is at most this many pixels off the object still hits. Zhang et al. used 15
        on photographs.
    groups : array-like of shape (n,), optional
        Whose image each is, such as the patient: groups are then what the interval draws from.
    random_state : int, numpy generator or None
        Seed of the random maps and of the interval.

    Returns
    -------
    Localization
        Values are 1 where the point hits and 0 where it does not. Where several pixels are equally
        high, it is the share of them that hits.

    References
    ----------
    Zhang et al. 2018, "Top-Down Neural Attention by Excitation Backprop", IJCV 126, sec. 4.1.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import faithfulness
    >>> masks = faithfulness.box_masks([(2, 1, 3, 3)] * 4, (8, 8))
    >>> heatmaps = np.zeros((4, 8, 8))
    >>> heatmaps[:3, 2, 2] = 1  # in the box
    >>> heatmaps[3, 7, 7] = 1
    >>> result = faithfulness.pointing_game(heatmaps, masks, random_state=0)
    >>> result.values.tolist(), result.mean
    ([1.0, 1.0, 1.0, 0.0], 0.75)
    """
    check_number("tolerance", tolerance, at_least=0)
    heatmaps, masks = _check_pair(heatmaps, masks)
    if tolerance > 0:
        masks = np.stack([ndimage.distance_transform_edt(~mask) <= tolerance for mask in masks])
    return _localization("pointing game", _hits, heatmaps, masks, groups, random_state)


def energy(
    heatmaps: Any, masks: Any, *, groups: Any = None, random_state: Any = None
) -> Localization:
    """Ask how much more of a heatmap lies on the object than its area explains.

    Parameters
    ----------
    heatmaps, masks, groups, random_state
        As for :func:`pointing_game`.

    Returns
    -------
    Localization
        Values are the share of a heatmap's sum that lies on the mask, over the share of the pixels
        that do: 1 is chance. In the mean an image counts by its area, which makes it the ratio of
        the mean shares; else a few tiny objects would decide it. The share itself is
        ``result.values * result.area``.

    References
    ----------
    Wang et al. 2020, "Score-CAM", CVPR workshops, sec. 4.3, the energy-based pointing game; there
    without the area.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import faithfulness
    >>> masks = faithfulness.box_masks([(0, 0, 4, 4)] * 2, (8, 8))  # a quarter of the image
    >>> heatmaps = np.stack([masks[0], np.ones((8, 8))]).astype(float)
    >>> faithfulness.energy(heatmaps, masks, random_state=0).values.tolist()
    [4.0, 1.0]
    """
    heatmaps, masks = _check_pair(heatmaps, masks)
    return _localization(
        "energy over area", _energy, heatmaps, masks, groups, random_state, weigh_by_area=True
    )


def intersection_over_union(
    heatmaps: Any,
    masks: Any,
    *,
    quantile: float = 0.9,
    groups: Any = None,
    random_state: Any = None,
) -> Localization:
    """Compare the highest part of a heatmap with the object: intersection over union.

    Parameters
    ----------
    heatmaps, masks, groups, random_state
        As for :func:`pointing_game`.
    quantile : float, default=0.9
        The part is where the heatmap is positive and at least at this quantile of its pixels: at
        0.9, the highest tenth.

    Returns
    -------
    Localization
        Values are in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from detl import faithfulness
    >>> masks = faithfulness.box_masks([(0, 0, 4, 4)], (8, 8))
    >>> heatmap = np.zeros((1, 8, 8))
    >>> heatmap[0, :2, :4] = 1  # half of the box
    >>> faithfulness.intersection_over_union(heatmap, masks, random_state=0).mean
    0.5
    """
    check_number("quantile", quantile, above=0, below=1)
    heatmaps, masks = _check_pair(heatmaps, masks)

    def measure(maps: Array, masks: Array) -> Array:
        thresholds = np.quantile(maps, quantile, axis=(1, 2), keepdims=True)
        part = (maps >= thresholds) & (maps > 0)
        return (part & masks).sum(axis=(1, 2)) / (part | masks).sum(axis=(1, 2))

    metric = f"intersection over union at quantile {quantile:g}"
    return _localization(metric, measure, heatmaps, masks, groups, random_state)


def _hits(maps: Array, masks: Array) -> Array:
    maxima = maps.max(axis=(1, 2), keepdims=True)
    highest = (maps == maxima) & (maxima > 0)
    return _over((highest & masks).sum(axis=(1, 2)), highest.sum(axis=(1, 2)))


def _energy(maps: Array, masks: Array) -> Array:
    maps = maps.astype(np.float64)
    share = _over((maps * masks).sum(axis=(1, 2)), maps.sum(axis=(1, 2)))
    return share / masks.mean(axis=(1, 2))


def _over(part: Array, whole: Array) -> Array:
    """Return the share, 0 where there is nothing."""
    return part / np.where(whole > 0, whole, 1)


def _localization(
    metric: str,
    measure: Callable[[Array, Array], Array],
    heatmaps: Array,
    masks: Array,
    groups: Any,
    random_state: Any,
    *,
    weigh_by_area: bool = False,
) -> Localization:
    n, size = len(heatmaps), heatmaps.shape[1:]
    groups = check_groups(groups, n)
    of_maps, of_interval, of_others = seed_sequence(random_state).spawn(3)
    generator = np.random.default_rng(of_maps)
    others = other_images(n, groups, np.random.default_rng(of_others), _RANDOM_DRAWS)
    values = np.full((4, n), np.nan)
    for start in range(0, n, _CHUNK):
        rows = slice(start, start + _CHUNK)
        maps, chunk = heatmaps[rows], masks[rows]
        draws = [
            measure(random_maps(len(chunk), size, generator), chunk) for _ in range(_RANDOM_DRAWS)
        ]
        values[:3, rows] = (
            measure(maps, chunk),
            np.mean(draws, axis=0),
            measure(centre_maps(len(chunk), size), chunk),
        )
        if len(others):
            values[3, rows] = np.mean([measure(heatmaps[of[rows]], chunk) for of in others], axis=0)
    area = masks.mean(axis=(1, 2))
    found, random, centre, of_other_images = estimates(
        values, groups=groups, seed=of_interval, weights=area if weigh_by_area else None
    )
    return Localization(
        metric=metric,
        heatmaps=found,
        random=random,
        centre=centre,
        others=of_other_images,
        area=area,
        blank=heatmaps.max(axis=(1, 2)) <= 0,
    )


def _check_pair(heatmaps: Any, masks: Any) -> tuple[Array, Array]:
    heatmaps, masks = check_heatmaps(heatmaps), np.asarray(masks)
    if masks.dtype != bool:
        raise TypeError(
            f"masks has dtype {masks.dtype}; expected bool, such as masks > 0. Boxes become masks "
            "by detl.faithfulness.box_masks."
        )
    if masks.shape != heatmaps.shape:
        raise ValueError(
            f"masks has shape {masks.shape}, heatmaps {heatmaps.shape}; expected the same, "
            "(n, height, width)."
        )
    empty = ~masks.any(axis=(1, 2))
    if empty.any():
        raise ValueError(
            f"{empty.sum()} of {len(masks)} masks are empty, first in row "
            f"{np.flatnonzero(empty)[0]}; leave images without an object out."
        )
    return heatmaps, masks
