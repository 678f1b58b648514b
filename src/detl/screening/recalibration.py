"""Whether probabilities can be taken at their word, and a temperature that calibrates them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from detl.metrics.calibration import calibration_error
from detl.metrics.fold_scores import Predictions, check_predictions
from detl.notebook import ShowsItself
from detl.screening.pooling import Estimate, draws, interval_of, pooled

_LEAST = 1e-7  # probabilities of 0 and 1 have no logit
_STEPS, _SMALL = 30, 1e-6
_LARGEST = 4.0  # of the logarithm of a temperature, and of a step of Newton's
_MEASURES = ("log_loss", "brier_score", "calibration_error")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recalibration(ShowsItself):
    """How probabilities relate to what happens, before and after they are divided by a temperature.

    Attributes
    ----------
    slopes, intercepts : dict of class to Estimate
        Of the class against the rest, over the logit of its probability. A slope below 1: the
        probabilities are too extreme. An intercept (found with a slope of 1) above 0: they are too
        low.
    temperature : float
        What makes all predictions most likely; that of an evaluation is the internal one. Above 1,
        the classifier was too sure. It is for images from elsewhere, see :meth:`apply`.
    fold_temperatures : tuple of float
        Of each fold, found on the predictions of the others, or on the internal result.
    before, after : dict of str to Estimate
        ``log_loss``, ``brier_score`` and ``calibration_error``; ``after`` with the temperatures of
        the folds.

    References
    ----------
    Van Calster et al. 2019, "Calibration: the Achilles Heel of Predictive Analytics". Guo et al.
    2017, "On Calibration of Modern Neural Networks", sec. 4.2: temperature.
    """

    slopes: dict[Any, Estimate]
    intercepts: dict[Any, Estimate]
    temperature: float
    fold_temperatures: tuple[float, ...]
    before: dict[str, Estimate]
    after: dict[str, Estimate]

    def apply(self, probabilities: Any) -> np.ndarray:
        """Return probabilities ``(n, n_classes)`` at the temperature."""
        given = np.asarray(probabilities)
        if given.ndim != 2 or given.shape[1] != len(self.slopes):
            raise ValueError(
                f"probabilities has shape {given.shape}; expected (n, {len(self.slopes)})."
            )
        try:
            check_predictions(given, None, *given.shape)
        except ValueError as error:
            raise ValueError(f"These are {error}.") from None
        return _tempered(given, self.temperature)

    @property
    def verdict(self) -> str:
        """A sentence on the slopes."""
        intervals = [slope.interval for slope in self.slopes.values()]
        if any(interval.high < 1 for interval in intervals):
            return "The classifier is too sure: a slope is shown to be below 1."
        if any(interval.low > 1 for interval in intervals):
            return "The classifier is not sure enough: a slope is shown to be above 1."
        return "No slope is shown to differ from 1."

    def __str__(self) -> str:
        """Return a table."""
        names = [str(name) for name in self.slopes]
        width = max(len("calibration error"), *map(len, names))
        lines = [f"{'class':<{width}}  {'slope (1 is right)':<24}  intercept (0 is right)"]
        for name, slope, intercept in zip(
            names, self.slopes.values(), self.intercepts.values(), strict=True
        ):
            lines.append(f"{name:<{width}}  {slope!s:<24}  {intercept}")
        lines += ["", f"{'':<{width}}  {'before':<24}  at a temperature found elsewhere"]
        for name in _MEASURES:
            label, after = name.replace("_", " "), self.after.get(name, "-")
            lines.append(f"{label:<{width}}  {self.before[name]!s:<24}  {after}")
        lines += [
            "",
            f"Temperature {self.temperature:.2f}. {self.verdict}",
            f"95 % intervals: {self.before['log_loss'].interval.method}.",
        ]
        return "\n".join(lines)


def recalibration(
    folds: Sequence[Predictions],
    classes: Sequence[Any],
    *,
    chosen_on: Predictions | None = None,
    unit: str,
    random_state: Any,
) -> Recalibration:
    """Return calibration slopes, intercepts and temperatures.

    A fold's temperature is found on ``chosen_on``; by default on the predictions of all units that
    the fold does not test. Where there are none, ``after`` is empty.
    """
    pool = pooled(folds)
    if chosen_on is not None:
        of_folds = [_temperature(chosen_on, np.ones(len(chosen_on.targets), bool))] * len(folds)
    else:
        outside = [~np.isin(pool.units, fold.units) for fold in folds]
        of_folds = [_temperature(pool, rows) for rows in outside if rows.any()]
    slopes, intercepts = {}, {}
    for target, name in enumerate(classes):
        values, drawn, method = draws(
            pool, _Line(pool, target).values, unit=unit, random_state=random_state
        )
        slopes[name], intercepts[name] = (
            Estimate(value=value, interval=interval_of(row, method))
            for value, row in zip(values.tolist(), drawn, strict=True)
        )
    after = {}
    if len(of_folds) == len(folds):
        of_images = np.repeat(of_folds, [len(fold.targets) for fold in folds])
        tempered = _tempered(pool.probabilities, of_images[:, np.newaxis])
        after = _measures(pool, tempered, unit, random_state)
    return Recalibration(
        slopes=slopes,
        intercepts=intercepts,
        temperature=of_folds[0]
        if chosen_on is not None
        else _temperature(pool, np.ones(len(pool.targets), dtype=bool)),
        fold_temperatures=tuple(of_folds),
        before=_measures(pool, pool.probabilities, unit, random_state),
        after=after,
    )


def _tempered(probabilities: np.ndarray, temperature: Any) -> np.ndarray:
    """Return the softmax of logarithms that are divided by the temperature."""
    logits = np.log(probabilities.clip(_LEAST)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _temperature(pool: Predictions, rows: np.ndarray) -> float:
    probabilities, targets = pool.probabilities[rows], pool.targets[rows]

    def loss(logarithm: float) -> float:
        of_truth = _tempered(probabilities, np.exp(logarithm))[np.arange(len(targets)), targets]
        return -float(np.log(of_truth.clip(_LEAST)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-_LARGEST, _LARGEST), method="bounded").x))


def _measures(
    pool: Predictions, probabilities: np.ndarray, unit: str, random_state: Any
) -> dict[str, Estimate]:
    every = np.arange(len(pool.targets))
    loss = -np.log(probabilities[every, pool.targets].clip(_LEAST))
    squares = ((probabilities - np.eye(probabilities.shape[1])[pool.targets]) ** 2).sum(axis=1)
    correct = probabilities.argmax(axis=1) == pool.targets

    def values_of(weights: np.ndarray) -> np.ndarray:
        n = weights.sum(axis=1)
        error = calibration_error(probabilities, correct, weights)
        return np.stack([weights @ loss / n, weights @ squares / n, error], axis=1)

    values, drawn, method = draws(pool, values_of, unit=unit, random_state=random_state)
    # Redrawing raises the calibration error, as in detl.metrics.scores.
    drawn[-1] = np.maximum(drawn[-1] + values[-1] - drawn[-1].mean(), 0)
    return {
        name: Estimate(value=value, interval=interval_of(row, method))
        for name, value, row in zip(_MEASURES, values.tolist(), drawn, strict=True)
    }


class _Line:
    """Logistic regressions of one class on the logit of its probability, for rows of weights."""

    def __init__(self, pool: Predictions, target: int) -> None:
        share = pool.probabilities[:, target].clip(_LEAST, 1 - _LEAST)
        self.logits = np.log(share / (1 - share))
        self.is_true = (pool.targets == target).astype(float)

    def values(self, weights: np.ndarray) -> np.ndarray:
        """Return the slope, and the intercept at a slope of 1; NaN where there is none."""
        ones = np.ones_like(self.logits)
        line = self._fitted(weights, np.stack([ones, self.logits], axis=1), 0 * ones)
        level = self._fitted(weights, ones[:, np.newaxis], self.logits)
        return np.stack([line[:, 1], level[:, 0]], axis=1)

    def _fitted(self, weights: np.ndarray, columns: np.ndarray, offset: np.ndarray) -> np.ndarray:
        """Return coefficients by Newton's method, a row for each row of weights."""
        n_columns = columns.shape[1]
        found = np.zeros((len(weights), n_columns))
        step = np.zeros_like(found)
        products = (columns[:, :, np.newaxis] * columns[:, np.newaxis]).reshape(len(columns), -1)
        for _ in range(_STEPS):
            expected = 1 / (1 + np.exp(-(found @ columns.T + offset).clip(-500, 500)))
            gradient = (weights * (self.is_true - expected)) @ columns
            curvature = (weights * expected * (1 - expected)) @ products
            # A trace of the identity keeps the last steps of separable draws finite.
            curvature = curvature.reshape(-1, n_columns, n_columns) + 1e-9 * np.eye(n_columns)
            step = np.linalg.solve(curvature, gradient[:, :, np.newaxis])[:, :, 0]
            found += step.clip(-_LARGEST, _LARGEST)
            if abs(step).max() < _SMALL:
                break
        return np.where(abs(step).max(axis=1, keepdims=True) < _SMALL, found, np.nan)
