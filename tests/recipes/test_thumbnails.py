"""A thumbnail is the means of an image's cells, and a floor for what a network has to beat."""

import numpy as np
import pytest

from detl.recipes.thumbnails import thumbnails


def test_thumbnails_are_means_of_cells():
    image = np.arange(16, dtype="uint8").reshape(1, 4, 4, 1)
    assert thumbnails(image, 2).tolist() == [[2.5, 4.5, 10.5, 12.5]]
    assert thumbnails(image, 99).tolist() == [list(range(16))]


def test_cells_of_unequal_size_are_means_all_the_same():
    assert thumbnails(np.full((2, 7, 5, 3), 9), 3) == pytest.approx(np.full((2, 27), 9))
