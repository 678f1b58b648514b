"""A folder is there for the length of a run, and cleared by the next if the run was killed."""

import os
import subprocess
import sys
import tempfile

from detl.storage.shared_folders import shared_folder

KILLED = """
import os, sys
from detl.storage.shared_folders import shared_folder
with shared_folder(sys.argv[1], "detl-work-") as folder:
    (folder / "features.npy").write_bytes(b"large")
    os.kill(os.getpid(), 9)
"""


def test_it_is_gone_afterwards(tmp_path):
    with shared_folder(tmp_path, "detl-work-") as folder:
        assert folder.parent == tmp_path
        (folder / "features.npy").write_bytes(b"large")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_cleared_and_a_running_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    (killed,) = tmp_path.iterdir()
    assert (killed / "features.npy").exists()
    with shared_folder(None, "detl-work-") as first:
        assert list(tmp_path.iterdir()) == [first]
        with shared_folder(None, "detl-work-") as second:
            assert set(tmp_path.iterdir()) == {first, second}


def test_what_it_does_not_know_is_left_alone(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "in-use.lock").write_text("")
    (tmp_path / "detl-work-link").symlink_to(mine)
    (tmp_path / "detl-work-mine").mkdir()
    (tmp_path / "detl-work-file").write_text("mine")
    (tmp_path / "detl-work-locked").mkdir()
    os.symlink(mine / "in-use.lock", tmp_path / "detl-work-locked" / "in-use.lock")
    before = sorted(tmp_path.rglob("*"))
    with shared_folder(tmp_path, "detl-work-"):
        pass
    assert sorted(tmp_path.rglob("*")) == before
