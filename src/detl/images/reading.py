"""Files read side by side into rows of one array, in memory or in a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from detl.images.decoding import reason_of
from detl.images.file_list import Outcome
from detl.images.memory_map import MappedImages

_Result = TypeVar("_Result")

_READ_AHEAD = 64  # images that wait for their turn


def open_rows(
    paths: list[Path], read: partial[np.ndarray], memory_map: Path | None
) -> _Array | MappedImages:
    """Return where rows go, in memory or in a file, with what is there already."""
    settings = read.keywords
    shape = (settings["height"], settings["width"], settings["channels"])
    if memory_map is None:
        return _Array(len(paths), shape)

    def is_readable(path: Path) -> bool:
        return attempt(read, path)[1].reason is None

    return MappedImages(memory_map, paths, shape=shape, settings=settings, is_readable=is_readable)


class _Array:
    """Rows of an array in memory, of which the last stay unused where files are left out."""

    def __init__(self, n_rows: int, shape: tuple[int, ...]) -> None:
        self.outcomes: list[Outcome] = []
        self._images = np.empty((n_rows, *shape), dtype=np.uint8)
        self._n_rows = 0

    def add(self, pixels: np.ndarray | None, outcome: Outcome) -> None:
        if pixels is not None:
            self._images[self._n_rows] = pixels
            self._n_rows += 1
        self.outcomes.append(outcome)

    def finish(self) -> np.ndarray:
        return self._images[: self._n_rows]

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def attempt(read: Callable[[Path], np.ndarray], path: Path) -> tuple[np.ndarray | None, Outcome]:
    """Return the pixels of a file, or none where it cannot be read, and what became of it."""
    try:
        pixels = read(path)
    except ImportError:  # a package is missing, and no file is broken
        raise
    except Exception as error:  # on a broken file, decoders raise nearly anything
        return None, Outcome(reason=reason_of(error))
    return pixels, Outcome(brightest=int(pixels.max()))


def in_order(
    pool: Executor, function: Callable[[Path], _Result], paths: Iterable[Path]
) -> Iterator[_Result]:
    """Yield what the function returns, calling it ahead for a few paths, not for all."""
    waiting: deque[Future[_Result]] = deque()
    for path in paths:
        waiting.append(pool.submit(function, path))
        if len(waiting) == _READ_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
