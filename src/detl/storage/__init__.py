"""Files that outlive a crash: written whole or not at all, locked, checked, known again."""

from detl.storage.damage import DamagedFileError
from detl.storage.locks import LockedError

__all__ = ["DamagedFileError", "LockedError"]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
