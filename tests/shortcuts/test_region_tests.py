"""What is left when the object is hidden gives a planted mark away."""

import numpy as np
import pytest

from detl import shortcuts


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
