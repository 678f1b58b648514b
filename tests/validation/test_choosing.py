"""The verdict: what is shown to be better, what is as good, and what is undecided."""

import math
from types import SimpleNamespace

import pytest

from detl.metrics import Interval
from detl.validation import Difference
from detl.validation.choosing import best_of, choose, lead_of

SECONDS = {"slow": 100.0, "middle": 10.0, "fast": 1.0}
SECONDS_OF_TWO = {"slow": 100.0, "fast": 1.0}


def difference(first, second, mean, low, high, *, p=0.5):
    return Difference(
        first=first,
        second=second,
        folds=(mean,) * 5,
        mean=mean,
        interval=Interval(low=low, high=high, method="made up"),
        p_value=p,
        p_adjusted=p,
        detectable=0.001,
    )


def comparison(means, *differences):
    results = {
        name: SimpleNamespace(scores={"accuracy": SimpleNamespace(mean=mean)})
        for name, mean in means.items()
    }
    return SimpleNamespace(score="accuracy", results=results, differences=differences)


def verdict(found, *, n_units=40, margin=0.02):
    seconds = {name: SECONDS[name] for name in found.results}
    return choose(
        found, seconds, margin=margin, n_units=n_units, unit="groups", called=str.capitalize
    )


def test_the_lead_of_the_best_has_its_sign_in_both_orders():
    found = comparison({"slow": 0.9, "fast": 0.8}, difference("fast", "slow", -0.1, -0.3, 0.05))
    lead = lead_of(found, "slow", "fast")
    assert (lead.mean, lead.low, lead.high) == (0.1, -0.05, 0.3)
    assert lead.may_be_none
    assert not lead.is_shown


def test_what_is_shown_to_be_better_than_all_that_is_faster_is_recommended():
    found = comparison(
        {"slow": 0.9, "fast": 0.8}, difference("fast", "slow", -0.1, -0.15, -0.05, p=0.001)
    )
    assert verdict(found) == ("slow", "Slow: shown to be better than all that is faster")


def test_of_those_that_are_as_good_the_fastest_is_recommended():
    found = comparison(
        {"slow": 0.9, "middle": 0.89, "fast": 0.895},
        difference("slow", "middle", 0.01, 0.001, 0.019, p=0.01),
        difference("slow", "fast", 0.005, -0.01, 0.0175),
    )
    assert verdict(found) == (
        "fast",
        "Fast: as good as Slow (at most 1.8 points behind), 100 times faster",
    )


@pytest.mark.parametrize(
    ("seconds", "words"), [(1.3, "1.3"), (20.4, "20"), (504.0, "500"), (3.0, "3.0")]
)
def test_ratios_of_seconds_have_two_digits(seconds, words):
    found = comparison({"slow": 0.9, "fast": 0.89}, difference("slow", "fast", 0.01, 0, 0.019))
    said = choose(
        found, {"slow": seconds, "fast": 1.0}, margin=0.02, n_units=40, unit="groups", called=str
    )[1]
    assert said.endswith(f"points behind), {words} times faster")


def test_over_few_groups_nothing_is_as_good():
    found = comparison({"slow": 0.9, "fast": 0.9}, difference("slow", "fast", 0.0, 0.0, 0.0))
    said = "Slow or Fast: undecided with 12 groups, about 20 would be needed; until then Fast"
    found.results["slow"].scores["accuracy"].mean += 1e-9
    assert verdict(found, n_units=12) == ("fast", f"{said}, 100 times faster")
    assert "as good as" in verdict(found, n_units=20)[1]


@pytest.mark.parametrize(
    ("lead", "needed"),
    [
        # Zero has to leave: (0.04 + 0.04) / 0.04 = 2 times as narrow, 4 times as many.
        ((0.04, -0.04, 0.12), "about 160"),
        # All has to come below the margin: (0.05 - 0.01) / (0.02 - 0.01) = 4 times as narrow; for
        # zero (0.01 + 0.02) / 0.01 = 3 times as narrow is enough.
        ((0.01, -0.02, 0.05), "about 360"),
        # The lead is none: (0.04 - 0) / 0.02 = 2 times as narrow.
        ((0.0, -0.04, 0.04), "about 160"),
        # 40 * (0.045 / 0.04) ** 2 = 50.6, of which two digits are said.
        ((0.04, -0.005, 0.1), "about 51"),
        ((0.1, 0.0, 0.2), "a few more"),
        ((0.01, -0.2, 0.2), "more than 20 times as many"),
    ],
)
def test_how_many_are_needed_follows_from_the_width(lead, needed):
    found = comparison({"slow": 0.9, "fast": 0.9 - lead[0]}, difference("slow", "fast", *lead))
    name, said = verdict(found)
    if lead[0] == 0:
        assert name == "fast"
        assert said == "Fast: the best score, and the fastest"  # of equals the fastest is the best
        found.results["slow"].scores["accuracy"].mean += 1e-9
        name, said = verdict(found)
    assert name == "fast"
    assert said == (
        f"Slow or Fast: undecided with 40 groups, {needed} would be needed; "
        "until then Fast, 100 times faster"
    )


def test_until_then_the_best_of_the_faster_ones_is_recommended():
    found = comparison(
        {"slow": 0.9, "middle": 0.88, "fast": 0.8},
        difference("slow", "middle", 0.02, -0.05, 0.1),
        difference("slow", "fast", 0.1, -0.01, 0.2),
    )
    assert verdict(found)[0] == "middle"


def test_the_floor_is_recommended_only_where_it_is_as_good():
    untold = difference("slow", "fast", 0.04, -0.04, 0.12)
    settings = {"margin": 0.02, "n_units": 40, "unit": "groups", "called": str}
    found = comparison({"slow": 0.9, "fast": 0.86}, untold)
    name, said = choose(found, SECONDS_OF_TWO, floor="fast", **settings)
    assert name == "slow"
    assert said == (
        "slow or fast: undecided with 40 groups, about 160 would be needed; until then slow"
    )
    # Of others that are open, the floor gives way.
    found = comparison(
        {"slow": 0.9, "middle": 0.85, "fast": 0.86},
        untold,
        difference("slow", "middle", 0.05, -0.04, 0.12),
    )
    assert choose(found, SECONDS, floor="fast", **settings)[0] == "middle"
    as_good = comparison({"slow": 0.9, "fast": 0.9}, difference("slow", "fast", 0.0, -0.01, 0.01))
    as_good.results["slow"].scores["accuracy"].mean += 1e-9
    assert choose(as_good, SECONDS_OF_TWO, floor="fast", **settings)[0] == "fast"


def test_ahead_by_the_interval_alone_is_said_to_be_that():
    found = comparison({"slow": 0.9, "fast": 0.8}, difference("slow", "fast", 0.1, 0.01, 0.2))
    name, said = verdict(found)
    assert name == "slow"
    assert said.startswith("Slow: ahead of Fast by the interval, but not by the test")
    found = comparison(
        {"slow": 0.9, "middle": 0.7, "fast": 0.8},
        difference("slow", "fast", 0.1, 0.01, 0.2),
        difference("slow", "middle", 0.2, 0.1, 0.3, p=0.01),
    )
    start = "Slow: shown to be better than Middle, and ahead of Fast by the interval, but not"
    assert verdict(found)[1].startswith(start)


def test_the_best_that_is_also_the_fastest_needs_no_comparison():
    found = comparison({"slow": 0.8, "fast": 0.9}, difference("slow", "fast", -0.1, -0.3, 0.1))
    assert verdict(found) == ("fast", "Fast: the best score, and the fastest")


def test_without_any_score_nothing_is_recommended():
    found = comparison({"slow": math.nan, "fast": math.nan})
    assert best_of(found, SECONDS) is None
    assert verdict(found) == (None, "no fold has the accuracy; choose another score")


def test_a_recipe_without_the_score_is_not_the_best():
    found = comparison({"slow": math.nan, "fast": 0.5})
    assert best_of(found, SECONDS) == "fast"
