"""A checksum inside of a file: every flipped bit is found, and other readers never see it."""

import json
import zipfile

import numpy as np
import pytest

from detl.storage import DamagedFileError
from detl.storage.reading import check_archive, check_seal, read_arrays, read_json
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


def test_files_of_before_are_read_without(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npz")["x"], np.arange(3))
    (tmp_path / "a.json").write_text('{"x": [1]}')
    assert read_json(tmp_path / "a.json", remedy="") == {"x": [1]}


def test_of_a_broken_archive_without_seal_the_part_is_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(3))
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"x\.npy in it is broken\); do this"):
        check_archive(path, remedy="do this")


def test_nothing_is_unpickled_or_unpacked_to_more_than_the_file_has(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(DamagedFileError, match="allow_pickle"):
        read_arrays(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10**6))
    with pytest.raises(DamagedFileError, match="it is compressed"):
        read_arrays(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"\x93NUMPY")
    with pytest.raises(DamagedFileError, match="not a zip file"):
        read_arrays(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }\n" % 10**15
        size = len(header).to_bytes(2, "little")
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + size + header)
    with pytest.raises(DamagedFileError, match=r"a\.npz is damaged"):
        read_arrays(tmp_path / "a.npz")
