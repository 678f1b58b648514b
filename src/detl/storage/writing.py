"""The one door through which files are written: whole, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from detl.storage.seals import seal, sealed_json

_UNFINISHED = ".detl-"  # how the names of files begin that are being written


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> Path:
    """Write a file under a name of its own, flush it to the disk, and then give it its name.

    Whoever reads ``path`` meanwhile finds the file of before, and so does everyone if the process
    ends. Two processes that write one path do not meet. Links are replaced, never followed.
    ``write`` is given the file, open for reading and writing, with its path in ``name``.
    """
    unfinished = path.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}{path.suffix}")
    try:
        with open_unlinked(unfinished, os.O_CREAT | os.O_EXCL) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        return unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays to a sealed ``.npz`` file; none of them may be of objects."""

    def write(file: IO[bytes]) -> None:
        np.savez(file, allow_pickle=False, **arrays)
        seal(file)

    return write_whole(path, write)


def write_json(path: Path, record: Mapping[str, Any], *, indent: int | None = None) -> Path:
    """Write a record to a sealed JSON file."""
    content = sealed_json(json.dumps(record, indent=indent, allow_nan=False))
    return write_whole(path, lambda file: file.write(content))


def open_unlinked(path: Path, flags: int = 0) -> IO[bytes]:
    """Open a file for reading and writing, with flags of ``os.open``, refusing a link."""

    def opener(name: str, opened_for: int) -> int:
        no_link = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
        return os.open(name, opened_for | flags | no_link, 0o666)

    return open(path, "r+b", opener=opener)


def remove_unfinished(folder: Path, *, untouched_for: float = 0.0) -> None:
    """Remove what processes were writing to a folder when they died, some seconds ago."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # gone, or not ours to remove
            if time.time() - left.lstat().st_mtime >= untouched_for:
                left.unlink()


def readable_size(n_bytes: int) -> str:
    """Return a size for a message, such as ``"1.5 GB"`` or ``"300 bytes"``."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if n_bytes >= 1000**power:
            return f"{n_bytes / 1000**power:.1f} {unit}"
    return f"{n_bytes} bytes"
