"""Files to load: noise saved as images, and a folder of them per class."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def pixels_of():
    """Return a function that makes up the pixels of an image."""

    def make(*shape, seed=0):
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture(scope="session")
def save():
    """Return a function that writes pixels to a file, and returns its path."""

    def write(path, pixels, **options):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels)).save(path, **options)
        return path

    return write


@pytest.fixture(scope="session")
def class_folders(save, pixels_of):
    """Return a function that writes image ``i`` of the names with the seed ``i``."""

    def write(folder, names):
        for seed, name in enumerate(names):
            save(folder / name, pixels_of(4, 4, seed=seed))
        return folder

    return write
