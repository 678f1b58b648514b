"""Image files to one ``uint8`` array; what cannot be read is reported, never silently dropped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from detl.checks import check_choice, check_count
from detl.images.decoding import read_image
from detl.images.listing import list_class_files, list_paths
from detl.images.reading import attempt, in_order, open_rows
from detl.images.reports import Skipped, report_skipped, warn_if_almost_black
from detl.progress import progress_bar


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class LoadedImages:
    """Images in one array, and where each came from.

    Attributes
    ----------
    images : numpy.ndarray of shape (n, height, width, channels)
        ``uint8`` pixels in [0, 255]; with ``memory_map`` a ``numpy.memmap`` that is read only.
    labels : numpy.ndarray of str of shape (n,), or None
        Class of each image, the name of its folder; None where files were given without.
    paths : tuple of pathlib.Path
        ``paths[i]`` is the file of ``images[i]``.
    skipped : tuple of (pathlib.Path, str)
        Files that were left out, each with the reason; empty unless ``on_error="skip"``.
    """

    images: np.ndarray
    labels: np.ndarray | None
    paths: tuple[Path, ...]
    skipped: Skipped

    def __repr__(self) -> str:
        """Return counts and shapes, no pixels."""
        parts = [f"images={self.images.dtype} {self.images.shape}"]
        if self.labels is not None:
            names, counts = np.unique(self.labels, return_counts=True)
            few = dict(zip(names.tolist(), counts.tolist(), strict=True))
            parts.append(f"labels={few if len(few) <= 10 else f'{len(few)} classes'}")
        if self.skipped:
            parts.append(f"skipped={len(self.skipped)} files")
        return f"LoadedImages({', '.join(parts)})"


def load(
    paths: Iterable[str | os.PathLike[str]],
    *,
    size: tuple[int, int],
    channels: int = 1,
    aspect: str = "stretch",
    memory_map: str | os.PathLike[str] | None = None,
    on_error: str = "raise",
    verbose: int = 0,
) -> LoadedImages:
    """Read image files into one array, in the order given.

    Parameters
    ----------
    paths : iterable of str or path-like
        The files.
    size : tuple of int
        ``(height, width)`` of the array in pixels. Images are resized with a triangle filter as
        wide as the reduction (bilinear with antialiasing): it averages fine detail where plain
        bilinear aliases, and has no overshoot where Lanczos draws halos around bones and markers.
        An image that has this size already keeps its pixels.
    channels : {1, 3}, default=1
        Grey or colour (RGB).
    aspect : {"stretch", "pad"}, default="stretch"
        Where an image has other proportions than ``size``: ``"stretch"`` distorts it, as NIH
        ChestX-ray was brought to 1024 x 1024; ``"pad"`` keeps its proportions, centred between
        black bars. Mind that bars tell a network the shape of the original, and with it, often,
        the collection it comes from.
    memory_map : str or path-like, optional
        A ``.npy`` file to read into, for more images than memory holds; the result is a memory map
        of it. By default the images are in memory.

        The file is complete or not there. A run that was killed goes on where it stopped when the
        same call is made again, at most a second of it lost, and a call after a complete run
        decodes nothing. Whether files are the same is told by their paths, sizes and times of
        change, in order. An unfinished file keeps the rows in front of the first difference, and a
        warning of the logger ``"detl"`` says so; a finished one is never changed: the difference is
        an error. So are other ``size``, ``channels`` or ``aspect``. Files that could not be read
        are tried again each time.

        Beside ``images.npy`` lie ``images.npy.files``, which lists what was read, and until the end
        ``images.npy.partial``. To start anew, delete the ``.npy`` or the ``.partial``.
    on_error : {"raise", "skip"}, default="raise"
        What becomes of missing, empty, truncated and other unreadable files: ``"raise"`` reads all
        the others first, then lists every such file in one error; ``"skip"`` leaves them out, says
        so in one warning of the logger ``"detl"``, and returns them in ``skipped``.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    LoadedImages
        ``images`` of shape ``(n, height, width, channels)``; ``labels`` is None.

    Raises
    ------
    ValueError
        If files cannot be read; with ``on_error="skip"``, if none can.
        If ``memory_map`` holds other images than these, is none of ours, or is being written.
    OSError
        If ``memory_map`` is on a disk too small for it.
    ImportError
        If there are DICOM files, and pydicom, an extra, is not installed.
    TypeError
        If ``paths`` is one path instead of several, or holds something else than paths.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from detl import images
    >>> file = Path(tempfile.mkdtemp(), "grey.png")
    >>> Image.new("L", (640, 480), color=128).save(file)
    >>> loaded = images.load([file], size=(48, 64))
    >>> loaded
    LoadedImages(images=uint8 (1, 48, 64, 1))
    >>> int(loaded.images.min()), int(loaded.images.max())
    (128, 128)
    """
    read = _reader(size=size, channels=channels, aspect=aspect)
    check_choice("on_error", on_error, ("raise", "skip"))
    target = _npy_path(memory_map)
    return _load(list_paths(paths), None, read, target, on_error, verbose)


def load_folders(
    folder: str | os.PathLike[str],
    *,
    size: tuple[int, int],
    channels: int = 1,
    aspect: str = "stretch",
    memory_map: str | os.PathLike[str] | None = None,
    on_error: str = "raise",
    verbose: int = 0,
) -> LoadedImages:
    """Read a folder that has one sub-folder of images per class.

    The name of a sub-folder is the label of its images. Classes are read in the order of their
    names, and the files of a class in the order of theirs, on every machine alike.

    Every file in a sub-folder counts as an image, whatever its suffix: ``DICOMDIR`` or
    ``notes.txt`` is reported as unreadable rather than passed over. Only hidden files and folders
    (``.DS_Store``) and what operating systems leave behind (``Thumbs.db``, ``desktop.ini``,
    ``__MACOSX``) are ignored. So are files beside the sub-folders, such as a table; a warning of
    the logger ``"detl"`` says so where they are images.

    Parameters
    ----------
    folder : str or path-like
        Parent of the class folders. Folders inside a class folder are refused: for a folder per
        patient, collect the files yourself and call :func:`load`.
    size : tuple of int
        ``(height, width)`` of the array in pixels, as in :func:`load`.
    channels : {1, 3}, default=1
        Grey or colour (RGB).
    aspect : {"stretch", "pad"}, default="stretch"
        Whether images of another shape are distorted or padded, as in :func:`load`.
    memory_map : str or path-like, optional
        A ``.npy`` file to read into, as in :func:`load`.
    on_error : {"raise", "skip"}, default="raise"
        What becomes of unreadable files, as in :func:`load`.
    verbose : int, default=0
        1 shows a progress bar.

    Returns
    -------
    LoadedImages
        ``images`` of shape ``(n, height, width, channels)`` and their ``labels``.

    Raises
    ------
    ValueError
        If files cannot be read; with ``on_error="skip"``, if a class has no other. If the folder
        has no sub-folders, or one of them is empty or has sub-folders of its own. If ``memory_map``
        holds other images than these, is none of ours, or is being written.
    OSError
        If ``memory_map`` is on a disk too small for it.
    ImportError
        If there are DICOM files, and pydicom, an extra, is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from detl import images
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ["cat/tom.png", "dog/rex.png", "dog/fido.png"]:
    ...     (folder / name).parent.mkdir(exist_ok=True)
    ...     Image.new("RGB", (80, 60), color="grey").save(folder / name)
    >>> loaded = images.load_folders(folder, size=(30, 40), channels=3)
    >>> loaded.labels.tolist(), [path.name for path in loaded.paths]
    (['cat', 'dog', 'dog'], ['tom.png', 'fido.png', 'rex.png'])
    """
    read = _reader(size=size, channels=channels, aspect=aspect)
    check_choice("on_error", on_error, ("raise", "skip"))
    target = _npy_path(memory_map)
    paths = list_class_files(Path(folder))
    labels = np.array([path.parent.name for path in paths])
    return _load(paths, labels, read, target, on_error, verbose)


def _reader(*, size: Any, channels: Any, aspect: Any) -> partial[np.ndarray]:
    """Check how images are wanted, and return the function that reads one so."""
    is_pair = isinstance(size, Sequence) and len(size) == 2
    if not is_pair or not all(isinstance(n, Integral) and int(n) >= 1 for n in size):
        raise ValueError(
            f"size={size!r}; expected (height, width) in pixels, two whole numbers above 0, "
            "such as (224, 224)."
        )
    check_choice("channels", channels, (1, 3))
    check_count("channels", channels)  # 3.0 is equal to 3
    check_choice("aspect", aspect, ("stretch", "pad"))
    height, width = map(int, size)
    return partial(read_image, height=height, width=width, channels=int(channels), aspect=aspect)


def _npy_path(memory_map: Any) -> Path | None:
    if memory_map is None:
        return None
    if not isinstance(memory_map, str | os.PathLike):
        raise TypeError(
            f"memory_map is {type(memory_map).__name__} {memory_map!r}; expected the path of a "
            ".npy file."
        )
    if not str(memory_map).endswith(".npy"):
        raise ValueError(
            f"memory_map={str(memory_map)!r}; expected a file whose name ends in .npy, such as "
            "'images.npy'."
        )
    return Path(memory_map)


def _load(
    paths: list[Path],
    labels: np.ndarray | None,
    read: partial[np.ndarray],
    memory_map: Path | None,
    on_error: str,
    verbose: int,
) -> LoadedImages:
    rows = open_rows(paths, read, memory_map)
    bar = progress_bar(len(paths), verbose=verbose, description="reading", unit="image")
    with closing(rows), bar, ThreadPoolExecutor() as pool:
        bar.update(len(rows.outcomes))
        rest = paths[len(rows.outcomes) :]
        for pixels, outcome in in_order(pool, partial(attempt, read), rest):
            rows.add(pixels, outcome)
            bar.update()
        reasons = [outcome.reason for outcome in rows.outcomes]
        skipped = tuple((path, reason) for path, reason in zip(paths, reasons) if reason)
        kept = np.array([reason is None for reason in reasons])
        if skipped:
            report_skipped(skipped, kept, labels, on_error)
        warn_if_almost_black(rows.outcomes, paths)
        images = rows.finish()
    return LoadedImages(
        images=images,
        labels=None if labels is None else labels[kept],
        paths=tuple(path for path, reason in zip(paths, reasons) if reason is None),
        skipped=skipped,
    )
