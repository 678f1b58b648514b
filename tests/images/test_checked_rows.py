"""Damage of a memory map is found where it is first read, and not before."""

import pickle
import zlib

import numpy as np
import pytest

from detl.images.checked_rows import CheckedRows
from detl.storage import DamagedFileError


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, (7, 4, 3, 1), dtype=np.uint8)


@pytest.fixture
def path(array, tmp_path):
    np.save(tmp_path / "images.npy", array)
    return tmp_path / "images.npy"


def opened(path, array):
    return CheckedRows.open(path, np.array([zlib.crc32(row.tobytes()) for row in array], "uint32"))


def damage(path, row, array):
    content = bytearray(path.read_bytes())
    content[len(content) - array.nbytes + row * array[0].nbytes] ^= 8
    path.write_bytes(content)


@pytest.mark.parametrize(
    "index",
    [
        2, np.int64(-1), slice(1, 5), slice(None), ..., None, (3, slice(None)), (..., 0), (),
        [5, 2, 2], np.array([0, 6]), np.arange(7) % 2 == 0,
    ],
)  # fmt: skip
def test_it_gives_what_an_array_gives(path, array, index):
    found = opened(path, array)[index]
    np.testing.assert_array_equal(found, array[index])
    assert type(found) is type(np.load(path, mmap_mode="r")[index])


def test_a_mask_of_pixels_and_a_row_that_is_not_there_mean_what_they_mean(path, array):
    rows = opened(path, array)
    np.testing.assert_array_equal(rows[array > 100], array[array > 100])
    with pytest.raises(IndexError, match="out of bounds"):
        rows[7]


@pytest.mark.parametrize("index", [3, slice(2, 5), ..., None, [6, 3], (3, 0), (slice(None), 1)])
def test_a_damaged_row_is_named_and_others_are_read(path, array, index):
    damage(path, 3, array)
    rows = opened(path, array)
    np.testing.assert_array_equal(rows[[0, 1, 6]], array[[0, 1, 6]])
    for _ in range(2):
        with pytest.raises(
            DamagedFileError, match=r"npy is damaged \(row 3 does not .*; delete it"
        ):
            rows[index]


def test_a_row_is_checked_once(path, array):
    rows = opened(path, array)
    list(rows)
    rows.checksums = rows.checksums + 1  # what was checked is not checked again
    np.testing.assert_array_equal(rows[:], array)


def test_another_process_gets_it_by_its_path(path, array):
    damage(path, 3, array)
    content = pickle.dumps(opened(path, array))
    assert len(content) < 600
    again = pickle.loads(content)
    np.testing.assert_array_equal(again[:3], array[:3])
    with pytest.raises(DamagedFileError):
        again[3]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again[:3])), array[:3])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(again.copy()))[4:], array[4:])
