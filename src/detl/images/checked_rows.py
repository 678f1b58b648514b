"""A memory map that tells damage from pixels."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Self

import numpy as np

from detl.storage.damage import DamagedFileError


class CheckedRows(np.memmap):
    """Rows of a ``.npy`` file, each compared with its checksum when it is first asked for.

    A file of 100 GB opens at once, and no row is trained on unchecked, since rows are read by
    indexing: ``images[rows]``. What goes around that, such as ``images.sum()``, sees what is there.
    """

    # CRC-32 of each row. Slices and results of a computation have none: they were checked.
    checksums: np.ndarray | None = None
    _unchecked: np.ndarray  # whether a row is still to be checked
    _path: Path

    @classmethod
    def open(cls, path: Path, checksums: np.ndarray) -> Self:
        """Open a file to be read only."""
        rows = np.load(path, mmap_mode="r").view(cls)
        rows.checksums, rows._path = checksums, path
        rows._unchecked = np.ones(len(checksums), bool)
        return rows

    def __getitem__(self, index: Any) -> Any:
        if self.checksums is not None:
            self._check(index, self.checksums)
        return self.view(np.memmap)[index]

    def __reduce__(self) -> Any:
        """Travel to another process as a path."""
        if self.checksums is None:
            return super().__reduce__()
        return type(self).open, (self._path, self.checksums)

    def _check(self, index: Any, checksums: np.ndarray) -> None:
        first = index[0] if isinstance(index, tuple) and index else index
        try:
            rows = np.ravel(np.arange(len(self))[first])
        except IndexError:  # a mask of pixels
            rows = np.arange(len(self))
        content = self.view(np.memmap)
        for row in rows[self._unchecked[rows]]:
            if zlib.crc32(content[row].tobytes()) != checksums[row]:
                reason = f"row {row} does not match its checksum"
                raise DamagedFileError(self._path, reason, "delete it to read the images anew.")
            self._unchecked[row] = False
