import csv
import sys

from benchmarks import cases


def half_of_them(folder, times):
    """Hold every second time."""
    assert not list(folder.iterdir())
    for number in range(times):
        yield number % 2 == 0


def test_a_row_counts_the_cases_that_were_tried_and_that_held(tmp_path, monkeypatch):
    output = tmp_path / "found.csv"
    monkeypatch.setattr(sys, "argv", ["cases", "--share", "0.5", "--output", str(output)])
    for name, value in cases.ONE_THREAD.items():  # which are set, and stay so
        monkeypatch.setenv(name, value)
    cases.report({half_of_them: 10}, description="Count.", output="unused.csv")
    with output.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["fault"], row["tried"], row["held"]) == ("Hold every second time", "5", "3")
