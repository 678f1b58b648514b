"""Net benefit is what Vickers and Elkin define, and says where it is of use."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix

from detl.metrics import Predictions
from detl.screening.decision_curves import decision_curve


def curve(folds, **settings):
    return decision_curve(folds, 1, "covid", **{"unit": "groups", "random_state": 0, **settings})


def test_the_net_benefit_is_true_positives_less_weighted_false_positives(make_folds):
    folds = make_folds()
    true = np.concatenate([fold.targets == 1 for fold in folds])
    scores = np.concatenate([fold.probabilities[:, 1] for fold in folds])
    found = curve(folds, thresholds=[0.7, 0.1, 0.4])
    np.testing.assert_array_equal(found.thresholds, [0.1, 0.4, 0.7])
    for at, benefit, of_all in zip(
        found.thresholds, found.net_benefit, found.treat_all, strict=True
    ):
        ((_, alarms), (_, hits)) = confusion_matrix(true, scores >= at)
        assert benefit == pytest.approx(hits / 120 - alarms / 120 * at / (1 - at))
        assert of_all == pytest.approx(true.mean() - (1 - true.mean()) * at / (1 - at))
    assert (found.low < found.net_benefit).all()
    assert (found.net_benefit < found.high).all()


def certain(shares, targets):
    return Predictions(
        targets=targets,
        probabilities=np.stack([1 - shares, shares], axis=1),
        units=np.arange(len(targets)),
    )


def test_a_perfect_classifier_has_the_prevalence_everywhere():
    targets = (np.arange(200) % 4 == 0).astype(int)
    found = curve([certain(targets * 1.0, targets)])
    np.testing.assert_allclose(found.net_benefit, 0.25)
    assert found.prevalence == 0.25
    assert found.useful[1:].all()  # at 0.01, a needless action costs nearly nothing


def test_a_classifier_that_knows_nothing_is_of_no_use():
    targets = (np.arange(400) % 4 == 0).astype(int)
    found = curve([certain(np.random.default_rng(0).uniform(size=400), targets)])
    assert not found.useful.any()
    assert "Shown to be better than acting on all or on none at no threshold." in str(found)


def test_the_table_says_where_it_is_of_use(make_folds):
    found = curve(make_folds(n=400), thresholds=np.arange(1, 10) / 10)
    lines = str(found).splitlines()
    assert lines[0] == f"net benefit of acting on 'covid' (prevalence {found.prevalence:.3f})"
    assert lines[2].split()[:2] == ["0.10", f"{found.net_benefit[0]:+.3f}"]
    useful = found.thresholds[found.useful]
    np.testing.assert_allclose(np.diff(useful), 0.1)  # one run
    assert f"at thresholds of {useful[0]:.2f} to {useful[-1]:.2f}." in str(found)


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ([0.0, 0.5], "thresholds=0.0"),
        ([0.5, 1.0], "thresholds=1.0"),
        ([], r"thresholds has shape \(0,\)"),
        ([[0.5]], r"thresholds has shape \(1, 1\)"),
        ([[0.1], [0.2, 0.3]], r"thresholds=.*; expected \(n,\) probabilities"),
    ],
)
def test_thresholds_are_probabilities_between_0_and_1(make_folds, thresholds, message):
    with pytest.raises(ValueError, match=message):
        curve(make_folds(), thresholds=thresholds)


def test_a_curve_draws_itself(make_folds):
    found = curve(make_folds())
    axes = Figure().subplots()
    assert found.plot(ax=axes) is axes.figure
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), found.net_benefit)
    assert found.plot(figsize=(5, 4)).get_size_inches().tolist() == [5, 4]
