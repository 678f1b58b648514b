"""Features that another program computed, found again by the pixels of the image."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags

from detl.checks import check_images
from detl.folds.copies import pixel_digests

# Equal images may differ by so much of the spread of the features: another batch, half precision.
_ROUNDING = 0.01


def precomputed(images: Any, features: Any) -> PrecomputedFeatures:
    """Return a transformer from these images to features that are computed already.

    So DINO, or a medical foundation model in PyTorch, is cross-validated like any network of detl:
    on the same folds, with the same audit, intervals and tests. The row of an image is found by
    its pixels, whatever the order or the part of the images.

    Parameters
    ----------
    images : array-like of shape (n, height, width, channels)
        Those that will be cross-validated, of the same size. Give all images that will ever be
        predicted, such as those of another hospital.
    features : array-like of shape (n, n_features)
        Row ``i`` belongs to ``images[i]``. The program that computed them may have seen the images
        at any size. It must not have learned from their labels.

    Returns
    -------
    PrecomputedFeatures
        It keeps digests of the images, not the images.

    Raises
    ------
    TypeError, ValueError
        If the features are not finite numbers with a row for each image, or copies of an image have
        different features.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from detl import cross_validate, features
    >>> images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype="uint8")
    >>> labels = np.array(["normal", "covid"] * 20)
    >>> dino = np.column_stack([labels == "covid", np.arange(40) % 7])  # for real: np.load(...)
    >>> classifier = make_pipeline(features.precomputed(images, dino), LogisticRegression())
    >>> cross_validate(classifier, images, labels, random_state=0).accuracy
    1.0
    """
    images = check_images(images, any_scale=True)
    rows = _checked(features, len(images))
    digests, first, kind = np.unique(pixel_digests(images), return_index=True, return_inverse=True)
    differing = np.abs(rows - rows[first[kind]]).max(axis=1) > _ROUNDING * rows.std()
    if differing.any():
        copy = int(np.flatnonzero(differing)[0])
        raise ValueError(
            f"images has copies whose features differ ({differing.sum()} rows), first in rows "
            f"{first[kind[copy]]} and {copy}; an image has one row of features. Are the features "
            "in the order of the images, and computed without augmentation and dropout?"
        )
    return PrecomputedFeatures(digests, rows[first])


class PrecomputedFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Look up the features of an image: what :func:`precomputed` returns.

    Parameters
    ----------
    digests : numpy.ndarray of shape (n,)
        What the images are known by, sorted.
    features : numpy.ndarray of shape (n, n_features)
        Of each of them, float32.

    Attributes
    ----------
    n_features_in_ : int
        Length of the second axis of ``X``.
    """

    def __init__(self, digests: np.ndarray, features: np.ndarray) -> None:
        self.digests = digests
        self.features = features

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []  # float32, whatever the images are
        return tags

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        """Return its size; the arrays themselves would fill the screen."""
        return f"PrecomputedFeatures({len(self.digests)} images, {self._n_features_out} features)"

    def __sklearn_clone__(self) -> Self:
        """Return an equal one that shares the arrays, which nothing changes."""
        return type(self)(self.digests, self.features)

    @property
    def _n_features_out(self) -> int:
        return int(self.features.shape[1])

    def fit(self, X: Any, y: Any = None) -> PrecomputedFeatures:
        """Check that there are features of these images; nothing is learned."""
        self._rows_of(X)
        self.n_features_in_ = np.shape(X)[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of each image, float32 ``(n, n_features)``.

        ``X`` are images that :func:`precomputed` was given, in any order and number.

        Raises
        ------
        ValueError
            If there are no features of an image.
        """
        return np.asarray(self.features[self._rows_of(X)])

    def _rows_of(self, X: Any) -> np.ndarray:
        wanted = pixel_digests(check_images(X, name="X", any_scale=True))
        rows = np.searchsorted(self.digests, wanted).clip(max=len(self.digests) - 1)
        unknown = self.digests[rows] != wanted
        if unknown.any():
            raise ValueError(
                f"{unknown.sum()} of {len(wanted)} images have no precomputed features, first in "
                f"row {np.flatnonzero(unknown)[0]} of X. Compute them with the same network, and "
                "give features.precomputed these images too, pixel for pixel as they are here."
            )
        return rows


def _checked(features: Any, n: int) -> np.ndarray:
    """Return the features as float32, refusing what is no row of finite numbers for each image."""
    try:
        array = np.asarray(features)
    except ValueError:  # numpy's word for lists of unequal lengths names no features
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "uif":
        raise TypeError(
            f"features has dtype {array.dtype}; expected numbers, (n, n_features), such as float32."
        )
    if array.ndim != 2 or array.shape[1] == 0:
        hint = {
            1: " One number for each image: features[:, np.newaxis].",
            3: " Tokens: features[:, 0], the class token, or features.mean(axis=1).",
            4: " Feature maps: average them, features.mean(axis=(1, 2)) if channels come last.",
        }.get(array.ndim, "")
        raise ValueError(f"features has shape {array.shape}; expected (n, n_features).{hint}")
    if len(array) != n:
        raise ValueError(f"{len(array)} rows of features for {n} images; expected a row for each.")
    array = array.astype("float32")
    broken = ~np.isfinite(array).all(axis=1)
    if broken.any():
        raise ValueError(
            f"features has NaN or infinity in {broken.sum()} rows, first in row "
            f"{np.flatnonzero(broken)[0]}; compute them again, or drop these images."
        )
    return array
