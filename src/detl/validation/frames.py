"""A result as data frames of pandas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame

    from detl.validation.recommendation import Recommendation
    from detl.validation.results import CrossValidationResult


def scores_frame(result: CrossValidationResult) -> DataFrame:
    """Return a row per score and class."""
    rows = [(name, None, score) for name, score in result.scores.items()]
    rows += [
        (name, label, score)
        for label, scores in result.class_scores.items()
        for name, score in scores.items()
    ]
    pandas = _pandas()
    frame = pandas.DataFrame(
        [
            {
                "score": name,
                "class": label,
                "mean": score.mean,
                "std": score.std,
                "low": score.interval.low,
                "high": score.interval.high,
                "method": score.interval.method,
                "folds_without": score.n_missing,
                **{f"fold_{number}": value for number, value in enumerate(score.folds)},
            }
            for name, label, score in rows
        ]
    )
    # pandas would turn whole numbers beside None into floats.
    frame["class"] = pandas.Series([label for _, label, _ in rows], dtype=object)
    return frame


def predictions_frame(result: CrossValidationResult) -> DataFrame:
    """Return a row per fold and image."""
    test = np.concatenate([fold.test for fold in result.folds])
    probabilities = np.concatenate([fold.probabilities for fold in result.folds])
    columns: dict[str, Any] = {
        "fold": np.repeat(np.arange(len(result.folds)), [len(fold.test) for fold in result.folds]),
        "image": test,
    }
    if result.groups is not None:
        columns["group"] = result.groups[test]
    columns["label"] = result.labels[test]
    columns["prediction"] = result.classes[np.concatenate([f.predicted for f in result.folds])]
    for name, column in zip(result.classes, probabilities.T, strict=True):
        columns[f"probability_{name}"] = column
    return _pandas().DataFrame(columns)


def recipes_frame(recommendation: Recommendation) -> DataFrame:
    """Return a row per recipe."""
    rows = []
    for name in recommendation.recipes:
        result, lead = recommendation.results.get(name), None
        row: dict[str, Any] = {"recipe": name}
        if result is not None:
            score, lead = result.scores[recommendation.score], recommendation.lead(name)
            row |= {"mean": score.mean, "low": score.interval.low, "high": score.interval.high}
        if lead is not None:
            row |= {"behind": lead.mean, "behind_low": lead.low, "behind_high": lead.high}
        row |= {
            "seconds": recommendation.seconds.get(name),
            "blocks": ", ".join(recommendation.chosen_blocks.get(name, [])) or None,
            "recommended": name == recommendation.recommended,
            "failed": recommendation.failed.get(name),
        }
        rows.append(row)
    columns = ["recipe", "mean", "low", "high", "behind", "behind_low", "behind_high"]
    columns += ["seconds", "blocks", "recommended", "failed"]
    return _pandas().DataFrame(rows, columns=columns)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "Data frames need pandas, which is an extra: run `pip install '.[frames]'` in the "
            "folder of detl, or `pip install pandas`. to_dict() gives the same without it."
        ) from error
    return pandas
