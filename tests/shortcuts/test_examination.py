"""An examination is of one result and its images, and of no others."""

import pytest

from detl import shortcuts


def test_other_images_than_were_cross_validated_are_refused(clean, transfer):
    images, result = clean
    for call in (
        lambda other: shortcuts.examine(result, transfer, other),
        lambda other: shortcuts.rivals(result, other),
    ):
        with pytest.raises(ValueError, match="not those that were cross-validated"):
            call(images[::-1])


def test_what_is_no_result_is_refused(clean, transfer):
    with pytest.raises(TypeError, match=r"result is dict; expected what detl\.cross_validate"):
        shortcuts.examine({}, transfer, clean[0])


def test_a_threshold_is_above_zero(clean):
    images, result = clean
    with pytest.raises(ValueError, match="threshold=0"):
        shortcuts.rivals(result, images, threshold=0)
