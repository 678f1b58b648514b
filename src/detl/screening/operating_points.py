"""At which probability to call a class, and what that does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detl.checks import check_number
from detl.metrics.fold_scores import Predictions
from detl.metrics.intervals import no_width_notes
from detl.notebook import ShowsItself
from detl.screening.pooling import Estimate, draws, interval_of, pooled

_ROUNDING = 1e-9
QUANTITIES = (
    "sensitivity",
    "specificity",
    "positive_predictive_value",
    "negative_predictive_value",
    "positive_likelihood_ratio",
    "negative_likelihood_ratio",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class OperatingPoint(ShowsItself):
    """Scores of calling a class at a threshold of its probability; ``print`` it for a table.

    Attributes
    ----------
    class_name : str, int or float
        The class that is called.
    aim : str
        How the threshold was chosen, such as ``"sensitivity of at least 0.95"``.
    threshold : float
        For images from elsewhere: chosen in the same way on all predictions. An image is called
        where its probability (float32) is at least the threshold.
    fold_thresholds : tuple of float
        Of each fold, chosen on the predictions of the other folds. The values below are of these.
    prevalence : float
        Share of the class for which the predictive values hold.
    prevalence_given : bool
        Whether it was given; if not, it is the share among the images.
    counts : numpy.ndarray of int, shape (2, 2)
        Rows: images of the class, and of all others. Columns: called, not called.
    counted : str
        What is counted: ``"images"``, ``"groups"``, or ``"predictions"`` where some folds test the
        same images.
    unit : str
        What the intervals redraw: ``"groups"`` or ``"images"``.
    sensitivity, specificity : Estimate
        Share of the class that is called, and of all others that are not.
    positive_predictive_value, negative_predictive_value : Estimate
        Share of the called that are of the class, and of the others that are not, at
        ``prevalence``.
    positive_likelihood_ratio, negative_likelihood_ratio : Estimate
        ``sensitivity / (1 - specificity)`` and ``(1 - sensitivity) / specificity``.
    """

    class_name: Any
    aim: str
    threshold: float
    fold_thresholds: tuple[float, ...]
    prevalence: float
    prevalence_given: bool
    counts: np.ndarray = field(repr=False)
    counted: str = field(repr=False)
    unit: str = field(repr=False)
    sensitivity: Estimate
    specificity: Estimate
    positive_predictive_value: Estimate
    negative_predictive_value: Estimate
    positive_likelihood_ratio: Estimate
    negative_likelihood_ratio: Estimate

    @property
    def chosen(self) -> str:
        """The thresholds of the folds, from the lowest to the highest, as text."""
        low, high = min(self.fold_thresholds), max(self.fold_thresholds)
        return f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}"

    def __str__(self) -> str:
        """Return a table."""
        origin = "stated" if self.prevalence_given else "of these images"
        (hits, misses), (alarms, passed) = self.counts.tolist()
        width = max(map(len, QUANTITIES))
        return "\n".join(
            [
                f"{self.class_name!r} is called from a probability of {self.chosen} on "
                f"({self.aim})",
                *(
                    f"{name.replace('_', ' '):<{width}}  {getattr(self, name)}"
                    for name in QUANTITIES
                ),
                f"Of {hits + misses} {self.counted} of {self.class_name!r}, {hits} are called; of "
                f"{alarms + passed} others, {alarms}.",
                f"Predictive values: at a prevalence of {self.prevalence:.3g} ({origin}).",
                f"95 % intervals: {self.sensitivity.interval.method}; the thresholds stay.",
                *no_width_notes([self.sensitivity.interval, self.specificity.interval], self.unit),
            ]
        )


def operating_point(
    folds: Sequence[Predictions],
    target: int,
    class_name: Any,
    *,
    sensitivity: float | None = None,
    specificity: float | None = None,
    threshold: float | None = None,
    prevalence: float | None = None,
    chosen_on: Predictions | None = None,
    counted: str = "images",
    unit: str,
    random_state: Any,
) -> OperatingPoint:
    """Choose a threshold of one class and measure it where it was not chosen.

    Exactly one of ``sensitivity``, ``specificity`` and ``threshold`` is given. A fold's threshold
    is chosen on ``chosen_on``; by default on the predictions of all units that the fold does not
    test.
    """
    _check(sensitivity, specificity, threshold, prevalence)
    pool = pooled(folds)
    if threshold is not None:
        aim, of_all = "given", float(threshold)
        of_folds = [of_all] * len(folds)
    else:
        aim, choose = _rule(class_name, target, sensitivity, specificity)
        if chosen_on is not None:
            aim += ", chosen on the internal result"
            of_all = choose(chosen_on, np.ones(len(chosen_on.targets), dtype=bool))
            of_folds = [of_all] * len(folds)
        else:
            of_folds = [choose(pool, ~np.isin(pool.units, fold.units)) for fold in folds]
            of_all = choose(pool, np.ones(len(pool.targets), dtype=bool))
    # In float32, as results keep probabilities: what is called here is called there.
    limits = np.repeat(np.array(of_folds, np.float32), [len(fold.targets) for fold in folds])
    is_true, is_called = pool.targets == target, _float32(pool, target) >= limits

    def values_of(weights: np.ndarray) -> np.ndarray:
        n, n_true, hits, passed = (
            weights @ share.astype(float)
            for share in (is_true | True, is_true, is_true & is_called, ~is_true & ~is_called)
        )
        share = n_true / n if prevalence is None else np.full(len(n), prevalence)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([hits / n_true, passed / (n - n_true), share], axis=1)

    values, drawn, method = draws(pool, values_of, unit=unit, random_state=random_state)
    found = [
        Estimate(value=value, interval=interval_of(row, method))
        for value, row in zip(_quantities(*values).tolist(), _quantities(*drawn), strict=True)
    ]
    return OperatingPoint(
        class_name=class_name,
        aim=aim,
        threshold=of_all,
        fold_thresholds=tuple(of_folds),
        prevalence=float(is_true.mean() if prevalence is None else prevalence),
        prevalence_given=prevalence is not None,
        counts=np.array(
            [
                [np.count_nonzero(true & called) for called in (is_called, ~is_called)]
                for true in (is_true, ~is_true)
            ]
        ),
        counted=counted,
        unit=unit,
        **dict(zip(QUANTITIES, found, strict=True)),
    )


def _check(
    sensitivity: float | None,
    specificity: float | None,
    threshold: float | None,
    prevalence: float | None,
) -> None:
    aims = {"sensitivity": sensitivity, "specificity": specificity, "threshold": threshold}
    given = [name for name, value in aims.items() if value is not None]
    if len(given) != 1:
        raise ValueError(
            f"{' and '.join(given) or 'nothing'} is given; expected one of {', '.join(aims)}."
        )
    check_number(given[0], aims[given[0]], above=0, at_most=1)
    if prevalence is not None:
        check_number("prevalence", prevalence, above=0, below=1)


def _rule(
    class_name: Any, target: int, sensitivity: float | None, specificity: float | None
) -> tuple[str, Callable[[Predictions, np.ndarray], float]]:
    """Return what a threshold has to reach, in words, and what chooses one on some predictions."""

    def for_sensitivity(pool: Predictions, where: np.ndarray) -> float:
        """Return the highest threshold that calls at least that share of the class."""
        positive, negative = _scores(pool, where, target, class_name)
        threshold = float(np.sort(positive)[::-1][_rank(sensitivity, positive)])
        if threshold <= negative.min():
            most = np.mean(positive > negative.min())
            raise ValueError(
                f"sensitivity={sensitivity} of {class_name!r} is reached only where every image is "
                f"called; if one other image is not, it is {most:.3f} at most. Ask for less."
            )
        return threshold

    def for_specificity(pool: Predictions, where: np.ndarray) -> float:
        """Return the lowest threshold that leaves out at least that share of all others."""
        positive, negative = _scores(pool, where, target, class_name)
        last = np.sort(negative)[_rank(specificity, negative)]
        threshold = float(np.nextafter(last, np.float32(np.inf)))
        if threshold > positive.max():
            most = np.mean(negative < positive.max())
            raise ValueError(
                f"specificity={specificity} for {class_name!r} is reached only where no image of "
                f"it is called; if one is, it is {most:.3f} at most. Ask for less."
            )
        return threshold

    if sensitivity is not None:
        return f"sensitivity of at least {sensitivity:g}", for_sensitivity
    return f"specificity of at least {specificity:g}", for_specificity


def _rank(share: float | None, scores: np.ndarray) -> int:
    """Return the place of the last of the scores that make up a share."""
    return math.ceil((share or 0.0) * len(scores) - _ROUNDING) - 1


def _scores(
    pool: Predictions, where: np.ndarray, target: int, class_name: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of images of the class, and of all others."""
    scores, is_true = _float32(pool, target), pool.targets == target
    positive, negative = scores[where & is_true], scores[where & ~is_true]
    if not (len(positive) and len(negative)):
        raise ValueError(
            f"To choose a threshold on, there are {len(positive)} images of {class_name!r} and "
            f"{len(negative)} others that are not judged by it. Give threshold=; for an "
            "evaluation, internal= to detl.evaluate; for a cross-validation, more folds."
        )
    return positive, negative


def _float32(pool: Predictions, target: int) -> np.ndarray:
    return pool.probabilities[:, target].astype(np.float32)


def _quantities(
    sensitivity: np.ndarray, specificity: np.ndarray, prevalence: np.ndarray
) -> np.ndarray:
    """Return the quantities of an operating point, one row each."""
    right, wrong = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    left, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(
            [
                sensitivity,
                specificity,
                right / (right + wrong),
                left / (left + missed),
                sensitivity / (1 - specificity),
                (1 - sensitivity) / specificity,
            ]
        )
