"""Let one process at a time into what two would spoil."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import platform
import time
from pathlib import Path
from typing import IO, Any, Self

from detl.storage.writing import open_unlinked

try:
    import fcntl
except ImportError:  # not POSIX
    fcntl = None  # type: ignore[assignment]

_logger = logging.getLogger("detl")


class LockedError(ValueError):
    """Another process is at work there; the message says which."""


class Lock:
    """Hold a file locked, for the length of a ``with`` statement or until it is released.

    The system takes the lock back when the process ends, however it ends. The file is made for the
    purpose, says who holds it, and is removed at the end; ``what`` is what is locked, for the
    message to other processes and threads.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self._what = path, what
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """Take the lock, or say who has it."""
        while self._file is None:
            file = open_unlinked(self.path, os.O_CREAT)
            try:
                self._lock(file)
                if self._is_there(file):
                    self._file = file
            finally:
                if self._file is None:
                    file.close()
        try:
            self._file.truncate()
            self._file.write(json.dumps(_this_process()).encode())
            self._file.flush()
        except OSError:  # the disk is full
            self.release()
            raise

    def release(self) -> None:
        """Give the lock back, if it is held."""
        if self._file is None:
            return
        if fcntl is not None:  # elsewhere an open file cannot be removed
            self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # who holds it may not have fitted on the disk
            self._file.close()
        self._file = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def _lock(self, file: IO[Any]) -> None:
        try:
            if fcntl is None:
                # A file that only its holder may make would outlive a killed run, and lock it out.
                raise OSError(errno.ENOSYS, "this system has no fcntl")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                f"{self._what} is in use by {_holder(file)}; wait until it has ended, or choose "
                "another."
            ) from error
        except OSError as error:  # nor have some network disks
            _logger.warning(
                "%s cannot be locked (%s); see to it that no other process uses it.",
                self._what,
                error.strerror,
            )

    def _is_there(self, file: IO[Any]) -> bool:
        """Whether nobody has removed the file since it was opened, as who held it does."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            return False


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%F %T")}


def _holder(file: IO[bytes]) -> str:
    try:
        holder = json.loads(file.read(1000))
        return "process {pid} on {host} since {since}".format(**holder)
    except (ValueError, KeyError, TypeError):  # it is just being written
        return "another process"
