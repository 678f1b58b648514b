"""Where an image comes from is asked for by name, in the image, and by leaving it out."""

import numpy as np
import pytest

from detl import folds, shortcuts
from detl.shortcuts.examination import Examination
from detl.shortcuts.site_tests import _lost, _skill, judge_held_out

PLACES = np.where(np.arange(120) // 4 % 2, "Turin", "Rome")  # of half of each class each


@pytest.fixture(scope="module")
def found(clean, cross_validated, tmp_path_factory):
    """Return the report where half of each class is from Turin, and the folder of its runs.

    Turin's films are dark; the other halves are from Oslo and Rome, one for each class.
    """
    images, labels = clean[0].copy(), np.where(clean[1].labels == "bright", "T+", "T-")
    sites = np.where(PLACES == "Turin", "Turin", np.where(labels == "T+", "Oslo", "Rome"))
    images[PLACES == "Turin"] //= 2
    _, result = cross_validated(images, labels)
    folder = tmp_path_factory.mktemp("sites")
    report = shortcuts.site_test(
        result, cross_validated.classifier, images, sites, checkpoint_dir=folder
    )
    return report, folder


def test_sites_that_predict_the_class_and_show_in_the_image_are_found(found):
    report, _ = found
    assert report.tests["site"].verdict == "shortcut likely"
    in_image = report.tests["site from image"]
    assert in_image.verdict == "shortcut likely"
    assert report.results["site from image, T-"].classes.tolist() == ["Rome", "Turin"]
    assert "site held out" in report.tests


def test_runs_of_classes_with_alike_names_have_folders_of_their_own(found):
    report, folder = found
    assert set(report.tests["site from image"].estimates) == {"T+", "T-"}
    assert len(list(folder.glob("site_from_image*"))) == 2


def test_sites_of_several_classes_are_judged_at_once(make_result):
    result = make_result(np.array(["Oslo", "Turin"])[np.arange(60) % 2])
    interval = result.scores["roc_auc"].interval
    alone, of_two = _skill(result, of=1), _skill(result, of=2)
    expected = 2 * interval.low - 1, 2 * interval.high - 1
    assert (alone.low, alone.high) == pytest.approx(expected)
    assert of_two.low < alone.low
    assert of_two.high > alone.high


def test_sites_that_do_not_predict_the_class_are_not_sought_in_the_images(clean, classifier):
    images, result = clean
    report = shortcuts.site_test(result, classifier, images, PLACES)
    assert report.tests["site"].verdict == "no shortcut found"
    assert "site from image" not in report.tests
    assert report.tests["site held out"].verdict != "shortcut likely"
    assert len(report.results["site held out"].folds) == 2


@pytest.mark.parametrize(("said", "lost"), [("truth", 0), ("well", 1), ("opposite", 2)])
def test_what_is_lost_is_of_the_mean_sensitivity(make_result, said, lost):
    labels = np.array(["ill", "well", "well", "well", "well"])[np.arange(200) % 5]
    truth = np.stack([labels == "ill", labels == "well"], axis=1).astype("float32")
    answers = {"truth": truth, "well": np.tile([0.0, 1.0], (200, 1)), "opposite": 1 - truth}
    indices = folds.stratified_folds(labels, n_splits=2, random_state=0)
    network, held_out = (
        make_result(
            labels, groups=None, indices=indices, probabilities=[of[test] for _, test in indices]
        )
        for of in (truth, answers[said])
    )
    estimate = _lost(held_out, network)
    assert (estimate.value, estimate.low, estimate.high) == (lost, lost, lost)
    assert estimate.units == 40  # of the rarer class


def test_what_a_network_that_knows_nothing_loses_is_not_judged(clean, make_result):
    images, result = clean
    guesses = [np.full((len(test), 2), 0.5) for _, test in result.indices]
    blind = make_result(
        result.labels, groups=result.groups, indices=result.indices, probabilities=guesses
    )
    blind.settings.update(result.settings)
    examination = Examination(blind, images, threshold=0.33)
    judge_held_out(examination, blind, "")
    test = examination.tests["site held out"]
    assert test.verdict == "inconclusive"
    assert test.estimates == {}
    assert test.note == "Not judged, because the network has no skill there."


def test_where_site_and_class_are_one_the_other_tests_are_inconclusive(clean, classifier):
    images, result = clean
    report = shortcuts.site_test(result, classifier, images, result.labels)
    assert report.tests["site"].verdict == "shortcut likely"
    assert report.tests["site from image"].verdict == "inconclusive"
    assert "bright, dim" in report.tests["site from image"].note
    assert report.tests["site held out"].verdict == "inconclusive"
    assert "site and class cannot be separated" in report.tests["site held out"].note


def test_one_site_is_refused(clean, classifier):
    images, result = clean
    with pytest.raises(ValueError, match="one value only, 'NIH'"):
        shortcuts.site_test(result, classifier, images, ["NIH"] * 120)
