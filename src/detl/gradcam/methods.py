"""The methods, each its formula: from feature maps and gradients to one map per image.

Maps ``A`` come as ``(n, pixels, channels)``, whatever the number of axes of the convolution; ``G``
is the gradient of the class score by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """What a method may look at."""

    maps: Array  # A, (n, pixels, channels)
    gradients: Array  # G, the same shape
    masked_scores: Callable[[], Array]  # (n, channels): score of the image seen through each map


def gradcam(evidence: Evidence) -> Array:
    r"""Weigh each map by its mean gradient.

    :math:`\sum_k A^k \frac1Z \sum_{ij} G_{ij}^k`, before its ReLU (Selvaraju et al. 2017,
    "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", eq. 1, 2).
    """
    weights = evidence.gradients.mean(axis=1)
    return np.einsum("npk,nk->np", evidence.maps, weights)


def gradcam_plus_plus(evidence: Evidence) -> Array:
    r"""Weigh each map by the sum of its positive gradients, each by a share of its own.

    :math:`w_k = \sum_{ij} \alpha_{ij}^k \mathrm{ReLU}(G_{ij}^k)` with :math:`\alpha_{ij}^k =
    (G_{ij}^k)^2 / (2 (G_{ij}^k)^2 + \sum_{ab} A_{ab}^k (G_{ij}^k)^3)` (Chattopadhay et al. 2018,
    "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks", eq. 5 and 19). Two
    things are written otherwise: the square cancels in alpha, so that no gradient is too small for
    it, and the factor exp(score), which all weights of an image share, drops out of its heatmap.
    """
    sums = evidence.maps.sum(axis=1, keepdims=True)
    shares = _quotient(np.maximum(evidence.gradients, 0), 2 + sums * evidence.gradients)
    return np.einsum("npk,nk->np", evidence.maps, shares.sum(axis=1))


def hirescam(evidence: Evidence) -> Array:
    r"""Multiply maps and gradients pixel by pixel.

    :math:`\sum_k G^k \odot A^k` (Draelos & Carin 2020, "Use HiResCAM instead of Grad-CAM for
    faithful explanations of convolutional neural networks", eq. 4). For a linear head its sum is
    the logit without its bias.
    """
    return np.einsum("npk,npk->np", evidence.maps, evidence.gradients)


def layercam(evidence: Evidence) -> Array:
    r"""Multiply maps and positive gradients pixel by pixel.

    :math:`\sum_k \mathrm{ReLU}(G^k) \odot A^k`, before its ReLU (Jiang et al. 2021, "LayerCAM:
    Exploring Hierarchical Class Activation Maps for Localization", eq. 5 and 6).
    """
    return np.einsum("npk,npk->np", evidence.maps, np.maximum(evidence.gradients, 0))


def xgradcam(evidence: Evidence) -> Array:
    r"""Weigh each map by its gradients, averaged where the map is active.

    :math:`w_k = \sum_{ij} A_{ij}^k G_{ij}^k / \sum_{ab} A_{ab}^k` (Fu et al. 2020, "Axiom-based
    Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", eq. 8). A map that sums to
    zero weighs nothing.
    """
    pulls = np.einsum("npk,npk->nk", evidence.maps, evidence.gradients)
    weights = _quotient(pulls, evidence.maps.sum(axis=1))
    return np.einsum("npk,nk->np", evidence.maps, weights)


def eigencam(evidence: Evidence) -> Array:
    r"""Project the maps on their first principal direction, whatever the class.

    :math:`A v_1`, where :math:`v_1` is the first right singular vector of the pixels by channels
    (Muhammad & Yeasin 2020, "Eigen-CAM: Class Activation Map using Principal Components", eq. 5).
    As there, the maps are not centred. A singular vector has no sign: here the projections sum to
    a positive number, so that after a ReLU every pixel is at least 0.
    """
    left, strengths, _ = np.linalg.svd(evidence.maps, full_matrices=False)
    projections = left[:, :, 0] * strengths[:, :1]
    return np.where(projections.sum(axis=1, keepdims=True) < 0, -projections, projections)


def scorecam(evidence: Evidence) -> Array:
    r"""Weigh each map by the score of the image seen through it, without gradients.

    :math:`\sum_k A^k\, \mathrm{softmax}_k(y^c(X \odot H^k) - y^c(X_0))`, before its ReLU, where
    :math:`H^k` is the map at the size of the image, stretched to [0, 1] (Wang et al. 2020,
    "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", eq. 5 to 8
    and algorithm 1). What a mask hides is black, as in the paper; the baseline :math:`X_0`, one for
    all masks of an image, drops out of the softmax.
    """
    gains = evidence.masked_scores()
    weights = np.exp(gains - gains.max(axis=1, keepdims=True))
    return np.einsum("npk,nk->np", evidence.maps, weights / weights.sum(axis=1, keepdims=True))


METHODS: Mapping[str, Callable[[Evidence], Array]] = MappingProxyType(
    {
        "gradcam": gradcam,
        "gradcam++": gradcam_plus_plus,
        "hirescam": hirescam,
        "layercam": layercam,
        "xgradcam": xgradcam,
        "eigencam": eigencam,
        "scorecam": scorecam,
    }
)


def _quotient(numerator: Array, denominator: Array) -> Array:
    """Divide; by zero is zero."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def map_of(
    method: str,
    maps: Array,
    gradients: Array,
    masked_scores: Callable[[Array], Array],
    *,
    channels_first: bool,
) -> Array:
    """Return one map per image, ``(n, *space)``."""
    if channels_first:
        maps, gradients = np.moveaxis(maps, 1, -1), np.moveaxis(gradients, 1, -1)
    n, *space, channels = maps.shape
    evidence = Evidence(
        maps=maps.reshape(n, -1, channels),
        gradients=gradients.reshape(n, -1, channels),
        masked_scores=lambda: masked_scores(maps),
    )
    return METHODS[method](evidence).reshape(n, *space)


# ----------------------------------------------------------------------------- from maps to images


def heatmaps_and_raw(raws: Sequence[Array], size: Sequence[int]) -> tuple[Array, Array]:
    """Return the heatmaps of one or several layers, and the map before its ReLU."""
    heatmaps = [heatmaps_of(raw, size) for raw in raws]
    if len(raws) == 1:
        return heatmaps[0], raws[0]
    signed = [resized(over_maximum(raw), size) for raw in raws]
    return over_maximum(np.mean(heatmaps, axis=0)), np.mean(signed, axis=0)


def heatmaps_of(raw: Array, size: Sequence[int]) -> Array:
    """Return the positive part, resized, each map divided by its maximum; blank maps are zero."""
    positive = over_maximum(np.maximum(raw, 0))  # before resizing too, lest tiny maps underflow
    return over_maximum(resized(positive, size))


def over_maximum(maps: Array) -> Array:
    """Divide each map by its largest absolute value; maps of zeros stay."""
    maxima = np.abs(maps).max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    return maps / np.where(maxima > 0, maxima, 1)


def resized(maps: Array, size: Sequence[int]) -> Array:
    """Resize all axes but the first, linearly along each, pixels aligned at their centres."""
    for axis, length in enumerate(size, start=1):
        matrix = _linear(maps.shape[axis], length)
        maps = np.moveaxis(np.moveaxis(maps, axis, -1) @ matrix.T, -1, axis)
    return maps


def masks_of(maps: Array, size: Sequence[int]) -> Array:
    """Return maps ``(n, *map_size)`` at the size of the images, each stretched to [0, 1]."""
    maps = resized(maps, size)
    axes = tuple(range(1, maps.ndim))
    lowest = maps.min(axis=axes, keepdims=True)
    return over_maximum(maps - lowest)


def _linear(n: int, size: int) -> Array:
    """Return the matrix ``(size, n)`` that resizes an axis."""
    centres = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    return np.maximum(0, 1 - np.abs(centres[:, np.newaxis] - np.arange(n))).astype("float32")
