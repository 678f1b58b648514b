"""Scores of subgroups are scikit-learn's, and a difference is called so only where it is one."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import recall_score

from detl.metrics import Predictions
from detl.screening.pooling import pooled
from detl.screening.subgroups import check_attributes, subgroups


def scored(pool, attributes, target=None, unit="groups", random_state=0):
    known = check_attributes(attributes, len(pool.targets))
    return subgroups(pool, known, target, unit=unit, random_state=random_state)


def test_the_scores_of_a_subgroup_are_those_of_its_images(make_folds):
    pool = pooled(make_folds())
    views = np.where(np.arange(120) % 3 == 0, "AP", "PA")
    found = scored(pool, {"view": views}, target=1)
    assert [(one.attribute, one.name, one.n_images) for one in found.subgroups] == [
        ("view", "AP", 40),
        ("view", "PA", 80),
    ]
    for one in found.subgroups:
        mine = views == one.name
        true, called = pool.targets == 1, pool.predicted == 1
        right = pool.targets == pool.predicted

        def rates(rows, true=true, called=called, right=right):
            return [
                right[rows].mean(),
                recall_score(true[rows], called[rows]),
                recall_score(~true[rows], ~called[rows]),
            ]

        values = [estimate.value for estimate in one.values.values()]
        np.testing.assert_allclose(values, rates(mine))
        differences = [estimate.value for estimate in one.differences.values()]
        np.testing.assert_allclose(differences, np.subtract(rates(mine), rates(~mine)))


def test_by_default_rates_are_means_over_classes(make_folds):
    pool = pooled(make_folds())
    views = np.where(np.arange(120) % 3 == 0, "AP", "PA")
    (one, _) = scored(pool, {"view": views}).subgroups
    rows = views == "AP"
    expected = recall_score(pool.targets[rows], pool.predicted[rows], average="macro")
    assert one.values["sensitivity"].value == pytest.approx(expected)


def shifted(n, planted, seed):
    """Make predictions that are wrong more often where an attribute is set."""
    generator = np.random.default_rng(seed)
    targets, is_set = generator.integers(0, 2, (2, n))
    wrong = generator.uniform(size=n) < np.where(is_set == 1, 0.15 + planted, 0.15)
    shares = np.abs((targets ^ wrong) - 0.2)
    pool = Predictions(
        targets=targets,
        probabilities=np.stack([1 - shares, shares], axis=1),
        units=np.arange(n),
    )
    return pool, np.where(is_set == 1, "yes", "no")


def test_a_planted_difference_is_shown():
    pool, device = shifted(600, 0.3, seed=0)
    no, yes = scored(pool, {"device": device}, unit="images").subgroups
    assert "accuracy" in no.differs
    assert "accuracy" in yes.differs
    assert yes.differences["accuracy"].value == pytest.approx(-0.3, abs=0.08)
    assert no.differences["accuracy"].value == pytest.approx(-yes.differences["accuracy"].value)


def test_where_there_is_none_few_are_shown_though_many_are_looked_at():
    n_shown, n_apart = 0, 0
    for seed in range(8):
        pool, _ = shifted(200, 0, seed)
        made_up = np.random.default_rng(1000 + seed).integers(0, 2, (6, 200)).astype(str)
        found = scored(pool, dict(enumerate(made_up)), unit="images")
        assert found.n_comparisons == 18
        n_shown += any(one.differs for one in found.subgroups)
        intervals = [e.interval for one in found.subgroups for e in one.differences.values()]
        n_apart += any(i.low > 0 or i.high < 0 for i in intervals)
    assert n_shown <= 2  # 0.4 are expected; 3 or more have a probability of 0.006
    assert n_apart >= 4  # without the correction, most sets would accuse somebody


def test_a_few_images_without_an_error_differ_from_nobody():
    # Eight images in ten draws of twenty have no error by chance; the bootstrap alone would star.
    n_shown = 0
    for seed in range(6):
        generator = np.random.default_rng(seed)
        targets, few = generator.integers(0, 2, 300), np.arange(300) < 20
        right = (generator.uniform(size=300) < 0.9) | few
        shares = np.abs((targets ^ ~right) - 0.2)
        pool = Predictions(
            targets=targets,
            probabilities=np.stack([1 - shares, shares], axis=1),
            units=np.arange(300),
        )
        found = scored(pool, {"kind": np.where(few, "few", "many")}, unit="images")
        one = found.subgroups[0]
        assert one.values["accuracy"].value == 1
        assert one.differences["accuracy"].interval.low > 0
        n_shown += bool(one.differs)
    assert n_shown == 0
    assert "An interval of no width is not certainty" in str(found)


def test_two_subgroups_are_one_comparison_and_three_are_three(make_folds):
    pool = pooled(make_folds(n=100))
    two, three = np.arange(300) // 2 % 2, np.arange(300) // 2 % 3
    assert scored(pool, {"two": two}).n_comparisons == 3
    assert scored(pool, {"three": three}).n_comparisons == 9
    assert scored(pool, {"two": two, "three": three}).n_comparisons == 12


def test_a_subgroup_that_is_too_small_is_shown_and_not_judged(make_folds):
    pool = pooled(make_folds())
    rare = np.where(np.arange(120) < 38, "rare", "usual")  # 19 groups of 60
    found = scored(pool, {"kind": rare})
    assert [one.n_units for one in found.subgroups] == [19, 41]
    assert all(one.differences == {} for one in found.subgroups)
    assert found.n_comparisons == 0
    lines = str(found).splitlines()
    assert lines[2].split()[:4] == ["kind", "rare", "38", "19"]
    assert lines[7].split() == ["kind", "rare", "-", "-", "-"]


def test_the_sensitivity_for_a_class_of_few_is_not_judged():
    pool, device = shifted(200, 0.3, seed=0)
    few = np.flatnonzero((pool.targets == 1) & (device == "yes"))[9:]
    kept = np.setdiff1d(np.arange(200), few)
    pool = Predictions(
        targets=pool.targets[kept], probabilities=pool.probabilities[kept], units=pool.units[kept]
    )
    for one in scored(pool, {"device": device[kept]}, target=1, unit="images").subgroups:
        assert set(one.differences) == {"accuracy", "specificity"}


def test_the_table_has_values_then_differences_and_stars_those_that_are_shown():
    pool, device = shifted(600, 0.3, seed=0)
    found = scored(pool, {"device": device}, unit="images")
    lines = str(found).splitlines()
    assert lines[0] == (
        "accuracy of subgroups; sensitivity and specificity are means over all classes"
    )
    assert str(found.subgroups[0].values["accuracy"]) in lines[2]
    assert lines[8].startswith("device yes  -")
    assert lines[8].count("*") == len(found.subgroups[1].differs)
    assert "widened for 3 differences" in lines[10]


@pytest.mark.parametrize(
    ("attributes", "error", "message"),
    [
        ({}, TypeError, "attributes is a dict; expected a dict of names and one value per image"),
        (["AP"], TypeError, "attributes is a list"),
        ({"view": ["AP"] * 3}, ValueError, r"3 attributes\['view'\] for 4 images"),
        ({"age": [40.0, np.nan, 3, 4]}, ValueError, r"row 1. Call it by a name, such as \"unkno"),
        ({"sex": ["F", None, "M", "M"]}, ValueError, r"row 1. Call it by a name"),
        ({"view": ["AP"] * 4}, ValueError, r"attributes\['view'\] is 'AP' for all; leave it out"),
    ],
)
def test_attributes_that_say_nothing_are_refused(attributes, error, message):
    with pytest.raises(error, match=message):
        check_attributes(attributes, 4)


def test_numbers_without_bins_are_refused():
    with pytest.raises(ValueError, match=r"attributes\['age'\] has 100 values, such as 0; .* bins"):
        check_attributes({"age": np.arange(100)}, 100)


def test_subgroups_draw_themselves_and_fill_what_is_shown():
    pool, device = shifted(600, 0.3, seed=0)
    found = scored(pool, {"device": device}, unit="images")
    axes = Figure().subplots()
    assert found.plot(ax=axes) is axes.figure
    accuracies = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in accuracies] == [
        one.values["accuracy"].value for one in found.subgroups
    ]
    is_filled = [line.get_markerfacecolor() != "white" for line in accuracies]
    assert is_filled == ["accuracy" in one.differs for one in found.subgroups]
    assert found.plot(figsize=(5, 4)).get_size_inches().tolist() == [5, 4]


def test_the_table_says_whose_sensitivity_it_has(make_folds):
    pool = pooled(make_folds())
    known = {"view": np.where(np.arange(120) % 3 == 0, "AP", "PA")}
    found = subgroups(pool, known, 1, "covid", unit="groups", random_state=0)
    assert found.class_name == "covid"
    assert str(found).startswith("accuracy of subgroups; sensitivity and specificity of 'covid'\n")
    assert "\ndifference from all other images, in points\n" in str(found)
