"""A checksum inside of a file: every flipped bit is found, and other readers never see it."""

import json

import numpy as np
import pytest

from detl.storage import DamagedFileError
from detl.storage.reading import check_seal, read_arrays, read_json
from detl.storage.seals import seal
from detl.storage.writing import write_arrays, write_json, write_whole


def flipped(path, n=200):
    """Flip one bit of the file at a time, in so many places; the last of them stays."""
    content = path.read_bytes()
    for position in np.linspace(0, len(content) - 1, min(n, len(content))).astype(int):
        broken = bytearray(content)
        broken[position] ^= 1 << position % 8
        path.write_bytes(broken)
        yield position


def sealed_rows(path, rows):
    def write(file):
        np.save(file, rows)
        seal(file)

    return write_whole(path, write)


def test_every_flipped_bit_of_an_archive_is_found(tmp_path):
    path = write_arrays(tmp_path / "a.npz", {"x": np.arange(9.0), "y": np.array("text")})
    for position in flipped(path):
        with pytest.raises(DamagedFileError, match=r"a\.npz is damaged \("):
            pytest.fail(f"{position}: {read_arrays(path)}")


def test_every_flipped_bit_of_an_array_file_is_found(tmp_path):
    path = sealed_rows(tmp_path / "a.npy", np.arange(20.0))
    for position in flipped(path, 1000):
        with pytest.raises(DamagedFileError, match=r"its checksum is missing|does not match"):
            pytest.fail(f"{position}: {check_seal(path)}")


def test_every_flipped_bit_of_a_json_file_is_found(tmp_path):
    path = write_json(tmp_path / "a.json", {"numbers": [1.5, 2], "name": "正常", "none": None})
    for position in flipped(path, 1000):
        with pytest.raises(DamagedFileError, match=r"a\.json is damaged \(.*\); do this"):
            pytest.fail(f"{position}: {read_json(path, remedy='do this')}")


def test_other_readers_do_not_see_the_seal(tmp_path):
    path = write_arrays(tmp_path / "a.npz", {"x": np.arange(3)})
    np.testing.assert_array_equal(np.load(path)["x"], np.arange(3))
    path = sealed_rows(tmp_path / "a.npy", np.arange(3))
    np.testing.assert_array_equal(np.load(path), np.arange(3))
    np.testing.assert_array_equal(np.load(path, mmap_mode="r"), np.arange(3))
    path = write_json(tmp_path / "a.json", {"x": [1]}, indent=2)
    record = json.loads(path.read_text())
    assert (record["x"], record["format"], len(record["checksum"])) == ([1], 1, 64)
    assert read_json(path, remedy="") == {"x": [1]}
