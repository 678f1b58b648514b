import numpy as np
import pytest

from detl.metrics.learning import not_learned, not_learned_in_folds

TARGETS = np.array([0] * 6 + [1] * 4)


def course(first, last, accuracy, epochs=10):
    return {"loss": list(np.geomspace(first, last, epochs)), "accuracy": [0.5, accuracy] * epochs}


def test_hardly_better_than_the_largest_class_is_not_learned():
    found = not_learned(course(0.7, 0.69, 0.67), TARGETS)
    assert found is not None
    assert "0.67 of them are right; 0.60 would be right by always predicting the" in found


def test_a_loss_that_falls_to_the_end_is_said_with_its_fall():
    found = not_learned(course(2.0, 0.3, 0.8), TARGETS)
    assert found == "was still learning: the loss fell by 34% in the last 2 epochs"


def test_with_weights_the_loss_decides_and_not_the_largest_class():
    rare = np.array([0] * 19 + [1])
    good, bad = course(0.6, 0.3, 0.9), course(0.7, 0.69, 0.9)
    assert not_learned(good, rare) is not None
    assert not_learned({**good, "loss": [0.3] * 10}, rare, weighted=True) is None
    found = not_learned(bad, rare, weighted=True)
    assert found is not None
    assert "its loss is 0.69; 0.69 is the loss of equal probabilities for all classes" in found


@pytest.mark.parametrize(
    "history",
    [
        course(0.5, 0.45, 0.8),  # has learned, and hardly learns any more
        course(2.0, 0.3, 0.96),  # knows them all
        course(0.3, 0.05, 0.93),  # a loss as small as that may halve
        course(0.7, 0.69, 0.5, epochs=9),  # a trial
        {"loss": [], "accuracy": []},
        {},
    ],
)
def test_of_others_nothing_is_said(history):
    assert not_learned(history, TARGETS) is None


def test_of_folds_it_is_said_once_in_how_many():
    good, bad = (course(0.5, 0.45, 0.8), TARGETS), (course(0.7, 0.69, 0.67), TARGETS)
    assert not_learned_in_folds([good, good]) is None
    found = not_learned_in_folds([good, bad, bad])
    assert found is not None
    assert found.startswith(
        "In 2 of 3 folds the network has not learned enough; one has hardly learned"
    )
