"""What a user must be told of files: those that cannot be read, and images that are too dark."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detl.images.file_list import Outcome
from detl.images.listing import first_of

Skipped = tuple[tuple[Path, str], ...]

_REASONS_SHOWN = 20
_ALMOST_BLACK = 16  # 12-bit values in a 16-bit file end below 4096 / 256

_logger = logging.getLogger("detl")


def report_skipped(
    skipped: Skipped, kept: np.ndarray, labels: np.ndarray | None, on_error: str
) -> None:
    """Raise what is an error, and log what is skipped."""
    lines = [f"  {path}: {reason}" for path, reason in skipped[:_REASONS_SHOWN]]
    if len(skipped) > _REASONS_SHOWN:
        lines.append(f"  ... and {len(skipped) - _REASONS_SHOWN} more")
    table = "\n".join(lines)
    found = f"{len(skipped)} of {len(kept)} files could not be read"
    if not kept.any():
        raise ValueError(f"{found}, so that no image is left; check the paths:\n{table}")
    if on_error == "raise":
        raise ValueError(
            f'{found}; repair or remove them, or pass on_error="skip", which leaves them out and '
            f"returns them in .skipped:\n{table}"
        )
    lost = [] if labels is None else sorted(set(labels.tolist()) - set(labels[kept].tolist()))
    if lost:
        raise ValueError(
            f"{found}, so that no image is left of class {first_of(lost)}; repair the files, or "
            f"remove the class folder:\n{table}"
        )
    _logger.warning("%s and are left out:\n%s", found, table)


def warn_if_almost_black(outcomes: Sequence[Outcome], paths: list[Path]) -> None:
    """Log how many images have no bright pixel, a sign of fewer bits than the file says."""
    levels = [(outcome.brightest, path) for outcome, path in zip(outcomes, paths)]
    dark = [path for level, path in levels if level is not None and level < _ALMOST_BLACK]
    if dark:
        _logger.warning(
            "%d of %d images are almost black, no pixel above %d of 255, the first %s. 16-bit "
            "files that hold 12-bit values look so: scale them to 0..65535 first.",
            len(dark),
            sum(level is not None for level, _ in levels),
            _ALMOST_BLACK - 1,
            dark[0],
        )
