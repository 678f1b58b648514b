"""Whether a classifier does worse for some of the people it is meant for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from detl import plots
from detl.checks import check_labels
from detl.metrics.fold_scores import Predictions
from detl.metrics.intervals import FEW_UNITS, no_width_notes
from detl.notebook import ShowsItself
from detl.screening.pooling import Estimate, draws, interval_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCORES = ("accuracy", "sensitivity", "specificity")
_MOST_GROUPS = 30  # of one attribute
_FEWEST = 10  # units of a class, or of all others, to judge a rate by


@dataclass(frozen=True, kw_only=True, eq=False)
class Subgroup:
    """Some of the images, beside all others of which the attribute is known.

    Attributes
    ----------
    attribute, name : str
        Such as ``"view"`` and ``"AP"``.
    n_images, n_units : int
        Images, and groups (or images, where there are none).
    values : dict of str to Estimate
        ``accuracy``, ``sensitivity``, ``specificity``.
    differences : dict of str to Estimate
        Each value less that of all others. Without those of which there are too few to judge.
    differs : tuple of str
        The values whose difference is shown: its interval, widened for the number of differences
        in the table (Bonferroni), leaves out 0, and so does that of Agresti and Caffo (2000) over
        groups. With few images and no error a bootstrap interval has no width, so it is not used
        alone.
    """

    attribute: str
    name: str
    n_images: int
    n_units: int
    values: dict[str, Estimate]
    differences: dict[str, Estimate]
    differs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Subgroups(ShowsItself):
    """Scores of subgroups of the images; ``print`` it for a table.

    Attributes
    ----------
    subgroups : tuple of Subgroup
        In the order of the attributes, each by name.
    n_comparisons : int
        Differences that were looked at; of two subgroups there is one of each value.
    class_name : str, int, float or None
        Class whose sensitivity and specificity are measured; None for the mean over all classes.
    unit : str
        ``"groups"`` or ``"images"``.
    counted : str
        What is counted: ``"images"``, ``"groups"``, or ``"predictions"`` where some folds test the
        same images.
    """

    subgroups: tuple[Subgroup, ...]
    n_comparisons: int
    class_name: Any
    unit: str = field(repr=False)
    counted: str = field(repr=False)

    def plot(self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None) -> Figure:
        r"""Draw the scores as a forest plot with :func:`detl.plots.subgroups`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default, those of a new figure.
        figsize : tuple of (float, float), optional
            Width and height of a new figure in inches.

        Returns
        -------
        matplotlib.figure.Figure

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.dummy import DummyClassifier
        >>> from detl import evaluate
        >>> images, labels = np.zeros((80, 8, 8, 1), dtype="uint8"), ["covid", "normal"] * 40
        >>> found = evaluate(DummyClassifier().fit(images, labels), images, labels, random_state=0)
        >>> figure = found.subgroups({"view": ["AP"] * 30 + ["PA"] * 50}).plot()
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['view AP\n(30 images)', 'view PA\n(50 images)']
        """
        return plots.subgroups(self, ax=ax, figsize=figsize)

    @property
    def measured(self) -> str:
        """Which sensitivity and specificity these are, in words."""
        if self.class_name is None:
            return "sensitivity and specificity are means over all classes"
        return f"sensitivity and specificity of {self.class_name!r}"

    def __str__(self) -> str:
        """Return values, then differences to all others."""
        first = self.subgroups[0]
        method = first.values["accuracy"].interval.method
        named = {f"{one.attribute} {one.name}": one for one in self.subgroups}
        width = max(map(len, named))
        wide = max(6, len(self.counted))
        head = f"{'':<{width}}  {self.counted:>{wide}}  {self.unit:>6}  "
        lines = [
            f"accuracy of subgroups; {self.measured}",
            (head + _heads()).rstrip(),
        ]
        for name, one in named.items():
            cells = "".join(f"{one.values[score]!s:<24}" for score in SCORES)
            lines.append(
                f"{name:<{width}}  {one.n_images:>{wide}}  {one.n_units:>6}  {cells}".rstrip()
            )
        lines += [
            "",
            f"difference from all other {self.counted}, in points",
            f"{'':<{width}}  {_heads()}".rstrip(),
        ]
        for name, one in named.items():
            cells = "".join(f"{points_of(one, score):<24}" for score in SCORES)
            lines.append(f"{name:<{width}}  {cells}".rstrip())
        lines += [
            "",
            f"* differs: its interval, widened for {self.n_comparisons} differences, leaves out 0. "
            "Without a star no difference is shown; there may still be one.",
            *no_width_notes(
                (x.interval for one in self.subgroups for x in one.values.values()), self.unit
            ),
            f"- too few to judge: under {FEW_UNITS} {self.unit}, or {_FEWEST} of the class, on one "
            "side.",
            f"95 % intervals: {method}; in the table they are not widened.",
        ]
        return "\n".join(lines)


def _heads() -> str:
    return "".join(f"{name:<24}" for name in SCORES)


def points_of(one: Subgroup, score: str) -> str:
    """Return a difference in points, with its interval, and a star where it is shown."""
    found = one.differences.get(score)
    if found is None:
        return "-"
    value, low, high = (100 * x for x in (found.value, found.interval.low, found.interval.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})" + "*" * (score in one.differs)


def check_attributes(attributes: Any, n: int, *, rows: str = "images") -> dict[str, np.ndarray]:
    """Return the value of each attribute for ``n`` images as text, refusing what is no name."""
    if not isinstance(attributes, Mapping) or not attributes:
        raise TypeError(
            f"attributes is a {type(attributes).__name__}; expected a dict of names and one value "
            'per image, such as {"view": views, "sex": sexes}.'
        )
    found = {}
    for name, values in attributes.items():
        try:
            array = check_labels(values, n, name=f"attributes[{name!r}]", of=rows)
        except ValueError as error:
            hint = "" if "missing" not in str(error) else ' Call it by a name, such as "unknown".'
            raise ValueError(f"{error}{hint}") from None
        text = np.array([str(value) for value in array])
        n_values = len(np.unique(text))
        if n_values > _MOST_GROUPS:
            raise ValueError(
                f"attributes[{name!r}] has {n_values} values, such as {array[0]}; expected up to "
                f"{_MOST_GROUPS}. Make bins of numbers, such as np.where(ages < 40, 'under 40', "
                "'40 or more')."
            )
        if n_values < 2:
            raise ValueError(f"attributes[{name!r}] is {str(text[0])!r} for all; leave it out.")
        found[str(name)] = text
    return found


def subgroups(
    pool: Predictions,
    attributes: Mapping[str, np.ndarray],
    target: int | None,
    class_name: Any = None,
    *,
    counted: str = "images",
    unit: str,
    random_state: Any,
) -> Subgroups:
    """Score subgroups; ``attributes`` have one value for each prediction of the pool.

    ``target`` is the index of ``class_name``, whose sensitivity and specificity are measured; where
    both are None, the mean over all classes is.
    """
    rates = _rates(pool, target)
    sides = []
    for attribute, values in attributes.items():
        names = np.unique(values)
        sides += [(attribute, name, values == name, len(names)) for name in names]
    to_compare = [_to_compare(pool, where, target) for _, _, where, _ in sides]
    # Of two subgroups, either is all others of the other: one comparison.
    n_compared: dict[str, int] = {}
    for (attribute, _, _, n_names), compared in zip(sides, to_compare, strict=True):
        if n_names > 2 or attribute not in n_compared:
            n_compared[attribute] = n_compared.get(attribute, 0) + len(compared)
    n_comparisons = sum(n_compared.values())
    found = []
    for (attribute, name, where, _), compared in zip(sides, to_compare, strict=True):
        values, drawn, method = draws(
            pool, _of_both(rates, where), unit=unit, random_state=random_state
        )
        mine = {
            score: Estimate(value=value, interval=interval_of(row, method))
            for score, value, row in zip(SCORES, values.tolist(), drawn)
        }
        differences, differs = {}, []
        for i, score in enumerate(SCORES):
            if score in compared:
                row = drawn[i] - drawn[i + len(SCORES)]
                differences[score] = Estimate(
                    value=float(values[i] - values[i + len(SCORES)]),
                    interval=interval_of(row, method),
                )
                level = 0.05 / n_comparisons
                wide = interval_of(row, method, level=level)
                apart = _differs_in_counts(pool, where, score, target, level)
                differs += [score] * (apart and (wide.low > 0 or wide.high < 0))
        found.append(
            Subgroup(
                attribute=attribute,
                name=str(name),
                n_images=int(where.sum()),
                n_units=len(np.unique(pool.units[where])),
                values=mine,
                differences=differences,
                differs=tuple(differs),
            )
        )
    return Subgroups(
        subgroups=tuple(found),
        n_comparisons=n_comparisons,
        class_name=class_name,
        unit=unit,
        counted=counted,
    )


def _rates(pool: Predictions, target: int | None) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a function of rows of weights that gives the three scores."""
    predicted = pool.predicted
    n_classes = pool.probabilities.shape[1]
    chosen = range(n_classes) if target is None else [target]
    correct = (predicted == pool.targets).astype(float)
    is_true = np.stack([pool.targets == k for k in chosen], axis=1)
    is_called = np.stack([predicted == k for k in chosen], axis=1)
    hits, passed = (is_true & is_called).astype(float), (~is_true & ~is_called).astype(float)

    def of_weights(weights: np.ndarray) -> list[np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            of_class = (weights @ hits) / (weights @ is_true.astype(float))
            of_rest = (weights @ passed) / (weights @ (~is_true).astype(float))
            return [
                weights @ correct / weights.sum(axis=1),
                of_class.mean(axis=1),
                of_rest.mean(axis=1),
            ]

    return of_weights


def _of_both(
    rates: Callable[[np.ndarray], list[np.ndarray]], where: np.ndarray
) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that gives the scores of a subgroup, then those of all others."""

    def of_weights(weights: np.ndarray) -> np.ndarray:
        return np.stack([*rates(weights * where), *rates(weights * ~where)], axis=1)

    return of_weights


def _differs_in_counts(
    pool: Predictions, where: np.ndarray, score: str, target: int | None, level: float
) -> bool:
    """Whether Agresti and Caffo's interval of the difference leaves out 0.

    Each rate has one success and one failure more, and counts groups, not images: those of a group
    are taken for one.
    """
    predicted = pool.predicted
    chosen = range(pool.probabilities.shape[1]) if target is None else [target]
    if score == "accuracy":
        parts = [(np.ones(len(where), dtype=bool), predicted == pool.targets)]
    else:
        is_positive = score == "sensitivity"
        parts = [
            ((pool.targets == k) == is_positive, (predicted == k) == is_positive) for k in chosen
        ]
    difference, variance = 0.0, 0.0
    for side, sign in ((where, 1), (~where, -1)):
        for of_rate, is_hit in parts:
            rows = side & of_rate
            n = len(np.unique(pool.units[rows]))
            share = (is_hit[rows].mean() * n + 1) / (n + 2)
            difference += sign * share / len(parts)
            variance += share * (1 - share) / (n + 2) / len(parts) ** 2
    return bool(abs(difference) > stats.norm.isf(level / 2) * np.sqrt(variance))


def _to_compare(pool: Predictions, where: np.ndarray, target: int | None) -> tuple[str, ...]:
    """Return the scores for which there are enough units on both sides."""
    sides = (where, ~where)
    if min(len(np.unique(pool.units[side])) for side in sides) < FEW_UNITS:
        return ()
    chosen = range(pool.probabilities.shape[1]) if target is None else [target]

    def enough(is_meant: Callable[[int], np.ndarray]) -> bool:
        return all(
            len(np.unique(pool.units[side & is_meant(k)])) >= _FEWEST
            for side in sides
            for k in chosen
        )

    found = ["accuracy"]
    found += ["sensitivity"] * enough(lambda k: pool.targets == k)
    found += ["specificity"] * enough(lambda k: pool.targets != k)
    return tuple(found)
