"""Which of several recipes to take, in a sentence: what is shown, what is as good, what is open."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from detl.metrics.intervals import FEW_UNITS
from detl.validation.differences import Comparison

# Beyond so many times the data, a square root fitted at one point is no estimate any more.
_AT_MOST = 20.0


@dataclass(frozen=True, kw_only=True)
class Lead:
    """How far the best recipe is ahead of another, with the ends of the paired interval.

    ``is_shown`` says whether :func:`detl.compare` calls it better.
    """

    mean: float
    low: float
    high: float
    is_shown: bool

    @property
    def may_be_none(self) -> bool:
        """Whether zero is inside the interval."""
        return self.low <= 0 <= self.high


def lead_of(comparison: Comparison, best: str, other: str) -> Lead:
    """Return how far the one recipe is ahead of the other."""
    for d in comparison.differences:
        if {d.first, d.second} == {best, other}:
            sign = 1 if d.first == best else -1
            low, high = sorted([sign * d.interval.low, sign * d.interval.high])
            return Lead(mean=sign * d.mean, low=low, high=high, is_shown=d.better == best)
    raise KeyError((best, other))


def best_of(comparison: Comparison, seconds: Mapping[str, float]) -> str | None:
    """Return the recipe of the best score, of equals the fastest; None if none has a score."""
    means = {name: r.scores[comparison.score].mean for name, r in comparison.results.items()}
    known = [name for name, mean in means.items() if not math.isnan(mean)]
    return max(known, key=lambda name: (means[name], -seconds[name]), default=None)


def choose(
    comparison: Comparison,
    seconds: Mapping[str, float],
    *,
    margin: float,
    n_units: int,
    unit: str,
    called: Callable[[str], str],
    floor: str | None = None,
) -> tuple[str | None, str]:
    """Return the recommended recipe and the verdict; see :func:`detl.recommend` for the rules.

    ``called`` gives the words for a recipe. The ``floor`` is recommended where it is as good, but
    not because nothing could be told.
    """
    best = best_of(comparison, seconds)
    if best is None:
        return None, f"no fold has the {comparison.score.replace('_', ' ')}; choose another score"
    leads = {
        name: lead_of(comparison, best, name)
        for name in sorted(seconds, key=seconds.__getitem__)
        if seconds[name] < seconds[best]
    }
    if not leads:
        return best, f"{called(best)}: the best score, and the fastest"

    def faster(name: str) -> str:
        ratio = float(f"{seconds[best] / max(seconds[name], 1e-9):.2g}")
        return f"{ratio:.{0 if ratio >= 10 else 1}f} times faster"

    for name, lead in leads.items():
        if lead.high <= margin and n_units >= FEW_UNITS:
            behind = max(0.0, 100 * lead.high)
            return name, (
                f"{called(name)}: as good as {called(best)} (at most {behind:.1f} points behind), "
                f"{faster(name)}"
            )
    undecided = [name for name, lead in leads.items() if lead.may_be_none and not lead.is_shown]
    if undecided:
        name = max(
            undecided,
            key=lambda n: (n != floor, comparison.results[n].scores[comparison.score].mean),
        )
        needed = _needed(leads[name], n_units, margin=margin)
        said = (
            f"{called(best)} or {called(name)}: undecided with {n_units} {unit}, {needed} "
            "would be needed; until then "
        )
        if name == floor:
            return best, said + called(best)
        return name, said + f"{called(name)}, {faster(name)}"
    doubted = [called(name) for name, lead in leads.items() if not lead.is_shown]
    if doubted:
        shown = [called(name) for name, lead in leads.items() if lead.is_shown]
        more = f"shown to be better than {' and '.join(shown)}, and " if shown else ""
        return best, (
            f"{called(best)}: {more}ahead of {' and '.join(doubted)} by the interval, but not by "
            "the test over the folds (n_repeats=10 makes it sharper)"
        )
    return best, f"{called(best)}: shown to be better than all that is faster"


def _needed(lead: Lead, n_units: int, *, margin: float) -> str:
    """Return the number of units at which one of the two could be shown to be better.

    The interval's ends come closer to the mean as 1/sqrt(n): either until zero is outside, or until
    all of the interval is below the margin, whichever comes first.
    """
    shrinkages = []
    if lead.mean > 0:
        shrinkages.append((lead.mean - lead.low) / lead.mean)
    if lead.mean < margin:
        shrinkages.append((lead.high - lead.mean) / (margin - lead.mean))
    factor = min(shrinkages) ** 2
    if factor > _AT_MOST:
        return f"more than {_AT_MOST:g} times as many"
    needed = max(FEW_UNITS, n_units * factor)
    if n_units >= FEW_UNITS and factor < 1.1:
        return "a few more"
    digits = 10 ** max(0, math.floor(math.log10(needed)) - 1)  # two digits say enough
    return f"about {math.ceil(needed / digits) * digits}"
