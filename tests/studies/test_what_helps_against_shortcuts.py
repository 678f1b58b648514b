from types import SimpleNamespace

import numpy as np
import pytest

from studies.what_helps_against_shortcuts import run as mitigations


@pytest.mark.parametrize("name", [n for n, change in mitigations.CHANGES.items() if change])
def test_images_keep_their_form_and_are_changed(name):
    drawn = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 1)).astype("uint8")
    data = SimpleNamespace(train=SimpleNamespace(images=drawn[::-1] // 2))
    found = mitigations.CHANGES[name](drawn, data)
    assert (found.shape, found.dtype) == (drawn.shape, drawn.dtype)
    assert (found != drawn).mean() > 0.1


def test_what_lies_around_the_lungs_is_one_grey_and_a_match_has_the_sources_levels():
    drawn = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 1)).astype("uint8")
    top, left, bottom, right = mitigations.box()
    grey = mitigations.masked(drawn, None)
    np.testing.assert_array_equal(grey[:, top:bottom, left:right], drawn[:, top:bottom, left:right])
    assert np.unique(grey[:, :top]).size == 1
    data = SimpleNamespace(train=SimpleNamespace(images=drawn // 4))
    assert mitigations.matched(drawn, data).max() <= 63
