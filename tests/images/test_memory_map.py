"""Through ``images.load``, as users meet it."""

import errno
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detl import DomainExtensionTransfer, images
from detl.images import memory_map
from detl.storage import LockedError
from detl.storage.locks import Lock

SIZE = (6, 5)


@pytest.fixture
def files(tmp_path):
    """Return twelve images, in a folder of their own."""
    generator = np.random.default_rng(0)
    paths = [tmp_path / "files" / f"{row:02}.png" for row in range(12)]
    paths[0].parent.mkdir()
    for path in paths:
        Image.fromarray(generator.integers(20, 256, (9, 9), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def target(tmp_path):
    return tmp_path / "maps" / "images.npy"


def spoil(path):
    """Make a file unreadable in a way that its size and time of change do not show."""
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def change(path):
    Image.new("L", (3, 3), 200).save(path)
    os.utime(path, ns=(1, 1))


def begin(target, files, n_read, **options):
    """Leave what a run leaves that ends after so many files."""
    images.load(files[:n_read], size=SIZE, memory_map=target, **options)
    target.rename(target.with_name("images.npy.partial"))


@pytest.mark.parametrize("options", [{}, {"channels": 3}, {"aspect": "pad"}])
def test_a_memory_map_holds_what_the_array_holds(files, target, options):
    expected = images.load(files, size=SIZE, **options)
    loaded = images.load(files, size=SIZE, memory_map=str(target), **options)
    assert isinstance(loaded.images, np.memmap)
    assert loaded.images.dtype == np.uint8
    np.testing.assert_array_equal(loaded.images, expected.images)
    np.testing.assert_array_equal(np.load(target), expected.images)
    assert loaded.paths == expected.paths
    assert {path.name for path in target.parent.iterdir()} == {"images.npy", "images.npy.files"}


def test_folders_give_their_labels_with_a_memory_map(files, target, tmp_path):
    classes = tmp_path / "classes"
    for row, path in enumerate(files):
        (classes / "ab"[row % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, classes / "ab"[row % 2])
    expected = images.load_folders(classes, size=SIZE)
    loaded = images.load_folders(classes, size=SIZE, memory_map=target)
    assert loaded.labels.tolist() == expected.labels.tolist() == ["a"] * 6 + ["b"] * 6
    np.testing.assert_array_equal(loaded.images, expected.images)


def test_a_memory_map_trains_and_predicts_like_its_array(tiny_source, tmp_path, target):
    generator = np.random.default_rng(0)
    height, width, channels = tiny_source.model.input_shape[1:]
    shape = (height, width) if channels == 1 else (height, width, channels)
    paths = [tmp_path / f"{row}.png" for row in range(8)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(path)
    labels = np.array(["a", "b"] * 4)
    options = {"size": (height, width), "channels": channels}
    mapped = images.load(paths, memory_map=target, **options).images
    transfer = DomainExtensionTransfer(tiny_source, epochs=1, batch_size=4, random_state=0)
    array = images.load(paths, **options).images
    expected = transfer.fit(array, labels).predict_proba(array)
    np.testing.assert_array_equal(transfer.fit(mapped, labels).predict_proba(mapped), expected)


def test_a_finished_file_is_opened_and_nothing_is_decoded(files, target):
    expected = images.load(files, size=SIZE, memory_map=target).images.copy()
    for path in files:
        spoil(path)
    np.testing.assert_array_equal(images.load(files, size=SIZE, memory_map=target).images, expected)


@pytest.mark.parametrize("n_read", [0, 1, 7, 12])
def test_finished_rows_are_not_decoded_again(files, target, n_read):
    expected = images.load(files, size=SIZE).images
    if n_read:
        begin(target, files, n_read)
    for path in files[:n_read]:
        spoil(path)
    loaded = images.load(files, size=SIZE, memory_map=target)
    np.testing.assert_array_equal(loaded.images, expected)


SLOW_READING = """
import sys, time
from pathlib import Path
from detl import images
folder, target = map(Path, sys.argv[1:])
images.load(sorted(folder.iterdir()), size=(64, 64), memory_map=target)
"""


def test_a_killed_process_loses_a_second_at_most_and_goes_on_to_the_same_file(tmp_path, target):
    folder = tmp_path / "many"
    folder.mkdir()
    picture = np.random.default_rng(0).integers(20, 256, (1400, 1400), dtype=np.uint8)
    Image.fromarray(picture).save(folder / "000.png", compress_level=1)
    for row in range(1, 400):
        os.link(folder / "000.png", folder / f"{row:03}.png")
    listed = target.with_name("images.npy.files")
    child = subprocess.Popen([sys.executable, "-c", SLOW_READING, str(folder), str(target)])
    while child.poll() is None and (not listed.exists() or listed.read_bytes().count(b"\n") < 3):
        time.sleep(0.01)
    assert child.poll() is None, "it was over before it could be killed"
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not target.exists()
    n_read = listed.read_bytes().count(b"\n") - 1
    assert 2 <= n_read < 400
    paths = sorted(folder.iterdir())
    before = paths[0].stat()
    # A copy for the files that are still to be read; those that were read are spoiled.
    good = tmp_path / "good.png"
    shutil.copy2(paths[0], good)
    for path in paths[n_read:]:
        path.unlink()
        os.link(good, path)
    spoil(paths[0])
    assert paths[0].stat().st_mtime_ns == before.st_mtime_ns
    loaded = images.load(paths, size=(64, 64), memory_map=target)
    expected = images.load([good], size=(64, 64)).images[0]
    assert len(loaded.images) == 400
    assert (loaded.images == expected).all()


def test_a_line_that_was_cut_off_counts_for_nothing(files, target):
    expected = images.load(files, size=SIZE).images
    begin(target, files, 5)
    listed = target.with_name("images.npy.files")
    listed.write_bytes(listed.read_bytes()[:-9])
    for path in files[:4]:
        spoil(path)
    np.testing.assert_array_equal(images.load(files, size=SIZE, memory_map=target).images, expected)


def test_rows_that_are_not_in_the_file_are_read_again(files, target):
    expected = images.load(files, size=SIZE).images
    begin(target, files, 5)
    with target.with_name("images.npy.partial").open("r+b") as file:
        file.truncate(file.seek(0, os.SEEK_END) - 1)
    np.testing.assert_array_equal(images.load(files, size=SIZE, memory_map=target).images, expected)


def test_a_partial_file_without_a_list_is_begun_anew(files, target):
    expected = images.load(files, size=SIZE).images
    begin(target, files, 5)
    target.with_name("images.npy.files").unlink()
    np.testing.assert_array_equal(images.load(files, size=SIZE, memory_map=target).images, expected)


def test_an_unfinished_file_is_read_again_from_the_first_changed_file_on(files, target, caplog):
    begin(target, files, 8)
    change(files[5])
    expected = images.load(files, size=SIZE).images
    for path in files[:5]:
        spoil(path)
    with caplog.at_level(logging.WARNING, logger="detl"):
        loaded = images.load(files, size=SIZE, memory_map=target)
    np.testing.assert_array_equal(loaded.images, expected)
    (record,) = caplog.records
    assert f"of the 8 files that were read for it, those from {files[5]} on" in record.getMessage()


def test_an_unfinished_file_takes_a_shorter_or_longer_list(files, target):
    begin(target, files, 8)
    np.testing.assert_array_equal(
        images.load(files[:6], size=SIZE, memory_map=target).images,
        images.load(files[:6], size=SIZE).images,
    )


def test_a_finished_file_of_other_images_is_refused_and_kept(files, target, subtests):
    images.load(files, size=SIZE, memory_map=target)
    content = target.read_bytes()
    cases = [
        ({"size": (5, 6)}, r"read with .*height=6, width=5.*wanted with .*height=5, width=6"),
        ({"channels": 3}, r"channels=1.*wanted with .*channels=3"),
        ({"aspect": "pad"}, r"aspect=stretch.*wanted with .*aspect=pad.*delete this one"),
        ({"paths": files[:-1]}, r"read from 12 files, and is wanted from 11; name another file"),
        ({"paths": files[::-1]}, r"was read from .*00\.png where .*11\.png is wanted"),
    ]
    for options, message in cases:
        arguments = {"paths": files, "size": SIZE, **options}
        with subtests.test(message), pytest.raises(ValueError, match=message):
            images.load(**arguments, memory_map=target)
    change(files[3])
    with pytest.raises(ValueError, match=r"was read before .*03\.png was changed; name another"):
        images.load(files, size=SIZE, memory_map=target)
    assert target.read_bytes() == content


def test_an_unfinished_file_of_another_size_is_refused(files, target):
    begin(target, files, 8)
    with pytest.raises(ValueError, match=r"images\.npy\.partial was read with .*delete this one"):
        images.load(files, size=(9, 9), memory_map=target)


def read_by(version, target):
    """Make a memory map of another version of it, with other pixels."""
    listed = target.with_name("images.npy.files")
    first, rest = listed.read_text().split("\n", maxsplit=1)
    listed.write_text(json.dumps({**json.loads(first), "format": version}) + "\n" + rest)
    np.lib.format.open_memmap(target, mode="r+")[:] = 7


@pytest.mark.parametrize("finished", [True, False])
def test_what_an_earlier_version_has_read_is_read_again_with_a_warning(
    files, target, caplog, finished
):
    expected = images.load(files, size=SIZE, memory_map=target).images.copy()
    read_by(2, target)
    if not finished:
        target.rename(target.with_name("images.npy.partial"))
    with caplog.at_level(logging.WARNING, logger="detl"):
        loaded = images.load(files, size=SIZE, memory_map=target)
    np.testing.assert_array_equal(loaded.images, expected)
    (record,) = caplog.records
    assert "12 files" in record.getMessage()
    assert record.getMessage().endswith("read again: an earlier version read them.")
    np.testing.assert_array_equal(images.load(files, size=SIZE, memory_map=target).images, expected)


def test_what_an_earlier_version_has_read_of_other_files_is_refused_and_kept(files, target):
    images.load(files, size=SIZE, memory_map=target)
    read_by(2, target)
    with pytest.raises(ValueError, match="read from 12 files, and is wanted from 11"):
        images.load(files[1:], size=SIZE, memory_map=target)
    change(files[3])
    with pytest.raises(ValueError, match=r"was read before .*03\.png was changed"):
        images.load(files, size=SIZE, memory_map=target)
    assert (np.load(target) == 7).all()


def test_what_a_later_version_has_read_is_refused(files, target):
    images.load(files, size=SIZE, memory_map=target)
    read_by(9, target)
    with pytest.raises(ValueError, match=r"read with format=9, .*wanted with format=3"):
        images.load(files, size=SIZE, memory_map=target)


def test_a_file_that_was_written_by_something_else_is_refused(files, target):
    target.parent.mkdir()
    np.save(target, np.zeros(3))
    with pytest.raises(ValueError, match=r"exists, but without images\.npy\.files beside it"):
        images.load(files, size=SIZE, memory_map=target)
    assert np.load(target).tolist() == [0, 0, 0]


def test_a_finished_file_that_was_overwritten_is_refused(files, target):
    images.load(files, size=SIZE, memory_map=target)
    np.save(target, np.zeros((12, *SIZE, 1)))
    with pytest.raises(ValueError, match=r"is not what was written there\); delete it"):
        images.load(files, size=SIZE, memory_map=target)


def test_files_that_are_skipped_leave_no_row(files, target):
    spoil(files[4])
    files[7].unlink()
    kept = [path for row, path in enumerate(files) if row not in (4, 7)]
    for _ in range(2):  # read, then found
        loaded = images.load(files, size=SIZE, memory_map=target, on_error="skip")
        assert loaded.paths == tuple(kept)
        assert [path for path, _ in loaded.skipped] == [files[4], files[7]]
        np.testing.assert_array_equal(loaded.images, images.load(kept, size=SIZE).images)
    with pytest.raises(ValueError, match="2 of 12 files could not be read"):
        images.load(files, size=SIZE, memory_map=target)


def test_skipping_goes_on_from_the_run_that_an_error_ended(files, target):
    spoil(files[4])
    kept = [path for row, path in enumerate(files) if row != 4]
    expected = images.load(kept, size=SIZE).images
    with pytest.raises(ValueError, match="1 of 12 files could not be read"):
        images.load(files, size=SIZE, memory_map=target)
    assert not target.exists()
    for path in kept:
        spoil(path)
    loaded = images.load(files, size=SIZE, memory_map=target, on_error="skip")
    np.testing.assert_array_equal(loaded.images, expected)


def test_a_repaired_file_is_noticed_though_neither_size_nor_time_shows_it(files, target):
    content, times = files[4].read_bytes(), files[4].stat()
    spoil(files[4])
    images.load(files, size=SIZE, memory_map=target, on_error="skip")
    files[4].write_bytes(content)
    os.utime(files[4], ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(ValueError, match=r"was read before .*04\.png was changed"):
        images.load(files, size=SIZE, memory_map=target)
    target.rename(target.with_name("images.npy.partial"))
    loaded = images.load(files, size=SIZE, memory_map=target)
    np.testing.assert_array_equal(loaded.images, images.load(files, size=SIZE).images)


def test_pixels_are_on_the_disk_before_the_list_says_so(files, target, monkeypatch):
    order, fsync = [], os.fsync

    def noted(number):
        order.append(Path(os.readlink(f"/proc/self/fd/{number}")).suffix)
        fsync(number)

    monkeypatch.setattr(memory_map.os, "fsync", noted)
    monkeypatch.setattr(memory_map, "_SECONDS_BETWEEN_SAVES", -1.0)
    images.load(files, size=SIZE, memory_map=target)
    assert order[0] == ".files"  # settings
    assert order[1:] == [".partial", ".files"] * 13 + [".partial"]


def read_whole(files, target):
    return images.load(files, size=SIZE, memory_map=target).images[:]


@pytest.mark.parametrize("name", ["images.npy", "images.npy.files"])
def test_every_flipped_bit_of_200_in_a_finished_memory_map_is_found(files, target, name):
    expected = images.load(files, size=SIZE).images
    images.load(files, size=SIZE, memory_map=target)
    content = (target.parent / name).read_bytes()
    for position in np.linspace(0, len(content) - 1, 200).astype(int):
        broken = bytearray(content)
        broken[position] ^= 1 << position % 8
        (target.parent / name).write_bytes(broken)
        with pytest.raises(ValueError, match=r"images\.npy"):
            pytest.fail(f"bit of byte {position}: {read_whole(files, target)}")
    (target.parent / name).write_bytes(content)
    np.testing.assert_array_equal(
        images.load(files, size=SIZE, memory_map=target).images[:], expected
    )


def test_every_flipped_bit_of_200_in_an_unfinished_one_is_found_and_read_again(
    files, target, tmp_path
):
    expected = images.load(files, size=SIZE).images
    images.load(files[:9], size=SIZE, memory_map=target)
    partial = target.with_name("images.npy.partial")
    target.rename(partial)
    kept = tmp_path / "kept"
    shutil.copytree(target.parent, kept)
    content = partial.read_bytes()
    for position in np.linspace(0, len(content) - 1, 200).astype(int):
        shutil.rmtree(target.parent)
        shutil.copytree(kept, target.parent)
        broken = bytearray(content)
        broken[position] ^= 1 << position % 8
        partial.write_bytes(broken)
        loaded = images.load(files, size=SIZE, memory_map=target)
        np.testing.assert_array_equal(loaded.images, expected)


def test_a_damaged_list_is_named_with_what_to_do(files, target):
    images.load(files, size=SIZE, memory_map=target)
    listed = target.with_name("images.npy.files")
    listed.write_text(listed.read_text().replace('"', "", 1))
    with pytest.raises(
        ValueError, match=r"images\.npy\.files is damaged .*; delete it and images\.n"
    ):
        images.load(files, size=SIZE, memory_map=target)


def test_a_link_in_the_place_of_what_is_written_is_not_followed(files, target, subtests):
    target.parent.mkdir()
    mine = target.parent / "mine.txt"
    mine.write_text("mine")
    for name in ("images.npy.partial", "images.npy.lock"):
        link = target.with_name(name)
        link.symlink_to(mine)
        with subtests.test(name), pytest.raises(OSError, match="symbolic link"):
            images.load(files, size=SIZE, memory_map=target)
        link.unlink()
    listed = target.with_name("images.npy.files")
    listed.unlink()
    listed.symlink_to(mine)
    images.load(files, size=SIZE, memory_map=target)
    assert mine.read_text() == "mine"


def test_two_runs_do_not_write_one_file(files, target):
    begin(target, files, 5)
    with (
        Lock(target.with_name("images.npy.lock"), "it"),
        pytest.raises(LockedError, match=rf"is in use by process {os.getpid()} on .*; wait until"),
    ):
        images.load(files, size=SIZE, memory_map=target)
    assert len(images.load(files, size=SIZE, memory_map=target).images) == 12


def test_a_disk_that_is_too_small_is_told_before_a_file_is_read(files, target, monkeypatch):
    usage = shutil._ntuple_diskusage(100, 90, 10)
    monkeypatch.setattr(memory_map.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"12 images need 360 bytes, but .*maps has 10 bytes free"):
        images.load(files, size=SIZE, memory_map=target)


def test_a_disk_that_fills_up_is_named_and_what_was_read_is_kept(files, target, monkeypatch):
    expected = images.load(files, size=SIZE).images
    monkeypatch.setattr(memory_map, "_SECONDS_BETWEEN_SAVES", -1.0)
    synced, fsync = [], os.fsync

    def no_room(number):
        synced.append(number)
        if len(synced) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(number)

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", no_room)
        with pytest.raises(
            OSError, match=r"memory_map='.*images\.npy' could not be written \(No space left on de"
        ):
            images.load(files, size=SIZE, memory_map=target)
    for path in files[:5]:
        spoil(path)
    np.testing.assert_array_equal(images.load(files, size=SIZE, memory_map=target).images, expected)


def test_a_disk_that_cannot_be_written_to_is_named_and_a_finished_file_on_it_is_read(
    files, target, monkeypatch
):
    expected = images.load(files, size=SIZE, memory_map=target).images.copy()
    opened = os.open

    def read_only(path, flags, *mode, **where):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return opened(path, flags, *mode, **where)

    monkeypatch.setattr(os, "open", read_only)
    np.testing.assert_array_equal(images.load(files, size=SIZE, memory_map=target).images, expected)
    with pytest.raises(
        OSError, match=r"other\.npy' could not be written \(Read-only file system\)"
    ):
        images.load(files, size=SIZE, memory_map=target.with_name("other.npy"))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("images.dat", ValueError, r"memory_map='images\.dat'; expected a file whose name ends"),
        (True, TypeError, r"memory_map is bool True; expected the path of a \.npy file"),
    ],
)
def test_a_target_that_is_no_npy_file_is_refused(files, value, error, message):
    with pytest.raises(error, match=message):
        images.load(files, size=SIZE, memory_map=value)


def test_the_list_reads_as_lines_of_json(files, target):
    images.load(files, size=SIZE, memory_map=target)
    first, *rest = target.with_name("images.npy.files").read_text().splitlines()
    assert json.loads(first)["height"] == SIZE[0]
    assert [json.loads(line)[0] for line in rest] == [str(path) for path in files]


MEMORY = """
import resource, sys
from pathlib import Path
from detl import images
path, n, target = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
images.load([path] * n, size=(96, 96), memory_map=target)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)  # KiB
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in KiB as Linux does")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    Image.new("L", (96, 96), 200).save(tmp_path / "grey.bmp")
    kib = {}
    for n in (100, 6000):
        command = [sys.executable, "-c", MEMORY, str(tmp_path / "grey.bmp"), str(n)]
        done = subprocess.run(
            [*command, str(tmp_path / f"{n}.npy")], capture_output=True, text=True, check=True
        )
        kib[n] = int(done.stdout)
    pixels = (6000 - 100) * 96 * 96 / 1024
    assert kib[6000] - kib[100] < pixels / 4  # what is left are paths and outcomes
