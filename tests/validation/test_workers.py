"""Folds in other processes, on this machine or a cluster, and in fresh ones, are the same folds."""

import importlib.util
import io
import os
import pickle
import re
import subprocess
import sys
import warnings
from typing import ClassVar

import joblib
import numpy as np
import pytest

from detl.storage import DamagedFileError
from detl.validation import workers
from detl.validation.workers import Work, train_in_worker

HAS_DASK = importlib.util.find_spec("distributed") is not None
ELSEWHERE = """
    np.save(sys.stdout.buffer, run())
    np.save(sys.stdout.buffer, run(n_jobs=2))
"""
DASK = """
    from dask.distributed import Client, LocalCluster
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        joblib.parallel_config(backend="dask"),
    ):
        np.save(sys.stdout.buffer, run())
"""


@pytest.mark.slow
def test_every_process_gives_the_same_to_the_bit_with_as_many_threads(here, start):
    # A fresh process with another global seed, two workers of joblib, and two of Dask.
    body = ELSEWHERE + (DASK if HAS_DASK else "")
    process = start(body, global_seed=123, PYTHONHASHSEED="7")
    said = io.BytesIO(process.communicate()[0])
    for _ in range(2 + HAS_DASK):
        np.testing.assert_array_equal(np.load(said), here)


@pytest.mark.filterwarnings("always:look here")
def test_features_reach_a_worker_as_a_file_and_errors_come_back(tmp_path, monkeypatch):
    features = np.random.default_rng(0).random((300, 3)).astype("float32")
    work = Work(folder=tmp_path, n_workers=2)
    work.write((Recorder(), np.array(["a", "b"]), None), features, np.arange(300) % 2)
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "5")
    monkeypatch.setattr(workers, "_built", {})
    number, error, said = train_in_worker(work, 4, np.arange(2), np.arange(2, 4), 0)
    assert number == 4
    assert said == [(UserWarning, "look here")]
    assert "LookupError" in error.__notes__[0]
    kind, seen = error.args
    assert kind is np.memmap
    np.testing.assert_array_equal(seen, features)
    share = max(1, joblib.cpu_count() // 2)
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == str(share)
    assert os.environ["TF_NUM_INTEROP_THREADS"] == "5"  # as the user said


@pytest.mark.filterwarnings("always:look here")
def test_what_a_worker_found_is_kept_even_if_it_never_arrives(tmp_path):
    work = Work(folder=tmp_path, n_workers=1)
    assert work.kept(4) is None
    work.write(
        (Recorder(), np.array(["a", "b"]), None), np.zeros((4, 3), "float32"), np.arange(4) % 2
    )
    number, error, said = train_in_worker(work, 4, np.arange(2), np.arange(2, 4), 0)
    kept = work.kept(4)
    assert (kept[0], kept[2]) == (number, said) == (4, [(UserWarning, "look here")])
    assert (type(kept[1]), kept[1].__notes__) == (type(error), error.__notes__)
    Work(folder=tmp_path / "full disk", n_workers=1).keep(kept)  # it has arrived by now


@pytest.mark.skipif(not HAS_DASK, reason="Dask is not installed")
def test_a_worker_of_dask_has_the_threads_that_dask_gives_it():
    from dask.distributed import Client, LocalCluster

    settings = {"n_workers": 1, "threads_per_worker": 3, "dashboard_address": None}
    with LocalCluster(processes=False, **settings) as cluster, Client(cluster) as client:
        assert client.submit(workers._n_threads, 1).result() == 3
    assert workers._n_threads(1) == joblib.cpu_count()
    assert workers._n_threads(10**6) == 1


def test_a_folder_without_room_is_named(tmp_path):
    work = Work(folder=tmp_path / "gone", n_workers=1)
    with pytest.raises(OSError, match=r"could not be written to .*gone \(.*use n_jobs=1"):
        work.write((None, np.array(["a"]), None), np.zeros((2, 3)), np.zeros(2, int))


def test_what_another_process_put_into_the_folder_is_not_unpickled(tmp_path):
    work = Work(folder=tmp_path, n_workers=1)
    work.write(
        (Recorder(), np.array(["a", "b"]), None), np.zeros((4, 3), "float32"), np.arange(4) % 2
    )
    signed = (tmp_path / "transfer.pickle").read_bytes()
    (tmp_path / "transfer.pickle").write_bytes(signed[:32] + pickle.dumps(Bomb()))
    (tmp_path / "4.pickle").write_bytes(pickle.dumps(Bomb()))
    message = r"pickle is damaged \(no process of this run wrote it\); run it again"
    _, error, _ = train_in_worker(work, 3, np.arange(2), np.arange(2, 4), 0)
    assert isinstance(error, DamagedFileError)
    assert re.search(message, str(error))
    with pytest.raises(DamagedFileError, match=message):
        work.kept(4)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


def test_a_folder_that_was_removed_is_named(tmp_path):
    work = Work(folder=tmp_path / "gone", n_workers=1)
    _, error, _ = train_in_worker(work, 3, np.arange(2), np.arange(2, 4), 0)
    assert isinstance(error, FileNotFoundError)
    assert re.search(r"gone, which the workers share, was removed .*use n_jobs=1", str(error))


WORKER = "import os, time; from detl.validation.workers import _end_with; _end_with(os.getppid())"
PARENT = f"""
import subprocess, sys, time
worker = subprocess.Popen(
    [sys.executable, "-c", {WORKER!r} + "; print(os.getpid(), flush=True); time.sleep(600)"]
)
worker.wait()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows does not say that a parent has died")
def test_a_worker_ends_when_its_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert int(parent.stdout.readline()) != parent.pid
    parent.kill()
    rest, _ = parent.communicate(timeout=60)  # ends when the worker, too, has let go of it
    assert rest == b""


class Recorder:
    """Stands where a transfer does, and raises what its tail is given."""

    tail = property(lambda self: self)

    training: ClassVar = {"batch_size": 2}

    def _extend(self, classes):
        return self

    def fit(self, features, targets, **settings):
        warnings.warn("look here", UserWarning, stacklevel=1)
        raise LookupError(type(features), np.asarray(features))


def test_an_error_that_cannot_travel_is_put_in_words():
    class LocalError(Exception):
        pass

    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(LocalError("lost"))
    portable = workers._portable(LocalError("lost"))
    assert str(portable) == "LocalError: lost"
    assert pickle.loads(pickle.dumps(portable)).args == portable.args
