"""What a page is made of."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from detl.validation.results import CrossValidationResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 110
_WIDEST = 1100  # pixels on the page, at 96 an inch


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first cell of a row names it.

    ``shades`` are shares of a colour behind the other cells, 0 to 1, as in a confusion matrix.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    shades: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture inside the page, with words for those who do not see it."""

    source: str
    alt: str
    width: int


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page: a title, a sentence that says what to see, tables and pictures."""

    name: str
    title: str
    says: str
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    points: tuple[str, ...] = ()
    text: str = ""


def table(head: Sequence[Any], rows: Sequence[Sequence[Any]], **more: Any) -> Table:
    """Return a table of what the cells read as."""
    return Table(
        head=tuple(map(str, head)), rows=tuple(tuple(map(str, row)) for row in rows), **more
    )


def picture(figure: Figure, alt: str) -> Picture:
    """Return a figure as a picture inside the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=_DPI, facecolor="white")
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    width = min(_WIDEST, round(96 * figure.get_figwidth()))
    return Picture(source=f"data:image/png;base64,{content}", alt=alt, width=width)


def plural(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def kept(result: CrossValidationResult) -> str:
    """Return whether groups are kept together, in words that go on after the number of folds."""
    if result.groups is None:
        return ", split without groups"
    apart = all(
        not np.isin(result.groups[fold.test], result.groups[fold.train]).any()
        for fold in result.folds
    )
    return ", with all images of a group on one side" if apart else ", WITH GROUPS ON BOTH SIDES"
