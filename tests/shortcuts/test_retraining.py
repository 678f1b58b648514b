"""The network is trained once more as it was, goes on from checkpoints, and is no other."""

import pytest
from sklearn.base import clone

from detl import shortcuts


def test_a_run_goes_on_from_its_checkpoints(planted, planted_report, classifier):
    images, result = planted
    _, folder = planted_report
    report = shortcuts.region_test(result, classifier, images, checkpoint_dir=folder)
    assert len(list((folder / "border_kept").glob("fold_*.npz"))) == 2
    assert report.results["border kept"].seconds["features"] == 0


def test_another_classifier_is_refused(clean, classifier):
    images, result = clean
    other = clone(classifier).set_params(epochs=7)
    with pytest.raises(ValueError, match="epochs=7, but 6 was cross-validated"):
        shortcuts.examine(result, other, images)
    weighted = clone(classifier).set_params(class_weight={"dim": 1.0, "bright": 9.0})
    with pytest.raises(ValueError, match=r"class_weight=.*, but None was cross-validated"):
        shortcuts.examine(result, weighted, images)
    with pytest.raises(TypeError, match="classifier is str"):
        shortcuts.examine(result, "transfer", images)


def test_another_source_is_refused(clean, classifier, tiny_backbone):
    images, result = clean
    other = clone(classifier).set_params(source=tiny_backbone)
    with pytest.raises(ValueError, match="source of classifier has other weights"):
        shortcuts.region_test(result, other, images)
