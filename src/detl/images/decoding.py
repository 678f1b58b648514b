"""One image file to pixels of the wanted size; what files may hold is told in ``images``."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from detl.images import dicom

# Pillow's other decoders stay closed: a stray EPS file would start Ghostscript.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
# Tags of TIFF, and their values that matter.
_BITS = 258
_COMPRESSION, _UNCOMPRESSED = 259, 1
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_PLANES, _SEPARATE = 284, 2
_SAMPLES, _UNSIGNED = 339, 1


def read_image(path: Path, *, height: int, width: int, channels: int, aspect: str) -> np.ndarray:
    """Return the (height, width, channels) ``uint8`` pixels of a file.

    On a broken file, decoders raise nearly anything.
    """
    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    # A stream: by name, Pillow maps uncompressed TIFF, and garbles those that lie on their side.
    with path.open("rb") as stream:
        picture = (_from_dicom if dicom.is_dicom(stream) else _from_pillow)(stream)
    if channels == 1 and picture.mode != "L":
        picture = picture.convert("L")
    fit = _pad if aspect == "pad" else _stretch
    pixels = np.asarray(fit(picture, height, width)).reshape(height, width, -1)
    return np.broadcast_to(pixels, (height, width, channels))  # grey three times, where wanted


def reason_of(error: Exception) -> str:
    """Say in a few words why a file cannot be read."""
    if isinstance(error, UnidentifiedImageError):
        return f"not an image that can be read; expected {', '.join(_FORMATS)} or DICOM"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return f"{error} Raise PIL.Image.MAX_IMAGE_PIXELS if you trust the file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the number and, once more, the path
    return str(error) or type(error).__name__


def _from_dicom(stream: IO[bytes]) -> Image.Image:
    dataset = dicom.read_header(stream)
    _check_pixels(int(dataset.Columns) * int(dataset.Rows))
    return Image.fromarray(dicom.to_eight_bits(dataset))


def _from_pillow(stream: IO[bytes]) -> Image.Image:
    with Image.open(stream, formats=_FORMATS) as file:
        _check_pixels(file.width * file.height)
        # An MPO is a JPEG of a camera with a preview or a gain map behind it.
        if getattr(file, "is_animated", False) and file.format != "MPO":
            pages = getattr(file, "n_frames", "several")
            raise ValueError(f"holds {pages} pages or frames; expected one image")
        if file.format == "TIFF":
            _check_tiff(file)
        _shorten_transparency(file)
        # No file.draft: it halves the time of large JPEGs, but then the same picture has other
        # pixels as JPEG than as PNG, by which a network can tell two collections apart.
        ImageOps.exif_transpose(file, in_place=True)
        return _to_eight_bits(file)


def _check_pixels(pixels: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        # Up to twice the limit Pillow only warns, and would decode.
        raise Image.DecompressionBombError(
            f"Image size ({pixels} pixels) exceeds limit of {limit} pixels."
        )


def _check_tiff(file: Any) -> None:
    bits = _bits_of_tiff(file)
    if file.mode in ("F", "I") and bits == 32:
        raise ValueError(
            "has 32-bit pixels, whose range is not known; save it with 8 or 16 bits a channel"
        )
    if file.tag_v2.get(_SAMPLES, (_UNSIGNED,))[0] != _UNSIGNED:
        raise ValueError(
            f"has signed {bits}-bit pixels, whose black is not known; save it with unsigned ones, "
            "of 8 or 16 bits"
        )
    is_planar = file.tag_v2.get(_PLANES) == _SEPARATE
    is_uncompressed = file.tag_v2.get(_COMPRESSION, _UNCOMPRESSED) == _UNCOMPRESSED
    # Pillow takes their bytes for pixels; compressed ones it leaves to libtiff, which does not.
    if is_planar and is_uncompressed and bits > 8:
        raise ValueError(
            f"has {bits}-bit colours plane by plane, uncompressed, which would be read wrongly; "
            "save it pixel by pixel (PlanarConfiguration 1)"
        )


def _bits_of_tiff(file: Any) -> int:
    return int(file.tag_v2.get(_BITS, (1,))[0])


def _shorten_transparency(file: ImageFile.ImageFile) -> None:
    """Give the transparent colour of a PNG 8 bits, where Pillow gives the pixels 8 of 16."""
    key = file.info.get("transparency")
    if file.format == "PNG" and isinstance(key, tuple) and file.tile[0][3] == "RGB;16B":
        file.info["transparency"] = tuple(level >> 8 for level in key)


def _to_eight_bits(file: ImageFile.ImageFile) -> Image.Image:
    """Return an opaque picture of mode "L" or "RGB"."""
    if file.mode.startswith("I"):  # "I;16" and its byte orders; of a PNG, Pillow < 11 makes an "I"
        # convert("L") would clip at 255. The high byte is also what Pillow takes of 16-bit colour.
        wide = np.asarray(file)
        bits = _bits_of_tiff(file) if file.format == "TIFF" else 16
        levels = (wide >> bits - 8).astype(np.uint8)
        if "transparency" in file.info:
            levels[wide == file.info["transparency"]] = 0
        if file.format == "TIFF" and file.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            levels = 255 - levels  # Pillow does so for 8 bits, not for 16
        return Image.fromarray(levels)
    if file.format == "BMP" and file.mode == "RGBA" and not file.getchannel("A").getextrema()[1]:
        return file.convert("RGB")  # programs leave the fourth byte at 0, and no viewer looks at it
    if file.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in file.info:
        black = Image.new("RGBA", file.size, color="black")
        return Image.alpha_composite(black, file.convert("RGBA")).convert("RGB")
    if file.mode in ("L", "RGB"):
        file.load()  # convert would copy, which takes half as long as resizing
        return file
    return file.convert("L" if file.mode == "1" else "RGB")


def _stretch(picture: Image.Image, height: int, width: int) -> Image.Image:
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _pad(picture: Image.Image, height: int, width: int) -> Image.Image:
    scale = min(height / picture.height, width / picture.width)
    inner_height = max(1, round(picture.height * scale))
    inner_width = max(1, round(picture.width * scale))
    canvas = Image.new(picture.mode, (width, height))
    inner = _stretch(picture, inner_height, inner_width)
    canvas.paste(inner, ((width - inner_width) // 2, (height - inner_height) // 2))
    return canvas
