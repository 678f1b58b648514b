"""Train one fold, here or in a process of its own.

Nothing but the standard library is imported before the number of threads is set: a backend reads
it once, when it is first imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import pickle
import secrets
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from detl.transfer.extension import Extension
    from detl.validation.results import FoldResult

# One network per process and run: a second fold in the same worker compiles nothing.
_built: dict[str, Extension] = {}
# A Dask worker of several threads runs as many folds at a time; its one network trains but one.
_one_at_a_time = threading.Lock()
_watched: set[int] = set()  # the parent with which this process ends


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that the folds of one run share, as files, so that no worker gets a copy."""

    folder: Path
    n_workers: int
    # Known to this run's processes alone: what is unpickled from the folder, they have written.
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    parent: int = field(default_factory=os.getpid)  # which waits for the folds

    def write(self, extended: tuple[Any, ...], features: np.ndarray, targets: np.ndarray) -> None:
        """Write the files, or say what to do where they cannot be written."""
        import numpy as np
        from joblib import wrap_non_picklable_objects

        from detl.storage.writing import readable_size, write_whole

        try:
            # Classes of the caller's script or notebook go along, since no worker runs it.
            whole = wrap_non_picklable_objects(extended, keep_wrapper=False)
            pickled = pickle.dumps(whole)
        except Exception as error:
            raise TypeError(
                f"The classifier cannot be sent to a worker process ({error}); use n_jobs=1."
            ) from error
        try:
            self._write("transfer.pickle", pickled)
            write_whole(self.folder / "targets.npy", lambda file: np.save(file, targets))
            # Not by a memory map: one that outgrows its disk ends the process without a word.
            write_whole(self.folder / "features.npy", lambda file: np.save(file, features))
        except OSError as error:
            raise OSError(
                f"The features ({readable_size(features.nbytes)}) that workers share could not be "
                f"written to {self.folder} ({error.strerror or error}); make room there, choose "
                "another checkpoint_dir (or TMPDIR, without one), or use n_jobs=1."
            ) from error

    def keep(self, outcome: Outcome) -> None:
        """Write down what a worker found, which is lost on its way if another worker dies."""
        with contextlib.suppress(OSError):  # the outcome is on its way too
            self._write(f"{outcome[0]}.pickle", pickle.dumps(outcome))

    def kept(self, number: int) -> Outcome | None:
        """Return what a worker has written down about a fold."""
        with contextlib.suppress(FileNotFoundError):
            found: Outcome = pickle.loads(self.read(f"{number}.pickle"))
            return found
        return None

    def _write(self, name: str, content: bytes) -> None:
        from detl.storage.writing import write_whole

        signed = hmac.digest(self.key, content, "sha256") + content
        write_whole(self.folder / name, lambda file: file.write(signed))

    def read(self, name: str) -> bytes:
        """Return what a process of this run wrote, refusing what another has."""
        from detl.storage.damage import DamagedFileError

        path = self.folder / name
        signed = path.read_bytes()
        if not hmac.compare_digest(hmac.digest(self.key, signed[32:], "sha256"), signed[:32]):
            raise DamagedFileError(path, "no process of this run wrote it", "run it again.")
        return signed[32:]


Said = list[tuple[type[Warning], str]]  # what a worker warned of: category and text
Outcome = tuple[int, "FoldResult | Exception", Said]  # of a fold, by its number


def train_in_worker(
    work: Work, number: int, train: np.ndarray, test: np.ndarray, seed: int
) -> Outcome:
    """Train one fold in this process; return its error and warnings, which nobody would read."""
    _end_with(work.parent)
    with _one_at_a_time, warnings.catch_warnings(record=True) as caught:
        found = _trained(work, train, test, seed)
    outcome = number, found, [(warning.category, str(warning.message)) for warning in caught]
    work.keep(outcome)
    return outcome


def _end_with(parent: int) -> None:
    """End this process soon after its parent; one that another has started is left alone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    if os.getppid() == parent and parent not in _watched:
        _watched.add(parent)
        threading.Thread(target=watch, daemon=True).start()


def _n_threads(n_workers: int) -> int:
    """Return this process's share of the cores of the machine that it runs on."""
    if "distributed" in sys.modules:
        from distributed import get_worker

        with contextlib.suppress(ValueError):  # not a worker of Dask, which knows its share
            return int(get_worker().state.nthreads)
    from joblib import cpu_count

    return max(1, int(cpu_count()) // n_workers)


def _trained(work: Work, train: np.ndarray, test: np.ndarray, seed: int) -> FoldResult | Exception:
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, str(_n_threads(work.n_workers)))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the caller's process has said it all
    try:
        import numpy as np

        pickled = work.read("transfer.pickle")
        key = hashlib.sha256(pickled).hexdigest()
        if key not in _built:
            _built.clear()
            classifier, classes, groups = pickle.loads(pickled)
            _built[key] = classifier._extend(classes)
            _built[key].training["groups"] = groups
        features = np.load(work.folder / "features.npy", mmap_mode="r")
        targets = np.load(work.folder / "targets.npy")
        return train_fold(_built[key], features, targets, train, test, seed)
    except Exception as error:
        if not work.folder.exists():
            return FileNotFoundError(
                f"{work.folder}, which the workers share, was removed while they trained; leave it "
                "there until the run has ended, or use n_jobs=1."
            )
        portable = _portable(error)
        portable.add_note(f"In the worker:\n{traceback.format_exc()}")  # it does not travel
        return portable


def _portable(error: Exception) -> Exception:
    """Return the error, or one that says the same where it cannot travel to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def train_fold(
    extension: Extension,
    features: np.ndarray,
    targets: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    seed: int,
    on_epoch: Callable[[], object] | None = None,
) -> FoldResult:
    """Reset the tail, train it on one part and predict the other."""
    import numpy as np

    from detl.seeds import seed_sequence
    from detl.validation.results import FoldResult

    started = time.perf_counter()
    history = extension.tail.fit(
        features,
        targets,
        rows=train,
        seed=seed_sequence(seed),
        on_epoch=on_epoch,
        **extension.training,
    )
    probabilities = extension.tail.probabilities(
        features, rows=test, batch_size=extension.training["batch_size"]
    )
    if np.isnan(probabilities).any():
        raise FloatingPointError(
            f"the training diverged (its loss was {history['loss'][-1]} in the end), so that the "
            "predictions are NaN; try a tenth of the classifier's learning_rate and, where it is "
            "given, head_learning_rate."
        )
    return FoldResult(
        train=train,
        test=test,
        probabilities=probabilities,
        history=history,
        seed=seed,
        start=extension.tail.start_digest,
        seconds=time.perf_counter() - started,
    )
