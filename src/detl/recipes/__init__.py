"""Ways to a classifier of few images that are worth a try, each ready to be cross-validated.

Every function returns a classifier of scikit-learn that is not fitted yet. Judge one by
:func:`detl.cross_validate`, several by :func:`detl.compare`, or leave both to
:func:`detl.recommend`.

Examples
--------
>>> import numpy as np
>>> from detl import backbones, compare, recipes
>>> images = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 1), dtype="uint8")
>>> labels, patients = ["normal", "covid"] * 12, np.arange(24) // 2
>>> source = backbones.alexnet((64, 64, 1), width=0.125)  # for real: what pretrain returned
>>> tried = {"linear probe": recipes.linear_probe(source), "thumbnail": recipes.thumbnail()}
>>> found = compare(tried, images, labels, groups=patients, n_splits=3, random_state=0)
>>> list(found.results)
['linear probe', 'thumbnail']
"""

from detl.recipes.probing import LinearProbe
from detl.recipes.ready_made import (
    domain_extension,
    fine_tuning,
    from_scratch,
    linear_probe,
    thumbnail,
)
from detl.recipes.scratch import FromScratch

__all__ = [
    "FromScratch",
    "LinearProbe",
    "domain_extension",
    "fine_tuning",
    "from_scratch",
    "linear_probe",
    "thumbnail",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
