"""All tests run on the folds of the network under examination, and a clean set passes."""

import numpy as np

from detl import cross_validate
from detl.shortcuts.regions import FILL


def test_a_clean_set_passes(clean_report):
    assert clean_report.results["network"].scores["roc_auc"].mean > 0.9  # it has something to lose
    assert clean_report.passed
    for name in ("background", "border", "sizes", "region blanked", "border kept"):
        test = clean_report.tests[name]
        assert test.estimates[test.worst].value < test.threshold, name


def test_the_blanked_network_is_cross_validated_as_the_network_was(clean, clean_report, classifier):
    images, result = clean
    hidden = images.copy()
    hidden[:, 4:12, 4:12] = FILL
    again = cross_validate(
        classifier,
        hidden,
        result.labels,
        groups=result.groups,
        n_splits=2,
        on_leak="ignore",
        random_state=0,
    )
    found = clean_report.results["region blanked"]
    np.testing.assert_array_equal(found.probabilities, again.probabilities)
    assert found.fold_seeds == result.fold_seeds
