"""A directory that belongs to one run, which another run is not let into."""

from __future__ import annotations

import json
import os
import platform
import reprlib
import sys
import warnings
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np

_RUN = "run.json"
_PROBE = "detl-probe"
# What a broken file can raise: a flipped bit may well name a compression that nobody knows.
DAMAGED = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
)


def check_repeatable(checkpoint_dir: str | Path | None, random_state: Any) -> None:
    """Refuse checkpoints of a run whose draws no other run can have."""
    if checkpoint_dir is not None and random_state is None:
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
    """Keep the files of one run, which one process at a time writes.

    Parameters
    ----------
    directory : path
        Made where it does not exist.
    run : dict
        All that decides the result: digests of data and source, settings, versions. A directory
        that belongs to another run is refused.
    files : str
        Pattern of the files that it is made for.

    Raises
    ------
    OSError
        If the directory cannot be written to.
    ValueError
        If the directory belongs to another run; the message names what differs.
    """

    def __init__(self, directory: str | Path, run: Mapping[str, Any], *, files: str) -> None:
        self.directory, self.files = Path(directory), files
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            _write_whole(self.directory / _PROBE, b" ")  # a full disk still takes empty files
            (self.directory / _PROBE).unlink()
            self._check_run(json.loads(json.dumps(run)))
        except OSError as error:
            raise OSError(
                f"checkpoint_dir={str(directory)!r} cannot be written to ({error.strerror or error}"
                "); choose a folder that can."
            ) from error

    def _check_run(self, run: dict[str, Any]) -> None:
        path = self.directory / _RUN
        if not path.exists():
            strangers = sorted(p.name for p in self.directory.glob(self.files))
            if strangers:
                raise ValueError(
                    f"checkpoint_dir={str(self.directory)!r} has {strangers[0]} but no {_RUN}, so "
                    "nobody can tell what it belongs to; choose another folder."
                )
            _write_whole(path, json.dumps(run, indent=2).encode())
            return
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(
                f"{path} is damaged ({error}), so nobody can tell what the files beside it belong "
                "to; choose another folder."
            ) from error
        differences = list(_differences(there, run))
        if differences:
            raise ValueError(
                f"checkpoint_dir={str(self.directory)!r} belongs to another run: "
                f"{'; '.join(differences)}. Choose another folder, or remove this one."
            )

    def write(self, name: str, arrays: Mapping[str, Any], *, lost: str) -> None:
        """Write one file, whole or not at all.

        A full disk is warned of: what has been computed is still in memory, and the run goes on.

        Parameters
        ----------
        name : str
            File name that ends in ``.npz``.
        arrays : dict of str to numpy.ndarray
            None of them of objects.
        lost : str
            What has to be computed again if the file is not there, for the warning.
        """
        path = self.directory / name
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as file:
                np.savez(file, **arrays)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            warnings.warn(
                f"{path} could not be written ({error.strerror or error}); what it holds is kept "
                f"in memory and the run goes on, but if it breaks off, {lost} computed again.",
                RuntimeWarning,
                stacklevel=3,
            )


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _differences(there: Any, here: Any, name: str = "") -> Any:
    """Yield a phrase for each entry that is not the same."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted({*there, *here}):
            yield from _differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    elif there != here:
        digests = all(isinstance(value, str) and len(value) == 64 for value in (there, here))
        if digests:
            yield f"other {name}"
        else:
            yield f"{name} is {_shortened(there)} there, {_shortened(here)} here"


def _shortened(value: Any) -> str:
    """Return the value for a message; of the seeds of 50 folds, the first few."""
    return reprlib.repr(value) if isinstance(value, list) else repr(value)
