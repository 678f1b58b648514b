"""Files are read as what detl wrote, or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from detl.storage.damage import DamagedFileError
from detl.storage.seals import is_sealed, unsealed_json


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return what :func:`detl.storage.writing.write_arrays` wrote; nothing is unpickled."""
    try:
        if any(part.compress_type != zipfile.ZIP_STORED for part in check_archive(path)):
            raise ValueError("it is compressed, and may be larger than memory")
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except DamagedFileError:
        raise
    except Exception as error:  # on a damaged archive, zipfile and NumPy raise nearly anything
        raise DamagedFileError(path, error) from error


def check_archive(path: Path, *, remedy: str = "") -> list[zipfile.ZipInfo]:
    """Return what is in a zip archive that matches its checksum, or has none."""
    try:
        sealed = is_sealed(path)
        with zipfile.ZipFile(path) as archive:
            if archive.comment and not sealed:
                raise ValueError("its checksum is damaged")
            if not sealed and archive.testzip() is not None:
                raise ValueError(f"{archive.testzip()} in it is broken")
            return archive.infolist()
    except Exception as error:
        raise DamagedFileError(path, error, remedy) from error


def check_seal(path: Path) -> None:
    """Refuse a file that does not match its checksum, or has none."""
    try:
        if not is_sealed(path):
            raise ValueError("its checksum is missing")
    except (OSError, ValueError) as error:
        raise DamagedFileError(path, error) from error


def read_json(path: Path, *, remedy: str) -> Any:
    """Return what :func:`detl.storage.writing.write_json` wrote, or any JSON without checksum."""
    try:
        return unsealed_json(path.read_bytes())
    except ValueError as error:
        raise DamagedFileError(path, error, remedy) from error
