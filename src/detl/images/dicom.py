"""A DICOM file to 8-bit levels, by pydicom, which is an extra.

What is stored becomes what a viewer shows first: the modality's table or rescaling, then the first
table of values of interest (VOI LUT) or, without one, the first window, then inversion where white
is zero (DICOM PS3.4, N.2). All of it is computed once per stored value and looked up per pixel.
"""

from __future__ import annotations

from typing import IO, Any

import numpy as np

_PREAMBLE = 128  # bytes in front of the letters DICM
_SHOWING = ("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction")
_TABLES = ("ModalityLUTSequence", "VOILUTSequence")
# Where files of one or more frames keep what others keep in front (PS3.3, C.7.6.16).
_FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_MACROS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_CONVERTED = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")  # what pydicom makes RGB


def is_dicom(stream: IO[bytes]) -> bool:
    """Say whether a file begins as DICOM files do; names and suffixes say little."""
    start = stream.read(_PREAMBLE + 4)
    stream.seek(0)
    return start[_PREAMBLE:] == b"DICM"


def read_header(stream: IO[bytes]) -> Any:
    """Return the data set of a file, refusing what is not one image of 8 to 16 bits."""
    try:
        from pydicom import dcmread
        from pydicom.pixels import get_decoder
    except ImportError as error:
        raise ImportError(
            "DICOM files are read by pydicom 3, which is an extra: run `pip install '.[dicom]'` in "
            "the folder of detl, or `pip install 'pydicom>=3'`."
        ) from error
    dataset = dcmread(stream)
    if "PixelData" not in dataset:
        kind = "floating-point pixels" if "FloatPixelData" in dataset else "no image"
        raise ValueError(f"is a DICOM file with {kind}; expected one image of 8 to 16 bits")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise ValueError(f"holds {frames} frames; expected one image")
    if dataset.BitsAllocated not in (8, 16):
        raise ValueError(f"has {dataset.BitsAllocated}-bit pixels; expected 8 to 16 bits")
    bits = dataset.BitsStored
    highest = dataset.get("HighBit")  # which pydicom does not look at
    if highest not in (None, bits - 1):
        raise ValueError(
            f"has {bits} bits that end at bit {highest}; expected HighBit {bits - 1}, one less "
            "than BitsStored: export it anew, or correct HighBit if the pixels are not shifted"
        )
    compression = dataset.file_meta.TransferSyntaxUID
    if not get_decoder(compression).is_available:
        raise ValueError(
            f"is compressed ({compression.name}), for which pydicom needs another package: run "
            "`pip install python-gdcm`, or `pip install pylibjpeg pylibjpeg-libjpeg "
            "pylibjpeg-openjpeg`"
        )
    _settle(dataset)
    return dataset


def _settle(dataset: Any) -> None:
    """Copy rescaling and window out of the functional groups, and remove what has no value."""
    for group in _FUNCTIONAL_GROUPS:
        for macro in _MACROS:
            for found in (dataset.get(group) or [{}])[0].get(macro) or ():
                for name in _SHOWING:
                    if name in found:
                        dataset[name] = found[name]
    for name in _SHOWING:
        if name in dataset and dataset[name].is_empty:
            del dataset[name]
    for name in _TABLES:
        if dataset.get(name) and dataset[name][0]["LUTDescriptor"].is_empty:
            del dataset[name]


def to_eight_bits(dataset: Any) -> np.ndarray:
    """Return (height, width) or, of a colour image, (height, width, 3) levels as ``uint8``."""
    from pydicom.pixels import apply_color_lut, pixel_array

    kind = dataset.PhotometricInterpretation
    stored = pixel_array(dataset)
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        every_value = np.iinfo(stored.dtype)
        table = _shown(np.arange(every_value.min, every_value.max + 1), dataset)
        if kind == "MONOCHROME1":
            table = 255 - table
        return table[stored.astype(np.int32) - every_value.min]
    if kind == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)[..., :3]  # without a fourth, opacity
        return _high_byte(colours, dataset.RedPaletteColorLookupTableDescriptor[2])
    if kind in _CONVERTED:
        return _high_byte(stored, dataset.BitsStored)
    raise ValueError(
        f"has the photometric interpretation {kind!r}; expected MONOCHROME1, MONOCHROME2, "
        f"PALETTE COLOR, {', '.join(_CONVERTED)}"
    )


def _high_byte(levels: np.ndarray, bits: int) -> np.ndarray:
    """Return 8 of the bits, for 16 as for the other formats."""
    return (levels >> max(0, bits - 8)).astype(np.uint8)


def _shown(stored: np.ndarray, dataset: Any) -> np.ndarray:
    """Return the level, 0 for black to 255 for white, of each stored value."""
    values = _after_modality(stored, dataset)
    if dataset.get("VOILUTSequence"):
        shown, black, white = _looked_up(values, dataset, "VOILUTSequence")
    elif dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        shown, black, white = _windowed(values, dataset)
    else:
        black, white = _range(dataset)
        shown = values
    if not black < white and not white < black:
        raise ValueError(f"shows every value as the same grey: the range is {black} to {white}")
    # Like 16 bits of any other format, of which the high byte is taken.
    wide = np.rint((shown - black) / (white - black) * 65535).clip(0, 65535)
    return _high_byte(wide.astype(np.uint16), 16)


def _after_modality(stored: np.ndarray, dataset: Any) -> np.ndarray:
    from pydicom.pixels import apply_rescale

    if dataset.get("ModalityLUTSequence"):
        return _looked_up(stored, dataset, "ModalityLUTSequence")[0]
    return apply_rescale(stored, dataset)


def _looked_up(values: np.ndarray, dataset: Any, sequence: str) -> tuple[np.ndarray, float, float]:
    """Return the entries of a table of 8 to 16 bits, which goes on beyond its ends as it ends."""
    item = dataset[sequence][0]
    entries, first, bits = item.LUTDescriptor
    entries = entries or 2**16  # which the descriptor has no room for
    table = item.LUTData
    if isinstance(table, bytes):
        order = "<" if dataset.original_encoding[1] else ">"
        # Entries of 8 bits are in words of their own, or two in one.
        table = np.frombuffer(table, f"{order}u2" if len(table) >= 2 * entries else "u1")
    places = (np.rint(values) - first).clip(0, entries - 1).astype(np.int64)
    return np.asarray(table)[places].astype(float), 0.0, 2.0**bits - 1


def _windowed(values: np.ndarray, dataset: Any) -> tuple[np.ndarray, float, float]:
    from pydicom.pixels import apply_windowing

    with np.errstate(over="ignore"):  # a SIGMOID of what is far outside
        # What pydicom makes of values far below and above the window is its black and white.
        black, white = apply_windowing(np.array([-1e30, 1e30]), dataset).tolist()
        return apply_windowing(values, dataset), black, white


def _range(dataset: Any) -> tuple[float, float]:
    """Return the lowest and the highest value that the file could hold, after the modality."""
    if dataset.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
    signed, bits = dataset.PixelRepresentation == 1, dataset.BitsStored
    lowest = -(2 ** (bits - 1)) if signed else 0
    ends = _after_modality(np.array([lowest, lowest + 2**bits - 1]), dataset)
    return float(ends.min()), float(ends.max())
