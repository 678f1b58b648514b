"""The recipes that are tried, by name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from detl import recipes
from detl.checks import check_images
from detl.pretraining.source import SourceModel, load_source, source_network

# Those that could have seen a patient of the target in the source.
KNOW_THE_SOURCE = ("linear probe", "domain extension", "fine-tuning")
FLOOR = "thumbnail"


def candidates(
    source: Any,
    images: Any,
    *,
    imagenet: Any,
    also: Any,
    without: Any,
    score: str,
    class_weight: Any,
    random_state: Any,
) -> dict[str, Any]:
    """Return the recipes by name, refusing networks that the images do not fit."""
    source = _read("source", source, images)
    settings: dict[str, Any] = {
        "class_weight": class_weight,
        # A generator seeds the folds; to a recipe that is fitted later it would give other numbers.
        "random_state": random_state if isinstance(random_state, int | np.integer) else None,
    }
    # By accuracy a probe would be chosen that overlooks the rare class.
    scoring = "accuracy" if score == "accuracy" else "balanced_accuracy"
    found: dict[str, Any] = {
        "linear probe": recipes.linear_probe(source, scoring=scoring, **settings),
        "domain extension": recipes.domain_extension(source, **settings),
        "fine-tuning": recipes.fine_tuning(source, **settings),
        "from scratch": recipes.from_scratch(source, **settings),
    }
    if imagenet is not None:
        network = _read("imagenet", imagenet, images)
        found["ImageNet probe"] = recipes.linear_probe(network, scoring=scoring, **settings)
    found[FLOOR] = recipes.thumbnail(class_weight=class_weight)
    if isinstance(without, str) or not isinstance(without, Collection):
        raise TypeError(
            f"without is {type(without).__name__} {without!r}; expected a list of names, such as "
            "['from scratch']."
        )
    unknown = [name for name in without if name not in found]
    if unknown:
        raise ValueError(
            f"without has {', '.join(map(repr, unknown))}; expected names of recipes: "
            f"{', '.join(map(repr, found))}."
        )
    found = {name: recipe for name, recipe in found.items() if name not in without}
    if also is not None and not isinstance(also, Mapping):
        raise TypeError(
            f"also is {type(also).__name__} {also!r}; expected a dict of names and classifiers of "
            'scikit-learn, such as {"more epochs": DomainExtensionTransfer(source, epochs=200)}.'
        )
    own = {str(name): classifier for name, classifier in (also or {}).items()}
    taken = sorted(set(own) & set(found))
    if taken:
        raise ValueError(f"also has {taken[0]!r}, the name of a recipe; rename it.")
    found |= own
    if len(found) < 2:
        raise ValueError(
            f"{list(found)} is left to compare; leave out fewer recipes, or judge a single one "
            "by detl.cross_validate."
        )
    return found


def _read(name: str, source: Any, images: Any) -> Any:
    """Return a source whose network takes the images; a file is read once."""
    if isinstance(source, str | Path):
        source = load_source(source)
    if not isinstance(source, SourceModel | keras.Model):
        raise TypeError(
            f"{name} is {type(source).__name__} {source!r}; expected what detl.pretrain returned, "
            "the path of a saved source, or a keras.Model."
        )
    shape = source_network(source).inputs[0].shape[1:]
    try:
        check_images(images, shape=shape if len(shape) == 3 else None, any_scale=True)
    except ValueError as error:
        raise ValueError(f"The images do not fit {name}: {error}") from None
    return source
