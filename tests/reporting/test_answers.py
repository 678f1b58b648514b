"""An item of a checklist points at the section that answers it, or at the author."""

from detl.reporting.answers import _ANSWERED_IN, AUTHOR, checklist_sections
from detl.reporting.checklists import checklists
from detl.reporting.parts import Section


def test_every_key_of_an_item_has_a_section():
    keys = {key for one in checklists() for item in one.items for key in item.answers}
    assert keys <= set(_ANSWERED_IN)
    assert len(keys) > 10


def test_an_item_is_answered_only_by_what_is_on_the_page():
    scores = Section(name="scores", title="Scores", says="")
    for section, checklist in zip(checklist_sections([scores]), checklists(), strict=True):
        (table,) = section.tables
        assert len(table.rows) == len(checklist.items)
        n_answered = 0
        for row, item in zip(table.rows, checklist.items, strict=True):
            answered = {"scores", "intervals"} & set(item.answers)
            assert row[3] == ("see Scores" if answered else AUTHOR)
            n_answered += bool(answered)
        assert n_answered > 0
        assert f"on {n_answered} of {len(checklist.items)} items" in section.says
