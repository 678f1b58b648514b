"""Paired comparison on the same folds: differences, their intervals, and when to believe them."""

import dataclasses
import json

import numpy as np
import pytest
from matplotlib.figure import Figure

from detl import folds
from detl.validation.differences import compare_results
from detl.validation.results import CrossValidationResult, FoldResult
from detl.validation.significance import corrected_t_test, holm

N = 600


LABELS = np.array(["bone", "heart", "lung"] * (N // 3))


GROUPS = np.arange(N) // 3


INDICES = folds.stratified_folds(LABELS, groups=GROUPS, random_state=0)


AUDIT = folds.audit(INDICES, LABELS, groups=GROUPS)


def result(accuracy, *, seed, indices=INDICES, interval_seed=0):
    """Return a result in which each image is right with that probability."""
    rng = np.random.default_rng(seed)
    targets = np.arange(N) % 3
    predicted = np.where(rng.random(N) < accuracy, targets, (targets + 1) % 3)
    probabilities = np.full((N, 3), 0.1, "float32")
    probabilities[np.arange(N), predicted] = 0.8
    return CrossValidationResult(
        classes=np.unique(LABELS),
        labels=LABELS,
        groups=GROUPS,
        folds=tuple(
            FoldResult(
                train=train,
                test=test,
                probabilities=probabilities[test],
                history={"loss": [1.0]},
                seed=k,
                start="",
                seconds=1.0,
            )
            for k, (train, test) in enumerate(indices)
        ),
        audit=AUDIT,
        settings={
            "labels": "l",
            "groups": "g",
            "folds": str(len(indices)),
            "interval_seed": interval_seed,
        },
        versions={},
        seconds={},
    )


def test_a_difference_is_that_of_the_folds_scores():
    a, b = result(0.9, seed=1), result(0.7, seed=2)
    (found,) = compare_results({"a": a, "b": b}).differences
    np.testing.assert_allclose(found.folds, a.accuracies - b.accuracies)
    assert found.mean == pytest.approx(a.accuracy - b.accuracy)
    assert found.p_value == pytest.approx(
        corrected_t_test(a.accuracies - b.accuracies, test_share=120 / 480)
    )
    assert found.p_adjusted == found.p_value
    assert (found.better, found.verdict) == ("a", "a is better")
    (reverse,) = compare_results({"b": b, "a": a}).differences
    assert reverse.mean == pytest.approx(-found.mean)
    assert (reverse.interval.low, reverse.interval.high) == pytest.approx(
        (-found.interval.high, -found.interval.low)
    )
    assert reverse.better == "a"


def test_the_interval_is_of_a_paired_bootstrap_over_groups():
    a, b = result(0.9, seed=1), result(0.7, seed=2)
    (found,) = compare_results({"a": a, "b": b}).differences
    gain = (a.predictions == LABELS).astype(float) - (b.predictions == LABELS)
    per_group = np.bincount(GROUPS, weights=gain) / 3
    rng = np.random.default_rng(5)
    slow = [per_group[rng.integers(0, 200, 200)].mean() for _ in range(4000)]
    low, high = np.quantile(slow, (0.025, 0.975))
    assert found.interval.low == pytest.approx(low, abs=0.006)
    assert found.interval.high == pytest.approx(high, abs=0.006)
    assert found.interval.method.startswith("paired percentile bootstrap over 200 groups")


def test_equal_classifiers_are_rarely_told_apart():
    told_apart = sum(
        compare_results({"a": result(0.8, seed=2 * k), "b": result(0.8, seed=2 * k + 1)})
        .differences[0]
        .better
        is not None
        for k in range(8)
    )
    assert told_apart <= 1  # one in 20 at most is expected, and the rule asks for two proofs


def test_a_classifier_compared_with_itself_is_no_better():
    same = result(0.8, seed=1)
    (found,) = compare_results({"a": same, "b": same}).differences
    assert (found.mean, found.interval.low, found.interval.high, found.p_value) == (0, 0, 0, 1)
    assert found.verdict == "no difference shown"


@pytest.mark.parametrize(
    ("n_groups", "verdict"),
    [(19, "no spread to test against"), (20, "right is better, by the interval")],
)
def test_without_a_spread_the_interval_decides_if_its_groups_are_many(n_groups, verdict):
    results = {
        name: dataclasses.replace(result(share, seed=1), groups=GROUPS % n_groups)
        for name, share in (("right", 1.0), ("wrong", 0.0))
    }
    comparison = compare_results(results)
    (found,) = comparison.differences
    assert found.folds == (1,) * 5
    assert np.isnan([found.p_value, found.p_adjusted, found.detectable]).all()
    assert (found.has_power, found.verdict) == (False, verdict)
    assert str(comparison).splitlines()[5].endswith(f"     -         -    {verdict}")


def test_where_the_test_has_no_power_the_interval_decides():
    weak, *others = (result(0.8 if seed else 0.72, seed=seed) for seed in range(6))
    comparison = compare_results({"weak": weak, **dict(zip("abcde", others))})
    with_weak, rest = comparison.differences[:5], comparison.differences[5:]
    for found in with_weak:  # 7 to 13 points, of which five folds and fifteen pairs show nothing
        assert found.p_adjusted > 0.2
        assert found.detectable > -found.interval.low > 0
        assert not found.has_power
        assert (found.better, found.verdict) == (
            found.second,
            f"{found.second} is better, by the interval",
        )
        assert f"{100 * found.detectable:8.1f}    {found.verdict}" in str(comparison)
    assert {found.verdict for found in rest} == {"no difference shown"}
    # One of them excludes zero, but not when it is widened for fifteen pairs.
    assert sum(found.interval.low > 0 for found in rest) == 1
    assert "widened for 15 pairs, decides alone: it covers new groups" in str(comparison)


def test_where_the_test_has_power_the_interval_does_not_decide_alone():
    (found,) = compare_results({"a": result(0.8, seed=1), "b": result(0.75, seed=2)}).differences
    settled = dataclasses.replace(found, interval_excludes_zero=True, detectable=0.01)
    assert settled.has_power
    assert found.p_adjusted > 0.05
    assert settled.verdict == "no difference shown"


@pytest.mark.parametrize("score", ["balanced_accuracy", "macro_f1", "roc_auc"])
def test_other_scores_are_compared_alike(score):
    a, b = result(0.9, seed=1), result(0.6, seed=2)
    comparison = compare_results({"a": a, "b": b}, score=score)
    (found,) = comparison.differences
    assert found.mean == pytest.approx(a.scores[score].mean - b.scores[score].mean)
    assert found.interval.low < found.mean < found.interval.high
    assert str(comparison).startswith(score.replace("_", " "))


def test_three_make_three_pairs_and_the_table_says_it_all():
    results = {
        "domain extension": result(0.9, seed=1),
        "ImageNet": result(0.88, seed=2),
        "from scratch": result(0.5, seed=3),
    }
    comparison = compare_results(results)
    assert [(d.first, d.second) for d in comparison.differences] == [
        ("domain extension", "ImageNet"),
        ("domain extension", "from scratch"),
        ("ImageNet", "from scratch"),
    ]
    p_values = [d.p_value for d in comparison.differences]
    assert [d.p_adjusted for d in comparison.differences] == pytest.approx(holm(p_values))
    text = str(comparison)
    for name, found in results.items():
        assert f"{name:<16}  {found.accuracy:.3f} ± {found.accuracy_std:.3f}" in text
    for d in comparison.differences:
        (line,) = [li for li in text.splitlines() if li.startswith(f"{d.first} - {d.second}")]
        assert f"{100 * d.mean:+5.1f}" in line
        assert f"{100 * d.interval.low:+5.1f} to {100 * d.interval.high:+5.1f}" in line
        assert line.endswith(d.verdict)
    assert "after Holm for 3 pairs" in text
    assert max(map(len, text.splitlines())) <= 120


def test_everything_can_be_written_as_json():
    comparison = compare_results({"a": result(0.9, seed=1), "b": result(0.7, seed=2)})
    record = comparison.to_dict()
    assert record["differences"][0]["mean"] == comparison.differences[0].mean
    assert record["differences"][0]["verdict"] == "a is better"
    back = CrossValidationResult.from_dict(record["results"]["a"])
    np.testing.assert_array_equal(back.predictions, comparison.results["a"].predictions)


def test_a_score_that_no_fold_has_is_said_and_written_as_json():
    without_lung = [(train, test[LABELS[test] != "lung"]) for train, test in INDICES]
    results = {name: result(0.8, seed=k, indices=without_lung) for k, name in enumerate("ab")}
    comparison = compare_results(results, score="macro_f1")
    (found,) = comparison.differences
    assert np.isnan([found.mean, found.p_value, found.p_adjusted, found.interval.low]).all()
    assert str(comparison).count("no fold has the score") == 1
    record = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    assert record["differences"][0]["p_adjusted"] is None
    assert record["differences"][0]["folds"] == [None] * 5


def test_folds_that_lack_the_score_are_left_out_of_both():
    some = [
        (train, test[LABELS[test] != "lung"] if k < 2 else test)
        for k, (train, test) in enumerate(INDICES)
    ]
    a, b = result(0.9, seed=1, indices=some), result(0.7, seed=2, indices=some)
    (found,) = compare_results({"a": a, "b": b}, score="macro_f1").differences
    assert np.isnan(found.folds).tolist() == [True, True, False, False, False]
    assert found.mean == pytest.approx(np.mean(found.folds[2:]))
    assert found.mean == pytest.approx(a.scores["macro_f1"].mean - b.scores["macro_f1"].mean)
    assert found.interval.low < found.mean < found.interval.high


@pytest.mark.parametrize("names", ["", "a"])
def test_fewer_than_two_results_are_refused(names):
    with pytest.raises(ValueError, match=r"results is {.*; expected a dict of at least two"):
        compare_results({name: result(0.8, seed=1) for name in names})


def test_results_of_other_folds_are_refused():
    other = result(0.8, seed=1, indices=INDICES[:4])
    with pytest.raises(ValueError, match=r"results\['b'\] has other folds than results\['a'\], so"):
        compare_results({"a": result(0.8, seed=1), "b": other})


def test_results_with_other_seeds_of_their_intervals_are_paired_by_the_first():
    a, b = result(0.9, seed=1), result(0.7, seed=2)
    other = result(0.7, seed=2, interval_seed=5)
    assert (
        compare_results({"a": a, "b": other}).differences
        == compare_results({"a": a, "b": b}).differences
    )


def test_a_comparison_draws_its_differences():
    found = compare_results({"a": result(0.9, seed=0), "b": result(0.7, seed=1)})
    axes = Figure().subplots()
    assert found.plot(ax=axes) is axes.figure
    (point,) = [line for line in axes.lines if line.get_marker() == "o"]
    assert point.get_xdata()[0] == 100 * found.differences[0].mean
    assert found.plot(figsize=(5, 2)).get_size_inches().tolist() == [5, 2]
