"""Which share of what a network knows of a class something else knows as well."""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np

from detl.metrics import OVERALL, PER_CLASS
from detl.metrics.scoring import redrawn_scores
from detl.shortcuts.regions import Array
from detl.shortcuts.verdicts import Figure

# What a network knows of a class is how far its AUC is above 1/2. Shares of less than this are
# not formed: with a denominator near nothing they have any value, and would accuse by chance.
LEAST_KNOWN = 0.1


def shares(part: Any, whole: Any) -> tuple[dict[Any, Figure], list[Any]]:
    """Return ``(AUC of part - 1/2) / (AUC of whole - 1/2)`` of each class against the rest.

    Both have the same bootstrap draws. Then the classes that ``whole`` itself hardly tells from
    the rest: its interval reaches 0.6.
    """
    classes = whole.classes.tolist()
    # Of two classes, both have the same curve.
    level = 0.05 / (1 if len(classes) == 2 else len(classes))
    parts, wholes = _class_areas(part), _class_areas_of_network(whole)
    units = units_per_class(whole)
    figures: dict[Any, Figure] = {}
    untold: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # no fold has the class and others: NaN
        lowest = np.nanquantile(wholes, level / 2, axis=1)
    for row, label in enumerate(classes):
        if not lowest[row] > 0.5 + LEAST_KNOWN:
            untold.append(label)
            continue
        drawn = _share(parts[row], wholes[row])
        means = [result.class_scores[label]["roc_auc"].mean for result in (part, whole)]
        low, high = np.nanquantile(drawn, (level / 2, 1 - level / 2))
        figures[label] = Figure(
            value=float(_share(*map(np.array, means))),
            low=float(low),
            high=float(high),
            units=units[label],
        )
    return figures, untold


def _share(part: Array, whole: Array) -> Array:
    return np.maximum(part - 0.5, 0) / np.maximum(whole - 0.5, LEAST_KNOWN)


def _class_areas(result: Any) -> Array:
    """Return the AUC of each class in each bootstrap draw, ``(n_classes, n_draws)``."""
    drawn, _ = redrawn_scores(
        result.fold_predictions, unit=result.unit, random_state=result.settings["interval_seed"]
    )
    first = len(OVERALL) + PER_CLASS.index("roc_auc")
    return drawn[first :: len(PER_CLASS)]


# The network is held against one classifier after another; its draws are the same every time.
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
