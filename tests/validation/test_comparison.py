"""Paired comparison on the same folds: differences, their intervals, and when to believe them."""

import json

import keras
import numpy as np
import pytest
from keras import layers
from scipy import stats
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import StratifiedKFold

from detl import Comparison, DomainExtensionTransfer, FoldError, compare, cross_validate, folds
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


# ----------------------------------------------------------------------------------- the statistics


def test_the_corrected_test_is_the_paired_one_with_a_larger_variance():
    differences = np.array([0.04, 0.02, 0.05, 0.01, 0.03])
    plain = stats.ttest_1samp(differences, 0)
    assert corrected_t_test(differences, test_share=0) == pytest.approx(plain.pvalue)
    shrunk = plain.statistic / np.sqrt(1 + 5 * 0.25)
    assert corrected_t_test(differences, test_share=0.25) == pytest.approx(
        2 * stats.t.sf(shrunk, df=4)
    )
    assert corrected_t_test(-differences, test_share=0.25) == pytest.approx(
        corrected_t_test(differences, test_share=0.25)
    )


def test_without_a_difference_or_without_folds_there_is_no_evidence():
    assert corrected_t_test([0, 0, 0], test_share=0.5) == 1
    assert np.isnan(corrected_t_test([0.3], test_share=0.5))


def test_equal_differences_have_no_spread_to_test_against():
    assert np.isnan(corrected_t_test([0.5, 0.5], test_share=0.5))
    rounded = [0.9 - 0.8, 0.8 - 0.7, 0.3 - 0.2]
    assert len(set(rounded)) == 2
    assert np.isnan(corrected_t_test(rounded, test_share=0.5))
    right, wrong = result(1.0, seed=1), result(0.0, seed=2)
    comparison = compare_results({"right": right, "wrong": wrong})
    (found,) = comparison.differences
    assert found.folds == (1,) * 5
    assert np.isnan([found.p_value, found.p_adjusted]).all()
    assert (found.better, found.verdict) == (None, "no spread to test against")
    assert str(comparison).splitlines()[5].endswith("     -   no spread to test against")


def test_the_correction_of_holm_is_that_of_the_definition():
    # Sorted p-values times the number of hypotheses not yet rejected, never falling, at most 1.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]


# ----------------------------------------------------------------------------------- the comparison


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


def test_p_values_that_are_unknown_do_not_spoil_the_correction():
    np.testing.assert_allclose(holm([np.nan, 0.01, 0.5]), [np.nan, 0.03, 1.0])


@pytest.mark.parametrize("names", ["", "a"])
def test_fewer_than_two_results_are_refused(names):
    with pytest.raises(ValueError, match=rf"results has {len(names)}, .*; expected at least two"):
        compare_results({name: result(0.8, seed=1) for name in names})


def test_results_of_other_folds_are_refused():
    other = result(0.8, seed=1, indices=INDICES[:4])
    with pytest.raises(ValueError, match="different images or folds, so they cannot be paired"):
        compare_results({"a": result(0.8, seed=1), "b": other})


# ----------------------------------------------------------------------------------------- for real


def network(seed):
    images = keras.Input((16, 16, 1))
    x = layers.Rescaling(1 / 255)(images)
    initializer = keras.initializers.HeNormal(seed=seed)
    x = layers.Conv2D(4, 3, strides=4, kernel_initializer=initializer, name="block1_conv")(x)
    return keras.Model(images, layers.GlobalAveragePooling2D()(x))


@pytest.fixture(scope="module")
def transfers():
    source = network(0)
    return {
        "trained": DomainExtensionTransfer(source, epochs=8, learning_rate=0.5, batch_size=8),
        "from scratch!": DomainExtensionTransfer(
            source, epochs=1, trainable_from="input", batch_size=8
        ),
    }


@pytest.fixture(scope="module")
def quick():
    return {"trained": DummyClassifier(), "from scratch!": DummyClassifier(strategy="uniform")}


def test_each_transfer_is_cross_validated_on_the_same_folds_and_seeds(
    transfers, tiny_images, tiny_labels, tmp_path
):
    groups = np.arange(40) // 2
    settings = {"groups": groups, "n_splits": 4, "checkpoint_dir": tmp_path}
    found = compare(transfers, tiny_images, tiny_labels, random_state=0, **settings)
    assert isinstance(found, Comparison)
    trained, scratch = found.results.values()
    for one, other in zip(trained.folds, scratch.folds, strict=True):
        np.testing.assert_array_equal(one.test, other.test)
        assert one.seed == other.seed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["from_scratch_", "trained"]
    again = compare(transfers, tiny_images, tiny_labels, random_state=0, **settings)
    assert str(again) == str(found)


def test_a_transfer_compared_is_the_transfer_cross_validated(transfers, tiny_images, tiny_labels):
    def seed():
        return np.random.default_rng(3)

    settings = {"groups": np.arange(40) // 2, "n_splits": 2}
    found = compare(transfers, tiny_images, tiny_labels, random_state=seed(), **settings)
    for name, estimator in transfers.items():
        alone = cross_validate(estimator, tiny_images, tiny_labels, random_state=seed(), **settings)
        np.testing.assert_array_equal(alone.probabilities, found.results[name].probabilities)
        assert alone.fold_seeds == found.results[name].fold_seeds
        assert alone.settings == found.results[name].settings
        assert alone.interval == found.results[name].interval


def test_a_generator_of_folds_serves_every_transfer(quick, tiny_images, tiny_labels):
    generator = StratifiedKFold(2).split(tiny_images, tiny_labels)
    found = compare(quick, tiny_images, tiny_labels, cv=generator, random_state=0)
    assert {len(result.folds) for result in found.results.values()} == {2}


class DrawsAnew:
    """A splitter of one's own that never splits alike."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def split(self, X, y, groups=None):
        seed = int(self.generator.integers(1000))
        return StratifiedKFold(2, shuffle=True, random_state=seed).split(X, y)


@pytest.mark.parametrize("splitter", [DrawsAnew, lambda: StratifiedKFold(2, shuffle=True)])
def test_a_splitter_that_draws_anew_is_asked_once(quick, tiny_images, tiny_labels, splitter):
    found = compare(quick, tiny_images, tiny_labels, cv=splitter(), random_state=0)
    trained, scratch = found.results.values()
    assert trained.fold_of.tolist() == scratch.fold_of.tolist()


def test_leaks_are_said_once_and_stand_below_the_table(quick, tiny_images, tiny_labels):
    with pytest.warns(UserWarning, match="The folds leak") as warned:
        found = compare(
            quick, tiny_images, tiny_labels, groups=np.arange(40) // 20,
            cv=StratifiedKFold(2, shuffle=True, random_state=0), random_state=0,
        )  # fmt: skip
    assert len([w for w in warned if "leak" in str(w.message)]) == 1
    assert "LEAKS" in str(found)


def test_each_source_may_have_groups_of_its_own(quick, tiny_images, tiny_labels):
    settings = {"groups": np.arange(40) // 2, "n_splits": 2, "random_state": 0}
    data = {"transfers": quick, "images": tiny_images, "labels": tiny_labels}
    own = {"trained": np.array([3, 4, 99])}
    said = r"The source has 2 groups of the target too, .* \(The source of trained\.\)"
    with pytest.warns(UserWarning, match=said):
        found = compare(**data, source_groups=own, **settings)
    trained, scratch = (result.audit for result in found.results.values())
    assert trained.source_shared_groups == (3, 4)
    assert scratch.source_shared_groups is None
    assert str(found).count("(The source of trained.)") == 1
    with pytest.warns(UserWarning, match="The source has 1 group of the target too") as warned:
        found = compare(**data, source_groups=[3], **settings)
    assert "The source of" not in str(warned[0].message)
    assert {r.audit.source_shared_groups for r in found.results.values()} == {(3,)}
    with pytest.raises(ValueError, match=r"has 'ImageNet'; expected names of transfers: 'trained'"):
        compare(**data, source_groups={"ImageNet": None}, **settings)


def test_a_leak_of_any_source_is_refused_before_the_first_is_trained(
    quick, tiny_images, tiny_labels, tmp_path
):
    with pytest.raises(ValueError, match=r"The source of from scratch!"):
        compare(
            quick, tiny_images, tiny_labels, groups=np.arange(40) // 2, n_splits=2,
            source_groups={"from scratch!": [0]}, on_leak="raise", random_state=0,
            checkpoint_dir=tmp_path / "folds",
        )  # fmt: skip
    assert not (tmp_path / "folds").exists()


def test_copies_are_looked_for_once_for_all_transfers(quick, tiny_images, tiny_labels):
    found = compare(quick, tiny_images, tiny_labels, n_splits=2, random_state=0)
    one, other = (result.audit for result in found.results.values())
    assert one is other


@pytest.mark.parametrize(
    ("transfers", "settings", "message"),
    [
        ({}, {}, r"transfers is \{\}; expected a dict of at least two"),
        ({"a": None}, {}, "expected a dict of at least two"),
        ([1, 2], {}, r"transfers is \[1, 2\]; expected a dict"),
        ({"a": 1, "b": 2}, {"score": "f1"}, "score='f1'; expected one of 'accuracy'"),
        (
            dict.fromkeys(["a!", "a?"], DomainExtensionTransfer(None)),
            {"checkpoint_dir": "x", "random_state": 0},
            "make the same folder; rename one",
        ),
        (
            dict.fromkeys("ab", DomainExtensionTransfer(None)),
            {"checkpoint_dir": "x"},
            "checkpoint_dir='x' without random_state",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(transfers, settings, message):
    with pytest.raises(ValueError, match=message):
        compare(transfers, np.zeros((4, 8, 8, 1)), list("abab"), **settings)


def test_another_estimator_is_refused_before_the_first_is_trained():
    mixed = {"a": DomainExtensionTransfer(None), "b": "resnet"}
    with pytest.raises(TypeError, match=r"transfers\['b'\] is str; expected a DomainExtension"):
        compare(mixed, np.zeros((4, 8, 8, 1)), list("abab"))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fold_that_fails_says_of_which_transfer(transfers, tiny_images, tiny_labels):
    wild = clone(transfers["trained"]).set_params(learning_rate=1e38)
    with pytest.raises(FoldError) as caught:
        compare({"fine": transfers["from scratch!"], "wild": wild}, tiny_images, tiny_labels)
    assert caught.value.__notes__ == ["The transfer that failed: 'wild'; finished: ['fine']."]
