"""What the page answers of a reporting checklist, and what is left to the author."""

from __future__ import annotations

from collections.abc import Iterable

from detl.reporting.checklists import Checklist, checklists
from detl.reporting.parts import Section, table

AUTHOR = "for the author"
# Key of a checklist's item -> section of the page that has the answer.
_ANSWERED_IN = {
    "classes": "summary",
    "protocol": "methods",
    "audit": "audit",
    "scores": "scores",
    "intervals": "scores",
    "calibration": "calibration",
    "threshold": "threshold",
    "net_benefit": "net_benefit",
    "subgroups": "subgroups",
    "external": "external",
    "comparison": "comparison",
    "heatmaps": "heatmaps",
    "shortcuts": "shortcuts",
    "errors": "errors",
    "network": "methods",
    "training": "methods",
    "versions": "settings",
    "reproducibility": "settings",
    "learning": "learning",
    "limits": "limits",
}


def checklist_sections(sections: Iterable[Section]) -> list[Section]:
    """Return a section for each checklist, which points at the sections of the page."""
    titles = {section.name: section.title for section in sections}
    return [_answered(checklist, titles) for checklist in checklists()]


def _answered(checklist: Checklist, titles: dict[str, str]) -> Section:
    rows, n_answered = [], 0
    for item in checklist.items:
        names = dict.fromkeys(_ANSWERED_IN[key] for key in item.answers)
        found = [titles[name] for name in names if name in titles]
        n_answered += bool(found)
        answer = f"see {', '.join(found)}" if found else AUTHOR
        rows.append([item.number, item.section, item.text, answer])
    slug = "".join(c if c.isalnum() else "_" for c in checklist.name.lower())
    return Section(
        name=slug,
        title=f"Checklist {checklist.name}",
        says=f"The page has something to say on {n_answered} of {len(checklist.items)} items, in "
        "our words; read the original, and check each answer.",
        tables=(table(["item", "part", "what to report", "where"], rows),),
        points=(checklist.citation,),
    )
