"""What a user is told of files that cannot be read, and of dark images."""

import logging

import numpy as np
import pytest

from detl import images


def test_all_unreadable_files_are_named_in_one_error(tmp_path, pixels_of, save):
    good = save(tmp_path / "good.png", pixels_of(32, 32))
    broken = [tmp_path / "empty.png", tmp_path / "text.png", tmp_path / "missing.png", tmp_path]
    broken[0].touch()
    broken[1].write_text("no image")
    with pytest.raises(ValueError, match=r'on_error="skip"') as caught:
        images.load([good, *broken], size=(32, 32))
    message = str(caught.value)
    assert message.startswith(f"{len(broken)} of {len(broken) + 1} files could not be read;")
    for path in broken:
        assert f"\n  {path}: " in message
    assert f"{good}:" not in message


def test_a_long_list_of_unreadable_files_ends_after_twenty(tmp_path, pixels_of, save):
    good = save(tmp_path / "good.png", pixels_of(4, 4))
    paths = [good] + [tmp_path / f"{i:02d}.png" for i in range(25)]
    with pytest.raises(ValueError, match=r"25 of 26 files") as caught:
        images.load(paths, size=(4, 4))
    assert str(caught.value).endswith("19.png: No such file or directory\n  ... and 5 more")


def test_skipping_keeps_images_labels_and_paths_together_and_warns_once(
    tmp_path, caplog, pixels_of, class_folders
):
    folder = class_folders(tmp_path, ["cat/b.png", "dog/a.png", "dog/c.png"])
    (folder / "cat" / "a.png").touch()
    (folder / "dog" / "b.txt").write_text("no image")
    with caplog.at_level(logging.WARNING, logger="detl"):
        loaded = images.load_folders(folder, size=(4, 4), on_error="skip")
    names = ["cat/b.png", "dog/a.png", "dog/c.png"]
    assert loaded.paths == tuple(folder / name for name in names)
    assert loaded.labels.tolist() == ["cat", "dog", "dog"]
    expected = np.stack([pixels_of(4, 4, 1, seed=seed) for seed in range(3)])
    np.testing.assert_array_equal(loaded.images, expected)
    assert [path.name for path, _ in loaded.skipped] == ["a.png", "b.txt"]
    (record,) = caplog.records
    assert record.getMessage().startswith("2 of 5 files could not be read and are left out:")
    assert f"{folder / 'cat' / 'a.png'}: the file is empty" in record.getMessage()


def test_when_nothing_can_be_read_skipping_is_an_error_too(tmp_path):
    with pytest.raises(ValueError, match=r"no image is left; check the paths:\n.*x\.png: No such"):
        images.load([tmp_path / "x.png"], size=(4, 4), on_error="skip")


def test_a_class_that_loses_its_last_image_is_an_error(tmp_path, class_folders):
    folder = class_folders(tmp_path, ["cat/a.png", "dog/a.png"])
    (folder / "cat" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no image is left of class cat; repair"):
        images.load_folders(folder, size=(4, 4), on_error="skip")


def test_twelve_bit_values_in_a_sixteen_bit_file_are_warned_of(tmp_path, caplog, save):
    dark = save(tmp_path / "dark.png", np.full((4, 4), 4095, dtype=np.uint16))
    light = save(tmp_path / "light.png", np.full((4, 4), 4096, dtype=np.uint16))
    with caplog.at_level(logging.WARNING, logger="detl"):
        images.load([light, dark], size=(4, 4))
    (record,) = caplog.records
    assert record.getMessage().startswith("1 of 2 images are almost black")
    assert str(dark) in record.getMessage()
