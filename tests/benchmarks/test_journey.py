import pytest

from benchmarks import journey


def took(seconds):
    stages = dict.fromkeys(journey.STAGES, seconds)
    return {"seconds": stages, "overhead": dict.fromkeys(stages, 0.5), "memory": stages}


def test_a_row_has_the_median_of_each_route_and_how_many_times_as_fast_it_is(tmp_path):
    turns = {
        "by hand": [took(6.0), took(9.0)],
        "detl": [took(2.0), took(2.0)],
        "detl before": [took(3.0), took(3.0)],
    }
    rows = journey.rows_of("small", turns)
    assert [row["stage"] for row in rows] == [*journey.STAGES, "whole"]
    assert rows[0]["by hand, s, median"] == "7.5"
    assert rows[0]["detl, times as fast"] == "3.8 (3.0 to 4.5)"
    assert rows[0]["detl before, times as fast"] == "2.5 (2.0 to 3.0)"
    n = len(journey.STAGES)
    assert rows[-1]["detl, s, median"] == f"{2.0 * n:.1f}"
    assert rows[-1]["detl, before second steps, s"] == f"{0.5 * n:.1f}"
    assert rows[-1]["detl, GiB"] == "2.0"  # the peak, not the sum
    journey.draw(rows, tmp_path / "journey.png")
    assert (tmp_path / "journey.png").stat().st_size > 0


def test_an_earlier_version_has_to_be_named(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["journey", "--routes", "detl before"])
    with pytest.raises(SystemExit):
        journey.main()
    assert "needs --before" in capsys.readouterr().err
