"""Something to start with: images that need no download, as a source and a target.

Every ``load_*`` function returns both sets. Phantoms come with patients and with the outline of
every lesion, so that heatmaps can be judged too.

Examples
--------
>>> from detl import datasets
>>> source, target = datasets.load_phantoms()
>>> source.images.shape, source.classes.tolist()
((1000, 64, 64, 1), ['diseased', 'normal'])
>>> target.images.shape, target.classes.tolist()
((240, 64, 64, 1), ['covid-19', 'normal', 'other', 'pneumonia'])
"""

from detl.datasets.digits import load_digits
from detl.datasets.image_set import ImageSet
from detl.datasets.phantoms import load_phantoms, make_phantoms

__all__ = [
    "ImageSet",
    "load_digits",
    "load_phantoms",
    "make_phantoms",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
