"""Keep features by what they came from: the trunk, and the content of the image."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from detl.storage.damage import DamagedFileError
from detl.storage.reading import check_seal
from detl.storage.seals import seal
from detl.storage.writing import readable_size, remove_unfinished, write_whole

_SUFFIX = ".features.npy"
_NAME_BYTES = 16  # of what an image is known by
_A_DAY = 24 * 3600.0
_AT_A_TIME = 256  # rows that are copied: a memory map is never read whole
_MOST_CHUNKS = 64


def _memory() -> int:
    """Return the bytes of physical memory, 16 GiB where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not POSIX
        return 16 * 1024**3


# Features up to this size stay in memory, a quarter of all; beyond it they go to a file.
IN_MEMORY_BYTES = _memory() // 4


def allocate(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Return room for features: an array, or a memory map of a file that goes with it."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype)
    # The file is unlinked at once where the system allows it, so that nothing is left behind.
    with tempfile.TemporaryDirectory(prefix="detl-", ignore_cleanup_errors=True) as folder:
        # A memory map that outgrows its disk ends the process without a word.
        free = shutil.disk_usage(folder).free
        if size > free:
            raise OSError(
                f"The features of {shape[0]} images need {readable_size(size)}, but "
                f"{tempfile.gettempdir()} has {readable_size(free)} free; set TMPDIR to a larger "
                "folder, use smaller images, or train from a later layer (trainable_from)."
            )
        return np.lib.format.open_memmap(
            Path(folder) / "features.npy", mode="w+", dtype=dtype, shape=shape
        )


@dataclass(kw_only=True, eq=False)
class _Chunk:
    """Features that were computed together."""

    trunk: str
    names: dict[bytes, int]  # of the images' contents: row
    rows: np.ndarray
    path: Path | None = None
    checked: bool = True  # against the checksum of its file

    @property
    def folder(self) -> Path | None:
        return self.path and self.path.parent

    @property
    def bytes_in_memory(self) -> int:
        return 0 if isinstance(self.rows, np.memmap) else self.rows.nbytes


class FeatureStore:
    """Features that are known already, the least recently used of which are forgotten."""

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []  # the most recently used last

    def missing(self, trunk: str, names: Sequence[bytes], folder: Path | None = None) -> list[int]:
        """Return the places of the names without features (in this folder), each name once."""
        known = [
            chunk.names
            for chunk in self._chunks
            if chunk.trunk == trunk and (folder is None or chunk.folder == folder)
        ]
        places: dict[bytes, int] = {}
        for place, name in enumerate(names):
            if not any(name in of_chunk for of_chunk in known):
                places.setdefault(name, place)
        return list(places.values())

    def add(
        self, trunk: str, names: Sequence[bytes], rows: np.ndarray, folder: Path | None
    ) -> None:
        """Keep features, in a folder too where one is given; what it cannot take is warned of."""
        path = None
        if folder is not None:
            try:
                path = _write(folder, trunk, names, rows)
                rows = np.load(path, mmap_mode="r")
            except OSError as error:
                warnings.warn(
                    f"The features of {len(names)} images could not be written to "
                    f"cache_dir={str(folder)!r} ({error.strerror or error}); this process keeps "
                    "them, and later ones compute them again.",
                    RuntimeWarning,
                    stacklevel=3,
                )
                if not self.missing(trunk, names):  # they are kept already
                    return
        numbered = {name: row for row, name in enumerate(names)}
        self._chunks.append(_Chunk(trunk=trunk, names=numbered, rows=rows, path=path))

    def gather(self, trunk: str, names: Sequence[bytes]) -> np.ndarray:
        """Return the features of these names, in their order; not to be written to."""
        used = [
            chunk
            for chunk in self._chunks
            if chunk.trunk == trunk and not chunk.names.keys().isdisjoint(names)
        ]
        self._chunks = [chunk for chunk in self._chunks if chunk not in used] + used
        for chunk in used:
            if list(chunk.names) == list(names):
                return chunk.rows
        shape, dtype = used[0].rows.shape[1:], used[0].rows.dtype
        found = allocate((len(names), *shape), dtype)
        for chunk in used:
            places = [place for place, name in enumerate(names) if name in chunk.names]
            for start in range(0, len(places), _AT_A_TIME):
                part = places[start : start + _AT_A_TIME]
                found[part] = chunk.rows[[chunk.names[names[place]] for place in part]]
        return found

    def forget(self) -> None:
        """Forget what was not used for longest, until the rest is small enough."""
        while len(self._chunks) > 1 and (
            sum(chunk.bytes_in_memory for chunk in self._chunks) > IN_MEMORY_BYTES
            or len(self._chunks) > _MOST_CHUNKS
        ):
            del self._chunks[0]

    def read(self, folder: Path, trunk: str, names: Sequence[bytes]) -> None:
        """Take up what earlier runs have written, checking files that have one of these names."""
        known = {chunk.path for chunk in self._chunks}
        for path in sorted(folder.glob(f"{trunk[:32]}-*{_SUFFIX}")):
            if path not in known:
                with _removed_if_damaged(path):
                    self._chunks.append(_read(path, trunk))
        for chunk in list(self._chunks):
            if chunk.path is None or chunk.checked or chunk.names.keys().isdisjoint(names):
                continue
            self._chunks.remove(chunk)
            with _removed_if_damaged(chunk.path):
                check_seal(chunk.path)
                chunk.checked = True
                self._chunks.append(chunk)

    def clear(self) -> None:
        """Forget everything; files stay."""
        self._chunks.clear()


def _write(folder: Path, trunk: str, names: Sequence[bytes], rows: np.ndarray) -> Path:
    """Write features: a ``.npy`` file, with the images' names, the trunk and a seal at its end."""

    def write(file: IO[bytes]) -> None:
        np.save(file, rows)
        file.write(b"".join(names) + trunk.encode())
        seal(file)

    folder.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder, untouched_for=_A_DAY)
    content = hashlib.sha256(b"".join(names)).hexdigest()[:16]
    return write_whole(folder / f"{trunk[:32]}-{content}{_SUFFIX}", write)


def _read(path: Path, trunk: str) -> _Chunk:
    """Return what :func:`_write` wrote; its checksum is still to be looked at."""
    try:
        rows = np.load(path, mmap_mode="r")
        with path.open("rb") as file:
            file.seek(rows.offset + rows.nbytes)
            names, of_trunk = file.read(_NAME_BYTES * len(rows)), file.read(len(trunk))
        if of_trunk != trunk.encode():
            raise ValueError("it has no checksum, as an earlier version left it, or another trunk")
    except (OSError, ValueError, EOFError, AttributeError, TypeError) as error:
        raise DamagedFileError(path, error) from error
    starts = range(0, len(names), _NAME_BYTES)
    numbered = {names[start : start + _NAME_BYTES]: row for row, start in enumerate(starts)}
    return _Chunk(trunk=trunk, names=numbered, rows=rows, path=path, checked=False)


@contextlib.contextmanager
def _removed_if_damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except DamagedFileError as error:
        warnings.warn(
            f"{error}; it is removed, and its features are computed again.",
            UserWarning,
            stacklevel=5,
        )
        names = path.with_name(path.name.replace(_SUFFIX, ".names.npy"))  # of earlier versions
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
            names.unlink(missing_ok=True)
