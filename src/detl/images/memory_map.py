"""Images in a ``.npy`` file, written row by row: a run that was killed goes on where it stopped.

While ``images.npy`` is written it is called ``images.npy.partial``. Beside it, ``images.npy.files``
lists what was read: the settings in the first line, then a line per file, in order. Pixels reach
the disk before the lines that vouch for them, so what the lines say is there.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

try:
    import fcntl
except ImportError:  # not POSIX: there is no lock
    fcntl = None  # type: ignore[assignment]

_FORMAT = 2  # to be raised when the same files would give other pixels
_SECONDS_BETWEEN_SAVES = 1.0  # what a killed run loses at most

_logger = logging.getLogger("detl")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a file: its greatest level, or the reason why it has none."""

    brightest: int | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A file as it was when a run began: with another size or time of change it is another."""

    path: str
    bytes: int | None  # None where nothing is
    changed: int | None  # nanoseconds


@dataclass(frozen=True, kw_only=True)
class _Names:
    """The files that belong together."""

    finished: Path

    @property
    def partial(self) -> Path:
        return self.finished.with_name(f"{self.finished.name}.partial")

    @property
    def list(self) -> Path:
        return self.finished.with_name(f"{self.finished.name}.files")


_Known = list[tuple[_Source, Outcome]]


class FinishedImages:
    """A file that an earlier run has completed; ``outcomes`` is what became of each source."""

    def __init__(self, path: Path, outcomes: list[Outcome]) -> None:
        self._path = path
        self.outcomes = outcomes

    def add(self, pixels: np.ndarray | None, outcome: Outcome) -> NoReturn:
        """Refuse: there is no place left."""
        raise RuntimeError(f"{self._path} is complete.")

    def finish(self) -> np.ndarray:
        """Return the images as a memory map that is not to be written to."""
        return np.load(self._path, mmap_mode="r")

    def close(self) -> None:
        """Do nothing: no file is open."""


class PartialImages:
    """A file that is being written; ``outcomes`` is what became of the sources until now."""

    def __init__(
        self, names: _Names, shape: tuple[int, ...], settings: Any, sources: list[_Source]
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._names, self._shape, self._sources = names, shape, sources
        self._unsaved: list[str] = []
        self._saved_at = time.monotonic()
        self._file = _open_alone(names)
        self._settings = settings

    def go_on_after(self, outcomes: list[Outcome]) -> None:
        """Keep the rows of these outcomes, of the first sources, and cut off what follows."""
        self.outcomes = outcomes
        lines = [json.dumps(self._settings), *map(_line, self._sources, outcomes)]
        with self._names.list.open("w", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))
            _sync(file)
        self._file.write(_header(len(self._sources), self._shape))
        self._file.truncate(_size(outcomes, self._shape))
        self._file.seek(0, os.SEEK_END)

    def add(self, pixels: np.ndarray | None, outcome: Outcome) -> None:
        """Append what became of the next source."""
        if pixels is not None:
            self._file.write(pixels.tobytes())
        self._unsaved.append(_line(self._sources[len(self.outcomes)], outcome))
        self.outcomes.append(outcome)
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES:
            self._save()

    def finish(self) -> np.ndarray:
        """Give the file its name, and return it as a memory map that is not to be written to."""
        self._save()
        self._file.seek(0)
        self._file.write(_header(_n_rows(self.outcomes), self._shape))
        _sync(self._file)
        self._file.close()
        self._names.partial.replace(self._names.finished)
        return np.load(self._names.finished, mmap_mode="r")

    def close(self) -> None:
        """Keep what is there for another run."""
        if not self._file.closed:
            self._save()
            self._file.close()

    def _save(self) -> None:
        _sync(self._file)
        with self._names.list.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in self._unsaved))
            _sync(file)
        self._unsaved = []
        self._saved_at = time.monotonic()


def open_images(
    path: Path,
    paths: Sequence[Path],
    *,
    shape: tuple[int, ...],
    settings: dict[str, Any],
    is_readable: Callable[[Path], bool],
) -> FinishedImages | PartialImages:
    """Open a file of images for what is still to be read of ``paths``.

    Parameters
    ----------
    path : pathlib.Path
        The ``.npy`` file.
    paths : sequence of pathlib.Path
        The image files of its rows.
    shape : tuple of int
        ``(height, width, channels)`` of a row.
    settings : dict
        What else the pixels depend on, as JSON has it.
    is_readable : callable
        Asked of files that could not be read, whether they can be now.

    Raises
    ------
    ValueError
        If the file was read from other files or with other settings, or is none of ours; if
        another process is writing it.
    OSError
        If the images would not fit on the disk.
    """
    names = _Names(finished=path)
    settings = {"format": _FORMAT, **settings}
    sources = [_look_at(file) for file in paths]
    known = _read_list(names, settings)
    n_valid = _count_valid(known, sources, is_readable)
    if path.exists():
        _check_finished(path, shape, known, sources, n_valid)
        return FinishedImages(path, [outcome for _, outcome in known])
    path.parent.mkdir(parents=True, exist_ok=True)
    outcomes = _those_on_disk([outcome for _, outcome in known[:n_valid]], names, shape)
    _check_room(path, len(paths) - len(outcomes), shape)
    if len(outcomes) < len(known):
        _logger.warning(
            "%s is unfinished, and of the %d files that were read for it, those from %s on are "
            "not as they were: they are read again.",
            path,
            len(known),
            known[len(outcomes)][0].path,
        )
    images = PartialImages(names, shape, settings, sources)
    images.go_on_after(outcomes)
    return images


def _look_at(path: Path) -> _Source:
    try:
        found = path.stat()
    except OSError:
        return _Source(path=str(path), bytes=None, changed=None)
    return _Source(path=str(path), bytes=found.st_size, changed=found.st_mtime_ns)


def _open_alone(names: _Names) -> IO[bytes]:
    """Open the partial file, unless another process has."""
    names.partial.touch()
    file = names.partial.open("r+b")
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = not names.finished.exists()
    except BlockingIOError:
        is_ours = False
    if not is_ours:
        file.close()
        raise ValueError(
            f"{names.finished} is being written by another process; wait until it has ended, or "
            "name another file."
        )
    return file


def _read_list(names: _Names, settings: dict[str, Any]) -> _Known:
    """Return what earlier runs have read, and refuse it if they read otherwise."""
    there = names.finished if names.finished.exists() else names.partial
    if there == names.finished and not names.list.exists():
        raise ValueError(
            f"memory_map={str(there)!r} exists, but without {names.list.name} beside it nobody "
            "knows what it holds; name another file, or delete this one."
        )
    if not there.exists() or not names.list.exists():
        return []
    # What follows the last end of a line was cut off.
    lines = names.list.read_text(encoding="utf-8").split("\n")[:-1]
    if not lines:
        return []
    before = json.loads(lines[0])
    if before != settings:
        ours = ", ".join(f"{key}={value}" for key, value in settings.items())
        theirs = ", ".join(f"{key}={value}" for key, value in before.items())
        raise ValueError(
            f"{there} was read with {theirs}, and is wanted with {ours}; name another file, or "
            "delete this one to read the images anew."
        )
    return [_parse(line) for line in lines[1:]]


def _line(source: _Source, outcome: Outcome) -> str:
    return json.dumps(
        [source.path, source.bytes, source.changed, outcome.brightest, outcome.reason]
    )


def _parse(line: str) -> tuple[_Source, Outcome]:
    path, size, changed, brightest, reason = json.loads(line)
    return (
        _Source(path=path, bytes=size, changed=changed),
        Outcome(brightest=brightest, reason=reason),
    )


def _count_valid(known: _Known, sources: list[_Source], is_readable: Callable[[Path], bool]) -> int:
    """Return how many of the first sources are as they were."""
    for row, ((source, outcome), now) in enumerate(zip(known, sources)):
        if source != now or (outcome.reason is not None and is_readable(Path(now.path))):
            return row
    return min(len(known), len(sources))


def _check_finished(
    path: Path, shape: tuple[int, ...], known: _Known, sources: list[_Source], n_valid: int
) -> None:
    if n_valid < max(len(known), len(sources)):
        if len(known) != len(sources):
            what = f"from {len(known)} files, and is wanted from {len(sources)}"
        elif known[n_valid][0].path != sources[n_valid].path:
            what = f"from {known[n_valid][0].path} where {sources[n_valid].path} is wanted"
        else:
            what = f"before {sources[n_valid].path} was changed"
        raise ValueError(
            f"{path} was read {what}; name another file, or delete this one to read the images "
            "anew."
        )
    outcomes = [outcome for _, outcome in known]
    header = _header(_n_rows(outcomes), shape)
    with path.open("rb") as file:
        is_whole = file.read(len(header)) == header and path.stat().st_size == _size(
            outcomes, shape
        )
    if not is_whole:
        raise ValueError(
            f"{path} is not what was written there; delete it to read the images anew."
        )


def _those_on_disk(outcomes: list[Outcome], names: _Names, shape: tuple[int, ...]) -> list[Outcome]:
    """Leave out the outcomes whose pixels are gone: somebody has shortened the file."""
    size = names.partial.stat().st_size if names.partial.exists() else 0
    n_rows = (size - len(_header(0, shape))) // math.prod(shape)
    for place, outcome in enumerate(outcomes):
        n_rows -= outcome.reason is None
        if n_rows < 0:
            return outcomes[:place]
    return outcomes


def _check_room(path: Path, n_images: int, shape: tuple[int, ...]) -> None:
    needed, free = n_images * math.prod(shape), shutil.disk_usage(path.parent).free
    if needed > free:  # said before hours of reading, not after
        raise OSError(
            f"{n_images} images need {needed / 1024**3:.1f} GiB, but {path.parent} has "
            f"{free / 1024**3:.1f} GiB free; use smaller images or another disk."
        )


def _n_rows(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.reason is None for outcome in outcomes)


def _header(n_rows: int, shape: tuple[int, ...]) -> bytes:
    """Return the first bytes of a ``.npy`` file; NumPy makes them as long for any ``n_rows``."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (n_rows, *shape)}
    )
    return header.getvalue()


def _size(outcomes: Sequence[Outcome], shape: tuple[int, ...]) -> int:
    """Return the bytes of a file that holds these outcomes' rows."""
    return len(_header(0, shape)) + _n_rows(outcomes) * math.prod(shape)


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())
