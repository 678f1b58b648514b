"""Whether results are of the same images and folds, so that they can be paired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from detl.validation.results import CrossValidationResult


def check_named(name: str, named: Any) -> None:
    """Refuse what is no dict of at least two."""
    if not isinstance(named, Mapping) or len(named) < 2:
        raise ValueError(
            f"{name} is {named!r}; expected a dict of at least two, such as "
            '{"domain extension": a, "from scratch": b}.'
        )


def check_paired(results: Mapping[Any, CrossValidationResult]) -> None:
    """Refuse results of other labels, groups or folds than the first."""
    expected = "expected results of CrossValidationResult, as cross_validate returns them."
    for key, result in results.items():
        if not isinstance(result, CrossValidationResult):
            raise TypeError(f"results[{key!r}] is a {type(result).__name__}; {expected}")
    (first_key, first), *others = results.items()
    for key, other in others:
        for what in ("labels", "groups"):
            if _names(getattr(first, what)) != _names(getattr(other, what)):
                raise ValueError(
                    f"results[{key!r}] has other {what} than results[{first_key!r}]; give results "
                    "of the same images only."
                )
        if len(first.folds) != len(other.folds) or not all(
            np.array_equal(mine.train, its.train) and np.array_equal(mine.test, its.test)
            for mine, its in zip(first.folds, other.folds, strict=True)
        ):
            raise ValueError(
                f"results[{key!r}] has other folds than results[{first_key!r}], so that one would "
                "judge images that the other has seen; cross-validate both with the same "
                "random_state, or the same list as cv."
            )


def _names(values: np.ndarray | None) -> list[str] | None:
    """Return strings: dates are such in a result that was read from a file."""
    return None if values is None else [str(value) for value in values]
