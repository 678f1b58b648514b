"""A result as what JSON can hold, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from detl.checks import check_labels
from detl.folds.audit_report import Audit
from detl.metrics.fold_scores import check_predictions

if TYPE_CHECKING:
    from detl import metrics
    from detl.validation.results import CrossValidationResult

_FIELDS = ("classes", "labels", "groups", "folds", "audit", "settings", "versions", "seconds")


def record_of(result: CrossValidationResult) -> dict[str, Any]:
    """Return everything in lists, strings and numbers that JSON can hold."""
    return {
        "classes": result.classes.tolist(),
        "labels": result.labels.tolist(),
        "groups": None if result.groups is None else _group_names(result.groups),
        "folds": [
            {
                "train": fold.train.tolist(),
                "test": fold.test.tolist(),
                "probabilities": fold.probabilities.tolist(),
                "history": {k: list(map(_to_json, v)) for k, v in fold.history.items()},
                "seed": fold.seed,
                "start": fold.start,
                "seconds": fold.seconds,
                **({"chosen": fold.chosen} if fold.chosen else {}),
                **({} if fold.decisions is None else {"decisions": fold.decisions.tolist()}),
            }
            for fold in result.folds
        ],
        "audit": result.audit.to_dict(),
        "settings": result.settings,
        "versions": result.versions,
        "seconds": result.seconds,
        "scores": _scores_to_dict(result.scores),
        "class_scores": [
            {"class": name, **_scores_to_dict(scores)}
            for name, scores in result.class_scores.items()
        ],
    }


def fields_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the result that was written down; each of its folds as a dict."""
    if not isinstance(record, Mapping):
        raise TypeError(
            f"record is a {type(record).__name__}; expected what CrossValidationResult.to_dict "
            "returns."
        )
    missing = set(_FIELDS) - set(record)
    if missing:
        raise ValueError(
            f"The record has no {', '.join(sorted(missing))}; expected what "
            "CrossValidationResult.to_dict returns."
        )
    try:
        labels = check_labels(record["labels"])
        classes = np.asarray(record["classes"])
        if not (np.array_equal(classes, np.unique(classes)) and np.isin(labels, classes).all()):
            raise ValueError("classes that are not those of the labels, sorted")
        groups = record["groups"]
        if groups is not None:
            groups = check_labels(groups, len(labels), name="groups")
        int(record["settings"]["interval_seed"])
        return {
            "classes": classes,
            "labels": labels,
            "groups": groups,
            "folds": [
                _fold(number, fold, len(labels), len(classes))
                for number, fold in enumerate(record["folds"])
            ],
            "audit": Audit.from_dict(record["audit"]),
            **{name: dict(record[name]) for name in ("settings", "versions", "seconds")},
        }
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(
            f"The record cannot be read ({type(error).__name__}: {error}): it is damaged or was "
            "changed; take what CrossValidationResult.save wrote."
        ) from error


def _fold(number: int, record: Mapping[str, Any], n: int, n_classes: int) -> dict[str, Any]:
    """Return a fold that a cross-validation of ``n`` images can have found."""
    train, test = np.asarray(record["train"]), np.asarray(record["test"])
    probabilities = np.asarray(record["probabilities"], dtype="float32")
    decisions = record.get("decisions")
    for name, rows in (("train", train), ("test", test)):
        if not (rows.ndim == 1 and np.isin(rows, np.arange(n)).all()):
            raise ValueError(f"fold {number} has rows in {name} that are not among 0 to {n - 1}")
    if len(np.unique(test)) < len(test):
        raise ValueError(f"fold {number} has a test image twice")
    try:
        check_predictions(probabilities, decisions, len(test), n_classes)
    except ValueError as error:
        raise ValueError(f"fold {number} has {error}") from None
    return {
        "train": train,
        "test": test,
        "probabilities": probabilities,
        "decisions": None if decisions is None else np.asarray(decisions),
        "history": {k: list(map(float, v)) for k, v in record["history"].items()},
        "seed": record["seed"],
        "start": record["start"],
        "seconds": record["seconds"],
        "chosen": dict(record.get("chosen", {})),  # records of before have none
    }


def _to_json(value: float) -> float | str:
    """Return the number, or its name where JSON has none for it (``float`` reads both)."""
    return float(value) if np.isfinite(value) else str(float(value))


def or_none(value: float) -> float | None:
    """Return the number, or None where it is NaN, for readers without that name."""
    return None if np.isnan(value) else value


def _group_names(groups: np.ndarray) -> list[Any]:
    names = np.asarray(groups.tolist())  # objects of one type get that type
    return names.tolist() if names.dtype.kind in "biufU" else [str(name) for name in groups]


def _scores_to_dict(scores: Mapping[str, metrics.Score]) -> dict[str, Any]:
    return {
        name: {
            "mean": or_none(score.mean),
            "std": or_none(score.std),
            "low": or_none(score.interval.low),
            "high": or_none(score.interval.high),
            "method": score.interval.method,
            "folds": list(map(or_none, score.folds)),
        }
        for name, score in scores.items()
    }
