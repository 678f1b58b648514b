"""What is left when the object is hidden gives a planted mark away."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from detl import cross_validate, features, shortcuts
from detl.shortcuts.regions import FILL


def test_a_planted_mark_is_found_by_every_test_that_hides_the_object(planted_report):
    report, _ = planted_report
    assert not report.passed
    assert report.findings == ["region blanked", "border kept"]
    estimate = report.tests["region blanked"].estimates["bright"]
    assert estimate.low > report.tests["region blanked"].threshold


def test_nothing_is_concluded_from_holes_whose_outline_gives_the_class_away(clean, classifier):
    images, result = clean
    masks = np.zeros(images.shape[:3], dtype=bool)
    masks[:, 4:12, 4:12] = True
    masks[result.labels == "bright", 2:14, 2:14] = True
    report = shortcuts.region_test(result, classifier, images, region=masks, border=None)
    assert report.results["region outline"].scores["roc_auc"].mean == 1
    assert report.tests["region blanked"].verdict == "inconclusive"
    assert "outline" in report.tests["region blanked"].note
    quick = shortcuts.baseline_test(result, images, region=masks, border=None)
    assert quick.results["background"].scores["roc_auc"].mean > 0.9
    assert quick.tests["background"].verdict == "inconclusive"


def test_a_region_or_a_border_is_needed(clean, classifier):
    images, result = clean
    with pytest.raises(ValueError, match="neither region nor border"):
        shortcuts.region_test(result, classifier, images, border=None)


def means(images):
    """Return what another program may have computed: the mean of the region and of the corner."""
    return np.stack([images[:, 4:12, 4:12].mean((1, 2, 3)), images[:, :3, :3].mean((1, 2, 3))], 1)


def test_precomputed_features_of_hidden_regions_are_looked_up_or_missed(planted):
    images, of_network = planted
    hidden = images.copy()
    hidden[:, 4:12, 4:12] = FILL
    settings = {"groups": of_network.groups, "n_splits": 2, "on_leak": "ignore", "random_state": 0}
    shown = np.concatenate([images, hidden])
    for given, verdict in ((images, "inconclusive"), (shown, "shortcut likely")):
        known = features.precomputed(given, means(given))
        classifier = make_pipeline(known, LogisticRegression(max_iter=1000))
        result = cross_validate(classifier, images, of_network.labels, **settings)
        report = shortcuts.region_test(
            result, classifier, images, region=(4, 4, 12, 12), border=None
        )
        test = report.tests["region blanked"]
        assert test.verdict == verdict
        missed = "changed images cannot be looked up: 120 of 120 images have no precomputed"
        assert (missed in test.note) == (verdict == "inconclusive")
        assert ("region blanked" in report.results) == (verdict != "inconclusive")
        assert report.plot().axes
    whole = shortcuts.examine(result, classifier, images, region=(4, 4, 12, 12))
    assert whole.tests["border kept"].verdict == "inconclusive"
    assert whole.tests["background"].verdict == "shortcut likely"
