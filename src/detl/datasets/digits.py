"""Handwritten digits: seven classes to learn from, three to extend to."""

from __future__ import annotations

from sklearn import datasets

from detl.checks import check_count
from detl.datasets.image_set import ImageSet
from detl.images import resize

_FIRST_OF_TARGET = 7  # digits below it are the source's
_WHITE = 16  # scikit-learn counts the dark pixels in blocks of 4 x 4


def load_digits(*, size: int = 64) -> tuple[ImageSet, ImageSet]:
    """Load scikit-learn's digits: source 0 to 6 (1,264 images), target 7 to 9 (533).

    Parameters
    ----------
    size : int, default=64
        Height and width in pixels. The digits have 8 x 8 and are enlarged by
        :func:`detl.images.resize`; 64 is enough for every backbone of :mod:`detl.backbones`.

    Returns
    -------
    source, target : ImageSet
        ``images`` of shape ``(n, size, size, 1)``, bright on dark; ``labels`` are numbers.
        ``groups`` is None: scikit-learn does not say who wrote which digit. Thirteen people wrote
        them, so a score on other images of the set says little about another hand.

    References
    ----------
    Alpaydin, Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository. The set is the test part, as :func:`sklearn.datasets.load_digits` gives it.

    Examples
    --------
    >>> from detl import datasets
    >>> source, target = datasets.load_digits()
    >>> source.images.shape, target.classes.tolist()
    ((1264, 64, 64, 1), [7, 8, 9])
    """
    check_count("size", size)
    digits = datasets.load_digits()
    images = resize((digits.images * (255 / _WHITE)).astype("uint8"), size=(size, size))
    is_target = digits.target >= _FIRST_OF_TARGET
    source, target = (
        ImageSet(
            images=images[rows],
            labels=digits.target[rows],
            description=(
                f"Handwritten digits of scikit-learn, enlarged from 8 x 8 to {size} x {size} "
                "pixels. Their writers are unknown, hence no groups."
            ),
        )
        for rows in (~is_target, is_target)
    )
    return source, target
