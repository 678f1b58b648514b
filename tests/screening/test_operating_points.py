"""A threshold is chosen where it is not judged, and rates are scikit-learn's."""

import numpy as np
import pytest
from sklearn.metrics import class_likelihood_ratios, precision_score, recall_score, roc_curve

from detl.metrics import Predictions
from detl.screening.operating_points import operating_point


def point(folds, target=1, **settings):
    return operating_point(
        folds, target, "covid", **{"unit": "groups", "random_state": 0, **settings}
    )


def joined(folds):
    return (
        np.concatenate([fold.targets == 1 for fold in folds]),
        np.concatenate([fold.probabilities[:, 1] for fold in folds]),
    )


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95, 1.0])
def test_the_threshold_of_a_fold_is_the_highest_that_has_the_sensitivity_on_the_others(
    make_folds, share
):
    folds = make_folds()
    found = point(folds, sensitivity=share)
    for fold, threshold in zip(folds, found.fold_thresholds, strict=True):
        true, scores = joined([other for other in folds if other is not fold])
        scores = scores.astype("float32")
        _, sensitivity, thresholds = roc_curve(true, scores, drop_intermediate=False)
        assert threshold == thresholds[sensitivity >= share - 1e-12].max()


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_the_threshold_of_a_fold_is_the_lowest_that_has_the_specificity_on_the_others(
    make_folds, share
):
    folds = make_folds()
    found = point(folds, specificity=share)
    for fold, threshold in zip(folds, found.fold_thresholds, strict=True):
        true, scores = joined([other for other in folds if other is not fold])
        negative = scores[~true].astype("float32")
        assert np.mean(negative < threshold) >= share
        below = negative[negative < threshold].max()  # one step lower, it has not
        assert np.mean(negative < below) < share


def test_what_a_fold_is_judged_by_does_not_depend_on_its_own_predictions(make_folds):
    folds = make_folds()
    before = point(folds, sensitivity=0.9).fold_thresholds
    other = make_folds(seed=1)[0]
    changed = Predictions(
        targets=other.targets, probabilities=other.probabilities, units=folds[0].units
    )
    after = point([changed, *folds[1:]], sensitivity=0.9).fold_thresholds
    assert before[0] == after[0]
    assert before[1:] != after[1:]


def test_with_repeats_no_prediction_of_the_folds_own_units_is_chosen_on(make_folds):
    folds, again = make_folds(seed=0), make_folds(seed=1)  # the same units, twice
    found = point(folds + again, sensitivity=0.9)
    true, scores = joined([*folds[1:], *again[1:]])
    scores = scores.astype("float32")
    assert (
        found.fold_thresholds[0] == np.sort(scores[true])[::-1][int(np.ceil(0.9 * true.sum())) - 1]
    )
    assert found.fold_thresholds[0] == found.fold_thresholds[3]


def test_rates_and_likelihood_ratios_are_scikit_learns(make_folds):
    folds = make_folds()
    found = point(folds, threshold=0.3)
    true, scores = joined(folds)
    called = scores >= 0.3
    assert found.sensitivity.value == pytest.approx(recall_score(true, called))
    assert found.specificity.value == pytest.approx(recall_score(~true, ~called))
    assert found.positive_predictive_value.value == pytest.approx(precision_score(true, called))
    assert found.negative_predictive_value.value == pytest.approx(precision_score(~true, ~called))
    positive, negative = class_likelihood_ratios(true, called)
    assert found.positive_likelihood_ratio.value == pytest.approx(positive)
    assert found.negative_likelihood_ratio.value == pytest.approx(negative)
    assert found.counts.tolist() == [
        [np.sum(true & called), np.sum(true & ~called)],
        [np.sum(~true & called), np.sum(~true & ~called)],
    ]
    assert found.prevalence == pytest.approx(true.mean())
    assert not found.prevalence_given


def test_predictive_values_follow_from_a_stated_prevalence_by_bayes(make_folds):
    found = point(make_folds(), threshold=0.3, prevalence=0.01)
    s, p = found.sensitivity.value, found.specificity.value
    expected = 0.01 * s / (0.01 * s + 0.99 * (1 - p))
    assert found.positive_predictive_value.value == pytest.approx(expected)
    expected = 0.99 * p / (0.99 * p + 0.01 * (1 - s))
    assert found.negative_predictive_value.value == pytest.approx(expected)
    assert "at a prevalence of 0.01 (stated)" in str(found)


def test_without_a_false_alarm_the_likelihood_ratio_is_infinite():
    shares = np.r_[np.full(10, 0.9), np.full(10, 0.1)]
    fold = Predictions(
        targets=np.repeat([1, 0], 10),
        probabilities=np.stack([1 - shares, shares], axis=1),
        units=np.arange(20),
    )
    found = point([fold], threshold=0.5)
    assert found.positive_likelihood_ratio.value == np.inf
    assert found.positive_likelihood_ratio.interval.high == np.inf
    assert found.negative_likelihood_ratio.value == 0
    assert "positive likelihood ratio  inf (inf to inf)" in str(found)


def test_the_table_says_what_was_chosen_and_what_came_of_it(make_folds):
    folds = make_folds()
    found = point(folds, sensitivity=0.9)
    low, high = min(found.fold_thresholds), max(found.fold_thresholds)
    lines = str(found).splitlines()
    assert lines[0] == (
        f"'covid' is called from a probability of {low:.3f} to {high:.3f} on "
        "(sensitivity of at least 0.9)"
    )
    assert lines[1] == f"sensitivity                {found.sensitivity}"
    (hits, misses), (alarms, passed) = found.counts
    assert lines[7] == (
        f"Of {hits + misses} images of 'covid', {hits} are called; of {alarms + passed} others, "
        f"{alarms}."
    )


def test_ties_in_float32_are_called_as_a_user_would_call_them():
    shares = np.repeat(np.float32([0.7, 0.3, 0.1]), 20)
    targets = (np.arange(60) % 3 == 0).astype(int)
    folds = [
        Predictions(
            targets=targets,
            probabilities=np.stack([1 - shares, shares], axis=1),
            units=100 * number + np.arange(60),
        )
        for number in range(2)
    ]
    given = point(folds, threshold=0.7)
    assert given.counts[0, 0] == 2 * np.sum((shares >= 0.7) & (targets == 1)) > 0
    chosen = point(folds, specificity=0.6)
    called = shares >= chosen.threshold
    assert chosen.specificity.value == np.mean(~called[targets == 0])


def test_exactly_one_aim_is_given(make_folds):
    with pytest.raises(ValueError, match="nothing is given; expected one of sensitivity, spec"):
        point(make_folds())
    with pytest.raises(ValueError, match="sensitivity and threshold is given; expected one of"):
        point(make_folds(), sensitivity=0.9, threshold=0.2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sensitivity": 1.5}, "sensitivity=1.5"),
        ({"specificity": 0}, "specificity=0"),
        ({"threshold": -0.1}, "threshold=-0.1"),
        ({"threshold": 0.5, "prevalence": 1}, "prevalence=1"),
        ({"threshold": 0.5, "prevalence": 0}, "prevalence=0"),
    ],
)
def test_what_is_no_share_is_refused(make_folds, settings, message):
    with pytest.raises(ValueError, match=message):
        point(make_folds(), **settings)


def test_predictions_are_counted_where_folds_test_the_same_images(make_folds):
    assert "predictions of 'covid'" in str(
        point(make_folds(), threshold=0.5, counted="predictions")
    )


def constant():
    """Make predictions that are all alike, but one image of the class."""
    shares = np.full(20, 0.3)
    shares[0] = 0.8
    return [
        Predictions(
            targets=np.arange(20) % 2 == 0,
            probabilities=np.stack([1 - shares, shares], axis=1),
            units=20 * number + np.arange(20),
        )
        for number in range(2)
    ]


def test_a_sensitivity_for_which_every_image_is_called_is_refused():
    assert point(constant(), sensitivity=0.1).sensitivity.value == 0.1
    with pytest.raises(
        ValueError, match=r"sensitivity=0.5 of 'covid' is reached only .* it is 0.100 at most"
    ):
        point(constant(), sensitivity=0.5)


def test_a_specificity_for_which_no_image_of_the_class_is_called_is_refused():
    shares = np.linspace(0.1, 0.9, 20)  # others are always above images of the class
    folds = [
        Predictions(
            targets=np.arange(20) < 10,
            probabilities=np.stack([1 - shares, shares], axis=1),
            units=20 * number + np.arange(20),
        )
        for number in range(2)
    ]
    with pytest.raises(
        ValueError, match=r"specificity=0.5 for 'covid' is reached only .* it is 0.000 at most"
    ):
        point(folds, specificity=0.5)


def test_a_single_fold_has_nothing_to_choose_on(make_folds):
    with pytest.raises(
        ValueError,
        match=r"there are 0 images of 'covid' and 0 others that are not judged by it. Give",
    ):
        point(make_folds(n_folds=1), sensitivity=0.9)
