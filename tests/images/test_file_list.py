"""The list beside a memory map says which files were read, or is refused by name."""

import pytest

from detl.images.file_list import Line, Outcome, first_line, look_at, read_list
from detl.storage import DamagedFileError

SETTINGS = {"size": [8, 8]}


def written(folder, *lines):
    path = folder / "images.npy.list"
    path.write_text(first_line(SETTINGS) + "".join(lines), encoding="utf-8")
    return path


def test_lines_come_back_and_one_that_was_cut_off_is_left_out(tmp_path):
    (tmp_path / "a.png").write_bytes(b"12345")
    seen = look_at(tmp_path / "a.png")
    assert (seen.bytes, seen.outcome) == (5, Outcome())
    read = seen._replace(outcome=Outcome(brightest=255), checksum=7)
    absent = look_at(tmp_path / "b.png")._replace(outcome=Outcome(reason="it is not there"))
    assert absent[1:3] == (None, None)
    path = written(tmp_path, read.text(), absent.text(), read.text()[:-5])
    assert read_list(path, tmp_path / "images.npy", SETTINGS) == [read, absent]


def test_other_settings_are_refused(tmp_path):
    path = written(tmp_path)
    with pytest.raises(ValueError, match=r"read with .*size=\[8, 8\], and is wanted with .*\[9, 9"):
        read_list(path, tmp_path / "images.npy", {"size": [9, 9]})


def test_a_line_that_was_changed_is_found(tmp_path):
    line = Line("a.png", 5, 1, Outcome(brightest=255), 7).text()
    path = written(tmp_path, line.replace("255", "254"))
    with pytest.raises(
        DamagedFileError, match=r"line of a\.png does not match its checksum\); del"
    ):
        read_list(path, tmp_path / "images.npy", SETTINGS)
