"""A result to report on."""

import numpy as np
import pytest

LABELS = np.array(["covid", "normal", "other"])[np.arange(120) % 3]


@pytest.fixture(scope="session")
def result(make_result):
    """Return a made-up result: 120 images of three classes and 40 patients, in five folds."""
    return make_result(LABELS, groups=np.arange(120) // 3)


@pytest.fixture(scope="session")
def images():
    """Return images of noise."""
    return np.random.default_rng(0).integers(0, 256, (120, 16, 16, 1)).astype("uint8")
