"""Which images are copies of each other: find them by thumbnail, tell by their fine detail.

A thumbnail of 8 x 8 cells finds each image's nearest, of which hardly any is a copy. These are then
laid over each other at 48 x 48 and moved by a few half cells. What all images share is taken away
before: the coarse light and dark, and the mean image. Only a copy's fine detail then falls into
place, and the score is the correlation at the best place. Both steps compare the whole images,
mirrored too, and the whole of one with the centre of the other, which is about what a crop leaves.
(``studies/which_method_finds_copies``)

What score a copy must have depends on how alike different images are: digits and textures are more
alike than radiographs. Each image's second most alike is taken for a different one, and a copy has
to be far more alike than these are in its class. (``studies/how_alike_is_a_copy``)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

# Least score of a copy: above different patients, below most cropped copies.
THRESHOLD = 0.85
_HIGHEST = 0.98  # where different images are more alike than this, only exact copies can be told
_SPREADS = 4.0  # of different images; see _threshold
_ENOUGH = 10  # images to tell from how alike those of a class are

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
    """What is kept of images to compare them by: 10 kB each, whatever their size."""

    digests: np.ndarray  # (n,): hash of the pixels, equal whether uint8 or float
    coarse: np.ndarray  # (2, n, 8, 8): the whole image and its centre, mean 0 and norm 1
    fine: np.ndarray  # (2, n, 48, 48): the same, of fine detail, fading out towards the edges


@dataclass(frozen=True, kw_only=True, eq=False)
class Copies:
    """Pairs of images, one row each."""

    pairs: np.ndarray  # (m, 2); of k equal images, the k - 1 pairs of the first with each other
    scores: np.ndarray  # (m,): correlation; 1 for equal images
    exact: np.ndarray  # (m,): whether all pixels are equal
    thresholds: np.ndarray  # (n_classes,): the least score of a copy
    n_alike: int  # pairs that miss it, though their score is THRESHOLD or more


def sketch(images: np.ndarray) -> Sketches:
    """Return what images of shape (n, height, width, channels) are compared by, read in batches."""
    n = len(images)
    digests = np.empty(n, "uint64")
    coarse = np.empty((2, n, _COARSE, _COARSE), "float32")
    fine = np.empty((2, n, _FINE, _FINE), "float16")
    window = np.sqrt(np.hanning(_FINE + 2)[1:-1])
    for rows in _batches(n):
        batch = np.asarray(images[rows])
        digests[rows] = pixel_digests(batch)
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


def pixel_digests(images: np.ndarray) -> np.ndarray:
    """Return a hash of each image's pixels, ``(n,)``, equal whether they are uint8 or float.

    They are read in batches: images may be a memory map.
    """
    digests = np.empty(len(images), "uint64")
    for rows in _batches(len(images)):
        digests[rows] = [_digest(image) for image in np.asarray(images[rows])]
    return digests


def copies_within(
    images: Sketches, targets: np.ndarray, *, threshold: float | None = None
) -> Copies:
    """Return the pairs of copies among images, each as (lower row, higher row).

    ``targets`` are the classes of the images, by number. By default each has a threshold of its
    own, found from its images; two images of different classes have to reach both.
    """
    _, first, kind = np.unique(images.digests, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[kind] != np.arange(len(kind)))
    exact = np.column_stack([first[kind[repeats]], repeats])
    pairs, scores = _near(images, np.sort(first), None, np.sort(first))
    thresholds = _thresholds(pairs.T.ravel(), np.tile(scores, 2), targets, threshold)
    return _join(exact, pairs, scores, thresholds[targets[pairs]].max(axis=1), thresholds)


def copies_between(
    images: Sketches, others: Sketches, targets: np.ndarray, *, threshold: float | None = None
) -> Copies:
    """Return the pairs (row of ``images``, row of ``others``) that are copies.

    ``targets`` are the classes of ``images``.
    """
    digests, first = np.unique(others.digests, return_index=True)
    place = np.searchsorted(digests, images.digests).clip(max=len(digests) - 1)
    equal = digests[place] == images.digests
    exact = np.column_stack([np.flatnonzero(equal), first[place[equal]]])
    pairs, scores = _near(images, np.flatnonzero(~equal), others, np.sort(first))
    thresholds = _thresholds(pairs[:, 0], scores, targets, threshold)
    return _join(exact, pairs, scores, thresholds[targets[pairs[:, 0]]], thresholds)


def score_pairs(images: Sketches, pairs: np.ndarray) -> np.ndarray:
    """Return how alike two images are in detail, mirrored or not."""
    mirrored = np.ones(len(pairs), dtype=bool)
    return np.maximum(
        _scores(images, images, pairs, ~mirrored), _scores(images, images, pairs, mirrored)
    )


def _join(
    exact: np.ndarray,
    near: np.ndarray,
    scores: np.ndarray,
    least: np.ndarray,
    thresholds: np.ndarray,
) -> Copies:
    called = scores >= least
    pairs = np.concatenate([exact, near[called]])
    order = np.lexsort(pairs.T[::-1])
    is_exact = np.arange(len(pairs)) < len(exact)
    all_scores = np.concatenate([np.ones(len(exact)), scores[called]])
    return Copies(
        pairs=pairs[order],
        scores=all_scores[order],
        exact=is_exact[order],
        thresholds=thresholds,
        n_alike=int(np.count_nonzero(scores[~called] >= THRESHOLD)),
    )


def _thresholds(
    rows: np.ndarray, scores: np.ndarray, targets: np.ndarray, threshold: float | None
) -> np.ndarray:
    """Return the least score of a copy in each class, from the scores of the rows' images."""
    n_classes = targets.max() + 1
    if threshold is not None:
        return np.full(n_classes, threshold)
    order = np.lexsort((-scores, rows))
    rows, start, count = np.unique(rows[order], return_index=True, return_counts=True)
    second = scores[order][start[count > 1] + 1]
    of_class = targets[rows[count > 1]]
    of_each = [_threshold(second[of_class == k]) for k in range(n_classes)]
    return np.maximum(_threshold(second), of_each)


def _threshold(different: np.ndarray) -> float:
    """Return the score that hardly any pair of different images reaches, told from many of them.

    By Fisher's transformation correlations are about normal. The median and the spread below it
    hardly change where some of the pairs are copies after all.
    """
    if len(different) < _ENOUGH:
        return THRESHOLD
    low, middle = np.quantile(np.arctanh(different.clip(-0.99, 0.999)), [0.16, 0.5])
    return float(np.tanh(middle + _SPREADS * (middle - low)).clip(THRESHOLD, _HIGHEST))


def _near(
    images: Sketches, rows: np.ndarray, others: Sketches | None, other_rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest pairs of rows, and how alike in detail; None: among themselves."""
    pairs, mirrored = _candidates(
        images.coarse[:, rows],
        None if others is None else others.coarse[:, other_rows],
    )
    pairs = np.column_stack([rows[pairs[:, 0]], other_rows[pairs[:, 1]]])
    scores = _scores(images, others or images, pairs, mirrored)
    # A pair may have been tried both ways round; the better one is kept.
    order = np.argsort(-scores, kind="stable")
    pairs, kept = np.unique(pairs[order], axis=0, return_index=True)
    return pairs, scores[order][kept]


def _scores(
    images: Sketches, others: Sketches, pairs: np.ndarray, mirrored: np.ndarray
) -> np.ndarray:
    scores = np.empty(len(pairs))
    for block in _batches(len(pairs)):
        second = others.fine[:, pairs[block, 1]].astype("float32")
        flip = mirrored[block]
        second[:, flip] = second[:, flip, :, ::-1]
        first = images.fine[:, pairs[block, 0]].astype("float32")
        scores[block] = _best_correlation(first, second)
    return scores


def _candidates(coarse: np.ndarray, others: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's nearest by thumbnail, as pairs, and whether it is so when mirrored."""
    second = coarse if others is None else others
    whole, centre = coarse.reshape(2, -1, _COARSE**2)
    n, n_others = len(whole), second.shape[1]
    count = min(_NEAREST, n_others)
    found = [np.empty((0, 3), int)]
    for rows in np.array_split(np.arange(n), max(1, -(-n * n_others // _CELLS))):
        plain, mirrored = (
            np.maximum.reduce([whole[rows] @ a.T, whole[rows] @ b.T, centre[rows] @ a.T])
            for a, b in (part.reshape(2, -1, _COARSE**2) for part in (second, second[..., ::-1]))
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
