"""How much of a network's skill for a class another classifier has."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from detl.metrics import OVERALL, PER_CLASS
from detl.metrics.scoring import redrawn_scores
from detl.shortcuts.regions import Array
from detl.shortcuts.verdicts import Estimate

# Skill for a class is how far the AUC lies above 1/2. Of less skill than this no share is computed:
# a denominator near 0 would give any share by chance.
LEAST_SKILL = 0.1


def shares(part: Any, whole: Any) -> tuple[dict[Any, Estimate], list[Any]]:
    """Return ``(AUC of part - 1/2) / (AUC of whole - 1/2)`` of each class against the rest.

    Both have the same bootstrap draws. The second list has the classes that ``whole`` itself hardly
    recognizes: its interval reaches below 0.6.
    """
    classes = whole.classes.tolist()
    # Of two classes, both have the same curve.
    level = 0.05 / (1 if len(classes) == 2 else len(classes))
    parts, wholes = _class_areas(part), _class_areas_of_network(whole)
    units = units_per_class(whole)
    estimates: dict[Any, Estimate] = {}
    unskilled: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no fold has the class and others: NaN
        lowest = np.nanquantile(wholes, level / 2, axis=1)
    for row, label in enumerate(classes):
        if not lowest[row] > 0.5 + LEAST_SKILL:
            unskilled.append(label)
            continue
        drawn = _share(parts[row], wholes[row])
        means = [result.class_scores[label]["roc_auc"].mean for result in (part, whole)]
        low, high = np.nanquantile(drawn, (level / 2, 1 - level / 2))
        estimates[label] = Estimate(
            value=float(_share(*map(np.array, means))),
            low=float(low),
            high=float(high),
            units=units[label],
        )
    return estimates, unskilled


def _share(part: Array, whole: Array) -> Array:
    return np.maximum(part - 0.5, 0) / np.maximum(whole - 0.5, LEAST_SKILL)


def _class_areas(result: Any) -> Array:
    """Return the AUC of each class in each bootstrap draw, ``(n_classes, n_draws)``."""
    drawn, _ = redrawn_scores(
        result.fold_predictions, unit=result.unit, random_state=result.settings["interval_seed"]
    )
    first = len(OVERALL) + PER_CLASS.index("roc_auc")
    return drawn[first :: len(PER_CLASS)]


# The network is compared with one classifier after another; its draws are the same every time.
_class_areas_of_network = lru_cache(maxsize=1)(_class_areas)


def units_of(result: Any) -> Array:
    """Return the group of each image, or its number."""
    return np.arange(len(result.labels)) if result.groups is None else result.groups


def units_per_class(result: Any) -> dict[Any, int]:
    """Return how many groups, or images, each class has."""
    units = units_of(result)
    return {
        label: len(np.unique(units[result.labels == label])) for label in result.classes.tolist()
    }
