"""Checksums inside of files, found where the file is read.

A binary file ends in the SHA-256 of all before it. Readers of the format never see it: a zip
archive (``.npz``, ``.keras``) has it as its comment, a ``.npy`` file after its last element. A JSON
file has it as its entry ``checksum``, of all around it. Files of before have none and are read
without; no single changed byte makes a file with a checksum look like one of those.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import IO, Any

_MARK = b"\ndetl sha256 "
_SIZE = len(_MARK) + 64
_ZIP = b"PK\x03\x04"
_JSON = re.compile(rb'\{"format": 1, "checksum": "([0-9a-f]{64})",')


def seal(file: IO[bytes]) -> None:
    """Append the checksum to a file that is open for reading and writing."""
    file.seek(0)
    if file.read(len(_ZIP)) == _ZIP:  # its last two bytes are the length of its comment
        file.seek(-2, os.SEEK_END)
        file.write(_SIZE.to_bytes(2, "little"))
    file.seek(0, os.SEEK_END)
    file.write(_MARK)
    file.write(_digest(file, file.tell()))


def is_sealed(path: Path) -> bool:
    """Refuse a binary file that does not match its checksum; return False where it has none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _SIZE))
        end = file.read()
        if not end.startswith(_MARK):
            return False
        if _digest(file, size - 64) != end[len(_MARK) :]:
            raise ValueError("its content does not match its checksum")
    return True


def _digest(file: IO[bytes], size: int) -> bytes:
    """Return the checksum of the first bytes of a file, in hexadecimal, and go to their end."""
    file.seek(0)
    digest = hashlib.sha256()
    while size:
        part = file.read(min(size, 1 << 20))
        digest.update(part)
        size -= len(part)
    return digest.hexdigest().encode()


def sealed_json(text: str) -> bytes:
    """Return the text of a JSON object with its checksum in it."""
    before, after = b'{"format": 1, "checksum": "', f'",{text[1:]}'.encode()
    return before + hashlib.sha256(before + after).hexdigest().encode() + after


def unsealed_json(content: bytes) -> Any:
    """Return what a JSON file holds, checked against its checksum where it has one."""
    record = json.loads(content.decode("utf-8"))
    if isinstance(record, dict) and not {"format", "checksum"}.isdisjoint(record):
        found = _JSON.match(content)
        start, end = found.span(1) if found else (0, 0)
        digest = hashlib.sha256(content[:start] + content[end:]).hexdigest()
        if digest.encode() != content[start:end]:
            raise ValueError("its content does not match its checksum")
        del record["format"], record["checksum"]
    return record
