"""One way to say what is wrong with a file."""

from __future__ import annotations

from pathlib import Path


class DamagedFileError(ValueError):
    """A file is not what was written there, or was not written by detl.

    ``path``, ``reason`` and ``remedy`` say which, what is wrong with it, and what to do about it.
    """

    def __init__(self, path: Path, reason: object, remedy: str = "") -> None:
        super().__init__(path, str(reason), remedy)
        self.path, self.reason, self.remedy = path, str(reason), remedy

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.path} is damaged ({self.reason}){remedy}"
