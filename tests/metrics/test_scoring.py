"""Scores equal scikit-learn's; intervals equal what redrawing by hand gives."""

import itertools

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from detl.metrics import scoring as metrics
from detl.metrics.scoring import OVERALL, PER_CLASS, Predictions, Score


def predictions(n=60, n_classes=3, *, decimals=None, n_units=None, seed=0):
    """Return a fold that is right more often than not; rounded probabilities have ties."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % n_classes
    probabilities = rng.dirichlet(np.ones(n_classes), n) + 0.5 * np.eye(n_classes)[targets]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if decimals is not None:
        probabilities = probabilities.round(decimals)
    units = np.arange(n) if n_units is None else rng.integers(0, n_units, n)
    return Predictions(targets=targets, probabilities=probabilities, units=units)


def right_or_wrong(correct, units=None):
    """Return folds of two classes, one image in five each, that are right where told."""
    n = len(correct)
    targets = np.arange(n) // 2 % 2
    predicted = np.where(correct, targets, 1 - targets)
    units = np.arange(n) if units is None else units
    return [
        Predictions(
            targets=targets[rows], probabilities=np.eye(2)[predicted][rows], units=units[rows]
        )
        for rows in np.array_split(np.random.default_rng(0).permutation(n), 5)
    ]


def named(values):
    """Return scores under their names; those of classes as (name, class)."""
    names = [*OVERALL]
    names += [(name, k) for k in range((len(values) - len(OVERALL)) // 4) for name in PER_CLASS]
    return dict(zip(names, values, strict=True))


# ------------------------------------------------------------------------------ scores of a fold


def scikit_learns(fold, weights):
    """Return scikit-learn's value of every score."""
    predicted = fold.probabilities.argmax(axis=1)
    n_classes = fold.probabilities.shape[1]
    every = list(range(n_classes))
    weighted = {"sample_weight": weights}
    per_class = {"average": None, "labels": every, **weighted}
    sensitivity = sklearn_metrics.recall_score(fold.targets, predicted, **per_class)
    precision = sklearn_metrics.precision_score(fold.targets, predicted, **per_class)
    found = {
        "accuracy": sklearn_metrics.accuracy_score(fold.targets, predicted, **weighted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(
            fold.targets, predicted, **weighted
        ),
        "macro_f1": sklearn_metrics.f1_score(fold.targets, predicted, average="macro", **weighted),
    }
    for k in every:
        found["sensitivity", k] = sensitivity[k]
        found["precision", k] = precision[k]
        found["specificity", k] = sklearn_metrics.recall_score(
            fold.targets != k, predicted != k, **weighted
        )
        found["roc_auc", k] = sklearn_metrics.roc_auc_score(
            fold.targets == k, fold.probabilities[:, k], **weighted
        )
    found["roc_auc"] = np.mean([found["roc_auc", k] for k in every])
    found["brier_score"] = sum(
        sklearn_metrics.brier_score_loss(
            fold.targets == k, fold.probabilities[:, k], scale_by_half=True, **weighted
        )
        for k in every
    )
    return found


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_every_score_is_scikit_learns_for_any_weights(decimals, n_classes):
    fold = predictions(84, n_classes, decimals=decimals)
    weights = np.random.default_rng(1).gamma(1, size=(4, 84))
    weights[0], weights[1, ::4] = 1, 0
    for row, found in zip(weights, metrics.weighted_scores(fold, weights), strict=True):
        expected, found = scikit_learns(fold, row), named(found)
        assert set(found) - set(expected) == {"calibration_error"}
        for name, value in expected.items():
            assert found[name] == pytest.approx(value, abs=1e-12), name


def test_without_weights_every_image_counts_once():
    fold = predictions()
    np.testing.assert_array_equal(
        metrics.weighted_scores(fold), metrics.weighted_scores(fold, np.ones((1, 60)))
    )


def test_weights_are_repetitions():
    fold = predictions()
    times = np.random.default_rng(0).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), times)
    repeated = Predictions(
        targets=fold.targets[rows], probabilities=fold.probabilities[rows], units=rows
    )
    np.testing.assert_allclose(
        metrics.weighted_scores(fold, times[np.newaxis].astype(float)),
        metrics.weighted_scores(repeated),
    )


def test_the_calibration_error_is_the_mean_gap_of_15_bins():
    fold = predictions(300)
    confidence = fold.probabilities.max(axis=1)
    correct = fold.probabilities.argmax(axis=1) == fold.targets
    expected = 0.0
    for low in range(15):
        inside = (low / 15 <= confidence) & (confidence < (low + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    found = named(metrics.weighted_scores(fold)[0])["calibration_error"]
    assert found == pytest.approx(expected, abs=1e-12)


def test_who_is_sure_and_right_has_no_calibration_error():
    fold = right_or_wrong(np.ones(50, bool))[0]
    assert named(metrics.weighted_scores(fold)[0])["calibration_error"] == 0


def test_float32_probabilities_are_scored_as_they_are():
    fold = predictions()
    single = Predictions(
        targets=fold.targets, probabilities=fold.probabilities.astype("float32"), units=fold.units
    )
    np.testing.assert_allclose(
        metrics.weighted_scores(single), metrics.weighted_scores(fold), atol=1e-6
    )


def test_a_fold_without_a_class_has_only_its_specificity():
    fold = predictions(60)
    rows = np.flatnonzero(fold.targets != 2)
    without = Predictions(
        targets=fold.targets[rows],
        probabilities=fold.probabilities[rows],
        units=fold.units[rows],
    )
    found = named(metrics.weighted_scores(without)[0])
    missing = {name for name, value in found.items() if np.isnan(value)}
    assert missing == {
        "balanced_accuracy",
        "macro_f1",
        "roc_auc",
        ("sensitivity", 2),
        ("precision", 2),
        ("roc_auc", 2),
    }
    predicted = without.probabilities.argmax(axis=1)
    assert found["specificity", 2] == np.mean(predicted != 2)


def test_a_fold_of_one_class_has_no_area_and_no_specificity_of_it():
    fold = Predictions(targets=np.zeros(4, int), probabilities=np.eye(2)[[0, 0, 0, 1]], units=None)
    found = named(metrics.weighted_scores(fold)[0])
    assert found["accuracy"] == found["sensitivity", 0] == 0.75
    assert np.isnan([found["roc_auc", 0], found["roc_auc", 1], found["specificity", 0]]).all()


def test_a_class_that_is_never_predicted_has_no_precision_but_an_f1_of_zero():
    fold = Predictions(
        targets=np.array([0, 0, 1, 1]), probabilities=np.eye(2)[[0, 0, 0, 0]], units=None
    )
    found = named(metrics.weighted_scores(fold)[0])
    assert np.isnan(found["precision", 1])
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)


# ---------------------------------------------------------------------------- mean over the folds


def test_means_are_over_the_folds_that_have_the_score():
    interval = metrics.Interval(low=0.0, high=1.0, method="")
    score = Score(folds=(0.5, np.nan, 0.7, 0.9), interval=interval)
    assert score.mean == pytest.approx(0.7)
    assert score.std == pytest.approx(0.2)
    assert score.n_missing == 1


@pytest.mark.parametrize(("folds", "mean"), [((np.nan, np.nan), np.nan), ((0.4, np.nan), 0.4)])
def test_fewer_than_two_folds_have_no_deviation(folds, mean):
    score = Score(folds=folds, interval=metrics.Interval(low=0.0, high=1.0, method=""))
    np.testing.assert_equal((score.mean, score.std), (mean, np.nan))


def test_scores_are_found_under_their_names():
    folds = [predictions(seed=seed) for seed in (0, 1)]
    overall, per_class = metrics.scores(folds, random_state=0)
    assert tuple(overall) == OVERALL
    assert [tuple(scores) for scores in per_class] == [PER_CLASS] * 3
    for number, fold in enumerate(folds):
        for name, value in scikit_learns(fold, None).items():
            score = overall[name] if isinstance(name, str) else per_class[name[1]][name[0]]
            assert score.folds[number] == pytest.approx(value), name


# -------------------------------------------------------------------------------------- intervals


def by_hand(fold, rows):
    """Return accuracy, and sensitivity and area of each class, of these rows, image by image."""
    targets, probabilities = fold.targets[rows], fold.probabilities[rows]
    right = [int(np.argmax(p) == t) for t, p in zip(targets, probabilities, strict=True)]
    found = [np.mean(right) if right else np.nan]
    for k in range(probabilities.shape[1]):
        of_class = [hit for hit, t in zip(right, targets, strict=True) if t == k]
        found.append(np.mean(of_class) if of_class else np.nan)
        scores, others = probabilities[targets == k, k], probabilities[targets != k, k]
        pairs = [(a > b) + (a == b) / 2 for a in scores for b in others]
        found.append(np.mean(pairs) if pairs else np.nan)
    return found


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_draws_are_those_of_whole_units_redrawn_by_hand():
    # Four units can be drawn in 4^4 ways, all equally likely: the whole distribution is known.
    folds = [predictions(9, decimals=1, n_units=4, seed=seed) for seed in (4, 5)]
    expected = []
    for drawn in itertools.product(range(4), repeat=4):
        rows = [
            np.concatenate([np.flatnonzero(fold.units == unit) for unit in drawn]) for fold in folds
        ]
        values = np.array([by_hand(*pair) for pair in zip(folds, rows, strict=True)])
        # All folds have nine images: each counts by how many were drawn from it.
        known = np.where(np.isnan(values), np.nan, np.array([[len(one)] for one in rows]))
        total = np.nansum(known, axis=0)
        mean = np.nansum(known * values, axis=0) / np.where(total > 0, total, np.nan)
        expected.append(mean)
    draws, method = metrics.redrawn_scores(folds, unit="groups", random_state=0)
    names = list(named(draws))
    chosen = ["accuracy", *((n, k) for k in range(3) for n in ("sensitivity", "roc_auc"))]
    found = draws[[names.index(name) for name in chosen]].T

    def as_set(rows):
        return {tuple(row) for row in np.nan_to_num(np.round(rows, 9), nan=-1.0).tolist()}

    assert as_set(found) <= as_set(expected)
    assert len(as_set(found)) > 0.95 * len(as_set(expected)) > 25
    error = np.nanstd(expected, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.nanmean(found, axis=0) - np.nanmean(expected, axis=0)) < 4 * error).all()
    assert method == "percentile bootstrap over 4 groups, 2000 draws, too narrow under 20 groups"


def accuracy_interval(folds, unit="images"):
    return metrics.scores(folds, unit=unit, random_state=0)[0]["accuracy"].interval


def test_the_interval_of_single_images_is_that_of_a_binomial_share():
    found = accuracy_interval(right_or_wrong(np.arange(400) % 4 > 0))
    low, high = stats.binom.ppf([0.025, 0.975], 400, 0.75) / 400
    assert found.low == pytest.approx(low, abs=0.006)
    assert found.high == pytest.approx(high, abs=0.006)
    assert found.method == "percentile bootstrap over 400 images, 2000 draws"


def test_groups_of_equal_images_widen_the_interval_by_the_root_of_their_size():
    correct, groups = np.repeat(np.arange(60) % 4 > 0, 9), np.arange(540) // 9
    alone = accuracy_interval(right_or_wrong(correct))
    together = accuracy_interval(right_or_wrong(correct, groups), unit="groups")
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(3, rel=0.1)
    assert together.method == "percentile bootstrap over 60 groups, 2000 draws"


@pytest.mark.parametrize(
    ("n", "method"),
    [
        (19, "percentile bootstrap over 19 images, 2000 draws, too narrow under 20 images"),
        (20, "percentile bootstrap over 20 images, 2000 draws"),
    ],
)
def test_an_interval_over_few_says_that_it_is_too_narrow(n, method):
    assert accuracy_interval(right_or_wrong(np.arange(n) % 4 > 0)).method == method


def test_about_95_percent_of_intervals_hold_the_true_accuracy():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(60):
        targets = np.arange(120) % 2
        predicted = np.where(rng.random(120) < 0.8, targets, 1 - targets)
        fold = Predictions(
            targets=targets, probabilities=np.eye(2)[predicted], units=np.arange(120)
        )
        found = accuracy_interval([fold])
        hits += found.low <= 0.8 <= found.high
    assert 53 <= hits <= 59


def test_an_image_in_several_repeats_is_one_image():
    correct = np.arange(200) % 4 > 0
    once = right_or_wrong(correct)
    one, three = accuracy_interval(once), accuracy_interval(3 * once)
    assert (one.low, one.high) == pytest.approx((three.low, three.high))


def test_no_error_at_all_gives_an_interval_without_width():
    overall, per_class = metrics.scores(right_or_wrong(np.ones(20, bool)), random_state=0)
    for score in (overall["accuracy"], overall["roc_auc"], per_class[1]["precision"]):
        assert (score.mean, score.interval.low, score.interval.high) == (1, 1, 1)


def test_a_score_that_no_fold_has_has_no_interval():
    fold = Predictions(
        targets=np.zeros(4, int), probabilities=np.eye(2)[[0, 0, 0, 1]], units=np.arange(4)
    )
    overall, per_class = metrics.scores([fold, fold], random_state=0)
    assert np.isnan(overall["macro_f1"].interval.low)
    assert np.isnan(per_class[1]["sensitivity"].interval.high)
    assert 0 <= overall["accuracy"].interval.low < 0.75


def test_the_interval_of_a_calibration_error_is_around_it():
    # Redrawn images raise the error of a calibrated classifier by a third.
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet([0.5] * 3, 500)
    targets = (rng.random((500, 1)) > probabilities.cumsum(axis=1)).sum(axis=1)
    folds = [
        Predictions(targets=targets[k::5], probabilities=probabilities[k::5], units=units)
        for k, units in enumerate(np.arange(500).reshape(100, 5).T)
    ]
    draws, _ = metrics.redrawn_scores(folds, unit="images", random_state=0)
    score = metrics.scores(folds, random_state=0)[0]["calibration_error"]
    row = OVERALL.index("calibration_error")
    assert draws[row].mean() > 1.2 * score.mean
    ends = np.quantile(draws[row], (0.025, 0.975)) - draws[row].mean() + score.mean
    assert (score.interval.low, score.interval.high) == pytest.approx(tuple(ends))
    assert score.interval.method == (
        "percentile bootstrap over 500 images, 2000 draws, centred on the mean"
    )


def test_equal_seeds_give_equal_draws_and_others_do_not():
    folds = [predictions(seed=seed) for seed in (0, 1)]
    first, again, other = (
        metrics.redrawn_scores(folds, unit="images", random_state=seed)[0] for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_two_classifiers_are_scored_on_the_same_draws():
    correct = np.random.default_rng(0).random(200) < 0.7
    draws = [
        metrics.redrawn_scores(right_or_wrong(one), unit="images", random_state=0)[0][0]
        for one in (correct, ~correct)
    ]
    # In each draw, and in each fold, what one has right the other has wrong.
    np.testing.assert_allclose(draws[0] + draws[1], 1)


def test_units_that_no_fold_tests_are_not_drawn():
    every = right_or_wrong(np.arange(40) % 4 > 0)
    shifted = [
        Predictions(targets=f.targets, probabilities=f.probabilities, units=1000 + 7 * f.units)
        for f in every
    ]
    assert accuracy_interval(shifted) == accuracy_interval(every)


def test_one_group_has_scores_but_no_interval():
    fold = predictions(6, n_units=1)
    overall, per_class = metrics.scores([fold], unit="groups")
    for name, score in (*overall.items(), *per_class[0].items()):
        assert np.isfinite(score.mean), name
        assert np.isnan([score.interval.low, score.interval.high]).all()
    assert overall["accuracy"].interval.method == "none: 1 of groups is too few"
    curve = metrics.roc_curves([fold], unit="groups")[0]
    assert np.isfinite(curve.mean).all()
    assert np.isnan([curve.low, curve.high]).all()


@pytest.mark.parametrize("n_folds", [3, 30], ids=["ten groups a fold", "one group a fold"])
def test_the_interval_is_as_wide_however_few_groups_a_fold_has(n_folds):
    rng = np.random.default_rng(0)
    correct = rng.random((30, 4)) < rng.beta(4, 2, (30, 1))  # patients differ
    targets = np.tile([0, 1, 0, 1], (30, 1))
    folds = [
        Predictions(
            targets=targets[rows].ravel(),
            probabilities=np.eye(2)[np.where(correct, targets, 1 - targets)[rows].ravel()],
            units=np.repeat(rows, 4),
        )
        for rows in np.array_split(np.arange(30), n_folds)
    ]
    found = accuracy_interval(folds, unit="groups")
    shares = correct.mean(axis=1)
    slow = [shares[rng.integers(0, 30, 30)].mean() for _ in range(4000)]
    low, high = np.quantile(slow, (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.012)


# ------------------------------------------------------------------------------------- ROC curves


def scikit_learns_curve(fold, k, weights=None):
    rates, sensitivity, _ = sklearn_metrics.roc_curve(
        fold.targets == k, fold.probabilities[:, k], sample_weight=weights
    )
    return np.interp(np.linspace(0, 1, 101), rates, sensitivity)


@pytest.mark.parametrize("decimals", [None, 1], ids=["no ties", "ties"])
def test_the_curve_of_a_fold_is_scikit_learns(decimals):
    folds = [predictions(70, decimals=decimals, seed=seed) for seed in (0, 1)]
    curves = metrics.roc_curves(folds, random_state=0)
    assert len(curves) == 3
    for k, curve in enumerate(curves):
        np.testing.assert_allclose(curve.false_positive_rate, np.linspace(0, 1, 101))
        expected = [scikit_learns_curve(fold, k) for fold in folds]
        np.testing.assert_allclose(curve.folds, expected)
        np.testing.assert_allclose(curve.mean, np.mean(expected, axis=0))


def test_redrawn_curves_are_scikit_learns_with_weights():
    fold = predictions(70, decimals=1)
    weights = np.random.default_rng(0).integers(0, 3, (5, 70)).astype(float)
    found = metrics._sensitivities(fold, weights).reshape(5, 3, 101)
    for row, curves in zip(weights, found, strict=True):
        for k in range(3):
            np.testing.assert_allclose(curves[k], scikit_learns_curve(fold, k, row))


def test_the_area_below_the_mean_curve_is_the_mean_area():
    folds = [predictions(200, seed=seed) for seed in (0, 1)]
    _, per_class = metrics.scores(folds, random_state=0)
    for curve, scores in zip(metrics.roc_curves(folds, random_state=0), per_class, strict=True):
        area = np.trapezoid(curve.mean, curve.false_positive_rate)
        assert area == pytest.approx(scores["roc_auc"].mean, abs=0.005)
        low, high = (np.trapezoid(c, curve.false_positive_rate) for c in (curve.low, curve.high))
        assert low < scores["roc_auc"].interval.low  # a band is wider than what is within it
        assert scores["roc_auc"].interval.high < high


def test_bands_hold_the_mean_and_come_from_groups():
    groups = np.repeat(np.arange(60), 4)
    one = predictions(60)
    copies = Predictions(
        targets=one.targets[groups], probabilities=one.probabilities[groups], units=groups
    )
    together = metrics.roc_curves([copies], unit="groups", random_state=0)[0]
    alone = metrics.roc_curves([one], random_state=0)[0]
    np.testing.assert_allclose(together.low, alone.low)
    np.testing.assert_allclose(together.high, alone.high)
    assert ((together.low <= together.mean) & (together.mean <= together.high)).mean() > 0.95
    assert together.method == "percentile bootstrap over 60 groups, 500 draws"


def test_folds_without_the_class_or_without_others_have_no_curve():
    probabilities = np.eye(3)[[0, 0, 1, 1]]
    folds = [
        Predictions(targets=np.array(targets), probabilities=probabilities, units=np.arange(4))
        for targets in ([0, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 0])
    ]
    first, second, third = metrics.roc_curves(folds, random_state=0)
    assert [curve.n_missing for curve in (first, second, third)] == [1, 1, 3]
    assert np.isnan(first.folds[1]).all()
    np.testing.assert_allclose(first.mean, (1 + first.folds[2]) / 2)
    for values in (third.mean, third.low, third.high):
        assert np.isnan(values).all()


def test_a_perfect_classifier_finds_all_without_a_false_alarm():
    curve = metrics.roc_curves(right_or_wrong(np.ones(20, bool)), random_state=0)[0]
    for values in (curve.mean, curve.low, curve.high):
        np.testing.assert_array_equal(values, 1)


# ------------------------------------------------------------------------------------ reliability


def test_reliability_compares_confidence_and_accuracy_bin_by_bin():
    confidence = [0.05, 0.55, 0.58, 0.52, 0.51, 0.95, 1.0]
    correct = [False, True, True, False, False, True, True]
    mean_confidence, accuracy, images = metrics.reliability(correct, confidence)
    np.testing.assert_allclose(mean_confidence, [0.05, 0.54, 0.975])
    np.testing.assert_allclose(accuracy, [0, 0.5, 1])
    assert images.tolist() == [1, 4, 2]


def test_reliability_and_calibration_error_agree():
    fold = predictions(300)
    confidence, accuracy, images = metrics.reliability(
        fold.probabilities.argmax(axis=1) == fold.targets,
        fold.probabilities.max(axis=1),
        n_bins=15,
    )
    expected = named(metrics.weighted_scores(fold)[0])["calibration_error"]
    assert images @ np.abs(accuracy - confidence) / 300 == pytest.approx(expected)


def test_one_bin_holds_everything():
    found = metrics.reliability([True, False], [0.9, 1.0], n_bins=1)
    np.testing.assert_allclose(found, [[0.95], [0.5], [2]])


@pytest.mark.parametrize(
    ("correct", "confidence", "message"),
    [
        ([True, False], [0.5], "1 confidence for 2 images"),
        ([True, 2], [0.5, 0.5], "values other than True and False; give predictions == labels"),
        ([True], [1.5], r"outside \[0, 1\]; give probabilities.max\(axis=1\)"),
        ([True], [np.nan], "confidence has a missing value"),
        ([True], [[0.4, 0.6]], r"confidence has shape \(1, 2\); expected \(1,\)"),
    ],
)
def test_what_cannot_be_compared_is_refused(correct, confidence, message):
    with pytest.raises(ValueError, match=message):
        metrics.reliability(correct, confidence)


def test_there_is_at_least_one_bin():
    with pytest.raises(ValueError, match="n_bins=0; expected at least 1"):
        metrics.reliability([True], [0.5], n_bins=0)


# ------------------------------------------------------------------------------------ class table


def test_the_class_table_counts_one_class_against_the_rest():
    table = metrics.class_table(np.array([[8, 2, 0], [1, 6, 3], [0, 0, 5]]))
    assert table["images"].tolist() == [10, 10, 5]
    np.testing.assert_allclose(table["sensitivity"], [0.8, 0.6, 1.0])
    np.testing.assert_allclose(table["specificity"], [14 / 15, 13 / 15, 17 / 20])
    np.testing.assert_allclose(table["precision"], [8 / 9, 6 / 8, 5 / 8])


def test_a_class_that_is_never_predicted_has_no_precision():
    assert np.isnan(metrics.class_table(np.array([[3, 0], [2, 0]]))["precision"][1])


@pytest.mark.parametrize("matrix", [np.ones(4), np.ones((2, 3))])
def test_a_confusion_matrix_is_square(matrix):
    with pytest.raises(ValueError, match=r"has shape \(.*\); expected \(n_classes, n_classes\)"):
        metrics.class_table(matrix)
