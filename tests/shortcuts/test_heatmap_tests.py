"""Heatmaps are of networks that were not trained on the image, and cannot rule a shortcut out."""

import numpy as np
from sklearn.base import clone

from detl import GradCAM, cross_validate
from detl.shortcuts.examination import Examination
from detl.shortcuts.heatmap_tests import judge_heatmaps, out_of_fold_heatmaps

INSIDE = np.zeros((16, 16), dtype=bool)
INSIDE[4:12, 4:12] = True


def judged(network, images, heatmaps, threshold=0.5):
    """Return the test of these heatmaps, all of the true class."""
    examination = Examination(network, images, threshold=0.33)
    masks = np.broadcast_to(INSIDE, heatmaps.shape)
    judge_heatmaps(examination, heatmaps, examination.targets, masks, threshold)
    return examination.tests["heatmaps"]


def test_each_image_is_explained_by_the_network_that_was_not_trained_on_it(clean, classifier):
    images, result = clean
    seeded = clone(classifier).set_params(random_state=result.settings["views_seed"])
    heatmaps, predicted = out_of_fold_heatmaps(result, seeded, images, method="gradcam", verbose=0)
    assert (result.classes[predicted] == result.predictions).all()
    train, test = result.indices[1]
    refitted = clone(classifier).set_params(random_state=result.fold_seeds[1])
    refitted.fit(images[train], result.labels[train])
    np.testing.assert_allclose(heatmaps[test], GradCAM(refitted.model_)(images[test]), atol=1e-5)


def test_what_was_held_out_by_group_inside_a_fold_is_held_out_again(clean, classifier):
    images, result = clean
    groups = np.arange(len(images)) // 4
    inside = clone(classifier).set_params(validation_split=0.5)
    grouped = cross_validate(
        inside, images, result.labels, groups=groups, n_splits=2, random_state=0
    )
    inside.set_params(random_state=grouped.settings["views_seed"])
    _, predicted = out_of_fold_heatmaps(grouped, inside, images, method="gradcam", verbose=0)
    assert (grouped.classes[predicted] == grouped.predictions).all()


def test_heatmaps_are_compared_with_the_area_of_the_region(clean_report):
    test = clean_report.tests["heatmaps"]
    assert set(test.estimates) == {"bright", "dim"}
    assert "on 25% of the area" in test.note
    # The bright class is known by its square, the dim one by what it lacks.
    assert test.estimates["bright"].low > 1
    assert test.estimates["dim"].high < test.threshold
    assert test.verdict == "inconclusive"


def test_heatmaps_that_all_lie_elsewhere_are_suspicious(clean):
    images, result = clean
    heatmaps = np.tile(np.where(INSIDE, 0.05, 1.0), (120, 1, 1))
    assert judged(result, images, heatmaps).verdict == "shortcut likely"
    assert judged(result, images, heatmaps, threshold=0.01).verdict == "inconclusive"


def test_blank_heatmaps_are_left_out_and_counted(clean):
    images, result = clean
    heatmaps = np.tile(INSIDE.astype("float32"), (120, 1, 1))
    heatmaps[::3] = 0
    test = judged(result, images, heatmaps)
    assert {estimate.value for estimate in test.estimates.values()} == {
        4.0
    }  # a quarter of the area
    assert "40 of 120 are blank and left out" in test.note
    test = judged(result, images, 0 * heatmaps)
    assert (test.estimates, test.verdict) == ({}, "inconclusive")
