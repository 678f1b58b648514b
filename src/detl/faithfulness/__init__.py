"""Is a heatmap true? Three questions, each with random and centred heatmaps as baselines.

*Does it lie where the object is?* Where boxes or masks are known: :func:`pointing_game`,
:func:`energy`, :func:`intersection_over_union`; :func:`box_masks` turns boxes into masks. *Does
the classifier need what it shows?* :func:`deletion`, :func:`insertion`, :func:`road`. *Does it
depend on what the model learned?* :func:`randomization`.

Every answer has a value per image, a mean with its 95 % interval, and the same for random maps and
for a Gaussian at the centre of the image, where most objects are. ``print`` shows them.

A heatmap may be true to a classifier that looks at the wrong place: the first question is about
both, the others are about the heatmap.

Examples
--------
>>> import keras, numpy as np
>>> from detl import GradCAM, faithfulness
>>> model = keras.Sequential([  # bright pixels are evidence for class 1
...     keras.layers.Input((16, 16, 1)),
...     keras.layers.Conv2D(1, 1, kernel_initializer="ones"),
...     keras.layers.GlobalAveragePooling2D(),
...     keras.layers.Dense(1, kernel_initializer="ones", activation="sigmoid"),
... ])
>>> images, boxes = np.zeros((3, 16, 16, 1)), [(1, 2, 4, 4), (10, 3, 4, 4), (6, 11, 4, 4)]
>>> masks = faithfulness.box_masks(boxes, (16, 16))
>>> images[masks] = 255
>>> heatmaps = GradCAM(model)(images, target_class=1)
>>> result = faithfulness.energy(heatmaps, masks, random_state=0)
>>> result.mean, result.interval.low, result.blank.tolist()
(16.0, 16.0, [False, False, False])
>>> print(faithfulness.deletion(model, images, heatmaps, target_class=1, fill=0, random_state=0))
deletion, area under the curve, 3 images
heatmaps    0.5...
random map  0.9...
centre      0.8...
95 % intervals: percentile bootstrap over 3 images, 2000 draws, too narrow under 20 images
"""

from detl.faithfulness.boxes import box_masks
from detl.faithfulness.estimates import Estimate
from detl.faithfulness.localization import (
    Localization,
    energy,
    intersection_over_union,
    pointing_game,
)
from detl.faithfulness.perturbation import Curve, deletion, insertion, road
from detl.faithfulness.randomization import Randomization, randomization

__all__ = [
    "Curve",
    "Estimate",
    "Localization",
    "Randomization",
    "box_masks",
    "deletion",
    "energy",
    "insertion",
    "intersection_over_union",
    "pointing_game",
    "randomization",
    "road",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
