"""A file is written whole or not at all, under a name of its own, and never through a link."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from detl.storage.writing import open_unlinked, readable_size, remove_unfinished, write_whole


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file.txt"
    assert write_whole(path, lambda file: file.write(b"old")) == path

    def fail(file):
        file.write(b"half a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, fail)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_too(tmp_path, full_disk):
    path = write_whole(tmp_path / "file.txt", lambda file: file.write(b"old"))
    with full_disk(), pytest.raises(OSError, match="No space left"):
        write_whole(path, lambda file: file.write(b"new"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, fsync = tmp_path / "file.txt", os.fsync
    seen = []
    monkeypatch.setattr(os, "fsync", lambda number: (seen.append(path.exists()), fsync(number)))
    write_whole(path, lambda file: file.write(b"new"))
    assert seen == [False]


def test_the_writer_may_write_to_the_path_of_its_file(tmp_path):
    def write(file):
        assert file.name.endswith(".keras")
        with open(file.name, "wb") as same:
            same.write(b"by path")
        file.seek(0, os.SEEK_END)
        file.write(b" and by file")

    path = write_whole(tmp_path / "model.keras", write)
    assert path.read_bytes() == b"by path and by file"


def test_many_writers_of_one_path_do_not_meet(tmp_path):
    path = tmp_path / "file.bin"

    def write(number):
        write_whole(path, lambda file: [file.write(bytes([number]) * 1000) for _ in range(50)])
        return path.read_bytes()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(write, range(40)))
    assert all(len(content) == 50_000 and len(set(content)) == 1 for content in found)
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_points_to_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "file.txt").symlink_to(tmp_path / "mine.txt")
    with pytest.raises(OSError, match="symbolic link"):
        open_unlinked(tmp_path / "file.txt", os.O_CREAT)
    path = write_whole(tmp_path / "file.txt", lambda file: file.write(b"new"))
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_what_the_dead_left_is_removed_and_of_the_living_only_under_a_lock(tmp_path):
    for name in (".detl-old.npz", ".detl-new.npz", "mine.npz"):
        (tmp_path / name).write_bytes(b"half a")
    os.utime(tmp_path / ".detl-old.npz", (time.time() - 200,) * 2)
    remove_unfinished(tmp_path, untouched_for=100)
    assert {path.name for path in tmp_path.iterdir()} == {".detl-new.npz", "mine.npz"}
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.npz"}


def test_sizes_are_read_as_people_say_them():
    sizes = [0, 999, 1000, 4_840, 2_500_000, 1.4e9, 3e12]
    said = ["0 bytes", "999 bytes", "1.0 kB", "4.8 kB", "2.5 MB", "1.4 GB", "3.0 TB"]
    assert [readable_size(int(size)) for size in sizes] == said
