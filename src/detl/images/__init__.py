"""Image files to one ``uint8`` array, and arrays to another size.

What cannot be read is reported, never silently dropped. Files are PNG, JPEG, BMP, TIFF, GIF, WebP
or DICOM, of any size. What a file may hold, and what becomes of it:

- Colour becomes luminance (ITU-R 601, ``0.299 R + 0.587 G + 0.114 B``) where one channel is wanted;
  grey is repeated where three are. Palettes and CMYK are resolved; colour profiles are ignored.
- 16 bits a channel become 8 by their high byte, whatever range the file makes use of; so do the 12
  of a 12-bit TIFF. 32-bit and signed pixels, of unknown range, are reported. So is 16-bit colour in
  an uncompressed TIFF that holds it plane by plane, which Pillow cannot read.
- Transparent pixels are mixed with black, so that colours hidden beneath them stay hidden.
- The EXIF orientation is applied: a picture stands as its viewer shows it.
- A file of several pages or frames is reported.
- DICOM, known by its content, becomes what a viewer shows first: the modality's table or rescaling,
  then the first VOI LUT or else the first window, then ``MONOCHROME1`` inverted. Without a window,
  the full range of the stored bits is 0..255. Overlays, padding values and orientation are not
  looked at. pydicom reads it, an extra: ``pip install '.[dicom]'``.

Pillow's switches hold: ``PIL.Image.MAX_IMAGE_PIXELS``, above which a file is reported instead of
read, and ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES``, under which truncated files are filled up.
"""

from detl.images.loading import LoadedImages, load, load_folders
from detl.images.resizing import resize

__all__ = [
    "LoadedImages",
    "load",
    "load_folders",
    "resize",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
