"""What a file may hold, and what a loaded image looks like."""

import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from detl import images


def load_one(path, size, **options):
    return images.load([path], size=size, **options).images[0]


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


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "gif", "webp"])
def test_an_image_of_the_wanted_size_keeps_its_pixels(tmp_path, suffix, pixels_of, save):
    grey = pixels_of(5, 7)
    path = save(
        tmp_path / f"grey.{suffix}", grey, **({"lossless": True} if suffix == "webp" else {})
    )
    loaded = load_one(path, (5, 7))
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, grey[..., np.newaxis])


def test_a_jpeg_has_the_pixels_that_pillow_decodes(tmp_path, pixels_of, save):
    path = save(tmp_path / "grey.jpg", pixels_of(16, 24), quality=90)
    with Image.open(path) as decoded:
        np.testing.assert_array_equal(load_one(path, (16, 24))[..., 0], np.asarray(decoded))


def test_grey_is_repeated_in_three_channels(tmp_path, pixels_of, save):
    grey = pixels_of(5, 7)
    loaded = load_one(save(tmp_path / "grey.png", grey), (5, 7), channels=3)
    np.testing.assert_array_equal(loaded, np.stack([grey] * 3, axis=-1))


def test_colour_keeps_its_three_channels_and_becomes_luminance_in_one(tmp_path, pixels_of, save):
    colour = pixels_of(6, 4, 3)
    path = save(tmp_path / "colour.png", colour)
    np.testing.assert_array_equal(load_one(path, (6, 4), channels=3), colour)
    luminance = colour @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    np.testing.assert_allclose(load_one(path, (6, 4))[..., 0], luminance, atol=0.51)


def test_grey_saved_as_colour_is_the_same_image(tmp_path, save):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = save(tmp_path / "colour.png", np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(load_one(path, (16, 16))[..., 0], grey)


def test_size_is_height_then_width(tmp_path, save):
    left_black = np.zeros((8, 8), dtype=np.uint8)
    left_black[:, 4:] = 200
    loaded = load_one(save(tmp_path / "halves.png", left_black), (2, 4))[..., 0]
    np.testing.assert_array_equal(loaded[0], loaded[1])
    assert loaded.shape == (2, 4)
    assert loaded[0, 0] == 0
    assert loaded[0, 3] == 200


def test_halving_weighs_four_pixels_a_side_with_a_triangle(tmp_path, pixels_of, save):
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


def test_detail_finer_than_the_new_pixels_is_averaged_and_not_aliased(tmp_path, save):
    checkerboard = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    loaded = load_one(save(tmp_path / "fine.png", checkerboard), (8, 8))
    np.testing.assert_allclose(loaded, 127.5, atol=1.5)


@pytest.mark.parametrize("size", [(5, 5), (40, 40)])
def test_resizing_draws_no_halo_around_an_edge(tmp_path, size, save):
    edge = np.full((16, 16), 50, dtype=np.uint8)
    edge[:, 7:] = 200
    loaded = load_one(save(tmp_path / "edge.png", edge), size)
    assert (loaded.min(), loaded.max()) == (50, 200)


def test_padding_keeps_the_proportions_between_black_bars(tmp_path, save):
    wide = save(tmp_path / "wide.png", np.full((4, 8), 90, dtype=np.uint8))
    tall = save(tmp_path / "tall.png", np.full((8, 4), 90, dtype=np.uint8))
    expected = np.zeros((8, 8), dtype=np.uint8)
    expected[2:6] = 90
    np.testing.assert_array_equal(load_one(wide, (8, 8), aspect="pad")[..., 0], expected)
    np.testing.assert_array_equal(load_one(tall, (8, 8), aspect="pad")[..., 0], expected.T)
    assert (load_one(wide, (8, 8)) == 90).all()


def test_padding_does_not_touch_an_image_of_the_same_proportions(tmp_path, pixels_of, save):
    colour = pixels_of(8, 6, 3)
    path = save(tmp_path / "colour.png", colour)
    np.testing.assert_array_equal(load_one(path, (8, 6), channels=3, aspect="pad"), colour)
    np.testing.assert_array_equal(
        load_one(path, (4, 3), channels=3, aspect="pad"), load_one(path, (4, 3), channels=3)
    )


def test_padding_leaves_a_line_of_the_most_oblong_image(tmp_path, save):
    path = save(tmp_path / "line.png", np.full((1, 1000), 90, dtype=np.uint8))
    assert (load_one(path, (9, 9), aspect="pad")[4] == 90).all()


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled_to_eight_bits_and_not_clipped(tmp_path, suffix, save):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    # 8 bits become 16 by repeating the byte, or by appending zeros: either way back is exact.
    for name, wide in {"repeated": levels * 257, "shifted": levels * 256}.items():
        path = save(tmp_path / f"{name}.{suffix}", wide)
        np.testing.assert_array_equal(load_one(path, (16, 16))[..., 0], levels)


def test_sixteen_bit_grey_of_either_byte_order_is_read(tmp_path, save):
    wide = np.array([[0, 256, 40000, 65535]], dtype=np.uint16)
    for name, order in {"little": "<u2", "big": ">u2"}.items():
        path = save(tmp_path / f"{name}.tiff", wide.astype(order))
        assert load_one(path, (1, 4)).ravel().tolist() == [0, 1, 156, 255]


def test_sixteen_bit_grey_and_sixteen_bit_colour_agree(tmp_path):
    wide = np.random.default_rng(0).integers(0, 65536, (8, 8), dtype=np.uint16)
    grey = sixteen_bit_png(tmp_path / "grey.png", wide, colour=False)
    colour = sixteen_bit_png(tmp_path / "colour.png", np.stack([wide] * 3, axis=-1), colour=True)
    np.testing.assert_array_equal(load_one(grey, (8, 8)), load_one(colour, (8, 8)))


def test_a_sixteen_bit_negative_is_inverted_as_an_eight_bit_one_is(tmp_path, save):
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


def test_eight_bit_colour_plane_by_plane_is_colour_pixel_by_pixel(tmp_path, pixels_of):
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


def test_black_and_white_is_0_and_255(tmp_path, save):
    bits = np.array([[True, False], [False, True]])
    assert load_one(save(tmp_path / "bits.png", bits), (2, 2)).ravel().tolist() == [255, 0, 0, 255]


def test_cmyk_becomes_the_colour_that_it_prints(tmp_path):
    Image.new("CMYK", (8, 8), color=(0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    loaded = load_one(tmp_path / "print.jpg", (8, 8), channels=3)
    np.testing.assert_allclose(loaded, np.broadcast_to([255, 0, 0], (8, 8, 3)), atol=2)


def test_opaque_pixels_keep_their_colour_and_transparent_ones_turn_black(tmp_path, pixels_of, save):
    colour = pixels_of(4, 4, 3)
    alpha = np.full((4, 4, 1), 255, dtype=np.uint8)
    alpha[:2] = 0
    path = save(tmp_path / "alpha.png", np.concatenate([colour, alpha], axis=-1))
    colour[:2] = 0
    np.testing.assert_array_equal(load_one(path, (4, 4), channels=3), colour)


@pytest.mark.parametrize("alpha", [0, 255])
def test_a_bitmap_whose_fourth_bytes_are_all_zero_is_opaque(tmp_path, pixels_of, alpha):
    colour = pixels_of(4, 4, 3)
    rows = np.dstack([colour[::-1, :, ::-1], np.full((4, 4), alpha, "uint8")])
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    size = (124, 4, 4, 1, 32, 3, 64, 0, 0, 0, 0)
    header = struct.pack("<IiiHHIIiiII", *size) + struct.pack("<4I", *masks) + b"BGRs" + bytes(64)
    path = tmp_path / "picture.bmp"
    path.write_bytes(struct.pack("<2sIII", b"BM", 202, 0, 138) + header + rows.tobytes())
    np.testing.assert_array_equal(load_one(path, (4, 4), channels=3), colour)


def test_grey_with_alpha_and_a_transparent_level_are_mixed_with_black_too(tmp_path, save):
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
def test_the_exif_orientation_turns_the_image_upright(tmp_path, suffix, save):
    upright = np.zeros((16, 8), dtype=np.uint8)
    upright[:8] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side: to be turned clockwise for viewing
    path = save(tmp_path / f"turned.{suffix}", np.rot90(upright), exif=exif)
    np.testing.assert_allclose(load_one(path, (16, 8))[..., 0], upright, atol=3)


def test_sixteen_bit_files_are_turned_upright_too(tmp_path, save):
    exif = Image.Exif()
    exif[0x0112] = 3
    wide = np.array([[256, 512, 65535]], dtype=np.uint16)
    path = save(tmp_path / "turned.png", wide, exif=exif)
    assert load_one(path, (1, 3)).ravel().tolist() == [255, 2, 1]


def test_the_preview_behind_a_camera_jpeg_is_left_alone(tmp_path):
    main, preview = Image.new("L", (8, 8), 100), Image.new("L", (4, 4), 200)
    main.save(tmp_path / "camera.jpg", format="MPO", save_all=True, append_images=[preview])
    np.testing.assert_allclose(load_one(tmp_path / "camera.jpg", (8, 8)), 100, atol=1)


@pytest.fixture
def broken_files(tmp_path, pixels_of, save):
    """Return files that cannot be read, each with what its reason must say."""
    folder = tmp_path
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


def test_every_kind_of_unreadable_file_is_reported_with_its_reason(broken_files, subtests):
    good, broken = broken_files
    loaded = images.load([*broken, good], size=(32, 32), on_error="skip")
    reasons = dict(loaded.skipped)
    assert list(reasons) == list(broken)
    for path, expected in broken.items():
        with subtests.test(path.name):
            assert any(part in reasons[path] for part in expected.split("|")), reasons[path]


@pytest.mark.parametrize("side", [12, 20])  # Pillow warns above its limit, raises above twice that
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_file_above_the_pixel_limit_is_reported_and_not_decoded(
    tmp_path, monkeypatch, side, pixels_of, save
):
    bomb = save(tmp_path / "bomb.png", pixels_of(side, side))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    reason = rf"bomb\.png: Image size \({side**2} pixels\) exceeds limit .*\.MAX_IMAGE_PIXELS"
    with pytest.raises(ValueError, match=reason):
        images.load([bomb], size=(4, 4))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    np.testing.assert_array_equal(load_one(bomb, (side, side))[..., 0], pixels_of(side, side))


def test_a_pixel_limit_that_warns_as_an_error_is_reported_as_well(
    tmp_path, monkeypatch, pixels_of, save
):
    bomb = save(tmp_path / "bomb.png", pixels_of(12, 12))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match=r"exceeds limit of 100 pixels.*\.MAX_IMAGE_PIXELS"):
        images.load([bomb], size=(4, 4))
