"""Results of shortcut tests: estimates, thresholds and verdicts."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from detl import plots
from detl.notebook import ShowsItself
from detl.renaming import warn_renamed

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

LIKELY = "shortcut likely"
NONE_FOUND = "no shortcut found"
INCONCLUSIVE = "inconclusive"

# With fewer patients (or images) of a class its interval cannot be trusted.
FEW_PER_CLASS = 10
_WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a test measured for one class.

    Attributes
    ----------
    value : float
        NaN where nothing could be measured.
    low, high : float
        Its 95 % interval; where one class of several is enough for a finding, 95 % for all
        classes at once (Bonferroni).
    units : int
        Groups, or images, of the class. With fewer than 10 the test is inconclusive.
    """

    value: float
    low: float
    high: float
    units: int

    def lies(self, threshold: float) -> Literal["above", "below", "unknown"]:
        """Say on which side of the threshold the whole interval lies."""
        if self.units < FEW_PER_CLASS:
            return "unknown"
        if self.low > threshold:
            return "above"
        return "below" if self.high < threshold else "unknown"

    def __str__(self) -> str:
        """Return value and interval."""
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def verdict_of(
    estimates: Mapping[Any, Estimate], *, threshold: float, suspicious: Literal["above", "below"]
) -> str:
    """Return the verdict: likely if one class is beyond the threshold, none if all are not."""
    sides = {estimate.lies(threshold) for estimate in estimates.values()}
    if suspicious in sides:
        return LIKELY
    return INCONCLUSIVE if "unknown" in sides or not sides else NONE_FOUND


@dataclass(frozen=True, kw_only=True)
class ShortcutTest:
    """One question to a classifier, and the answer.

    Attributes
    ----------
    question : str
        What the test asks, in words.
    measure : str
        What the estimates measure.
    estimates : dict of label to Estimate
        Of each class that could be judged.
    threshold : float or None
        Limit of the estimates; None where two classifiers are compared.
    suspicious : {"above", "below"}
        On which side of the threshold an estimate suggests a shortcut.
    verdict : str
        ``"shortcut likely"`` if the whole interval of at least one class lies on the suspicious
        side, ``"no shortcut found"`` if the intervals of all classes lie on the other side, else
        ``"inconclusive"``. For baselines that see the whole image, which classifier is better. For
        ``"heatmaps"`` see :func:`detl.shortcuts.heatmap_test`.
    note : str
        Further remarks, such as which classes could not be judged.
    """

    question: str
    measure: str
    estimates: dict[Any, Estimate] = field(repr=False)
    threshold: float | None
    suspicious: Literal["above", "below"] = "above"
    verdict: str
    note: str = ""

    @property
    def figures(self) -> dict[Any, Estimate]:
        """Old name of ``estimates``."""
        warn_renamed("ShortcutTest.figures", "ShortcutTest.estimates")
        return self.estimates

    @property
    def worst(self) -> Any:
        """The class that looks most like a shortcut; None where none could be judged."""
        return next(iter(self.by_suspicion), None)

    @property
    def by_suspicion(self) -> list[Any]:
        """The classes that could be judged, the most suspicious first."""

        def suspicion(label: Any) -> tuple[float, ...]:
            estimate = self.estimates[label]
            ends = (estimate.low, estimate.value)
            if self.suspicious == "below":
                ends = (-estimate.high, -estimate.value)
            return tuple(-np.inf if np.isnan(end) else end for end in ends)

        return sorted(self.estimates, key=suspicion, reverse=True)

    def to_dict(self) -> dict[str, Any]:
        """Return everything in lists, strings and numbers that JSON can hold; None for NaN."""
        estimates = []
        for label, estimate in self.estimates.items():
            known = {k: v if np.isfinite(v) else None for k, v in vars(estimate).items()}
            estimates.append({"class": label, **known})
        return {**vars(self), "estimates": estimates}


@dataclass(frozen=True, kw_only=True, eq=False)
class ShortcutReport(ShowsItself):
    """What the shortcut tests found; ``print`` it for a table.

    Attributes
    ----------
    tests : dict of str to ShortcutTest
        By name, such as ``"region blanked"``.
    results : dict of str to CrossValidationResult
        ``"network"`` is the classifier under examination. The others are what it is compared with,
        on the same folds, by the name of their test.
    """

    tests: dict[str, ShortcutTest]
    results: dict[str, Any] = field(repr=False)

    @property
    def passed(self) -> bool:
        """Whether no test finds a shortcut likely. This does not prove that there is none."""
        return not self.findings

    @property
    def findings(self) -> list[str]:
        """Names of the tests that find a shortcut likely."""
        return [name for name, test in self.tests.items() if test.verdict == LIKELY]

    def plot(
        self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None
    ) -> matplotlib.figure.Figure:
        """Draw the report with :func:`detl.plots.shortcut_report`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on: the ROC AUC of the network and the baselines, with the verdicts. By
            default, a new figure shows what each test measured too.
        figsize : tuple of (float, float), optional
            Width and height of a new figure in inches.

        Returns
        -------
        matplotlib.figure.Figure

        Examples
        --------
        >>> import numpy as np
        >>> from detl import cross_validate, recipes, shortcuts
        >>> images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 1), dtype="uint8")
        >>> labels = ["covid", "normal"] * 20
        >>> result = cross_validate(recipes.thumbnail(), images, labels, n_splits=2, random_state=0)
        >>> figure = shortcuts.baseline_test(result, images).plot()
        >>> figure.axes[0].get_xlabel()
        'ROC AUC, mean over classes'
        """
        return plots.shortcut_report(self, ax=ax, figsize=figsize)

    def to_dict(self) -> dict[str, Any]:
        """Return all tests and results in lists, strings and numbers that JSON can hold."""
        return {
            "passed": self.passed,
            "tests": {name: test.to_dict() for name, test in self.tests.items()},
            "results": {name: result.to_dict() for name, result in self.results.items()},
        }

    def __str__(self) -> str:
        """Return the report as text."""
        network = self.results["network"]
        counts = f"{len(network.labels)} images"
        if network.groups is not None:
            counts += f" of {len(np.unique(network.groups))} groups"
        title = (
            f"Does the classifier look at what it should? {counts}, {len(network.classes)} "
            f"classes, {len(network.folds)} folds"
        )
        parts = [[title], self._result_lines(), *self._test_lines(), self._closing_lines()]
        return "\n\n".join("\n".join(lines) for lines in parts)

    def _result_lines(self) -> list[str]:
        width = max(map(len, [*self.results, "classifier"]))
        lines = [f"{'classifier':<{width}}  accuracy  ROC AUC (95 % interval)"]
        for name, result in self.results.items():
            area = result.scores["roc_auc"]
            cell = "-"
            if not np.isnan(area.mean):
                cell = f"{area.mean:.3f} ({area.interval.low:.3f} to {area.interval.high:.3f})"
            lines.append(f"{name:<{width}}  {result.accuracy:<8.3f}  {cell}")
        return lines

    def _test_lines(self) -> tuple[list[str], list[str]]:
        """Return a table of the tests, and the question of each."""
        rows = [("test", "verdict", "worst class", "estimate (95 % interval)", "threshold")]
        for name, test in self.tests.items():
            worst = test.worst
            estimate = "" if worst is None else str(test.estimates[worst])
            limit = "" if test.threshold is None else f"{test.threshold:g}"
            rows.append((name, test.verdict, "" if worst is None else str(worst), estimate, limit))
        widths = [max(map(len, column)) for column in zip(*rows)]
        table = ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths)).rstrip() for row in rows]
        questions = []
        for name, test in self.tests.items():
            text = f"{name}: {test.question} Estimate: {test.measure}. {test.note}"
            questions += textwrap.wrap(text, _WIDTH, subsequent_indent="  ")
        return table, questions

    def _closing_lines(self) -> list[str]:
        found = "No test found a shortcut. This does not prove that there is none."
        if self.findings:
            found = f"SHORTCUT LIKELY: {', '.join(self.findings)}."
        alone = " (heatmaps: for each)" * ("heatmaps" in self.tests)
        rule = (
            f'"{LIKELY}": the whole interval of at least one class is beyond the threshold. '
            f'"{NONE_FOUND}": the intervals of all classes are on its other side. '
            f'"{INCONCLUSIVE}": neither, or fewer than {FEW_PER_CLASS} groups or images of a '
            f"class. Intervals: "
            f"{self.results['network'].interval.method}, 95 % for all classes of a test at once"
            f"{alone}."
        )
        return [found, *textwrap.wrap(rule, _WIDTH), "For research, not for clinical use."]


def listed(labels: list[Any]) -> str:
    """Return the names of classes for a sentence."""
    return ", ".join(str(label) for label in labels)
