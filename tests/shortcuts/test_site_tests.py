"""Where an image comes from is asked for by name, in the image, and by leaving it out."""

import numpy as np
import pytest

from detl import folds, shortcuts
from detl.shortcuts.site_tests import _lost, _told, judge_held_out
from detl.shortcuts.examination import Examination

PLACES = np.where(np.arange(120) // 4 % 2, "Turin", "Rome")  # of half of each class each


@pytest.fixture(scope="module")
def found(clean, cross_validated, tmp_path_factory):
    """Return the report where half of each class is from Turin, and the folder of its runs.

    Turin's films are dark; the other halves are from Oslo and Rome, one for each class.
    """
    images, labels = clean[0].copy(), np.where(clean[1].labels == "bright", "T+", "T-")
    collections = np.where(PLACES == "Turin", "Turin", np.where(labels == "T+", "Oslo", "Rome"))
    images[PLACES == "Turin"] //= 2
    _, result = cross_validated(images, labels)
    folder = tmp_path_factory.mktemp("collections")
    report = shortcuts.collection_test(
        result, cross_validated.transfer, images, collections, checkpoint_dir=folder
    )
    return report, folder


def test_collections_that_know_the_class_and_are_told_by_the_image_are_found(found):
    report, _ = found
    assert report.tests["collection"].verdict == "shortcut likely"
    told = report.tests["collection from image"]
    assert told.verdict == "shortcut likely"
    assert report.results["collection from image, T-"].classes.tolist() == ["Rome", "Turin"]
    assert "collection held out" in report.tests


def test_runs_of_classes_with_alike_names_have_folders_of_their_own(found):
    report, folder = found
    assert set(report.tests["collection from image"].figures) == {"T+", "T-"}
    assert len(list(folder.glob("collection_from_image*"))) == 2


def test_collections_of_several_classes_are_judged_at_once(make_result):
    result = make_result(np.array(["Oslo", "Turin"])[np.arange(60) % 2])
    interval = result.scores["roc_auc"].interval
    alone, of_two = _told(result, of=1), _told(result, of=2)
    expected = 2 * interval.low - 1, 2 * interval.high - 1
    assert (alone.low, alone.high) == pytest.approx(expected)
    assert of_two.low < alone.low
    assert of_two.high > alone.high


def test_collections_that_say_nothing_are_not_sought_in_the_images(clean, transfer):
    images, result = clean
    report = shortcuts.collection_test(result, transfer, images, PLACES)
    assert report.tests["collection"].verdict == "no shortcut found"
    assert "collection from image" not in report.tests
    assert report.tests["collection held out"].verdict != "shortcut likely"
    assert len(report.results["collection held out"].folds) == 2


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
    figure = _lost(held_out, network)
    assert (figure.value, figure.low, figure.high) == (lost, lost, lost)
    assert figure.units == 40  # of the rarer class


def test_what_a_network_that_knows_nothing_loses_is_not_judged(clean, make_result):
    images, result = clean
    guesses = [np.full((len(test), 2), 0.5) for _, test in result.indices]
    blind = make_result(
        result.labels, groups=result.groups, indices=result.indices, probabilities=guesses
    )
    blind.settings.update(result.settings)
    examination = Examination(blind, images, threshold=0.33)
    judge_held_out(examination, blind, "")
    test = examination.tests["collection held out"]
    assert test.verdict == "cannot be told"
    assert test.figures == {}
    assert test.note == "Not judged, for the network does not tell the classes there."


def test_where_collection_and_class_are_one_nothing_more_can_be_told(clean, transfer):
    images, result = clean
    report = shortcuts.collection_test(result, transfer, images, result.labels)
    assert report.tests["collection"].verdict == "shortcut likely"
    assert report.tests["collection from image"].verdict == "cannot be told"
    assert "bright, dim" in report.tests["collection from image"].note
    assert report.tests["collection held out"].verdict == "cannot be told"
    assert "collection and class are one" in report.tests["collection held out"].note


def test_one_collection_is_refused(clean, transfer):
    images, result = clean
    with pytest.raises(ValueError, match="one value only, 'NIH'"):
        shortcuts.collection_test(result, transfer, images, ["NIH"] * 120)
