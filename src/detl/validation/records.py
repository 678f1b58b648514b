"""A result as what JSON can hold, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from detl.folds.audit_report import Audit

if TYPE_CHECKING:
    from detl import metrics
    from detl.validation.results import CrossValidationResult

_ROUNDING = 1e-5  # of float32 in a softmax
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
    missing = set(_FIELDS) - set(record)
    if missing:
        raise ValueError(
            f"The record has no {', '.join(sorted(missing))}; expected what "
            "CrossValidationResult.to_dict returns."
        )
    groups = record["groups"]
    classes, labels = np.asarray(record["classes"]), np.asarray(record["labels"])
    found_folds = [_fold(fold) for fold in record["folds"]]
    for number, fold in enumerate(found_folds):
        try:
            _check_rows(fold, len(labels))
            check_predictions(fold, len(classes))
        except ValueError as error:
            raise ValueError(
                f"Fold {number} of the record has {error}, which no cross-validation finds: the "
                "record is damaged or was changed; take what CrossValidationResult.save wrote."
            ) from error
    return {
        "classes": classes,
        "labels": labels,
        "groups": None if groups is None else np.asarray(groups),
        "folds": found_folds,
        "audit": Audit.from_dict(record["audit"]),
        "settings": dict(record["settings"]),
        "versions": dict(record["versions"]),
        "seconds": dict(record["seconds"]),
    }


def _fold(record: Mapping[str, Any]) -> dict[str, Any]:
    decisions = record.get("decisions")
    return {
        "train": np.asarray(record["train"]),
        "test": np.asarray(record["test"]),
        "probabilities": np.asarray(record["probabilities"], dtype="float32"),
        "decisions": None if decisions is None else np.asarray(decisions),
        "history": {k: list(map(float, v)) for k, v in record["history"].items()},
        "seed": record["seed"],
        "start": record["start"],
        "seconds": record["seconds"],
    }


def check_predictions(fold: Mapping[str, Any], n_classes: int) -> None:
    """Refuse what no fold with so many classes can have found."""
    test, probabilities, decisions = fold["test"], fold["probabilities"], fold["decisions"]
    if probabilities.shape != (len(test), n_classes):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} for {len(test)} test images and "
            f"{n_classes} classes"
        )
    if not ((probabilities >= 0) & (probabilities <= 1 + _ROUNDING)).all():
        raise ValueError("probabilities outside [0, 1]")
    if decisions is not None and not (
        decisions.shape == test.shape and np.isin(decisions, np.arange(n_classes)).all()
    ):
        raise ValueError("decisions that are not one class for each test image")


def _check_rows(fold: Mapping[str, Any], n: int) -> None:
    for name in ("train", "test"):
        if not np.isin(fold[name], np.arange(n)).all():
            raise ValueError(f"rows in {name} that are not among 0 to {n - 1}")
    if len(np.unique(fold["test"])) < len(fold["test"]):
        raise ValueError("a test image twice")


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
