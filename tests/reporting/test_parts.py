"""Cells are text, and a picture is inside the page."""

import base64

import pytest
from matplotlib.figure import Figure

from detl.reporting.parts import picture, plural, table


def test_cells_are_what_they_read_as():
    found = table(["class", 1], [["a", 0.5], [3, None]], caption="words")
    assert found.head == ("class", "1")
    assert found.rows == (("a", "0.5"), ("3", "None"))
    assert found.caption == "words"


def test_a_picture_carries_its_pixels():
    found = picture(Figure(figsize=(4, 2)), "an empty figure")
    kind, content = found.source.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content)[:8] == b"\x89PNG\r\n\x1a\n"
    assert (found.width, found.alt) == (384, "an empty figure")
    assert picture(Figure(figsize=(40, 2)), "").width == 1100


@pytest.mark.parametrize(("count", "text"), [(1, "1 fold"), (0, "0 folds"), (2500, "2,500 folds")])
def test_a_count_has_its_noun(count, text):
    assert plural(count, "fold") == text
