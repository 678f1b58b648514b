"""Images in a ``.npy`` file, written row by row: a run that was killed goes on where it stopped.

While ``images.npy`` is written it is called ``images.npy.partial``. Beside it, ``images.npy.files``
lists what was read: the settings in the first line, then a line per file, in order, with a checksum
of its pixels and one of the line. Pixels reach the disk before the lines that vouch for them, so
what the lines say is there.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from detl.images.checked_rows import CheckedRows
from detl.storage.damage import DamagedFileError
from detl.storage.locks import Lock
from detl.storage.writing import open_unlinked, readable_size, write_whole

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


@dataclass(frozen=True, kw_only=True)
class _Line:
    """What the list says of a file."""

    source: _Source
    outcome: Outcome
    checksum: int | None  # of its pixels; None where there are none, and in lists of before

    def text(self) -> str:
        source, outcome = self.source, self.outcome
        said = [source.path, source.bytes, source.changed, outcome.brightest, outcome.reason]
        text = json.dumps([*said, self.checksum])[:-1]
        return f"{text}, {zlib.crc32(text.encode())}]\n"


class FinishedImages:
    """A file that an earlier run has completed; ``outcomes`` is what became of each source."""

    def __init__(self, path: Path, known: list[_Line]) -> None:
        self._path = path
        self.outcomes = [line.outcome for line in known]
        self._checksums = [line.checksum for line in known if line.outcome.reason is None]

    def add(self, pixels: np.ndarray | None, outcome: Outcome) -> NoReturn:
        """Refuse: there is no place left."""
        raise RuntimeError(f"{self._path} is complete.")

    def finish(self) -> np.ndarray:
        """Return the images as a memory map that is not to be written to."""
        if None in self._checksums:  # written by an earlier version
            return np.load(self._path, mmap_mode="r")
        return CheckedRows.open(self._path, np.array(self._checksums, "uint32"))

    def close(self) -> None:
        """Do nothing: no file is open."""


class PartialImages:
    """A file that is being written; ``outcomes`` is what became of the sources until now.

    ``lock`` is held already, and released at the end. The rows of the ``known`` lines are kept,
    and what follows them is cut off.
    """

    def __init__(
        self,
        names: _Names,
        lock: Lock,
        shape: tuple[int, ...],
        settings: Any,
        sources: list[_Source],
        known: list[_Line],
    ) -> None:
        self.outcomes = [line.outcome for line in known]
        self._names, self._lock, self._shape, self._sources = names, lock, shape, sources
        self._unsaved: list[str] = []
        self._saved_at = time.monotonic()
        lines = [f"{json.dumps(settings)}\n", *(line.text() for line in known)]
        write_whole(names.list, lambda file: file.write("".join(lines).encode()))
        self._file = open_unlinked(names.partial, os.O_CREAT)
        self._file.write(_header(len(sources), shape))
        self._file.truncate(_size(self.outcomes, shape))
        self._file.seek(0, os.SEEK_END)

    def add(self, pixels: np.ndarray | None, outcome: Outcome) -> None:
        """Append what became of the next source."""
        checksum = None
        if pixels is not None:
            content = pixels.tobytes()
            checksum = zlib.crc32(content)
            self._file.write(content)
        source = self._sources[len(self.outcomes)]
        line = _Line(source=source, outcome=outcome, checksum=checksum)
        self._unsaved.append(line.text())
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
        self._lock.release()
        return np.load(self._names.finished, mmap_mode="r")

    def close(self) -> None:
        """Keep what is there for another run."""
        try:
            if not self._file.closed:
                self._save()
        finally:
            self._file.close()
            self._lock.release()

    def _save(self) -> None:
        _sync(self._file)
        with open_unlinked(self._names.list) as file:
            file.seek(0, os.SEEK_END)
            file.write("".join(self._unsaved).encode())
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
        If the file was read from other files or with other settings, is damaged or none of ours,
        or another process is writing it.
    OSError
        If the images would not fit on the disk.
    """
    names = _Names(finished=path)
    settings = {"format": _FORMAT, **settings}
    sources = [_look_at(file) for file in paths]
    if path.exists():
        known = _read_list(names, settings)
        n_valid = _count_valid(known, sources, is_readable)
        _check_finished(path, shape, known, sources, n_valid)
        return FinishedImages(path, known)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path.with_name(f"{path.name}.lock"), f"memory_map={str(path)!r}")
    lock.acquire()
    try:
        if path.exists():  # another process has finished it meanwhile
            lock.release()
            return open_images(path, paths, shape=shape, settings=settings, is_readable=is_readable)
        known = _read_list(names, settings)
        kept = known[: _count_valid(known, sources, is_readable)]
        kept = kept[: _count_whole(kept, names, shape)]
        _check_room(path, len(paths) - len(kept), shape)
        if len(kept) < len(known):
            _logger.warning(
                "%s is unfinished, and of the %d files that were read for it, those from %s on are "
                "not as they were: they are read again.",
                path,
                len(known),
                known[len(kept)].source.path,
            )
        return PartialImages(names, lock, shape, settings, sources, kept)
    except BaseException:
        lock.release()
        raise


def _look_at(path: Path) -> _Source:
    try:
        found = path.stat()
    except OSError:
        return _Source(path=str(path), bytes=None, changed=None)
    return _Source(path=str(path), bytes=found.st_size, changed=found.st_mtime_ns)


def _read_list(names: _Names, settings: dict[str, Any]) -> list[_Line]:
    """Return what earlier runs have read, and refuse it if they read otherwise."""
    there = names.finished if names.finished.exists() else names.partial
    if there == names.finished and not names.list.exists():
        raise ValueError(
            f"memory_map={str(there)!r} exists, but without {names.list.name} beside it nobody "
            "knows what it holds; name another file, or delete this one."
        )
    if not there.exists() or not names.list.exists():
        return []
    try:
        # What follows the last end of a line was cut off.
        first, *lines = names.list.read_text(encoding="utf-8").split("\n")[:-1] or ["{}"]
        before, known = dict(json.loads(first)), [_parse(line) for line in lines]
    except (ValueError, TypeError) as error:
        remedy = f"delete it and {there.name} to read the images anew."
        raise DamagedFileError(names.list, error, remedy) from error
    if before not in ({}, settings):
        ours = ", ".join(f"{key}={value}" for key, value in settings.items())
        theirs = ", ".join(f"{key}={value}" for key, value in before.items())
        raise ValueError(
            f"{there} was read with {theirs}, and is wanted with {ours}; name another file, or "
            "delete this one to read the images anew."
        )
    return known


def _parse(text: str) -> _Line:
    path, size, changed, brightest, reason, *checksums = json.loads(text)
    line = _Line(
        source=_Source(path=path, bytes=size, changed=changed),
        outcome=Outcome(brightest=brightest, reason=reason),
        checksum=checksums[0] if checksums else None,
    )
    if checksums and line.text() != f"{text}\n":
        raise ValueError(f"the line of {path} does not match its checksum")
    return line


def _count_valid(
    known: list[_Line], sources: list[_Source], is_readable: Callable[[Path], bool]
) -> int:
    """Return how many of the first sources are as they were."""
    for row, (line, now) in enumerate(zip(known, sources)):
        was_broken = line.outcome.reason is not None
        if line.source != now or (was_broken and is_readable(Path(now.path))):
            return row
    return min(len(known), len(sources))


def _check_finished(
    path: Path, shape: tuple[int, ...], known: list[_Line], sources: list[_Source], n_valid: int
) -> None:
    if n_valid < max(len(known), len(sources)):
        if len(known) != len(sources):
            what = f"from {len(known)} files, and is wanted from {len(sources)}"
        elif known[n_valid].source.path != sources[n_valid].path:
            what = f"from {known[n_valid].source.path} where {sources[n_valid].path} is wanted"
        else:
            what = f"before {sources[n_valid].path} was changed"
        raise ValueError(
            f"{path} was read {what}; name another file, or delete this one to read the images "
            "anew."
        )
    outcomes = [line.outcome for line in known]
    header = _header(_n_rows(outcomes), shape)
    with path.open("rb") as file:
        is_whole = file.read(len(header)) == header and path.stat().st_size == _size(
            outcomes, shape
        )
    if not is_whole:
        raise DamagedFileError(
            path, "it is not what was written there", "delete it to read the images anew."
        )


def _count_whole(known: list[_Line], names: _Names, shape: tuple[int, ...]) -> int:
    """Return how many of the first lines have the pixels that they vouch for."""
    if not known or not names.partial.exists():
        return 0
    n_bytes = math.prod(shape)
    with open_unlinked(names.partial) as file:
        file.seek(len(_header(0, shape)))
        for place, line in enumerate(known):
            if line.outcome.reason is not None:
                continue
            content = file.read(n_bytes)
            if len(content) < n_bytes or line.checksum not in (None, zlib.crc32(content)):
                return place
    return len(known)


def _check_room(path: Path, n_images: int, shape: tuple[int, ...]) -> None:
    needed, free = n_images * math.prod(shape), shutil.disk_usage(path.parent).free
    if needed > free:  # said before hours of reading, not after
        raise OSError(
            f"{n_images} images need {readable_size(needed)}, but {path.parent} has "
            f"{readable_size(free)} free; use smaller images or another disk."
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
