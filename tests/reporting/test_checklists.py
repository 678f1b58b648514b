"""The reporting checklists: complete, in order, and readable."""

import dataclasses

import pytest

from detl.reporting.checklists import checklists

# What a report knows of a result.
KEYS = {
    "audit",
    "calibration",
    "classes",
    "comparison",
    "errors",
    "external",
    "heatmaps",
    "intervals",
    "learning",
    "limits",
    "net_benefit",
    "network",
    "protocol",
    "reproducibility",
    "scores",
    "shortcuts",
    "subgroups",
    "threshold",
    "training",
    "versions",
}

# Letters of each item, in the order of the publications; an item without letters has "".
TRIPOD_AI = dict.fromkeys(range(1, 28), "") | {
    3: "abc",
    5: "ab",
    6: "abc",
    8: "abc",
    9: "abc",
    12: "abcdefg",
    18: "abcdef",
    20: "abc",
    23: "ab",
    27: "abc",
}
CLAIM = dict.fromkeys(range(1, 45), "")
REFORMS = {1: "abc", 2: "abcde", 3: "abcdefg", 4: "abc", 5: "abcdef", 6: "abc", 7: "abc", 8: "ab"}

BY_NAME = {checklist.name: checklist for checklist in checklists()}
ITEMS = [
    pytest.param(item, id=f"{name} {item.number}")
    for name, checklist in BY_NAME.items()
    for item in checklist.items
]


def test_there_are_three_checklists_each_with_its_publication():
    publications = {name: checklist.citation[:17] for name, checklist in BY_NAME.items()}
    assert publications == {
        "TRIPOD+AI": "Collins et al. 20",
        "CLAIM 2024": "Tejani et al. 202",
        "REFORMS": "Kapoor et al. 202",
    }


@pytest.mark.parametrize(
    ("name", "letters", "count"),
    [("TRIPOD+AI", TRIPOD_AI, 52), ("CLAIM 2024", CLAIM, 44), ("REFORMS", REFORMS, 32)],
)
def test_items_are_complete_and_in_the_published_order(name, letters, count):
    expected = [f"{item}{letter}" for item in letters for letter in letters[item] or [""]]
    assert [item.number for item in BY_NAME[name].items] == expected
    assert len(expected) == count


@pytest.mark.parametrize("item", ITEMS)
def test_an_item_is_one_short_sentence_with_a_section(item):
    assert item.section.strip() == item.section != ""
    assert item.text[0].isupper()
    assert item.text.endswith(".")
    assert ". " not in item.text
    assert 3 <= len(item.text.split()) <= 30


@pytest.mark.parametrize("item", ITEMS)
def test_what_answers_an_item_is_something_that_a_report_knows(item):
    assert isinstance(item.answers, tuple)
    assert set(item.answers) <= KEYS
    assert len(set(item.answers)) == len(item.answers)


def test_all_that_a_report_knows_answers_some_item():
    answers = {
        key for checklist in BY_NAME.values() for item in checklist.items for key in item.answers
    }
    assert answers == KEYS


def test_an_item_without_the_key_is_for_the_author():
    funding = BY_NAME["CLAIM 2024"].items[43]
    assert (funding.number, funding.answers) == ("44", ())


def test_checklists_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BY_NAME["REFORMS"].items[0].text = "Nothing."
