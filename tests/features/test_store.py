"""Features are found again by trunk and content, in memory, in a folder, or not at all."""

import os
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from detl.features import store
from detl.features import trunk as features
from detl.features.views import Views
from detl.pretraining.augmentation import Augmentation

N = 11


def test_large_features_go_to_a_file_and_are_the_same(trunk, images, small_memory, monkeypatch):
    on_disk = features.extract(trunk, images, batch_size=4)
    assert isinstance(on_disk, np.memmap)
    monkeypatch.setattr(store, "IN_MEMORY_BYTES", on_disk.nbytes)
    in_memory = features.extract(trunk, images, batch_size=4)
    assert not isinstance(in_memory, np.memmap)
    np.testing.assert_array_equal(on_disk, in_memory)
    on_disk[3] += 1  # it can be written to, as an array can


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps a file that is in use")
def test_the_file_of_large_features_is_gone_from_its_folder_at_once(trunk, images, small_memory):
    kept = features.extract(trunk, images)
    assert isinstance(kept, np.memmap)
    assert list(small_memory.iterdir()) == []
    assert kept.sum() > 0


def test_a_disk_too_small_for_the_features_is_said_beforehand(
    trunk, images, small_memory, monkeypatch
):
    usage = namedtuple("usage", "total used free")(2**30, 2**30 - 900, 900)
    monkeypatch.setattr(store.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(
        OSError, match=r"features of 11 images need 4\.8 kB, but .* has 900 bytes free; set"
    ):
        features.extract(trunk, images)
    assert list(small_memory.iterdir()) == []


STILL = Views(n_augmented=0, augmentation=Augmentation(), seed=0)


def known(trunk, images, key="trunk", views=STILL, **settings):
    return features.features_of(trunk, images, key=key, views=views, **settings)


def test_an_image_seen_before_is_not_run_again_in_whatever_company(counted, trunk, images):
    whole = known(counted, images)
    np.testing.assert_allclose(whole, trunk.predict_on_batch(images), rtol=1e-6, atol=1e-6)
    assert counted.runs == 1
    rows = [7, 2, 2, 10, 0]
    np.testing.assert_array_equal(known(counted, images[rows]), whole[rows])
    assert known(counted, images) is whole
    assert counted.runs == 1
    new = images[:3] + np.uint8(1)
    mixed = known(counted, np.concatenate([images[4:6], new]))
    assert counted.runs == 2
    np.testing.assert_array_equal(mixed[:2], whole[4:6])
    np.testing.assert_array_equal(mixed[2:], known(counted, new))
    assert counted.runs == 2


def test_another_trunk_type_or_shape_is_not_mistaken_for_the_same(counted, images):
    known(counted, images)
    known(counted, images, key="another")
    assert counted.runs == 2
    known(counted, images.astype("float32"))
    assert counted.runs == 3


def test_features_do_not_depend_on_which_others_were_missing(counted, images):
    whole = known(counted, images)
    features.clear_cache()
    known(counted, images[[3, 8]])
    np.testing.assert_array_equal(known(counted, images), whole)


def test_what_was_used_last_is_kept_in_memory(counted, images, monkeypatch):
    size = known(counted, images).nbytes
    monkeypatch.setattr(store, "IN_MEMORY_BYTES", 2 * size)
    known(counted, images, key="second")
    known(counted, images)  # used again
    known(counted, images, key="third")
    assert counted.runs == 3
    known(counted, images)
    assert counted.runs == 3
    known(counted, images, key="second")
    assert counted.runs == 4


def test_features_beyond_the_share_of_memory_are_found_again_on_disk(counted, images, small_memory):
    whole = known(counted, images)
    assert isinstance(whole, np.memmap)
    np.testing.assert_array_equal(known(counted, images[::-1]), whole[::-1])
    assert counted.runs == 1


def test_a_folder_keeps_features_for_another_process(counted, images, tmp_path):
    folder = tmp_path / "kept"
    whole = known(counted, images, cache_dir=folder)
    features.clear_cache()  # as in a new process
    again = known(counted, images[3:], cache_dir=folder)
    assert counted.runs == 1
    np.testing.assert_array_equal(again, whole[3:])
    known(counted, images, cache_dir=folder, key="another")
    assert counted.runs == 2
    assert len(list(folder.glob("*.features.npy"))) == 2
    assert not list(folder.glob("*.partial"))


def test_features_known_in_memory_or_in_another_folder_are_written_too(counted, images, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    whole = known(counted, images)
    known(counted, images[[2, 5, 5]], cache_dir=one)
    again = known(counted, images, cache_dir=one)
    known(counted, images, cache_dir=other)
    np.testing.assert_array_equal(again, whole)
    n_files = len(list(one.glob("*.features.npy")))
    known(counted, images[::-1], cache_dir=one)  # all there
    assert len(list(one.glob("*.features.npy"))) == n_files == 2
    assert sum(len(np.load(path)) for path in one.glob("*.features.npy")) == N
    for folder in (one, other):
        features.clear_cache()  # as in a new process
        np.testing.assert_array_equal(known(counted, images, cache_dir=folder), whole)
    assert counted.runs == 1


def test_a_damaged_file_is_warned_of_and_its_features_are_computed_again(counted, images, tmp_path):
    whole = np.array(known(counted, images, cache_dir=tmp_path))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:200])
    features.clear_cache()
    with pytest.warns(UserWarning, match=r"features.npy is damaged .* are computed again"):
        again = known(counted, images, cache_dir=tmp_path)
    np.testing.assert_array_equal(again, whole)
    assert counted.runs == 2
    features.clear_cache()
    known(counted, images, cache_dir=tmp_path)
    assert counted.runs == 2


@pytest.mark.filterwarnings("ignore:.*features.npy is damaged:UserWarning")
def test_every_flipped_bit_of_200_in_cached_features_is_found(counted, images, tmp_path):
    whole = np.array(known(counted, images, cache_dir=tmp_path))
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    for n, position in enumerate(np.linspace(0, len(content) - 1, 200).astype(int)):
        broken = bytearray(content)
        broken[position] ^= 1 << position % 8
        path.unlink()  # a file that is mapped is not written to
        path.write_bytes(broken)
        features.clear_cache()
        np.testing.assert_array_equal(known(counted, images, cache_dir=tmp_path), whole)
        assert counted.runs == n + 2, f"bit of byte {position}"
        assert path.read_bytes() == content


def test_features_of_another_trunk_under_this_ones_name_are_not_taken(counted, images, tmp_path):
    first, second = "a" * 64, "b" * 64
    known(counted, images, key=first, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    path.rename(path.with_name(path.name.replace("a" * 32, "b" * 32)))
    features.clear_cache()
    with pytest.warns(UserWarning, match=r"b-.*features\.npy is damaged \(.*or another trunk\)"):
        known(counted, images, key=second, cache_dir=tmp_path)
    assert counted.runs == 2


def test_features_that_the_disk_has_no_room_for_are_kept_in_memory(
    counted, images, tmp_path, full_disk
):
    message = r"11 images could not be written to cache_dir=.*\(No space"
    found = []
    for _ in range(3):
        with full_disk(), pytest.warns(RuntimeWarning, match=message) as caught:
            found.append(known(counted, images, cache_dir=tmp_path))
        own = [each for each in caught if each.category is not DeprecationWarning]  # not Keras's
        assert len(own) == 1
    assert found[0] is found[1] is found[2]
    assert known(counted, images) is found[0]
    assert counted.runs == 1
    assert list(tmp_path.iterdir()) == []
    known(counted, images, cache_dir=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_several_threads_share_a_folder(counted, images, tmp_path):
    stores = [store.FeatureStore() for _ in range(6)]
    names = [bytes([row]) * 16 for row in range(N)]
    rows = np.arange(N, dtype="float32")

    def write_and_read(one):
        one.add("t" * 64, names, rows, tmp_path)
        one.clear()
        one.read(tmp_path, "t" * 64, names)
        return np.array(one.gather("t" * 64, names))

    with ThreadPoolExecutor(6) as pool:
        for found in pool.map(write_and_read, stores * 5):
            np.testing.assert_array_equal(found, rows)
    assert len(list(tmp_path.iterdir())) == 1
