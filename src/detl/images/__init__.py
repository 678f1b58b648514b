"""Image files to one ``uint8`` array; what cannot be read is reported, never silently dropped.

Files are PNG, JPEG, BMP, TIFF, GIF, WebP or DICOM, of any size. What a file may hold, and what
becomes of it:

- Colour becomes luminance (ITU-R 601, ``0.299 R + 0.587 G + 0.114 B``) where one channel is wanted;
  grey is repeated where three are. Palettes and CMYK are resolved; colour profiles are ignored.
- 16 bits a channel become 8 by their high byte: 0..65535 is 0..255 in every file alike, whatever
  range the file makes use of; so do the 12 of a 12-bit TIFF, 0..4095. 32-bit pixels have no range
  to go by, nor signed ones a black: they are reported. So is 16-bit colour in an uncompressed TIFF
  that holds it plane by plane, which Pillow cannot read.
- Transparent pixels are mixed with black, so that colours hidden beneath them stay hidden.
- The EXIF orientation is applied: a picture stands as its viewer shows it.
- A file of several pages or frames is reported: which of them is meant is not for a loader to say.
- DICOM, known by its content, becomes what a viewer shows first: the modality's table or rescaling,
  then the first VOI LUT or else the first window, then ``MONOCHROME1`` inverted. Without a window,
  the full range of the stored bits is 0..255, of 12 bits 0..4095. Overlays, padding values and
  orientation are not looked at. pydicom reads it, an extra: ``pip install '.[dicom]'``.

Pillow decodes the others, and its switches hold: ``PIL.Image.MAX_IMAGE_PIXELS``, above which a file
is reported instead of read (DICOM too), and ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES``, under which
Pillow fills up truncated files instead of refusing them.
"""

from detl.images.loading import LoadedImages, load, load_folders

__all__ = [
    "LoadedImages",
    "load",
    "load_folders",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
