"""Three reporting checklists, in our own words: TRIPOD+AI, CLAIM 2024 and REFORMS.

The items are data, in ``items/*.toml``. They keep the published order and numbers, and say in one
sentence what to report; for the exact wording, authors turn to the publication.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

_FILES = ("tripod_ai.toml", "claim_2024.toml", "reforms.toml")


@dataclass(frozen=True, kw_only=True)
class Item:
    """What one item of a checklist asks for.

    Attributes
    ----------
    number : str
        As published, such as "12a".
    section : str
        Part of the paper or of the study that the item is about.
    text : str
        What to report, in one sentence.
    answers : tuple of str
        Parts of a report that answer the item, at least in part, such as "scores" or "audit".
        Empty where only the author can answer.
    """

    number: str
    section: str
    text: str
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Checklist:
    """A reporting checklist.

    Attributes
    ----------
    name : str
        What it is called, such as "CLAIM 2024".
    citation : str
        Where it was published.
    items : tuple of Item
        Its items, in the published order.
    """

    name: str
    citation: str
    items: tuple[Item, ...]


def checklists() -> tuple[Checklist, ...]:
    """Return the checklists: TRIPOD+AI, CLAIM 2024 and REFORMS."""
    return tuple(_read(file) for file in _FILES)


def _read(file: str) -> Checklist:
    """Return the checklist in a file of ``items``."""
    path = resources.files("detl.reporting") / "items" / file
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    items = tuple(
        Item(**{**item, "answers": tuple(item.get("answers", ()))}) for item in content.pop("items")
    )
    return Checklist(**content, items=items)
