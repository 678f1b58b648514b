"""Folders that processes of one run share, and that the next run clears if this one is killed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from detl.storage.locks import Lock, LockedError

_LOCK = "in-use.lock"


@contextlib.contextmanager
def shared_folder(parent: str | Path | None, prefix: str) -> Iterator[Path]:
    """Make a folder, by default among the system's temporary files, and remove it at the end.

    What earlier runs have left beside it when they were killed is removed first.
    """
    parent = Path(tempfile.gettempdir() if parent is None else parent)
    for left in parent.glob(f"{prefix}*"):
        _remove_if_left(left)
    # What a network disk does not let go of at once must not cost the result.
    with (
        tempfile.TemporaryDirectory(
            prefix=prefix, dir=parent, ignore_cleanup_errors=True
        ) as folder,
        Lock(Path(folder) / _LOCK, folder),
    ):
        yield Path(folder).absolute()


def _remove_if_left(folder: Path) -> None:
    """Remove a folder of a run that was killed; of one that goes on, the lock is held."""
    with contextlib.suppress(OSError, LockedError):  # also if it is somebody else's
        if not folder.is_symlink() and (folder / _LOCK).exists():
            with Lock(folder / _LOCK, str(folder)):
                shutil.rmtree(folder, ignore_errors=True)
