"""Keep features by what they came from: the trunk, and the content of the image."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    """Return room for features: an array, or a memory map of a file that goes with it.

    Raises
    ------
    OSError
        If the file would not fit into the folder for temporary files.
    """
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if size <= IN_MEMORY_BYTES:
        return np.empty(shape, dtype)
    # The file is unlinked at once where the system allows it, so that nothing is left behind.
    with tempfile.TemporaryDirectory(prefix="detl-", ignore_cleanup_errors=True) as folder:
        # A memory map that outgrows its disk ends the process without a word.
        free = shutil.disk_usage(folder).free
        if size > free:
            raise OSError(
                f"The features of {shape[0]} images need {size / 1024**3:.1f} GiB, but "
                f"{tempfile.gettempdir()} has {free / 1024**3:.1f} GiB free; set TMPDIR to a "
                "larger folder, use smaller images, or train from a later layer (trainable_from)."
            )
        return np.lib.format.open_memmap(
            Path(folder) / "features.npy", mode="w+", dtype=dtype, shape=shape
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chunk:
    """Features that were computed together."""

    trunk: str
    names: dict[bytes, int]  # of the images' contents: row
    rows: np.ndarray
    path: Path | None = None

    @property
    def bytes_in_memory(self) -> int:
        return 0 if isinstance(self.rows, np.memmap) else self.rows.nbytes


class FeatureStore:
    """Features that are known already, the least recently used of which are forgotten."""

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []  # the most recently used last

    def missing(self, trunk: str, names: Sequence[bytes]) -> list[int]:
        """Return the places of the names that this trunk has no features of, each name once."""
        known = [chunk.names for chunk in self._chunks if chunk.trunk == trunk]
        places: dict[bytes, int] = {}
        for place, name in enumerate(names):
            if not any(name in of_chunk for of_chunk in known):
                places.setdefault(name, place)
        return list(places.values())

    def unwritten(self, trunk: str, names: Sequence[bytes], folder: Path) -> list[bytes]:
        """Return the names that no file of the folder has features of, each once."""
        there = [
            chunk.names
            for chunk in self._chunks
            if chunk.trunk == trunk and chunk.path is not None and chunk.path.parent == folder
        ]
        return [
            name for name in dict.fromkeys(names) if not any(name in of_chunk for of_chunk in there)
        ]

    def add(
        self, trunk: str, names: Sequence[bytes], rows: np.ndarray, folder: Path | None
    ) -> None:
        """Keep features, in a folder too where one is given.

        Raises
        ------
        OSError
            If they cannot be written there.
        """
        path = None
        if folder is not None:
            path = _write(folder, trunk, names, rows)
            rows = np.load(path, mmap_mode="r")
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

    def read(self, folder: Path, trunk: str) -> None:
        """Take up the features that earlier runs have written into a folder.

        Raises
        ------
        ValueError
            If a file is none of those, or broken.
        """
        known = {chunk.path for chunk in self._chunks}
        for path in sorted(folder.glob(f"{trunk[:32]}-*.features.npy")):
            if path in known:
                continue
            try:
                rows = np.load(path, mmap_mode="r")
                names = [bytes(name) for name in np.load(_names_beside(path))]
                if len(rows) != len(names):
                    raise ValueError(f"{len(rows)} features for {len(names)} images")
            except (OSError, ValueError, EOFError) as error:
                raise ValueError(
                    f"{path} cannot be read as features ({error}); delete it and go on."
                ) from error
            numbered = {name: row for row, name in enumerate(names)}
            self._chunks.append(_Chunk(trunk=trunk, names=numbered, rows=rows, path=path))

    def clear(self) -> None:
        """Forget everything; files stay."""
        self._chunks.clear()


def _write(folder: Path, trunk: str, names: Sequence[bytes], rows: np.ndarray) -> Path:
    """Write features so that no broken file is left where the process ends meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256(b"".join(names)).hexdigest()[:16]
    path = folder / f"{trunk[:32]}-{content}.features.npy"
    np.save(_names_beside(path), np.array([list(name) for name in names], dtype="uint8"))
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, rows)
    partial.replace(path)
    return path


def _names_beside(path: Path) -> Path:
    return path.with_name(path.name.replace(".features.npy", ".names.npy"))
