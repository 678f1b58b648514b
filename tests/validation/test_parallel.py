"""What a worker warned of is said again, and a worker that died is explained."""

import os
import pickle
import signal
import warnings
from concurrent.futures import BrokenExecutor

import joblib
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from detl import DomainExtensionTransfer, FoldError, cross_validate
from detl.validation import parallel
from tests.validation.networks import SHAPE, network, transfer

N = 36
LABELS = np.array(["lung", "heart", "bone"] * (N // 3))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype("uint8")


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


def test_a_worker_that_warns_is_heard_and_its_error_says_where(images):
    with (
        pytest.warns(ConvergenceWarning, match=r"Fold \d: The loss was nan") as warned,
        pytest.raises(FoldError, match=r"the training diverged .*a tenth of") as caught,
    ):
        cross_validate(
            transfer(learning_rate=1e38, epochs=1),
            images,
            LABELS,
            n_splits=2,
            n_jobs=2,
            random_state=0,  # of some seeds a fold is lucky, and does not diverge
        )
    said = [str(w.message) for w in warned if w.category is ConvergenceWarning]
    assert {text[:7] for text in said} <= {"Fold 0:", "Fold 1:"}
    (note,) = caught.value.errors[0].__notes__
    assert "in train_fold" in note


def test_a_wrong_number_of_jobs_is_refused(images):
    with pytest.raises(ValueError, match="n_jobs=0; expected at least 1"):
        cross_validate(transfer(), images, LABELS, n_jobs=0)
    with pytest.raises(TypeError, match="n_jobs is bool True; expected a whole number"):
        cross_validate(transfer(), images, LABELS, n_jobs=True)
    with pytest.raises(TypeError, match=r"n_jobs is float 0.5; expected a whole number"):
        cross_validate(transfer(), images, LABELS, n_jobs=0.5)


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_threads_and_forks_are_refused(images, backend):
    with (
        joblib.parallel_config(backend=backend, n_jobs=2),
        pytest.raises(ValueError, match="use the backend 'loky', 'dask' or 'ray'"),
    ):
        cross_validate(transfer(epochs=1), images, LABELS, n_splits=3)


def test_a_transfer_that_cannot_travel_is_refused_in_words(images):
    source = network()
    source.note = lambda: None
    unsendable = transfer(source)
    unsendable.source.__class__ = type("Local", (type(source),), {"__reduce__": unpicklable})
    with pytest.raises(TypeError, match=r"cannot be sent to a worker process .*use n_jobs=1"):
        cross_validate(unsendable, images, LABELS, n_splits=3, n_jobs=2)


def unpicklable(self):
    raise pickle.PicklingError("it is a secret")


# At the end, since the processes that are left are not used again.
class Killed(DomainExtensionTransfer):
    """End the process in the fold that tests image 0."""

    def _extend(self, classes):
        extension = super()._extend(classes)
        fit = extension.tail.fit

        def killed_fit(features, targets, *, rows, **settings):
            if 0 not in rows:
                os.kill(os.getpid(), signal.SIGKILL)
            return fit(features, targets, rows=rows, **settings)

        extension.tail.fit = killed_fit
        return extension


def test_a_worker_that_dies_takes_no_finished_fold_with_it(images, tmp_path):
    said = r"failed with ChildProcessError: a worker process died .*fewer than n_jobs=2 folds"
    with pytest.raises(FoldError, match=said):
        cross_validate(
            Killed(network(), epochs=1, batch_size=8), images, LABELS, n_splits=3,
            random_state=0, n_jobs=2, checkpoint_dir=tmp_path,
        )  # fmt: skip
    assert not list(tmp_path.glob("*work-*"))
