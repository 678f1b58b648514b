"""One page to send: what was found, how, and what is left for the author to say."""

from __future__ import annotations

from detl.reporting.writing import report

__all__ = ["report"]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
