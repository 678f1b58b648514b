"""Images with what is known of each: class, group, lesion."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import fill

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ImageSet:
    """Images with what is known of each; row ``i`` of every array is image ``i``.

    Attributes
    ----------
    images : numpy.ndarray of shape (n, height, width, channels)
        ``uint8`` pixels in [0, 255].
    labels : numpy.ndarray of shape (n,)
        Class of each image.
    groups : numpy.ndarray of str of shape (n,), or None
        Patient of each image; None where nobody knows which images belong together.
    masks : numpy.ndarray of bool of shape (n, height, width), or None
        True where a lesion is visible; all False in an image without one. None where an image has
        no part that matters more than the rest.
    description : str
        What the images are, and what they cannot tell.
    """

    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None = None
    masks: np.ndarray | None = None
    description: str

    @property
    def classes(self) -> np.ndarray:
        """Names of the classes, sorted."""
        return np.unique(self.labels)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __repr__(self) -> str:
        """Return counts and shapes, no pixels."""
        names, counts = np.unique(self.labels, return_counts=True)
        lines = [
            f"images={self.images.dtype} {self.images.shape}",
            f"labels={dict(zip(names.tolist(), counts.tolist(), strict=True))}",
            f"groups={self.groups if self.groups is None else len(np.unique(self.groups))}",
            f"masks={self.masks if self.masks is None else f'bool {self.masks.shape}'}",
            fill(f"description={self.description!r}", 84, subsequent_indent=" " * 8),
        ]
        return "ImageSet(\n    " + ",\n    ".join(lines) + ",\n)"
