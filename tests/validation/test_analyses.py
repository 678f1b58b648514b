"""A result answers for its own images, labels and classes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from detl.metrics import Predictions
from detl.screening.decision_curves import decision_curve
from detl.screening.operating_points import operating_point
from detl.screening.pooling import pooled
from detl.screening.recalibration import recalibration
from detl.screening.subgroups import subgroups


def test_an_operating_point_is_that_of_the_named_class(result):
    found = result.operating_point("normal", sensitivity=0.9, prevalence=0.2)
    expected = operating_point(
        result.fold_predictions,
        1,
        "normal",
        sensitivity=0.9,
        prevalence=0.2,
        unit="groups",
        random_state=0,
    )
    assert str(found) == str(expected)


def test_net_benefit_and_calibration_are_those_of_the_folds(result):
    expected = decision_curve(result.fold_predictions, 2, "other", unit="groups", random_state=0)
    assert str(result.net_benefit("other")) == str(expected)
    expected = recalibration(
        result.fold_predictions, ["covid", "normal", "other"], unit="groups", random_state=0
    )
    assert str(result.recalibration()) == str(expected)


def test_attributes_go_with_the_images_not_with_the_order_of_the_folds(result):
    views = np.where(np.arange(60) % 4 < 2, "AP", "PA")
    rows = np.concatenate([fold.test for fold in result.folds])
    assert not np.array_equal(rows, np.arange(60))
    expected = subgroups(
        pooled(result.fold_predictions),
        {"view": views[rows]},
        1,
        "normal",
        unit="groups",
        random_state=0,
    )
    assert str(result.subgroups({"view": views}, class_name="normal")) == str(expected)


def test_predictions_follow_the_rows(result):
    rows = result.predicted_rows
    targets = np.concatenate([fold.targets for fold in result.fold_predictions])
    np.testing.assert_array_equal(result.classes[targets], result.labels[rows])


def test_images_that_no_fold_tested_are_in_no_subgroup(partly_repeated):
    found = partly_repeated.subgroups({"part": np.arange(10) % 2})
    assert [one.n_images for one in found.subgroups] == [6, 6]  # 0 to 3 count twice
    assert "predictions  images" in str(found)


@pytest.mark.parametrize("method", ["operating_point", "net_benefit"])
def test_a_class_that_is_not_there_is_refused(result, method):
    settings = {"threshold": 0.5} if method == "operating_point" else {}
    with pytest.raises(
        ValueError, match=r"class_name='flu' is no class .* of \['covid', 'normal', 'other'\]"
    ):
        getattr(result, method)("flu", **settings)


def test_groups_become_rows_with_all_scores_again(result):
    found = result.by_group(several_labels="split")
    assert "which is not known for new images: the scores are too high" in " ".join(
        str(found).split()
    )
    # Two images of a group follow each other, and have different labels: each is a row.
    assert len(found.labels) == 60
    assert found.accuracy == pytest.approx(result.accuracy)


def test_the_patients_score_is_that_of_their_mean_probabilities(make_result):
    groups = np.arange(60) // 3
    labels = np.array(["covid", "normal", "other"])[groups % 3]
    result = make_result(labels, groups=groups)
    found = result.by_group()
    shares = result.probabilities.reshape(20, 3, 3).mean(axis=1)
    np.testing.assert_array_equal(found.groups, np.arange(20))
    np.testing.assert_array_equal(found.labels, labels[::3])
    np.testing.assert_allclose(found.probabilities, shares, rtol=1e-5)
    right = found.classes[shares.argmax(axis=1)] == labels[::3]
    assert np.mean(found.predictions == found.labels) == right.mean()
    assert found.confusion_matrix.sum() == 20
    assert str(found).startswith(f"accuracy {found.accuracy:.3f}")
    assert "(share of groups; mean" in str(found)
    assert "groups  sensitivity" in str(found)
    for fold, before in zip(found.folds, result.folds, strict=True):
        np.testing.assert_array_equal(fold.test, np.unique(groups[before.test]))
        np.testing.assert_array_equal(fold.train, np.unique(groups[before.train]))


def test_a_result_of_groups_is_saved_and_loaded_like_any(make_result, tmp_path):
    groups = np.arange(60) // 2
    labels = np.array(["covid", "normal", "other"])[groups % 3]
    found = make_result(labels, groups=groups).by_group("max")
    again = type(found).load(found.save(tmp_path / "patients.json"))
    assert str(again) == str(found)
    assert again.settings["by_group"] == "max"


def test_pooled_predictions_keep_decisions(result):
    fold = result.fold_predictions[0]
    decided = Predictions(
        targets=fold.targets,
        probabilities=fold.probabilities,
        units=fold.units,
        decisions=np.zeros(len(fold.targets), int),
    )
    assert (pooled([decided]).predicted == 0).all()


def test_a_result_draws_its_confusion_matrix(result):
    axes = Figure().subplots()
    assert result.plot(ax=axes) is axes.figure
    np.testing.assert_array_equal(axes.images[0].get_array(), result.confusion_matrix)
    shares = result.plot(normalize=True, figsize=(5, 4))
    assert shares.get_size_inches().tolist() == [5, 4]
    totals = result.confusion_matrix.sum(axis=1, keepdims=True)
    shown = shares.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown, result.confusion_matrix / totals)
