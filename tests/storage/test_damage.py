"""A damaged file is named, with what is wrong and what to do, also from another process."""

import pickle
from pathlib import Path

from detl.storage.damage import DamagedFileError


def test_it_says_which_file_what_is_wrong_and_what_to_do():
    error = DamagedFileError(Path("run.json"), ValueError("cut off"), "run it again.")
    assert str(error) == "run.json is damaged (cut off); run it again."
    assert str(DamagedFileError(Path("run.json"), "cut off")) == "run.json is damaged (cut off)"


def test_it_travels_between_processes():
    error = DamagedFileError(Path("run.json"), "cut off", "run it again.")
    found = pickle.loads(pickle.dumps(error))
    assert str(found) == str(error)
    assert (found.path, found.reason, found.remedy) == (error.path, error.reason, error.remedy)
