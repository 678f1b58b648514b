import os
import subprocess
import sys
from contextlib import redirect_stderr
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detl import images

CHEST_XRAY = os.environ.get("DETL_CHEST_XRAY")


def test_channels_may_be_a_number_of_numpy_in_a_memory_map_too(tmp_path, pixels_of, save):
    path = save(tmp_path / "grey.png", pixels_of(4, 4))
    for target in (None, tmp_path / "images.npy"):
        loaded = images.load([path], size=(4, 4), channels=np.int64(3), memory_map=target)
        assert loaded.images.shape == (1, 4, 4, 3)
    images.load([path], size=(4, 4), channels=3, memory_map=target)  # is the same


def test_the_result_prints_without_its_pixels_and_cannot_be_reassigned(tmp_path, class_folders):
    folder = class_folders(tmp_path, ["cat/a.png", "dog/b.png", "dog/c.png"])
    (folder / "dog" / "d.png").touch()
    loaded = images.load_folders(folder, size=(4, 6), on_error="skip")
    assert repr(loaded) == (
        "LoadedImages(images=uint8 (3, 4, 6, 1), labels={'cat': 1, 'dog': 2}, skipped=1 files)"
    )
    with pytest.raises(FrozenInstanceError):
        loaded.labels = None


def test_many_classes_print_as_their_number(tmp_path, class_folders):
    folder = class_folders(tmp_path, [f"{i}/a.png" for i in range(11)])
    loaded = images.load_folders(folder, size=(4, 4))
    assert repr(loaded) == "LoadedImages(images=uint8 (11, 4, 4, 1), labels=11 classes)"


def test_importing_the_module_loads_neither_keras_nor_tensorflow():
    code = "import sys, detl.images; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_folders_take_the_options_that_files_take(tmp_path, class_folders):
    folder = class_folders(tmp_path, ["cat/a.png", "dog/a.png"])
    options = {"size": (3, 9), "channels": 3, "aspect": "pad"}
    loaded = images.load_folders(folder, **options)
    np.testing.assert_array_equal(loaded.images, images.load(loaded.paths, **options).images)


@pytest.mark.parametrize("size", [224, (224,), (8, 8, 1), (0, 8), (8, -1), (8.0, 8), None, "88"])
def test_a_size_that_is_not_height_and_width_is_refused(tmp_path, size):
    with pytest.raises(ValueError, match=r"size=.*expected \(height, width\) in pixels"):
        images.load([tmp_path / "a.png"], size=size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 4}, r"channels=4; expected one of 1, 3"),
        ({"aspect": "crop"}, r"aspect='crop'; expected one of 'stretch', 'pad'"),
        ({"on_error": "ignore"}, r"on_error='ignore'; expected one of 'raise', 'skip'"),
    ],
)
def test_an_unknown_option_is_refused_before_a_file_is_read(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        images.load([tmp_path / "a.png"], size=(4, 4), **options)
    with pytest.raises(ValueError, match=message):
        images.load_folders(tmp_path / "nowhere", size=(4, 4), **options)


@pytest.mark.parametrize(("channels", "kind"), [(3.0, "float"), (True, "bool")])
def test_channels_that_are_no_whole_number_are_refused(tmp_path, channels, kind):
    with pytest.raises(TypeError, match=f"channels is {kind} {channels}; expected a whole number"):
        images.load([tmp_path / "a.png"], size=(4, 4), channels=channels)


@pytest.mark.parametrize("folder", [None, 3, b"set", ["set"], np.array(["set"])])
def test_a_folder_that_is_no_path_is_refused(folder):
    kind = type(folder).__name__
    with pytest.raises(TypeError, match=f"folder is {kind} .*; expected the path of a folder"):
        images.load_folders(folder, size=(4, 4))


@pytest.mark.skipif(CHEST_XRAY is None, reason="DETL_CHEST_XRAY names no folder of radiographs")
@pytest.mark.parametrize("collection", ["nih", "covid"])
def test_real_radiographs_are_read_as_pillow_decodes_them(collection):
    paths = sorted(Path(CHEST_XRAY, collection, "images_128").iterdir())[::100][:20]
    loaded = images.load(paths, size=(128, 128))
    assert len(loaded.images) == len(paths) > 0
    for path, pixels in zip(loaded.paths, loaded.images):
        with Image.open(path) as decoded:
            np.testing.assert_array_equal(pixels[..., 0], np.asarray(decoded.convert("L")))
    halved = images.load(paths, size=(64, 64)).images
    means = loaded.images.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(halved.mean(axis=(1, 2, 3)), means, atol=1)


def test_a_bar_counts_the_files_unless_verbose_is_0(tmp_path, terminal):
    paths = [tmp_path / f"{row}.png" for row in range(3)]
    for path in paths:
        Image.new("L", (4, 4), color=90).save(path)
    with redirect_stderr(terminal):
        images.load(paths, size=(4, 4), verbose=0)
        assert terminal.getvalue() == ""
        images.load(paths, size=(4, 4))
    assert "3/3" in terminal.getvalue()
