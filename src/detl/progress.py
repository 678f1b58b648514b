"""Progress bars: in a terminal or a notebook, never in a log."""

from __future__ import annotations

import sys
from numbers import Integral
from typing import Any

from tqdm import auto, notebook

# What is over sooner shows no bar. Seconds.
SHOWN_AFTER = 1.0


def progress_bar(
    total: int, *, verbose: int, description: str, unit: str, leave: bool = True
) -> Any:
    """Return a bar to ``update`` and ``close``; a silent one if ``verbose`` is 0 or nobody looks.

    A notebook's output is no terminal, but its bars are looked at.
    """
    if not isinstance(verbose, Integral):
        raise TypeError(f"verbose is {type(verbose).__name__} {verbose!r}; expected 0 or 1.")
    seen = sys.stderr.isatty() or issubclass(auto.tqdm, notebook.tqdm_notebook)
    return auto.tqdm(
        total=total,
        desc=description,
        unit=unit,
        disable=verbose == 0 or not seen,
        leave=leave,
        delay=SHOWN_AFTER,
    )
