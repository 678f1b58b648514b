"""One holder at a time, who is named, and whose lock ends with it."""

import errno
import fcntl
import json
import logging
import os
import subprocess
import sys

import pytest

from detl.storage import LockedError, locks
from detl.storage.locks import Lock

HOLD = """
import sys
from pathlib import Path
from detl.storage.locks import Lock
with Lock(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path):
    return Lock(tmp_path / "run.lock", "checkpoint_dir='runs'")


def test_a_second_holder_is_told_who_has_it_until_it_is_given_back(tmp_path, lock):
    with Lock(lock.path, "it"):
        message = rf"^checkpoint_dir='runs' is in use by process {os.getpid()} on .* since 20.*wait"
        with pytest.raises(LockedError, match=message):
            lock.acquire()
    with lock:
        assert json.loads(lock.path.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_process_that_was_killed_is_free(lock):
    command = [sys.executable, "-c", HOLD, str(lock.path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LockedError, match=f"in use by process {holder.pid} on"):
        lock.acquire()
    holder.kill()
    holder.communicate()
    assert lock.path.exists()
    with lock:
        pass
    assert not lock.path.exists()


def test_a_lock_that_its_holder_removes_meanwhile_is_not_taken_for_the_new_one(lock, monkeypatch):
    flock, first = fcntl.flock, []

    def removed_once(file, operation):
        if not first:
            first.append(file)
            lock.path.unlink()
        return flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", removed_once)
    with lock:
        assert lock.path.exists()
        with pytest.raises(LockedError, match="is in use"):
            Lock(lock.path, "it").acquire()


def test_a_holder_that_has_not_signed_yet_is_another_process(lock):
    with Lock(lock.path, "it"):
        lock.path.write_text("")
        with pytest.raises(LockedError, match="in use by another process; wait"):
            lock.acquire()


def test_where_a_disk_has_no_locks_it_is_said_and_work_goes_on(lock, monkeypatch, caplog):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with caplog.at_level(logging.WARNING, "detl"), lock:
        pass
    assert "cannot be locked (No locks available)" in caplog.text


def test_where_a_system_has_no_locks_it_is_said_and_work_goes_on(lock, monkeypatch, caplog):
    monkeypatch.setattr(locks, "fcntl", None)
    with caplog.at_level(logging.WARNING, "detl"), lock, Lock(lock.path, "it"):
        pass
    assert (
        "checkpoint_dir='runs' cannot be locked (this system has no fcntl); see to it that no "
        "other process uses it." in caplog.messages
    )


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path, lock):
    (tmp_path / "mine").write_text("mine")
    lock.path.symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="symbolic link"):
        lock.acquire()
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_lock_that_is_not_held_can_be_released(lock):
    lock.release()
    assert not lock.path.exists()
