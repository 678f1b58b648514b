"""A result of a cross-validation to draw."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def result(make_result):
    """Return a made-up result: 200 images of four classes and 40 patients, in five folds."""
    labels = np.array(["covid", "normal", "other", "pneumonia"])[np.arange(200) % 4]
    return make_result(labels, groups=np.arange(200) // 5)
