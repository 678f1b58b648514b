"""An examination is of one result and its images, and of no others."""

import pytest

from detl import shortcuts


def test_other_images_than_were_cross_validated_are_refused(clean, classifier):
    images, result = clean
    for call in (
        lambda other: shortcuts.examine(result, classifier, other),
        lambda other: shortcuts.baseline_test(result, other),
    ):
        with pytest.raises(ValueError, match="not those that were cross-validated"):
            call(images[::-1])


def test_what_is_no_result_is_refused(clean, classifier):
    with pytest.raises(TypeError, match=r"result is dict; expected what detl\.cross_validate"):
        shortcuts.examine({}, classifier, clean[0])


@pytest.mark.parametrize("threshold", [0, 1.5, 1e300])
def test_a_threshold_is_a_share(clean, classifier, threshold):
    images, result = clean
    with pytest.raises(ValueError, match=r"^threshold=.*; expected a (number above 0|share of at)"):
        shortcuts.baseline_test(result, images, threshold=threshold)
    with pytest.raises(ValueError, match="heatmap_threshold="):
        shortcuts.examine(result, classifier, images, heatmap_threshold=threshold)
