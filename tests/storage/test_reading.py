"""Files are read as what was written, or not at all; nothing is unpickled."""

import zipfile

import numpy as np
import pytest

from detl.storage import DamagedFileError
from detl.storage.reading import check_archive, read_arrays, read_json


def test_files_of_before_are_read_without_a_seal(tmp_path):
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
