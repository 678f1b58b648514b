"""What stands where pixels of an image are hidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse import linalg

from detl.checks import check_choice
from detl.faithfulness.estimates import Array

_BLUR = 1 / 16  # of the image's sides: standard deviation
# Rong et al. 2022, app. B: what a pixel weighs in the mean that replaces its neighbour.
_NEIGHBOURS = {
    (row, column): 1 / 6 if row == 0 or column == 0 else 1 / 12
    for row in (-1, 0, 1)
    for column in (-1, 0, 1)
    if (row, column) != (0, 0)
}

# From images (m, height, width, channels) to a function from what is hidden of them, (m, height,
# width), to the images with that replaced.
Hide = Callable[[Array], Callable[[Array], Array]]


def filled_with(images: Array, fill: Any) -> Callable[[Array], Array]:
    """Return a function that puts the filling where images are hidden."""
    if not isinstance(fill, str):
        filling = np.asarray(fill, dtype=np.float32)
    elif fill == "mean":
        filling = images.mean(axis=(1, 2), keepdims=True)
    else:
        height, width = images.shape[1:3]
        filling = ndimage.gaussian_filter(images, (0, height * _BLUR, width * _BLUR, 0))
    return lambda hidden: np.where(hidden[..., np.newaxis], filling, images)


def check_fill(fill: Any, images: Array) -> None:
    """Refuse what is neither "mean" nor "blur" nor pixels like those of the images."""
    if isinstance(fill, str):
        check_choice("fill", fill, ("mean", "blur"))
        return
    filling = np.asarray(fill, dtype=np.float32)
    try:
        np.broadcast_to(filling, images.shape[1:])
    except ValueError as error:
        raise ValueError(
            f"fill has shape {filling.shape}; expected 'mean', 'blur', a pixel value, or an image "
            f"of shape {images.shape[1:]}."
        ) from error
    low, high = min(0.0, float(images.min())), max(255.0, float(images.max()))
    if not ((filling >= low) & (filling <= high)).all():  # also refuses NaN
        raise ValueError(
            f"fill has values from {filling.min():g} to {filling.max():g}; expected pixels as in "
            f"the images, from {low:g} to {high:g}."
        )


def noisy_linear(image: Array, gap: Array, sd: float, generator: np.random.Generator) -> Array:
    """Fill a gap so that each pixel is the weighted mean of its neighbours, plus noise.

    Rong et al. 2022, app. B. Pixels beyond the border do not count.
    """
    if not gap.any():
        return image
    number = np.full(gap.shape, -1)
    number[gap] = np.arange(gap.sum())
    places = np.argwhere(gap)
    total, known = np.zeros(len(places)), np.zeros((len(places), image.shape[2]))
    entries = []
    for offset, weight in _NEIGHBOURS.items():
        around = places + offset
        inside = ((around >= 0) & (around < gap.shape)).all(axis=1)
        equations = np.flatnonzero(inside)
        rows, columns = around[inside].T
        total[equations] += weight
        unknown = number[rows, columns]
        solved = unknown >= 0
        entries.append((equations[solved], unknown[solved], np.full(solved.sum(), -weight)))
        known[equations[~solved]] += weight * image[rows[~solved], columns[~solved]]
    row, column, data = map(np.concatenate, zip(*entries))
    system = sparse.csc_array((data, (row, column)), (len(places), len(places)))
    system = system + sparse.diags_array(total)
    solver = linalg.splu(
        sparse.csc_matrix(system),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    filled = image.copy()
    filled[gap] = solver.solve(known) + sd * generator.normal(size=known.shape)
    return filled
