"""A row of a forest plot is a value within its interval."""

import numpy as np
from matplotlib.figure import Figure

from detl.plots.intervals import Row, draw_rows

ROWS = [
    Row(name="heading"),
    Row(name="a", value=0.5, low=0.2, high=0.9, colour="red", note="note $x"),
    Row(name="b", value=np.nan),
]


def test_rows_stand_from_the_top_with_value_and_interval():
    axis = Figure().subplots()
    draw_rows(axis, ROWS)
    line, point = axis.lines
    assert line.get_xydata().tolist() == [[0.2, 1], [0.9, 1]]
    assert (point.get_xdata(), point.get_ydata()) == ([0.5], [1])
    assert {line.get_color(), point.get_color()} == {"red"}
    assert axis.get_ylim() == (2.5, -0.5)


def test_headings_are_bold_and_names_are_written_as_they_are():
    axis = Figure().subplots()
    draw_rows(axis, ROWS)
    labels = axis.get_yticklabels()
    assert [label.get_text() for label in labels] == ["heading", "a", "b"]
    assert [label.get_fontweight() for label in labels] == ["bold", "normal", "normal"]
    assert not any(label.get_parse_math() for label in labels)


def test_notes_stand_beside_their_row_and_what_is_not_known_is_said():
    axis = Figure().subplots()
    draw_rows(axis, ROWS)
    note, unknown = axis.texts
    assert (note.get_text(), note.get_position()) == ("note $x", (1.02, 1))
    assert (unknown.get_text(), unknown.get_position()[1]) == ("not known", 2)
