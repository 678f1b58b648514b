"""Random and centred heatmaps, the baselines of all measures."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from detl.faithfulness.estimates import Array

_GRID = 8  # pixels of a random map before it is resized, about those of a Grad-CAM


def random_maps(n: int, size: tuple[int, int], generator: np.random.Generator) -> Array:
    """Return noise as coarse as a Grad-CAM: single pixels would be a weak baseline in a deletion.

    What leaves the image on one side comes in on the other, and all is shifted at random, so that
    no place is likelier than another to be high.
    """
    drawn = generator.random((n, _GRID**2 + 2), dtype=np.float32)  # row i is that of map i alone
    noise, shifts = drawn[:, :-2].reshape(n, _GRID, _GRID), (drawn[:, -2:] * size).astype(int)
    factors = (1, size[0] / _GRID, size[1] / _GRID)
    maps = ndimage.zoom(noise, factors, order=1, mode="grid-wrap", grid_mode=True)
    shifted = [np.roll(each, shift, axis=(0, 1)) for each, shift in zip(maps, shifts)]
    return np.clip(np.stack(shifted), 0, 1)


def centre_maps(n: int, size: tuple[int, int]) -> Array:
    """Return a Gaussian at the centre of the image, a quarter of each side wide (sd)."""
    rows, columns = (
        np.exp(-(((np.arange(side) + 0.5) / side - 0.5) ** 2) / (2 * 0.25**2)) for side in size
    )
    return np.broadcast_to(np.outer(rows, columns).astype(np.float32), (n, *size))


def other_images(
    n: int, groups: Array | None, generator: np.random.Generator, n_draws: int
) -> list[Array]:
    """Return ``n_draws`` times for each image the row of another one, of another group; or none.

    Each row is drawn once in every draw. There are none where a group has over half of the images.
    """
    units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    largest = int(np.bincount(units).max())
    if 2 * largest > n:
        return []
    found = []
    for _ in range(n_draws):
        # In an order in which each group lies together, all move on past the end of theirs.
        place = generator.permutation(units.max() + 1)[units]
        order = np.lexsort((generator.permutation(n), place))
        others = np.empty(n, int)
        others[order] = np.roll(order, generator.integers(largest, n - largest, endpoint=True))
        found.append(others)
    return found
