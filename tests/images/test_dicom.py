"""DICOM files are built by pydicom; what they must show is computed here, by the standard."""

import sys

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.pixels import pixel_array
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEGLossless,
    RLELossless,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from detl import images


def dicom(pixels, *, bits=None, kind="MONOCHROME2", **elements):
    """Return a data set around pixels, with further elements by keyword."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    if dataset.SamplesPerPixel > 1:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = kind
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = bits or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(dataset, name, value)
    return dataset


def save(path, dataset):
    dataset.save_as(path, enforce_file_format=True)
    return path


def levels_of(dataset, folder, *, channels=1):
    """Return the image at its own size."""
    path = save(folder / "image", dataset)  # hospitals' files often have no suffix
    size = (dataset.Rows, dataset.Columns)
    (image,) = images.load([path], size=size, channels=channels).images
    return image if channels == 3 else image[..., 0]


def reason_for(path):
    with pytest.raises(ValueError, match="1 of 1 files could not be read") as caught:
        images.load([path], size=(4, 4))
    return str(caught.value)


def ramp(bits, *, signed=False, columns=64):
    """Return values over the range of so many bits, both ends among them."""
    lowest = -(2 ** (bits - 1)) if signed else 0
    values = np.linspace(lowest, lowest + 2**bits - 1, columns * columns).round()
    wide = bits > 8
    dtype = {(0, 0): "u1", (0, 1): "i1", (1, 0): "<u2", (1, 1): "<i2"}[(wide, signed)]
    return values.astype(dtype).reshape(columns, columns)


# Without a window


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_without_a_window_the_range_of_the_stored_bits_is_0_to_255(tmp_path, bits):
    stored = ramp(bits)
    levels = levels_of(dicom(stored, bits=bits), tmp_path)
    np.testing.assert_array_equal(levels, stored >> (bits - 8))


def test_sixteen_bits_have_the_pixels_that_they_have_as_png(tmp_path):
    stored = np.random.default_rng(0).integers(0, 65536, (9, 7), dtype=np.uint16)
    Image.fromarray(stored).save(tmp_path / "image.png")
    expected = images.load([tmp_path / "image.png"], size=(9, 7)).images[0, ..., 0]
    np.testing.assert_array_equal(levels_of(dicom(stored), tmp_path), expected)


def test_signed_values_count_from_the_lowest(tmp_path):
    stored = ramp(12, signed=True)
    levels = levels_of(dicom(stored, bits=12), tmp_path)
    np.testing.assert_array_equal(levels, (stored.astype(int) + 2048) >> 4)


def test_monochrome1_is_inverted(tmp_path):
    stored = ramp(12)
    white_is_zero = levels_of(dicom(stored, bits=12, kind="MONOCHROME1"), tmp_path)
    np.testing.assert_array_equal(white_is_zero, 255 - (stored >> 4))


def test_a_modality_table_is_applied(tmp_path):
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    item = Dataset()
    item.LUTDescriptor = [256, 0, 16]
    item.LUTData = (257 * np.arange(256)[::-1]).astype("<u2").tobytes()
    item.ModalityLUTType = "US"
    levels = levels_of(dicom(stored, ModalityLUTSequence=[item]), tmp_path)
    np.testing.assert_array_equal(levels, 255 - stored)


# With one


def linear_window(values, center, width):
    """PS3.3, C.11.2.1.2.1, with 0 as black and 1 as white."""
    return ((values - (center - 0.5)) / (width - 1) + 0.5).clip(0, 1)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("kind", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("slope", [1, 2.5, -1])
def test_rescaling_then_the_window_then_inversion(tmp_path, signed, kind, slope):
    stored = ramp(12, signed=signed)
    window = {"WindowCenter": 40, "WindowWidth": 400}
    rescaling = {"RescaleSlope": slope, "RescaleIntercept": -1024 if slope > 0 else 1024}
    levels = levels_of(dicom(stored, bits=12, kind=kind, **window, **rescaling), tmp_path)
    units = stored * float(slope) + rescaling["RescaleIntercept"]
    expected = 255 * linear_window(units, 40, 400)
    if kind == "MONOCHROME1":
        expected = 255 - expected
    assert 0 < np.count_nonzero((expected > 0) & (expected < 255))
    np.testing.assert_allclose(levels, expected, atol=1)
    assert {0, 255} <= set(levels.ravel().tolist())


def test_the_first_of_several_windows_counts(tmp_path):
    stored = ramp(12)
    one = dicom(stored, bits=12, WindowCenter=1000, WindowWidth=500)
    two = dicom(stored, bits=12, WindowCenter=[1000, 3000], WindowWidth=[500, 50])
    np.testing.assert_array_equal(levels_of(two, tmp_path), levels_of(one, tmp_path))


def test_a_sigmoid_window_is_one(tmp_path):
    stored = ramp(12)
    window = {"WindowCenter": 2000, "WindowWidth": 10, "VOILUTFunction": "SIGMOID"}
    levels = levels_of(dicom(stored, bits=12, **window), tmp_path)
    exponent = (-4 * (stored.astype(float) - 2000) / 10).clip(-700, 700)
    np.testing.assert_allclose(levels, 255 / (1 + np.exp(exponent)), atol=1)


@pytest.mark.parametrize("depth", [8, 10, 16])
def test_a_table_of_values_of_interest_goes_before_a_window(tmp_path, depth):
    stored = ramp(12)
    table = (np.sqrt(np.linspace(0, 1, 3000)) * (2**depth - 1)).astype(int)
    item = Dataset()
    item.LUTDescriptor = [3000, 500, depth]
    item.LUTData = table.astype("<u2").tobytes()
    dataset = dicom(
        stored,
        bits=12,
        VOILUTSequence=[item],
        **{"WindowCenter": 1, "WindowWidth": 2, "RescaleSlope": 1, "RescaleIntercept": 0},
    )
    expected = table[(stored.astype(int) - 500).clip(0, 2999)] / (2**depth - 1) * 255
    np.testing.assert_allclose(levels_of(dataset, tmp_path), expected, atol=1)


@pytest.mark.parametrize("sequence", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize(("depth", "packed"), [(8, True), (8, False), (12, False)])
def test_a_table_of_few_bits_is_read_in_bytes_and_in_words(tmp_path, sequence, depth, packed):
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    table = (np.sqrt(np.linspace(0, 1, 256)) * (2**depth - 1)).astype(int)
    item = Dataset()
    item.LUTDescriptor = [256, 0, depth]
    item.add_new("LUTData", "OW", table.astype("u1" if packed else "<u2").tobytes())
    item.ModalityLUTType = "US"
    levels = levels_of(dicom(stored, **{sequence: [item]}), tmp_path)
    np.testing.assert_allclose(levels, table[stored] / (2**depth - 1) * 255, atol=1)


@pytest.mark.parametrize("group", ["Shared", "PerFrame"])
def test_rescaling_and_window_in_functional_groups_are_those_in_front(tmp_path, group):
    stored = ramp(12)
    rescaling = {"RescaleSlope": 2, "RescaleIntercept": -1024}
    window = {"WindowCenter": 40, "WindowWidth": 400}
    transformation, view, frame = Dataset(), Dataset(), Dataset()
    for item, values in ((transformation, rescaling), (view, window)):
        for name, value in values.items():
            setattr(item, name, value)
    frame.PixelValueTransformationSequence, frame.FrameVOILUTSequence = [transformation], [view]
    groups = {f"{group}FunctionalGroupsSequence": [frame]}
    levels = levels_of(dicom(stored, bits=12, **groups), tmp_path)
    in_front = levels_of(dicom(stored, bits=12, **rescaling, **window), tmp_path)
    np.testing.assert_array_equal(levels, in_front)
    assert len(np.unique(levels)) > 50


def test_what_is_there_without_a_value_is_as_if_it_were_not_there(tmp_path, subtests):
    stored = ramp(12)
    window = {"WindowCenter": 1000, "WindowWidth": 2000}
    expected = levels_of(dicom(stored, bits=12, **window), tmp_path)
    table = Dataset()
    table.add_new("LUTDescriptor", "US", None)
    table.add_new("LUTData", "OW", None)
    for empty in (
        {"RescaleSlope": None, "RescaleIntercept": None},
        {"VOILUTFunction": ""},
        {"VOILUTSequence": [table]},
        {"ModalityLUTSequence": [table]},
    ):
        with subtests.test(str(list(empty))):
            levels = levels_of(dicom(stored, bits=12, **window, **empty), tmp_path)
            np.testing.assert_array_equal(levels, expected)
    unset = dicom(stored, bits=12, WindowCenter=None, WindowWidth=None)
    np.testing.assert_array_equal(levels_of(unset, tmp_path), stored >> 4)


# Colour


def test_colour_stays_colour_and_becomes_luminance_in_one_channel(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    dataset = dicom(colour, kind="RGB")
    np.testing.assert_array_equal(levels_of(dataset, tmp_path, channels=3), colour)
    grey = levels_of(dataset, tmp_path)
    np.testing.assert_allclose(grey, colour @ [0.299, 0.587, 0.114], atol=0.51)


def test_brightness_and_colour_differences_become_colour(tmp_path):
    colour = np.full((4, 4, 3), (200, 100, 50), dtype=np.uint8)
    stored = np.asarray(Image.fromarray(colour).convert("YCbCr"))
    levels = levels_of(dicom(stored, kind="YBR_FULL"), tmp_path, channels=3)
    np.testing.assert_allclose(levels, colour, atol=2)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_palette_is_resolved(tmp_path, depth):
    colours = np.array([[250, 10, 0], [0, 20, 250]])
    dataset = dicom(np.array([[0, 1]], dtype=np.uint8), kind="PALETTE COLOR")
    for name, entries in zip(("Red", "Green", "Blue"), colours.T):
        wide = entries.astype("u1") if depth == 8 else (entries * 257).astype("<u2")
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [2, 0, depth])
        setattr(dataset, f"{name}PaletteColorLookupTableData", wide.tobytes())
    np.testing.assert_array_equal(levels_of(dataset, tmp_path, channels=3), [colours])


# Compressed


def test_a_compressed_file_has_the_pixels_of_the_plain_one(tmp_path):
    stored = ramp(12)
    plain = levels_of(dicom(stored, bits=12), tmp_path)
    compressed = dicom(stored, bits=12)
    compressed.compress(RLELossless)
    np.testing.assert_array_equal(levels_of(compressed, tmp_path), plain)


def test_a_jpeg_within_is_decoded(tmp_path):
    path = get_testdata_file("SC_rgb_jpeg_dcmtk.dcm")
    expected = pixel_array(path)
    loaded = images.load([path], size=expected.shape[:2], channels=3)
    np.testing.assert_array_equal(loaded.images[0], expected)


def test_a_compression_that_nothing_here_undoes_says_what_to_install(tmp_path):
    dataset = dicom(ramp(12), bits=12)
    dataset.compress(RLELossless)
    dataset.file_meta.TransferSyntaxUID = JPEGLossless
    path = save(tmp_path / "image.dcm", dataset)
    if pydicom.pixels.get_decoder(JPEGLossless).is_available:
        pytest.skip("this environment decompresses JPEG Lossless")
    message = reason_for(path)
    assert "is compressed (JPEG Lossless" in message
    assert "`pip install python-gdcm`, or `pip install pylibjpeg" in message


# What is refused


def test_without_pydicom_the_extra_is_named_even_when_files_are_skipped(tmp_path, monkeypatch):
    path = save(tmp_path / "image.dcm", dicom(ramp(8)))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImportError, match=r"extra: run `pip install '\.\[dicom\]'`.*or `pip"):
        images.load([path], size=(4, 4), on_error="skip")


def test_files_without_one_image_are_reported(tmp_path, subtests):
    several = dicom(ramp(8))
    several.NumberOfFrames, several.Rows = 2, 32
    none = dicom(ramp(8))
    del none.PixelData
    floats = dicom(ramp(8))
    del floats.PixelData
    floats.FloatPixelData = bytes(4 * 64 * 64)
    wide = dicom(ramp(8).astype("<u4"))
    high = dicom(ramp(12) << 4, bits=12, HighBit=15)
    unknown = dicom(np.zeros((4, 4, 3), np.uint8), kind="HSV")
    flat = dicom(ramp(8), RescaleSlope=0, RescaleIntercept=7)
    narrow = dicom(ramp(8), WindowCenter=5, WindowWidth=0)
    cases = [
        (several, "holds 2 frames; expected one image"),
        (none, "is a DICOM file with no image"),
        (floats, "is a DICOM file with floating-point pixels"),
        (wide, "has 32-bit pixels; expected 8 to 16 bits"),
        (high, "has 12 bits that end at bit 15; expected HighBit 11, one less than BitsStored"),
        (unknown, "has the photometric interpretation 'HSV'; expected MONOCHROME1"),
        (flat, "shows every value as the same grey: the range is 7.0 to 7.0"),
        (narrow, "Window Width must be greater"),
    ]
    for dataset, message in cases:
        with subtests.test(message):
            assert message in reason_for(save(tmp_path / "image.dcm", dataset))


@pytest.mark.filterwarnings("ignore:End of file reached:UserWarning")
def test_a_truncated_file_is_reported(tmp_path):
    path = save(tmp_path / "image.dcm", dicom(ramp(12), bits=12))
    path.write_bytes(path.read_bytes()[:-1000])
    assert "image.dcm: " in reason_for(path)


def test_the_pixel_limit_holds_for_dicom_too(tmp_path, monkeypatch):
    path = save(tmp_path / "image.dcm", dicom(ramp(8)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64 - 1)
    assert "exceeds limit of 4095 pixels" in reason_for(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 64)
    assert len(images.load([path], size=(4, 4)).images) == 1


def test_dicom_is_resized_and_mixed_with_other_files(tmp_path):
    path = save(tmp_path / "a.dcm", dicom(np.full((6, 8), 90, np.uint8)))
    Image.new("L", (5, 5), 40).save(tmp_path / "b.png")
    loaded = images.load([path, tmp_path / "b.png"], size=(4, 4), aspect="pad")
    assert loaded.images[1].tolist() == np.full((4, 4, 1), 40).tolist()
    assert loaded.images[0, :3, :, 0].tolist() == np.full((3, 4), 90).tolist()
    assert not loaded.images[0, 3].any()  # black
