"""A directory that belongs to one run, which another run is not let into."""

from __future__ import annotations

import hashlib
import json
import platform
import reprlib
import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Self, TypeVar

import keras
import numpy as np

from detl.checks import check_path
from detl.storage.damage import DamagedFileError
from detl.storage.locks import Lock
from detl.storage.reading import read_arrays, read_json
from detl.storage.rounding import agree, are_rounded
from detl.storage.writing import remove_unfinished, write_arrays, write_json

_RUN = "run.json"
Content = TypeVar("Content")


def check_repeatable(checkpoint_dir: str | Path | None, random_state: Any) -> None:
    """Refuse checkpoints of a run that no other run can repeat."""
    if checkpoint_dir is None:
        return
    check_path("checkpoint_dir", checkpoint_dir, of="a folder")
    if random_state is None:
        raise ValueError(
            f"checkpoint_dir={str(checkpoint_dir)!r} without random_state: every run would draw "
            "anew what is random in it, so that none could go on from there; give random_state=0."
        )


def versions() -> dict[str, str]:
    """Return the versions of all that a result depends on."""
    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "detl": metadata.version("detl"),
        "keras": keras.__version__,
        backend: getattr(sys.modules.get(backend), "__version__", "unknown"),
        "numpy": np.__version__,
        "scipy": metadata.version("scipy"),
        "scikit-learn": metadata.version("scikit-learn"),
    }


class RunDirectory:
    """Keep the files of one run, from the beginning of a ``with`` statement to its end.

    Parameters
    ----------
    run : dict
        All that decides the result: digests of data and source, settings, versions. A directory
        that belongs to another run is refused.
    files : str
        Pattern of the files that it is made for.
    """

    def __init__(self, directory: str | Path, run: Mapping[str, Any], *, files: str) -> None:
        self.directory, self.files = Path(directory), files
        self._run = json.loads(json.dumps(run))
        self._digest = _digest(self._run)
        self._name = f"checkpoint_dir={str(directory)!r}"
        self._lock = Lock(self.directory / "run.lock", self._name)
        self._unwritable: OSError | None = None

    def __enter__(self) -> Self:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()  # a full disk has no room for it
            remove_unfinished(self.directory)
        except OSError as error:
            self._unwritable = error
        try:
            self._check_run()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def check_writable(self) -> None:
        """Refuse a directory that can be read only, where something is left to compute."""
        if self._unwritable is not None:
            raise OSError(
                f"{self._name} cannot be written to ({self._unwritable.strerror}); choose a folder "
                "that can."
            ) from self._unwritable

    def _check_run(self) -> None:
        path = self.directory / _RUN
        if not path.exists():
            self.check_writable()
            strangers = sorted(p.name for p in self.directory.glob(self.files))
            if strangers:
                raise ValueError(
                    f"{self._name} has {strangers[0]} but no {_RUN}, so it is not known which "
                    "run it belongs to; choose another folder."
                )
            try:
                write_json(path, self._run, indent=2)
            except OSError as error:
                self._unwritable = error
                self.check_writable()
            return
        there = read_json(
            path,
            remedy="the files beside it may be of another run, so choose another folder.",
        )
        others = list(differences(there, self._run))
        self._digest = _digest(there)  # rounded numbers may differ from these
        if others:
            raise ValueError(
                f"{self._name} belongs to another run: {'; '.join(others)}. Choose another "
                "folder, or remove this one."
            )

    def write(
        self, name: str, arrays: Mapping[str, Any], rest: Mapping[str, Any], *, lost: str
    ) -> None:
        """Write arrays, and the rest as JSON, to one ``.npz`` file.

        A full disk is warned of, and of what would be ``lost``: the run goes on in memory.
        """
        path = self.directory / name
        text = json.dumps({"place": self._place(name), **rest})
        try:
            write_arrays(path, {**arrays, "rest": np.array(text)})
        except OSError as error:
            warnings.warn(
                f"{path} could not be written ({error.strerror or error}); what it holds is kept "
                f"in memory and the run goes on, but if it breaks off, {lost} computed again.",
                RuntimeWarning,
                stacklevel=3,
            )

    def read(
        self,
        name: str,
        made_of: Callable[[dict[str, Any], dict[str, Any]], Content],
        *,
        again: str,
    ) -> Content | None:
        """Return what is ``made_of`` what :meth:`write` wrote; None where nothing is.

        A damaged file, or what ``made_of`` refuses, is warned of with what happens ``again``.
        """
        path = self.directory / name
        if not path.exists():
            return None
        try:
            arrays = read_arrays(path)
            try:
                rest = json.loads(str(arrays.pop("rest")))
                place = rest.pop("place", None)  # files of before do not have it
                if place not in (None, self._place(name)):
                    raise ValueError(f"it is {place['name']} of this or another run")
                return made_of(arrays, rest)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                raise DamagedFileError(path, error) from error
        except DamagedFileError as error:
            warnings.warn(f"{error}; {again}.", UserWarning, stacklevel=3)
            return None

    def _place(self, name: str) -> dict[str, str]:
        return {"name": name, "run": self._digest}


def _digest(run: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()


def differences(there: Any, here: Any, name: str = "") -> Any:
    """Yield a phrase for each entry that is not the same."""
    if are_rounded(here) and (there is None or are_rounded(there)):
        if there is not None and not agree(there, here):  # a run of before has none
            yield f"other {name}"
    elif isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            yield from differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    elif there != here:
        digests = all(isinstance(value, str) and len(value) == 64 for value in (there, here))
        # Of the seeds of 50 folds, the first few.
        said = [reprlib.repr(v) if isinstance(v, list) else repr(v) for v in (there, here)]
        yield f"other {name}" if digests else f"{name} is {said[0]} there, {said[1]} here"
