"""A directory belongs to one run, and to one process at a time."""

import errno
import json
import os

import numpy as np
import pytest

from detl.storage import LockedError
from detl.storage.run_directory import RunDirectory, check_repeatable

RUN = {"labels": "a" * 64, "transfer": {"epochs": 3}, "versions": {"keras": "3.15.1"}, "seeds": [1]}


def directory(path, run=RUN):
    return RunDirectory(path, run, files="part_*.npz")


def begin(path, run=RUN):
    with directory(path, run):
        pass


def described(path):
    record = json.loads((path / "run.json").read_text())
    return {name: record[name] for name in record if name not in ("format", "checksum")}


def read(store, name="part_0.npz"):
    return store.read(name, lambda arrays, rest: (arrays, rest), again="it is made again")


def test_it_says_what_run_it_is_of_and_another_process_finds_what_was_written(tmp_path):
    with directory(tmp_path / "deeper") as store:
        store.write("part_0.npz", {"a": np.arange(3)}, {"b": [1.5]}, lost="it has to be")
        assert read(store, "part_1.npz") is None
    assert described(tmp_path / "deeper") == RUN
    with directory(tmp_path / "deeper") as store:
        arrays, rest = read(store)
    np.testing.assert_array_equal(arrays["a"], np.arange(3))
    assert rest == {"b": [1.5]}


def on_noise(*numbers):
    return RUN | {"on noise": {"numbers": list(numbers), "within": 0.01}}


def test_numbers_of_a_record_are_compared_to_rounding_and_the_files_beside_it_go_on(tmp_path):
    with directory(tmp_path, on_noise(1.0, 2.0)) as store:
        store.write("part_0.npz", {"a": np.arange(3)}, {}, lost="it has to be")
    with directory(tmp_path, on_noise(1.001, 2.0)) as store:
        assert read(store) is not None
    with pytest.raises(ValueError, match="another run: other on noise"):
        begin(tmp_path, on_noise(1.1, 2.0))


def test_a_record_of_before_has_no_such_numbers(tmp_path):
    begin(tmp_path)
    begin(tmp_path, on_noise(1.0))


@pytest.mark.parametrize(
    ("run", "difference"),
    [
        (RUN | {"labels": "b" * 64}, "belongs to another run: other labels. Choose another folder"),
        (RUN | {"transfer": {"epochs": 4}}, "transfer.epochs is 3 there, 4 here"),
        (RUN | {"versions": {"keras": "3.16"}}, "versions.keras is '3.15.1' there, '3.16' here"),
        (RUN | {"groups": "c" * 64}, "groups is None there, 'cccc"),
        (
            RUN | {"labels": "b" * 64, "seeds": [2]},
            r"other labels; seeds is \[1\] there, \[2\] here",
        ),
        (RUN | {"seeds": list(range(9))}, r"seeds is \[1\] there, \[0, 1, 2, 3, 4, 5, \.\.\.\] he"),
    ],
)
def test_the_directory_of_another_run_is_refused_with_every_difference(tmp_path, run, difference):
    begin(tmp_path)
    with pytest.raises(ValueError, match=difference):
        begin(tmp_path, run)
    assert described(tmp_path) == RUN
    begin(tmp_path)  # nothing stays locked


def test_files_of_nobody_knows_what_are_refused(tmp_path):
    (tmp_path / "part_0.npz").write_bytes(b"")
    with pytest.raises(ValueError, match=r"has part_0\.npz but no run\.json"):
        begin(tmp_path)


@pytest.mark.parametrize("content", [b"", b"half a", b"\xff\xfe"])
def test_a_damaged_description_is_refused_in_words(tmp_path, content):
    begin(tmp_path)
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run\.json is damaged \(.*choose another folder"):
        begin(tmp_path)


def test_what_else_is_in_the_directory_is_left_alone(tmp_path):
    (tmp_path / "work-2024").mkdir()
    (tmp_path / "work-2024" / "thesis.txt").write_text("a year")
    (tmp_path / "writable").write_text("mine")
    for _ in range(2):
        begin(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.json", "work-2024", "writable"]
    assert (tmp_path / "work-2024" / "thesis.txt").read_text() == "a year"
    assert (tmp_path / "writable").read_text() == "mine"


def test_checkpoints_need_a_path_and_a_seed():
    check_repeatable(None, None)
    check_repeatable("runs", 0)
    with pytest.raises(
        ValueError, match=r"checkpoint_dir='runs' without random_state: .* give ran"
    ):
        check_repeatable("runs", None)
    with pytest.raises(TypeError, match="checkpoint_dir is int 3; expected the path of a folder"):
        check_repeatable(3, 0)


def test_a_second_run_is_told_who_is_there(tmp_path):
    with (
        directory(tmp_path),
        pytest.raises(LockedError, match=rf"is in use by process {os.getpid()} on .*; wait until"),
    ):
        begin(tmp_path)
    begin(tmp_path)


def test_a_directory_that_cannot_be_written_to_is_refused_at_once(tmp_path, subtests):
    (tmp_path / "file").write_text("")
    message = r"checkpoint_dir=.* cannot be written to \(.*choose a folder that can"
    for path in (tmp_path / "file", "/proc/detl"):
        with subtests.test(str(path)), pytest.raises(OSError, match=message):
            begin(path)


def test_a_full_disk_is_said_before_anything_is_computed(tmp_path, full_disk):
    with full_disk(), pytest.raises(OSError, match=r"cannot be written to \(No space left on devi"):
        begin(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_a_disk_that_is_read_only_can_be_read(tmp_path, monkeypatch):
    with directory(tmp_path) as store:
        store.write("part_0.npz", {"a": np.arange(3)}, {}, lost="it has to be")
    opened = os.open

    def read_only(path, flags, *mode, **where):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, *mode, **where)

    monkeypatch.setattr(os, "open", read_only)
    with directory(tmp_path) as store:
        np.testing.assert_array_equal(read(store)[0]["a"], np.arange(3))
        with pytest.raises(OSError, match=r"cannot be written to \(Read-only file system\)"):
            store.check_writable()


def test_a_file_that_does_not_belong_there_is_warned_of(tmp_path):
    def refuse(arrays, rest):
        raise ValueError(f"{rest['b']} is too much")

    with directory(tmp_path) as store:
        store.write("part_0.npz", {}, {"b": 7}, lost="it has to be")
        message = r"part_0\.npz is damaged \(7 is too much\); it is made again"
        with pytest.warns(UserWarning, match=message):
            assert store.read("part_0.npz", refuse, again="it is made again") is None
