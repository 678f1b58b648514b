import pytest

from benchmarks import collisions
from benchmarks.cases import ONE_THREAD


@pytest.mark.slow
@pytest.mark.parametrize("collision", collisions.COLLISIONS)
def test_a_few_cases_hold(collision, tmp_path, monkeypatch):
    for name, value in ONE_THREAD.items():  # in the processes that it starts
        monkeypatch.setenv(name, value)
    times = 1 if collision is collisions.kills else 2  # one kill starts three processes
    held = list(collision(tmp_path, times))
    assert len(held) >= times
    assert all(held)


def test_only_an_error_of_the_system_says_that_the_disk_is_full(tmp_path):
    assert collisions.is_full((tmp_path / "no folder" / "file").write_text, "text")
    assert not collisions.is_full((tmp_path / "file").write_text, "text")
