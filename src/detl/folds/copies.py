"""Which images are copies of each other: find them by thumbnail, tell by their fine detail.

A copy has the same pixels, or shows the same picture saved anew, resized, cropped by a few per
cent, brightened or mirrored.

Images of one kind are alike, radiographs most of all, so it takes two steps. A thumbnail of 8 x 8
cells finds each image's nearest, of which hardly any is a copy. These are then laid over each other
at 48 x 48 and moved by a few half cells. What all images share is taken away before: the coarse
light and dark, and the mean image, such as the edge of a microscope's round field. Only a copy's
fine detail then falls into place, and the score is the correlation at the best place. Both steps
compare the whole images, mirrored too, and the whole of one with the centre of the other, which is
about what a crop has left.

``studies/which_method_finds_copies`` measures this against perceptual hashes and features of
networks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

# About halfway between different patients' images and cropped copies
# (studies/which_method_finds_copies).
THRESHOLD = 0.8

_COARSE, _FINE = 8, 48  # cells a side
_BLUR = 1.5  # cells of the fine grid; what is smoother than that is taken away
_CENTRE = 0.95  # share of height and width
_FEW = 20  # images; of so many, half of the mean is taken away: it may be of copies
_NEAREST = 5
_ALIKE = 0.8  # least correlation of thumbnails; of planted copies the lowest is 0.9
_SHIFT = 3  # cells of the fine grid
_BATCH = 512
_CELLS = 4_000_000  # of a matrix that is held at once


@dataclass(frozen=True, kw_only=True, eq=False)
class Sketches:
    """What is kept of images to compare them by: 10 kB each, whatever their size.

    Attributes
    ----------
    digests : numpy.ndarray of uint64, shape (n,)
        Hash of the pixels: equal for equal images, whether ``uint8`` or float.
    coarse : numpy.ndarray of float32, shape (2, n, 8, 8)
        Thumbnails of the whole image and of its centre, mean 0 and norm 1.
    fine : numpy.ndarray of float16, shape (2, n, 48, 48)
        The same, larger, of fine detail only, fading out towards the edges.
    """

    digests: np.ndarray
    coarse: np.ndarray
    fine: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Copies:
    """Pairs of images, one row each.

    Attributes
    ----------
    pairs : numpy.ndarray of int, shape (m, 2)
        Rows of the images. Of k equal images, k - 1 pairs are given: the first with each other.
    scores : numpy.ndarray of float, shape (m,)
        Correlation, in [-1, 1]; 1 for equal images.
    exact : numpy.ndarray of bool, shape (m,)
        Whether all pixels are equal.
    """

    pairs: np.ndarray
    scores: np.ndarray
    exact: np.ndarray


def sketch(images: np.ndarray) -> Sketches:
    """Return what images of shape (n, height, width, channels) are compared by, read in batches."""
    n = len(images)
    digests = np.empty(n, "uint64")
    coarse = np.empty((2, n, _COARSE, _COARSE), "float32")
    fine = np.empty((2, n, _FINE, _FINE), "float16")
    window = np.sqrt(np.hanning(_FINE + 2)[1:-1])
    for rows in _batches(n):
        batch = np.asarray(images[rows])
        digests[rows] = [_digest(image) for image in batch]
        grey = batch.mean(axis=3, dtype="float32")
        for part, share in enumerate((1.0, _CENTRE)):
            thumbnails = _resized(grey, _COARSE, share)
            coarse[part, rows] = _normalized(thumbnails - _mean_of_each(thumbnails))
            detail = _resized(grey, _FINE, share)
            detail -= gaussian_filter(detail, (0, _BLUR, _BLUR), mode="nearest")
            detail -= _mean_of_each(detail)
            fine[part, rows] = _normalized(detail * np.outer(window, window))
    shared = fine.mean(axis=1, dtype="float32", keepdims=True) * n / (n + _FEW)
    for rows in _batches(n):
        visible = fine[:, rows].any(axis=(2, 3), keepdims=True)
        fine[:, rows] = _normalized(np.where(visible, fine[:, rows] - shared, 0))
    return Sketches(digests=digests, coarse=coarse, fine=fine)


def copies_within(images: Sketches, *, threshold: float = THRESHOLD) -> Copies:
    """Return the pairs of copies among images, each as (lower row, higher row)."""
    _, first, kind = np.unique(images.digests, return_index=True, return_inverse=True)
    rows = np.arange(len(kind))
    repeats = np.flatnonzero(first[kind] != rows)
    exact = np.column_stack([first[kind[repeats]], repeats])
    return _join(exact, *_near(images, np.sort(first), None, np.sort(first), threshold))


def copies_between(images: Sketches, others: Sketches, *, threshold: float = THRESHOLD) -> Copies:
    """Return the pairs (row of ``images``, row of ``others``) that are copies."""
    digests, first = np.unique(others.digests, return_index=True)
    place = np.searchsorted(digests, images.digests).clip(max=len(digests) - 1)
    equal = digests[place] == images.digests
    exact = np.column_stack([np.flatnonzero(equal), first[place[equal]]])
    return _join(exact, *_near(images, np.flatnonzero(~equal), others, np.sort(first), threshold))


def _join(exact: np.ndarray, near: np.ndarray, scores: np.ndarray) -> Copies:
    pairs = np.concatenate([exact, near])
    order = np.lexsort(pairs.T[::-1])
    is_exact = np.arange(len(pairs)) < len(exact)
    all_scores = np.concatenate([np.ones(len(exact)), scores])
    return Copies(pairs=pairs[order], scores=all_scores[order], exact=is_exact[order])


def _near(
    images: Sketches,
    rows: np.ndarray,
    others: Sketches | None,
    other_rows: np.ndarray,
    threshold: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows that are alike in detail, and their scores; None: among themselves."""
    pairs, mirrored = _candidates(
        images.coarse[:, rows],
        None if others is None else others.coarse[:, other_rows],
    )
    pairs = np.column_stack([rows[pairs[:, 0]], other_rows[pairs[:, 1]]])
    scores = np.empty(len(pairs))
    for block in _batches(len(pairs)):
        second = (others or images).fine[:, pairs[block, 1]].astype("float32")
        flip = mirrored[block]
        second[:, flip] = second[:, flip, :, ::-1]
        first = images.fine[:, pairs[block, 0]].astype("float32")
        scores[block] = _best_correlation(first, second)
    close = scores >= threshold
    pairs, scores = pairs[close], scores[close]
    # A pair may have been tried both ways round; the better one is kept.
    order = np.argsort(-scores, kind="stable")
    pairs, kept = np.unique(pairs[order], axis=0, return_index=True)
    return pairs, scores[order][kept]


def _candidates(coarse: np.ndarray, others: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's nearest by thumbnail, as pairs, and whether it is so when mirrored."""
    second = coarse if others is None else others
    whole, centre = coarse.reshape(2, coarse.shape[1], -1)
    n, n_others = len(whole), second.shape[1]
    count = min(_NEAREST, n_others)
    found = [np.empty((0, 3), int)]
    for rows in np.array_split(np.arange(n), max(1, -(-n * n_others // _CELLS))):
        plain, mirrored = (
            np.maximum.reduce([whole[rows] @ a.T, whole[rows] @ b.T, centre[rows] @ a.T])
            for a, b in (part.reshape(2, n_others, -1) for part in (second, second[..., ::-1]))
        )
        alike = np.maximum(plain, mirrored)
        if others is None:
            alike[np.arange(len(rows)), rows] = -1
        nearest = np.argpartition(alike, n_others - count, axis=1)[:, n_others - count :]
        row, rank = np.nonzero(np.take_along_axis(alike, nearest, axis=1) > _ALIKE)
        column = nearest[row, rank]
        flipped = mirrored[row, column] > plain[row, column]
        found.append(np.column_stack([rows[row], column, flipped]))
    table = np.concatenate(found)
    if others is None:
        table[:, :2].sort(axis=1)
        table = np.unique(table, axis=0)
    return table[:, :2], table[:, 2].astype(bool)


def _best_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the greatest correlation of details (2, n, 48, 48), moved by half cells, up to three.

    The correlation at all places is the inverse Fourier transform of the product of the spectra;
    here it is taken at these few places only, between cells too, where a crop comes to lie.
    """
    spectra = fft.rfft2(first), fft.rfft2(second).conj()
    places = np.arange(-2 * _SHIFT, 2 * _SHIFT + 1) / 2 / _FINE
    down = np.exp(2j * np.pi * np.outer(places, fft.fftfreq(_FINE, 1 / _FINE)))
    across = np.exp(2j * np.pi * np.outer(fft.rfftfreq(_FINE, 1 / _FINE), places))
    across[1:-1] *= 2  # rfft2 leaves out the negative frequencies, which mirror these
    down, across = down.astype("complex64"), (across / _FINE**2).astype("complex64")
    best = np.full(first.shape[1], -1.0)
    for part, other in ((0, 0), (0, 1), (1, 0)):
        moved = down @ (spectra[0][part] * spectra[1][other] @ across)
        best = np.maximum(best, moved.real.max(axis=(1, 2)))
    return best


def _digest(image: np.ndarray) -> int:
    with np.errstate(invalid="ignore"):
        pixels = image.astype("uint8")
    if image.dtype != pixels.dtype and (pixels != image).any():
        pixels = image.astype("float32")
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=8)
    digest.update(pixels.tobytes())
    return int.from_bytes(digest.digest(), "little")


def _resized(grey: np.ndarray, cells: int, share: float) -> np.ndarray:
    """Return the central ``share`` of images (n, height, width), resized to ``cells`` a side."""
    down, across = (_resampling(size, cells, share) for size in grey.shape[1:])
    return down @ grey @ across.T


def _resampling(size: int, cells: int, share: float) -> np.ndarray:
    """Return the matrix of a triangle filter as wide as the reduction, as in ``detl.images``."""
    step = share * size / cells
    centres = (1 - share) * size / 2 + (np.arange(cells) + 0.5) * step - 0.5
    distances = np.abs(np.arange(size) - centres[:, np.newaxis])
    weights = np.clip(1 - distances / max(step, 1), 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype("float32")


def _mean_of_each(images: np.ndarray) -> np.ndarray:
    return images.mean(axis=(1, 2), keepdims=True)


def _normalized(images: np.ndarray) -> np.ndarray:
    """Return images of norm 1, or 0 where there is nothing to see: these match nothing."""
    norms = np.linalg.norm(images, axis=(-2, -1), keepdims=True)
    visible = norms > 1e-2
    return np.where(visible, images / np.where(visible, norms, 1), 0)


def _batches(n: int) -> list[slice]:
    return [slice(start, start + _BATCH) for start in range(0, n, _BATCH)]
