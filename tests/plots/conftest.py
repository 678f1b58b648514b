"""Results to draw, and axes of one's own."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from detl.validation import Evaluation

LABELS = np.array(["covid", "normal", "other", "pneumonia"])[np.arange(200) % 4]


@pytest.fixture(scope="session")
def result(make_result):
    """Return a made-up result: 200 images of four classes and 40 patients, in five folds."""
    return make_result(LABELS, groups=np.arange(200) // 5)


@pytest.fixture(scope="session")
def evaluation(result):
    """Return the evaluation of images of which ten have a label that is no class."""
    labels = LABELS.astype("<U12")
    labels[:10] = "tuberculosis"
    return Evaluation(
        classes=result.classes,
        labels=labels,
        groups=None,
        probabilities=result.probabilities,
        decisions=None,
        leaks=(),
        internal=None,
        settings={"interval_seed": 0},
    )


@pytest.fixture
def axes():
    """Return the second of two axes of a figure; nothing may be drawn on the first."""
    first, second = Figure(figsize=(10, 5)).subplots(1, 2)
    yield second
    assert not first.has_data()
