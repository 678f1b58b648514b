"""What a worker warned of is said again, and a worker that died is explained."""

import warnings
from concurrent.futures import BrokenExecutor

import pytest

from detl.validation import parallel


def test_a_warning_of_a_worker_is_said_again_with_its_fold():
    with pytest.warns(RuntimeWarning, match="Fold 3: look here"):
        assert parallel._say_again([(RuntimeWarning, "look here")], 3, "the fold") == "the fold"


def test_a_warning_of_a_worker_that_is_an_error_here_fails_its_fold():
    with warnings.catch_warnings(action="error", category=RuntimeWarning):
        found = parallel._say_again([(RuntimeWarning, "look here")], 3, "the fold")
    assert type(found) is RuntimeWarning
    assert str(found) == "Fold 3: look here"


def test_a_worker_that_died_is_explained_and_another_error_is_left_as_it_is():
    found = parallel._in_words(BrokenExecutor("gone"), 4)
    assert str(found).startswith("a worker process died (BrokenExecutor), most often killed by")
    assert "fewer than n_jobs=4 folds" in str(found)
    other = OSError("no room")
    assert parallel._in_words(other, 4) is other
