"""The list beside a memory map: the settings, then a line per file that was read, in order."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from detl.storage.damage import DamagedFileError

_FORMAT = 3  # to be raised when the same files would give other pixels


class Outcome(NamedTuple):
    """What became of a file: its greatest level, or the reason why it has none."""

    brightest: int | None = None
    reason: str | None = None


class Line(NamedTuple):
    """A file as it was when it was read, and what became of it."""

    path: str
    bytes: int | None  # None where nothing is
    changed: int | None  # nanoseconds
    outcome: Outcome = Outcome()
    checksum: int | None = None  # of its pixels, where it has any

    @property
    def is_outdated(self) -> bool:
        """Whether an earlier version read the file, perhaps to other pixels."""
        return self.outcome == Outcome()

    def text(self) -> str:
        """Return the line as it is written, with a checksum of its own."""
        text = json.dumps([*self[:3], *self.outcome, self.checksum])[:-1]
        return f"{text}, {zlib.crc32(text.encode())}]\n"


def look_at(path: Path) -> Line:
    """Return a file as it is now, before it is read."""
    try:
        found = path.stat()
    except OSError:
        return Line(str(path), None, None)
    return Line(str(path), found.st_size, found.st_mtime_ns)


def first_line(settings: dict[str, Any]) -> str:
    """Return the line that says how the files are read."""
    return json.dumps({"format": _FORMAT, **settings}) + "\n"


def read_list(path: Path, images: Path, settings: dict[str, Any]) -> list[Line]:
    """Return what was read into ``images``, refusing other settings than these."""
    try:
        # What follows the last end of a line was cut off.
        first, *texts = path.read_text(encoding="utf-8").split("\n")[:-1] or [first_line(settings)]
        before = dict(json.loads(first))
        is_outdated = before.get("format", _FORMAT) < _FORMAT
        lines = [_parse(text, is_outdated) for text in texts]
    except (ValueError, TypeError) as error:
        remedy = f"delete it and {images.name} to read the images anew."
        raise DamagedFileError(path, error, remedy) from error
    wanted = {"format": before.get("format") if is_outdated else _FORMAT, **settings}
    if before != wanted:
        theirs, ours = (
            ", ".join(f"{key}={value}" for key, value in said.items()) for said in (before, wanted)
        )
        raise ValueError(
            f"{images} was read with {theirs}, and is wanted with {ours}; name another file, or "
            "delete this one to read the images anew."
        )
    return lines


def _parse(text: str, is_outdated: bool) -> Line:
    path, size, changed, *rest = json.loads(text)
    if is_outdated:
        return Line(path, size, changed)
    brightest, reason, checksum, _ = rest
    line = Line(path, size, changed, Outcome(brightest, reason), checksum)
    if line.text() != f"{text}\n":
        raise ValueError(f"the line of {path} does not match its checksum")
    return line
