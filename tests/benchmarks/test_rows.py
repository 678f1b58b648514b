import csv

import numpy as np
import pytest

from benchmarks import rows


def test_rows_are_read_back_as_they_were_written(tmp_path):
    path = tmp_path / "results/found.csv"
    written = [{"fault": "a, b", "tried": "3"}, {"fault": "größer", "tried": "4"}]
    rows.write_rows(path, written)
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == written
    assert b"\r" not in path.read_bytes()


def test_a_column_that_the_first_row_lacks_is_refused(tmp_path):
    with pytest.raises(ValueError, match="held"):
        rows.write_rows(tmp_path / "found.csv", [{"tried": 1}, {"tried": 1, "held": 1}])


def test_the_last_columns_are_machine_and_versions():
    found = rows.measured_with("numpy")
    assert list(found) == ["machine", "versions"]
    assert found["versions"] == f"numpy {np.__version__}"


def test_a_spread_goes_from_the_lowest_to_the_highest():
    assert rows.spread(np.array([2.0, 0.5, 1.0]), ".1f") == "0.5 to 2.0"
