"""What a comparison of recipes recommends, as a table and a sentence."""

from __future__ import annotations

import textwrap
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from detl.metrics.intervals import FEW_UNITS, units_of
from detl.notebook import ShowsItself
from detl.validation.choosing import Lead, best_of, lead_of
from detl.validation.differences import Comparison
from detl.validation.frames import recipes_frame
from detl.validation.leaks import leaks_of
from detl.validation.records import or_none
from detl.validation.results import CrossValidationResult

if TYPE_CHECKING:
    from pandas import DataFrame

_WIDTH = 100


@dataclass(frozen=True, kw_only=True, eq=False)
class Recommendation(ShowsItself):
    """What :func:`detl.recommend` found; ``print`` it for a table and the verdict.

    Attributes
    ----------
    recommended : str or None
        Name of the recommended recipe; None if the score is undefined for every recipe.
    verdict : str
        The sentence that says why.
    score : str
        What was compared.
    recipes : dict of str to scikit-learn classifier
        All recipes, not fitted, also those that failed.
    results : dict of str to CrossValidationResult
        Of each recipe that did not fail, all on the same folds.
    comparison : Comparison or None
        The differences of each pair; None where fewer than two recipes are left.
    seconds : dict of str to float
        What each recipe took: features and all folds, one after another.
    failed : dict of str to str
        What went wrong with the other recipes.
    """

    recommended: str | None
    verdict: str
    score: str
    recipes: dict[str, Any] = field(repr=False)
    results: dict[str, CrossValidationResult] = field(repr=False)
    comparison: Comparison | None = field(repr=False)
    seconds: dict[str, float]
    failed: dict[str, str]

    @property
    def classifier(self) -> Any:
        """The recommended recipe, ready to be fitted on all images."""
        return None if self.recommended is None else self.recipes[self.recommended]

    @property
    def best(self) -> str | None:
        """Name of the recipe of the best score, which was chosen on these folds."""
        if self.comparison is None:
            return next(iter(self.results))
        return best_of(self.comparison, self.seconds)

    @property
    def chosen_blocks(self) -> dict[str, list[str]]:
        """The block that each probe chose in each fold, on its training images."""
        return {
            name: [fold.chosen["block"] for fold in result.folds]
            for name, result in self.results.items()
            if all("block" in fold.chosen for fold in result.folds)
        }

    def lead(self, other: str) -> Lead | None:
        """Return how far the best recipe is ahead of another one; None for the best."""
        if self.comparison is None or self.best is None or other == self.best:
            return None
        return lead_of(self.comparison, self.best, other)

    def to_frame(self) -> DataFrame:
        """Return a pandas data frame with a row for each recipe, also those that failed.

        Columns: ``recipe``, ``mean``, ``low``, ``high``, ``behind``, ``behind_low``,
        ``behind_high`` (the best less this one), ``seconds``, ``blocks``, ``recommended``,
        ``failed``.
        """
        return recipes_frame(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the recipes in lists, strings and numbers that JSON can hold."""
        pairs = [] if self.comparison is None else self.comparison.to_dict()["differences"]
        return {
            "recommended": self.recommended,
            "verdict": self.verdict,
            "score": self.score,
            "best": self.best,
            "seconds": {name: or_none(value) for name, value in self.seconds.items()},
            "failed": dict(self.failed),
            "results": {name: result.to_dict() for name, result in self.results.items()},
            "differences": pairs,
        }

    def __str__(self) -> str:
        """Return the table and the verdict as text."""
        result = next(iter(self.results.values()))
        of_groups = ""
        if result.groups is not None:
            of_groups = f" of {len(np.unique(result.groups))} groups"
        title = (
            f"Which recipe? {len(result.labels)} images{of_groups}, {len(result.classes)} classes, "
            f"{len(result.folds)} folds"
        )
        notes = [
            line
            for note in self._notes(result)
            for line in textwrap.wrap(note, _WIDTH, subsequent_indent="  ")
        ]
        verdict = textwrap.wrap(f"VERDICT {self.verdict}.", _WIDTH, subsequent_indent="  ")
        return "\n".join([title, "", *self._table(), "", *notes, "", *verdict])

    def _table(self) -> list[str]:
        """Return a row for each recipe, the best first."""
        title = self.score.replace("_", " ").replace("roc auc", "ROC AUC")
        rows = [("recipe", title, "95 % interval", "points behind the best", "seconds", "")]
        scores = {name: result.scores[self.score] for name, result in self.results.items()}
        order = sorted(
            scores, key=lambda name: (-np.nan_to_num(scores[name].mean, nan=-1), name != self.best)
        )
        for name in order:
            score, lead = scores[name], self.lead(name)
            behind = "best" if name == self.best else "-"
            if lead is not None:
                # What rounds to zero has no sign.
                points = [round(100 * x, 1) + 0.0 for x in (lead.mean, lead.low, lead.high)]
                behind = "{:.1f} ({:+.1f} to {:+.1f})".format(*points) + "!" * lead.is_shown
            mark = "*" if name in (self.best, self.recommended) else " "
            rows.append(
                (
                    name,
                    f"{score.mean:.3f}{mark}",
                    f"{score.interval.low:.3f} to {score.interval.high:.3f}",
                    behind,
                    in_words(self.seconds[name]),
                    "<- recommended" if name == self.recommended else "",
                )
            )
        rows += [(name, "failed", "", "", "", "") for name in self.failed]
        widths = [max(map(len, column)) for column in zip(*rows)]
        aligned = "<<<<><"
        return [
            "  ".join(f"{c:{a}{w}}" for c, a, w in zip(row, aligned, widths)).rstrip()
            for row in rows
        ]

    def _notes(self, result: CrossValidationResult) -> list[str]:
        """Return what to know about the table."""
        notes = []
        if len(self.results) > 1:
            notes.append(
                f"* Chosen on these folds, as one of {len(self.results)}: the figure is a little "
                "too good. Confirm it on images that played no part."
            )
        for name, blocks in self.chosen_blocks.items():
            counts = [f"{block} in {n}" for block, n in Counter(blocks).most_common()]
            notes.append(
                f"{name}: the block is chosen inside, on the training images of each fold, which "
                f"does not flatter: {', '.join(counts)} of {len(blocks)} folds."
            )
        few = ""
        n_units = len(units_of(result.fold_predictions))
        if n_units < FEW_UNITS:
            few = f" Over {n_units} {result.unit} they are too narrow."
        notes.append(
            f"Intervals: {result.interval.method.split(',')[0]}, paired for points behind the best."
            f"{few}"
        )
        if any(lead is not None and lead.is_shown for lead in map(self.lead, self.results)):
            notes.append("! Shown to be behind, as detl.compare decides.")
        if self.recommended == "thumbnail":
            notes.append(
                "thumbnail: grey cells are enough. Either the task is that easy, or brightness or "
                "the border gives the classes away: ask detl.shortcuts."
            )
        if result.groups is None:
            notes.append(
                "Split without groups: if a patient has several images, all scores are too good."
            )
        notes += [f"{name} failed: {reason}" for name, reason in self.failed.items()]
        audits = {name: one.audit for name, one in self.results.items()}
        return notes + [f"LEAK: {sentence}" for sentence in leaks_of(audits)]


def in_words(seconds: float) -> str:
    """Return a time with two digits, or whole seconds."""
    return f"{seconds:.0f}" if seconds >= 10 else f"{seconds:.1f}"
