import dataclasses

import numpy as np
import pytest

from detl.datasets import ImageSet

PIXELS = np.arange(48, dtype="uint8").reshape(3, 4, 4, 1)
LABELS = np.array(["b", "a", "b"])


def test_classes_are_sorted_and_the_length_is_the_number_of_images():
    found = ImageSet(images=PIXELS, labels=LABELS, description="Squares.")
    assert found.classes.tolist() == ["a", "b"]
    assert len(found) == 3


def test_the_repr_counts_and_shows_no_pixels():
    found = ImageSet(
        images=PIXELS,
        labels=LABELS,
        groups=np.array(["x", "y", "x"]),
        masks=PIXELS[..., 0] > 9,
        description="Squares.",
    )
    assert (
        repr(found)
        == """ImageSet(
    images=uint8 (3, 4, 4, 1),
    labels={'a': 1, 'b': 2},
    groups=2,
    masks=bool (3, 4, 4),
    description='Squares.',
)"""
    )
    plain = dataclasses.replace(found, groups=None, masks=None)
    assert "groups=None,\n    masks=None" in repr(plain)


def test_what_a_set_holds_cannot_be_swapped():
    found = ImageSet(images=PIXELS, labels=LABELS, description="Squares.")
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.images = PIXELS[:1]
