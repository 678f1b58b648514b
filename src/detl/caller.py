"""Where a warning points: at the user's line, however many of detl's functions are in between."""

from __future__ import annotations

import sys


def stacklevel_of_caller() -> int:
    """Return the ``stacklevel`` of ``warnings.warn`` for the first line that is not detl's."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("detl."):
        frame, level = frame.f_back, level + 1
    return level
