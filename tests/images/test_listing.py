"""Which files are read, and as which class."""

import logging
from pathlib import Path

import numpy as np
import pytest

from detl import images


def test_sub_folders_are_classes_sorted_by_name(tmp_path, pixels_of, class_folders):
    names = ["b/2.png", "a/10.png", "b/1.png", "a/9.png", "C/x.png"]
    loaded = images.load_folders(str(class_folders(tmp_path, names)), size=(4, 4))
    assert loaded.labels.tolist() == ["C", "a", "a", "b", "b"]
    assert loaded.paths == tuple(tmp_path / names[i] for i in (4, 1, 3, 2, 0))
    for row, seed in enumerate((4, 1, 3, 2, 0)):
        np.testing.assert_array_equal(loaded.images[row, ..., 0], pixels_of(4, 4, seed=seed))


def test_hidden_files_and_what_operating_systems_leave_behind_are_ignored(tmp_path, class_folders):
    folder = class_folders(tmp_path, ["cat/a.png", ".cache/a.png", "__MACOSX/cat/a.png"])
    for litter in [".DS_Store", "Thumbs.db", "desktop.ini", "._a.png"]:
        (folder / "cat" / litter).write_text("litter")
        (folder / litter).write_text("litter")
    (folder / "cat" / ".thumbnails").mkdir()
    loaded = images.load_folders(folder, size=(4, 4))
    assert loaded.paths == (folder / "cat" / "a.png",)
    assert loaded.skipped == ()


def test_other_files_in_a_class_folder_are_reported_and_not_ignored(tmp_path, class_folders):
    folder = class_folders(tmp_path, ["cat/a.png"])
    (folder / "cat" / "scan.dcm").write_bytes(b"DICM")
    (folder / "cat" / "link.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(
        ValueError, match=r"(?s)2 of 3 files.*link\.png: No such.*scan\.dcm: not an"
    ):
        images.load_folders(folder, size=(4, 4))


def test_images_beside_the_class_folders_are_warned_of_and_tables_are_not(
    tmp_path, caplog, class_folders
):
    folder = class_folders(tmp_path, ["cat/a.png"] + [f"stray{i}.PNG" for i in range(7)])
    (folder / "metadata.csv").write_text("a,b")
    with caplog.at_level(logging.WARNING, logger="detl"):
        loaded = images.load_folders(folder, size=(4, 4))
    assert len(loaded.images) == 1
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith("7 images beside the class folders")
    assert message.endswith(
        "stray0.PNG, stray1.PNG, stray2.PNG, stray3.PNG, stray4.PNG and 2 more."
    )


def test_a_folder_without_classes_is_refused(tmp_path, pixels_of, save):
    with pytest.raises(ValueError, match=r"has no sub-folders, and 0 files; expected one"):
        images.load_folders(tmp_path, size=(4, 4))
    save(tmp_path / "a.png", pixels_of(4, 4))
    with pytest.raises(ValueError, match=r"1 files; .* without classes use load\(paths"):
        images.load_folders(tmp_path, size=(4, 4))


def test_empty_class_folders_are_all_named(tmp_path, class_folders):
    folder = class_folders(tmp_path, ["cat/a.png", "eel/.hidden.png"])
    (folder / "dog").mkdir()
    with pytest.raises(ValueError, match=r"2 of the 3 class folders .* hold no image: dog, eel;"):
        images.load_folders(folder, size=(4, 4))


def test_folders_inside_a_class_folder_are_refused(tmp_path, class_folders):
    folder = class_folders(tmp_path, ["train/cat/a.png", "train/dog/a.png"])
    with pytest.raises(ValueError, match=r"train' has sub-folders \(cat, dog\).*pass this folder"):
        images.load_folders(folder, size=(4, 4))


def test_a_folder_that_is_none_is_refused(tmp_path, pixels_of, save):
    with pytest.raises(ValueError, match=r"nowhere' does not exist; expected a folder"):
        images.load_folders(tmp_path / "nowhere", size=(4, 4))
    file = save(tmp_path / "a.png", pixels_of(4, 4))
    with pytest.raises(ValueError, match=r"a\.png' is a file; expected a folder"):
        images.load_folders(file, size=(4, 4))


@pytest.mark.parametrize("path", ["a.png", Path("a.png"), b"a.png"])
def test_one_path_in_place_of_several_is_refused(path):
    with pytest.raises(TypeError, match=r"is one path; expected several: load\(\[path\]"):
        images.load(path, size=(4, 4))


def test_paths_that_are_none_are_refused():
    with pytest.raises(TypeError, match=r"paths is int 3; expected a list of paths"):
        images.load(3, size=(4, 4))
    with pytest.raises(ValueError, match=r"paths is empty; expected at least one file"):
        images.load([], size=(4, 4))
    with pytest.raises(TypeError, match=r"paths\[1\] is float nan; expected a str"):
        images.load(["a.png", float("nan")], size=(4, 4))
