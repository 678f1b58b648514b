"""Images in a ``.npy`` file, written row by row: a run that was killed goes on where it stopped.

While ``images.npy`` is written it is called ``images.npy.partial``; ``images.npy.files`` lists what
was read. Pixels reach the disk before the lines that vouch for them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from detl.images.checked_rows import CheckedRows
from detl.images.file_list import Line, Outcome, first_line, look_at, read_list
from detl.storage.damage import DamagedFileError
from detl.storage.locks import Lock
from detl.storage.writing import open_unlinked, readable_size, write_whole

_SECONDS_BETWEEN_SAVES = 1.0  # what a killed run loses at most

_logger = logging.getLogger("detl")


class MappedImages:
    """Rows of a ``.npy`` file, which an earlier run has completed or which is being written.

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
    """

    def __init__(
        self,
        path: Path,
        paths: Sequence[Path],
        *,
        shape: tuple[int, ...],
        settings: dict[str, Any],
        is_readable: Callable[[Path], bool],
    ) -> None:
        self._path, self._shape, self._settings = path, shape, settings
        self._partial = path.with_name(f"{path.name}.partial")
        self._list = path.with_name(f"{path.name}.files")
        self._sources = [look_at(file) for file in paths]
        self._is_readable = is_readable
        self._file: IO[bytes] | None = None
        if self._open_finished():
            return
        self._lock = Lock(path.with_name(f"{path.name}.lock"), f"memory_map={str(path)!r}")
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            try:
                if self._open_finished():  # by another process, meanwhile
                    self._lock.release()
                else:
                    self._open_partial()
            except BaseException:
                self._lock.release()
                raise

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of the first files."""
        return [line.outcome for line in self._lines]

    def add(self, pixels: np.ndarray | None, outcome: Outcome) -> None:
        """Append what became of the next file."""
        source, checksum = self._sources[len(self._lines)], None
        with self._writing():
            if pixels is not None and self._file is not None:
                content = pixels.tobytes()
                checksum = zlib.crc32(content)
                self._file.write(content)
            self._lines.append(source._replace(outcome=outcome, checksum=checksum))
            if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_SAVES:
                self._save()

    def finish(self) -> np.ndarray:
        """Give the file its name, and return it as a memory map that is not to be written to."""
        checksums = [line.checksum for line in self._lines if line.checksum is not None]
        if self._file is None:
            return CheckedRows.open(self._path, np.array(checksums, "uint32"))
        with self._writing():
            self._save()
            self._file.seek(0)
            self._file.write(_header(len(checksums), self._shape))
            _sync(self._file)
            self._file.close()
            self._partial.replace(self._path)
        self._lock.release()
        return np.load(self._path, mmap_mode="r")

    def close(self) -> None:
        """Keep what is there for another run."""
        if self._file is None:
            return
        # Of a full disk the caller has been told.
        with contextlib.suppress(OSError):
            if not self._file.closed:
                self._save()
        with contextlib.suppress(OSError):
            self._file.close()
        self._lock.release()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say what to do where the disk is full, or cannot be written to."""
        try:
            yield
        except OSError as error:
            if error.errno is None:
                raise
            raise OSError(
                f"memory_map={str(self._path)!r} could not be written ({error.strerror}). Make "
                "room, or name a file on another disk; the same call goes on with what is there."
            ) from error

    def _open_finished(self) -> bool:
        """Take a finished file, refusing one of other images; one of an earlier version waits."""
        if not self._path.exists():
            return False
        if not self._list.exists():
            raise ValueError(
                f"memory_map={str(self._path)!r} exists, but without {self._list.name} beside it "
                "it is not known which images it holds; name another file, or delete this one."
            )
        known = read_list(self._list, self._path, self._settings)
        n_valid = self._count_valid(known)
        if n_valid < max(len(known), len(self._sources)):
            if len(known) != len(self._sources):
                what = f"from {len(known)} files, and is wanted from {len(self._sources)}"
            elif known[n_valid].path != self._sources[n_valid].path:
                what = f"from {known[n_valid].path} where {self._sources[n_valid].path} is wanted"
            else:
                what = f"before {known[n_valid].path} was changed"
            raise ValueError(
                f"{self._path} was read {what}; name another file, or delete this one to read the "
                "images anew."
            )
        if any(line.is_outdated for line in known):
            return False
        n_rows = _count_rows(known)
        header = _header(n_rows, self._shape)
        with self._path.open("rb") as file:
            has_header = file.read(len(header)) == header
        n_bytes = len(header) + n_rows * math.prod(self._shape)
        if not has_header or self._path.stat().st_size != n_bytes:
            remedy = "delete it to read the images anew."
            raise DamagedFileError(self._path, "it is not what was written there", remedy)
        self._lines = known
        return True

    def _open_partial(self) -> None:
        """Keep the first rows that still hold, and cut off the others."""
        if self._path.exists():  # of an earlier version
            self._path.replace(self._partial)
        known: list[Line] = []
        if self._list.exists() and self._partial.exists():
            known = read_list(self._list, self._partial, self._settings)
        kept = known[: self._count_valid(known)]
        kept = kept[: self._count_whole(kept)]
        self._check_room(len(self._sources) - len(kept))
        if len(kept) < len(known):
            first = known[len(kept)]
            why = "an earlier version read them" if first.is_outdated else "they have changed"
            _logger.warning(
                "%s is unfinished, and of the %d files that were read for it, those from %s on are "
                "read again: %s.",
                self._path,
                len(known),
                first.path,
                why,
            )
        self._lines, self._n_saved = kept, len(kept)
        self._saved_at = time.monotonic()
        text = first_line(self._settings) + "".join(line.text() for line in kept)
        write_whole(self._list, lambda file: file.write(text.encode()))
        self._file = open_unlinked(self._partial, os.O_CREAT)
        self._file.write(_header(len(self._sources), self._shape))
        self._file.truncate(self._file.tell() + _count_rows(kept) * math.prod(self._shape))
        self._file.seek(0, os.SEEK_END)

    def _count_valid(self, known: list[Line]) -> int:
        """Return how many of the first files are as they were."""
        for row, (line, now) in enumerate(zip(known, self._sources)):
            was_broken = line.outcome.reason is not None
            if line[:3] != now[:3] or (was_broken and self._is_readable(Path(now.path))):
                return row
        return min(len(known), len(self._sources))

    def _count_whole(self, known: list[Line]) -> int:
        """Return how many of the first lines have the pixels that they vouch for."""
        if not known:
            return 0
        n_bytes = math.prod(self._shape)
        with open_unlinked(self._partial) as file:
            file.seek(len(_header(0, self._shape)))
            for place, line in enumerate(known):
                if line.outcome.reason is not None:
                    continue
                content = file.read(n_bytes)
                if len(content) < n_bytes or line.checksum != zlib.crc32(content):
                    return place
        return len(known)

    def _check_room(self, n_images: int) -> None:
        needed = n_images * math.prod(self._shape)
        free = shutil.disk_usage(self._path.parent).free
        if needed > free:  # said before hours of reading, not after
            raise OSError(
                f"{n_images} images need {readable_size(needed)}, but {self._path.parent} has "
                f"{readable_size(free)} free; use smaller images or another disk."
            )

    def _save(self) -> None:
        _sync(self._file)
        with open_unlinked(self._list) as file:
            file.seek(0, os.SEEK_END)
            unsaved = self._lines[self._n_saved :]
            file.write("".join(line.text() for line in unsaved).encode())
            _sync(file)
        self._n_saved = len(self._lines)
        self._saved_at = time.monotonic()


def _count_rows(lines: list[Line]) -> int:
    return sum(line.outcome.reason is None for line in lines)


def _header(n_rows: int, shape: tuple[int, ...]) -> bytes:
    """Return the first bytes of a ``.npy`` file; NumPy makes them as long for any ``n_rows``."""
    header = BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (n_rows, *shape)}
    )
    return header.getvalue()


def _sync(file: IO[Any] | None) -> None:
    if file is not None:
        file.flush()
        os.fsync(file.fileno())
