import logging
import os
import struct
import subprocess
import sys
import threading
import zlib
from contextlib import redirect_stderr
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detl import images

CHEST_XRAY = os.environ.get("DETL_CHEST_XRAY")


def pixels_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels)).save(path, **options)
    return path


def load_one(path, size, **options):
    return images.load([path], size=size, **options).images[0]


def class_folders(folder, names):
    for seed, name in enumerate(names):
        save(folder / name, pixels_of(4, 4, seed=seed))
    return folder


def sixteen_bit_png(path, pixels, *, colour, transparent=None):
    """Write what Pillow cannot: 16-bit colour, and a level or colour that is transparent."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if colour else 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (b"" if transparent is None else chunk(b"tRNS", np.array(transparent, ">u2").tobytes()))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    return path


def tiff(path, data, *, width, height, bits, samples=1, **tags):
    """Write an uncompressed TIFF of these bytes, tags by number as ``t284=2``."""
    entries = {
        256: [width],
        257: [height],
        258: [bits] * samples,
        259: [1],
        262: [2 if samples == 3 else 1],
        277: [samples],
        278: [height],
        **{int(name[1:]): values for name, values in tags.items()},
    }
    planes = samples if entries.get(284) == [2] else 1
    counts = [len(data) // planes] * planes
    offsets = [8 + len(data) // planes * plane for plane in range(planes)]
    entries |= {273: offsets, 279: counts}
    end = 8 + len(data) + 2 + 12 * len(entries) + 4
    directory, beyond = b"", b""
    for tag, values in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            packed, beyond = struct.pack("<I", end + len(beyond)), beyond + packed
        directory += struct.pack("<HHI", tag, 3, len(values)) + packed.ljust(4, b"\0")
    path.write_bytes(
        struct.pack("<2sHI", b"II", 42, 8 + len(data))
        + data
        + struct.pack("<H", len(entries))
        + directory
        + struct.pack("<I", 0)
        + beyond
    )
    return path


# What a loaded image looks like


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "gif", "webp"])
def test_an_image_of_the_wanted_size_keeps_its_pixels(tmp_path, suffix):
    grey = pixels_of(5, 7)
    path = save(
        tmp_path / f"grey.{suffix}", grey, **({"lossless": True} if suffix == "webp" else {})
    )
    loaded = load_one(path, (5, 7))
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, grey[..., np.newaxis])


def test_a_jpeg_has_the_pixels_that_pillow_decodes(tmp_path):
    path = save(tmp_path / "grey.jpg", pixels_of(16, 24), quality=90)
    with Image.open(path) as decoded:
        np.testing.assert_array_equal(load_one(path, (16, 24))[..., 0], np.asarray(decoded))


def test_grey_is_repeated_in_three_channels(tmp_path):
    grey = pixels_of(5, 7)
    loaded = load_one(save(tmp_path / "grey.png", grey), (5, 7), channels=3)
    np.testing.assert_array_equal(loaded, np.stack([grey] * 3, axis=-1))


def test_colour_keeps_its_three_channels_and_becomes_luminance_in_one(tmp_path):
    colour = pixels_of(6, 4, 3)
    path = save(tmp_path / "colour.png", colour)
    np.testing.assert_array_equal(load_one(path, (6, 4), channels=3), colour)
    luminance = colour @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    np.testing.assert_allclose(load_one(path, (6, 4))[..., 0], luminance, atol=0.51)


def test_grey_saved_as_colour_is_the_same_image(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = save(tmp_path / "colour.png", np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(load_one(path, (16, 16))[..., 0], grey)


def test_size_is_height_then_width(tmp_path):
    left_black = np.zeros((8, 8), dtype=np.uint8)
    left_black[:, 4:] = 200
    loaded = load_one(save(tmp_path / "halves.png", left_black), (2, 4))[..., 0]
    np.testing.assert_array_equal(loaded[0], loaded[1])
    assert loaded.shape == (2, 4)
    assert loaded[0, 0] == 0
    assert loaded[0, 3] == 200


def test_halving_weighs_four_pixels_a_side_with_a_triangle(tmp_path):
    # A triangle of half-width 2 at the four pixel centres 0.5 and 1.5 away; cut off at the border.
    weights = np.zeros((4, 8))
    for row in range(4):
        for offset, weight in zip((-1, 0, 1, 2), (1, 3, 3, 1)):
            if 0 <= 2 * row + offset < 8:
                weights[row, 2 * row + offset] = weight
    weights /= weights.sum(axis=1, keepdims=True)
    grey = pixels_of(8, 8)
    loaded = load_one(save(tmp_path / "grey.png", grey), (4, 4))[..., 0]
    np.testing.assert_allclose(loaded, weights @ grey @ weights.T, atol=1.01)  # rounded twice


def test_detail_finer_than_the_new_pixels_is_averaged_and_not_aliased(tmp_path):
    checkerboard = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    loaded = load_one(save(tmp_path / "fine.png", checkerboard), (8, 8))
    np.testing.assert_allclose(loaded, 127.5, atol=1.5)


@pytest.mark.parametrize("size", [(5, 5), (40, 40)])
def test_resizing_draws_no_halo_around_an_edge(tmp_path, size):
    edge = np.full((16, 16), 50, dtype=np.uint8)
    edge[:, 7:] = 200
    loaded = load_one(save(tmp_path / "edge.png", edge), size)
    assert (loaded.min(), loaded.max()) == (50, 200)


def test_padding_keeps_the_proportions_between_black_bars(tmp_path):
    wide = save(tmp_path / "wide.png", np.full((4, 8), 90, dtype=np.uint8))
    tall = save(tmp_path / "tall.png", np.full((8, 4), 90, dtype=np.uint8))
    expected = np.zeros((8, 8), dtype=np.uint8)
    expected[2:6] = 90
    np.testing.assert_array_equal(load_one(wide, (8, 8), aspect="pad")[..., 0], expected)
    np.testing.assert_array_equal(load_one(tall, (8, 8), aspect="pad")[..., 0], expected.T)
    assert (load_one(wide, (8, 8)) == 90).all()


def test_padding_does_not_touch_an_image_of_the_same_proportions(tmp_path):
    colour = pixels_of(8, 6, 3)
    path = save(tmp_path / "colour.png", colour)
    np.testing.assert_array_equal(load_one(path, (8, 6), channels=3, aspect="pad"), colour)
    np.testing.assert_array_equal(
        load_one(path, (4, 3), channels=3, aspect="pad"), load_one(path, (4, 3), channels=3)
    )


def test_padding_leaves_a_line_of_the_most_oblong_image(tmp_path):
    path = save(tmp_path / "line.png", np.full((1, 1000), 90, dtype=np.uint8))
    assert (load_one(path, (9, 9), aspect="pad")[4] == 90).all()


# What a file may hold


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled_to_eight_bits_and_not_clipped(tmp_path, suffix):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    # 8 bits become 16 by repeating the byte, or by appending zeros: either way back is exact.
    for name, wide in {"repeated": levels * 257, "shifted": levels * 256}.items():
        path = save(tmp_path / f"{name}.{suffix}", wide)
        np.testing.assert_array_equal(load_one(path, (16, 16))[..., 0], levels)


def test_sixteen_bit_grey_of_either_byte_order_is_read(tmp_path):
    wide = np.array([[0, 256, 40000, 65535]], dtype=np.uint16)
    for name, order in {"little": "<u2", "big": ">u2"}.items():
        path = save(tmp_path / f"{name}.tiff", wide.astype(order))
        assert load_one(path, (1, 4)).ravel().tolist() == [0, 1, 156, 255]


def test_sixteen_bit_grey_and_sixteen_bit_colour_agree(tmp_path):
    wide = np.random.default_rng(0).integers(0, 65536, (8, 8), dtype=np.uint16)
    grey = sixteen_bit_png(tmp_path / "grey.png", wide, colour=False)
    colour = sixteen_bit_png(tmp_path / "colour.png", np.stack([wide] * 3, axis=-1), colour=True)
    np.testing.assert_array_equal(load_one(grey, (8, 8)), load_one(colour, (8, 8)))


def test_a_sixteen_bit_negative_is_inverted_as_an_eight_bit_one_is(tmp_path):
    wide = np.array([[0, 256, 40000, 65535]], dtype=np.uint16)
    path = save(tmp_path / "negative.tiff", wide)
    black_is_zero, white_is_zero = (struct.pack("<HHII", 262, 3, 1, value) for value in (1, 0))
    content = path.read_bytes()
    assert content.count(black_is_zero) == 1
    path.write_bytes(content.replace(black_is_zero, white_is_zero))
    assert load_one(path, (1, 4)).ravel().tolist() == [255, 254, 99, 0]


def test_twelve_bit_grey_is_scaled_by_its_bits(tmp_path, caplog):
    levels = [0, 16, 2048, 4095]
    packed = sum(level << 12 * (3 - place) for place, level in enumerate(levels)).to_bytes(6)
    path = tiff(tmp_path / "twelve.tiff", packed, width=4, height=1, bits=12)
    with caplog.at_level(logging.WARNING, logger="detl"):
        assert load_one(path, (1, 4)).ravel().tolist() == [0, 1, 128, 255]
    assert not caplog.records


def test_eight_bit_colour_plane_by_plane_is_colour_pixel_by_pixel(tmp_path):
    colour = pixels_of(4, 5, 3)
    planes = np.moveaxis(colour, -1, 0).tobytes()
    form = {"width": 5, "height": 4, "bits": 8, "samples": 3}
    path = tiff(tmp_path / "planes.tiff", planes, t284=[2], **form)
    np.testing.assert_array_equal(load_one(path, (4, 5), channels=3), colour)


def test_sixteen_bit_colour_pixel_by_pixel_is_read(tmp_path):
    wide = np.random.default_rng(0).integers(0, 65536, (4, 5, 3)).astype("<u2")
    form = {"width": 5, "height": 4, "bits": 16, "samples": 3}
    path = tiff(tmp_path / "pixels.tiff", wide.tobytes(), t284=[1], **form)
    np.testing.assert_array_equal(load_one(path, (4, 5), channels=3), wide >> 8)


def test_a_palette_is_resolved_before_resizing(tmp_path):
    colours = [(250, 0, 0), (0, 0, 250)]
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8).repeat(2, axis=0))
    palette = palette.convert("P")
    palette.putpalette([level for colour in colours for level in colour])
    palette.save(tmp_path / "palette.png")
    loaded = load_one(tmp_path / "palette.png", (2, 2), channels=3)
    np.testing.assert_array_equal(loaded, [colours, colours])
    np.testing.assert_allclose(
        load_one(tmp_path / "palette.png", (1, 1), channels=3), [[[125, 0, 125]]], atol=1
    )


def test_black_and_white_is_0_and_255(tmp_path):
    bits = np.array([[True, False], [False, True]])
    assert load_one(save(tmp_path / "bits.png", bits), (2, 2)).ravel().tolist() == [255, 0, 0, 255]


def test_cmyk_becomes_the_colour_that_it_prints(tmp_path):
    Image.new("CMYK", (8, 8), color=(0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    loaded = load_one(tmp_path / "print.jpg", (8, 8), channels=3)
    np.testing.assert_allclose(loaded, np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=2)


def test_opaque_pixels_keep_their_colour_and_transparent_ones_turn_black(tmp_path):
    colour = pixels_of(4, 4, 3)
    alpha = np.full((4, 4, 1), 255, dtype=np.uint8)
    alpha[:2] = 0
    path = save(tmp_path / "alpha.png", np.concatenate([colour, alpha], axis=-1))
    colour[:2] = 0
    np.testing.assert_array_equal(load_one(path, (4, 4), channels=3), colour)


def test_grey_with_alpha_and_a_transparent_level_are_mixed_with_black_too(tmp_path):
    half = Image.merge("LA", [Image.new("L", (2, 2), 200), Image.new("L", (2, 2), 128)])
    half.save(tmp_path / "half.png")
    assert (load_one(tmp_path / "half.png", (2, 2)) == 100).all()
    path = save(tmp_path / "key.png", np.array([[70, 200]], dtype=np.uint8), transparency=200)
    assert load_one(path, (1, 2)).ravel().tolist() == [70, 0]


def test_a_transparent_level_or_colour_of_sixteen_bits_turns_black(tmp_path):
    wide = np.array([[0x1234, 0x1335, 0x5634, 0x3456]], dtype=np.uint16)
    grey = sixteen_bit_png(tmp_path / "grey.png", wide, colour=False, transparent=[0x1234])
    assert load_one(grey, (1, 4)).ravel().tolist() == [0, 0x13, 0x56, 0x34]
    colours = np.stack([wide, wide, wide[:, ::-1]], axis=-1)
    colour = sixteen_bit_png(
        tmp_path / "colour.png", colours, colour=True, transparent=[0x1335, 0x1335, 0x5634]
    )
    expected = colours >> 8
    expected[0, 1] = 0
    np.testing.assert_array_equal(load_one(colour, (1, 4), channels=3), expected)


@pytest.mark.parametrize("suffix", ["png", "tiff", "jpg"])
def test_the_exif_orientation_turns_the_image_upright(tmp_path, suffix):
    upright = np.zeros((16, 8), dtype=np.uint8)
    upright[:8] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: to be turned clockwise for viewing
    path = save(tmp_path / f"turned.{suffix}", np.rot90(upright), exif=exif)
    np.testing.assert_allclose(load_one(path, (16, 8))[..., 0], upright, atol=3)


def test_sixteen_bit_files_are_turned_upright_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    wide = np.array([[256, 512, 65535]], dtype=np.uint16)
    path = save(tmp_path / "turned.png", wide, exif=exif)
    assert load_one(path, (1, 3)).ravel().tolist() == [255, 2, 1]


def test_the_preview_behind_a_camera_jpeg_is_left_alone(tmp_path):
    main, preview = Image.new("L", (8, 8), 100), Image.new("L", (4, 4), 200)
    main.save(tmp_path / "camera.jpg", format="MPO", save_all=True, append_images=[preview])
    np.testing.assert_allclose(load_one(tmp_path / "camera.jpg", (8, 8)), 100, atol=1)


def test_channels_may_be_a_number_of_numpy_in_a_memory_map_too(tmp_path):
    path = save(tmp_path / "grey.png", pixels_of(4, 4))
    for target in (None, tmp_path / "images.npy"):
        loaded = images.load([path], size=(4, 4), channels=np.int64(3), memory_map=target)
        assert loaded.images.shape == (1, 4, 4, 3)
    images.load([path], size=(4, 4), channels=3, memory_map=target)  # is the same


# The result


def test_row_i_is_the_file_of_path_i_in_the_order_given(tmp_path):
    # Large files first: they are ready last.
    levels = list(range(40, 240, 5))
    paths = [
        save(tmp_path / f"{level}.png", np.full((5 * (240 - level), 300), level, dtype=np.uint8))
        for level in levels
    ]
    loaded = images.load((str(path) for path in paths), size=(2, 3))
    assert loaded.images[:, 0, 0, 0].tolist() == levels
    assert loaded.paths == tuple(paths)
    assert loaded.labels is None
    assert loaded.skipped == ()


def test_the_result_prints_without_its_pixels_and_cannot_be_reassigned(tmp_path):
    folder = class_folders(tmp_path, ["cat/a.png", "dog/b.png", "dog/c.png"])
    (folder / "dog" / "d.png").touch()
    loaded = images.load_folders(folder, size=(4, 6), on_error="skip")
    assert repr(loaded) == (
        "LoadedImages(images=uint8 (3, 4, 6, 1), labels={'cat': 1, 'dog': 2}, skipped=1 files)"
    )
    with pytest.raises(FrozenInstanceError):
        loaded.labels = None


def test_many_classes_print_as_their_number(tmp_path):
    folder = class_folders(tmp_path, [f"{i}/a.png" for i in range(11)])
    loaded = images.load_folders(folder, size=(4, 4))
    assert repr(loaded) == "LoadedImages(images=uint8 (11, 4, 4, 1), labels=11 classes)"


def test_importing_the_module_loads_neither_keras_nor_tensorflow():
    code = "import sys, detl.images; assert not {'keras', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Unreadable files


def broken_files(folder):
    """Return files that cannot be read, each with what its reason must say."""
    good = save(folder / "good.png", pixels_of(32, 32))
    content = good.read_bytes()
    truncated = folder / "truncated.png"
    truncated.write_bytes(content[: len(content) // 2])
    jpeg = save(folder / "truncated.jpg", pixels_of(64, 64))
    jpeg.write_bytes(jpeg.read_bytes()[:-500])
    corrupt = folder / "corrupt.png"
    corrupt.write_bytes(content[:60] + bytes(len(content) - 60))
    header = folder / "header.png"
    header.write_bytes(content[:20])
    empty = folder / "empty.png"
    empty.touch()
    text = folder / "text.png"
    text.write_text("version https://example.org/spec\n")
    eps = folder / "drawing.eps"
    Image.new("L", (4, 4)).save(eps)
    pages = folder / "pages.tiff"
    frames = [Image.new("L", (4, 4), level) for level in (1, 2, 3)]
    frames[0].save(pages, save_all=True, append_images=frames[1:])
    floats = save(folder / "floats.tiff", np.ones((4, 4), dtype=np.float32))
    integers = save(folder / "integers.tiff", np.ones((4, 4), dtype=np.int32))
    form = {"width": 4, "height": 4}
    eight = tiff(folder / "eight.tiff", bytes(16), bits=8, t339=[2], **form)
    sixteen = tiff(folder / "sixteen.tiff", bytes(32), bits=16, t339=[2], **form)
    planes = tiff(folder / "planes.tiff", bytes(96), bits=16, samples=3, t284=[2], **form)
    return good, {
        truncated: "truncated",
        jpeg: "truncated",
        corrupt: "broken",
        header: "Truncated|not an image",
        empty: "the file is empty",
        text: "not an image that can be read; expected PNG, JPEG",
        eps: "not an image that can be read",
        pages: "holds 3 pages or frames; expected one image",
        floats: "32-bit pixels, whose range is not known",
        integers: "32-bit pixels, whose range is not known",
        eight: "has signed 8-bit pixels, whose black is not known; save it with unsigned",
        sixteen: "has signed 16-bit pixels, whose black is not known; save it with unsigned",
        planes: "has 16-bit colours plane by plane, uncompressed, which would be read wrongly",
        folder / "missing.png": "No such file",
        folder: "directory|denied",
    }


def test_every_kind_of_unreadable_file_is_reported_with_its_reason(tmp_path, subtests):
    good, broken = broken_files(tmp_path)
    loaded = images.load([*broken, good], size=(32, 32), on_error="skip")
    reasons = dict(loaded.skipped)
    assert list(reasons) == list(broken)
    for path, expected in broken.items():
        with subtests.test(path.name):
            assert any(part in reasons[path] for part in expected.split("|")), reasons[path]


def test_all_unreadable_files_are_named_in_one_error(tmp_path):
    good, broken = broken_files(tmp_path)
    with pytest.raises(ValueError, match=r'on_error="skip"') as caught:
        images.load([good, *broken], size=(32, 32))
    message = str(caught.value)
    assert message.startswith(f"{len(broken)} of {len(broken) + 1} files could not be read;")
    for path in broken:
        assert f"\n  {path}: " in message
    assert f"{good}:" not in message


def test_a_long_list_of_unreadable_files_ends_after_twenty(tmp_path):
    good = save(tmp_path / "good.png", pixels_of(4, 4))
    paths = [good] + [tmp_path / f"{i:02d}.png" for i in range(25)]
    with pytest.raises(ValueError, match=r"25 of 26 files") as caught:
        images.load(paths, size=(4, 4))
    assert str(caught.value).endswith("19.png: No such file or directory\n  ... and 5 more")


def test_skipping_keeps_images_labels_and_paths_together_and_warns_once(tmp_path, caplog):
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


def test_a_class_that_loses_its_last_image_is_an_error(tmp_path):
    folder = class_folders(tmp_path, ["cat/a.png", "dog/a.png"])
    (folder / "cat" / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no image is left of class cat; repair"):
        images.load_folders(folder, size=(4, 4), on_error="skip")


@pytest.mark.parametrize("side", [12, 20])  # Pillow warns above its limit, raises above twice that
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_file_above_the_pixel_limit_is_reported_and_not_decoded(tmp_path, monkeypatch, side):
    bomb = save(tmp_path / "bomb.png", pixels_of(side, side))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    reason = rf"bomb\.png: Image size \({side**2} pixels\) exceeds limit .*\.MAX_IMAGE_PIXELS"
    with pytest.raises(ValueError, match=reason):
        images.load([bomb], size=(4, 4))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    np.testing.assert_array_equal(load_one(bomb, (side, side))[..., 0], pixels_of(side, side))


def test_a_pixel_limit_that_warns_as_an_error_is_reported_as_well(tmp_path, monkeypatch):
    bomb = save(tmp_path / "bomb.png", pixels_of(12, 12))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"exceeds limit of 100 pixels.*\.MAX_IMAGE_PIXELS"):
        images.load([bomb], size=(4, 4))


def test_twelve_bit_values_in_a_sixteen_bit_file_are_warned_of(tmp_path, caplog):
    dark = save(tmp_path / "dark.png", np.full((4, 4), 4095, dtype=np.uint16))
    light = save(tmp_path / "light.png", np.full((4, 4), 4096, dtype=np.uint16))
    with caplog.at_level(logging.WARNING, logger="detl"):
        images.load([light, dark], size=(4, 4))
    (record,) = caplog.records
    assert record.getMessage().startswith("1 of 2 images are almost black")
    assert str(dark) in record.getMessage()


def test_no_thread_and_no_file_stays_open(tmp_path):
    path = save(tmp_path / "grey.png", pixels_of(4, 4))
    (tmp_path / "text.png").write_text("no image")
    before = threading.active_count()
    images.load([path, tmp_path / "text.png"], size=(4, 4), on_error="skip")
    assert threading.active_count() == before  # an open file would fail as a ResourceWarning


# A folder per class


def test_sub_folders_are_classes_sorted_by_name(tmp_path):
    names = ["b/2.png", "a/10.png", "b/1.png", "a/9.png", "C/x.png"]
    loaded = images.load_folders(str(class_folders(tmp_path, names)), size=(4, 4))
    assert loaded.labels.tolist() == ["C", "a", "a", "b", "b"]
    assert loaded.paths == tuple(tmp_path / names[i] for i in (4, 1, 3, 2, 0))
    for row, seed in enumerate((4, 1, 3, 2, 0)):
        np.testing.assert_array_equal(loaded.images[row, ..., 0], pixels_of(4, 4, seed=seed))


def test_folders_take_the_options_that_files_take(tmp_path):
    folder = class_folders(tmp_path, ["cat/a.png", "dog/a.png"])
    options = {"size": (3, 9), "channels": 3, "aspect": "pad"}
    loaded = images.load_folders(folder, **options)
    np.testing.assert_array_equal(loaded.images, images.load(loaded.paths, **options).images)


def test_hidden_files_and_what_operating_systems_leave_behind_are_ignored(tmp_path):
    folder = class_folders(tmp_path, ["cat/a.png", ".cache/a.png", "__MACOSX/cat/a.png"])
    for litter in [".DS_Store", "Thumbs.db", "desktop.ini", "._a.png"]:
        (folder / "cat" / litter).write_text("litter")
        (folder / litter).write_text("litter")
    (folder / "cat" / ".thumbnails").mkdir()
    loaded = images.load_folders(folder, size=(4, 4))
    assert loaded.paths == (folder / "cat" / "a.png",)
    assert loaded.skipped == ()


def test_other_files_in_a_class_folder_are_reported_and_not_ignored(tmp_path):
    folder = class_folders(tmp_path, ["cat/a.png"])
    (folder / "cat" / "scan.dcm").write_bytes(b"DICM")
    (folder / "cat" / "link.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(
        ValueError, match=r"(?s)2 of 3 files.*link\.png: No such.*scan\.dcm: not an"
    ):
        images.load_folders(folder, size=(4, 4))


def test_images_beside_the_class_folders_are_warned_of_and_tables_are_not(tmp_path, caplog):
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


def test_a_folder_without_classes_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no sub-folders, and 0 files; expected one"):
        images.load_folders(tmp_path, size=(4, 4))
    save(tmp_path / "a.png", pixels_of(4, 4))
    with pytest.raises(ValueError, match=r"1 files; .* without classes use load\(paths"):
        images.load_folders(tmp_path, size=(4, 4))


def test_empty_class_folders_are_all_named(tmp_path):
    folder = class_folders(tmp_path, ["cat/a.png", "eel/.hidden.png"])
    (folder / "dog").mkdir()
    with pytest.raises(ValueError, match=r"2 of the 3 class folders .* hold no image: dog, eel;"):
        images.load_folders(folder, size=(4, 4))


def test_folders_inside_a_class_folder_are_refused(tmp_path):
    folder = class_folders(tmp_path, ["train/cat/a.png", "train/dog/a.png"])
    with pytest.raises(ValueError, match=r"train' has sub-folders \(cat, dog\).*pass this folder"):
        images.load_folders(folder, size=(4, 4))


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere' does not exist; expected a folder"):
        images.load_folders(tmp_path / "nowhere", size=(4, 4))
    file = save(tmp_path / "a.png", pixels_of(4, 4))
    with pytest.raises(ValueError, match=r"a\.png' is a file; expected a folder"):
        images.load_folders(file, size=(4, 4))


# Arguments


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


# Real files


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


def test_a_bar_counts_the_files_on_request_only(tmp_path, terminal):
    paths = [tmp_path / f"{row}.png" for row in range(3)]
    for path in paths:
        Image.new("L", (4, 4), color=90).save(path)
    with redirect_stderr(terminal):
        images.load(paths, size=(4, 4))
        assert terminal.getvalue() == ""
        images.load(paths, size=(4, 4), verbose=1)
    assert "3/3" in terminal.getvalue()
