"""Image files to one ``uint8`` array; what cannot be read is reported, never silently dropped."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detl.checks import check_choice, check_count, check_path, check_size
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
    verbose: int = 1,
) -> LoadedImages:
    """Read image files into one array, in the order given.

    Parameters
    ----------
    paths : iterable of str or path-like
        The files.
    size : tuple of int
        ``(height, width)`` of the array in pixels. Images of another size are resized with a
        triangle filter as wide as the reduction (bilinear with antialiasing), which neither aliases
        nor draws halos around bones and markers.
    channels : {1, 3}, default=1
        Grey or colour (RGB).
    aspect : {"stretch", "pad"}, default="stretch"
        Where an image has other proportions than ``size``: ``"stretch"`` distorts it, as NIH
        ChestX-ray was brought to 1024 x 1024; ``"pad"`` centres it between black bars. Bars tell a
        network the shape of the original, and with it, often, its collection.
    memory_map : str or path-like, optional
        A ``.npy`` file to read into, for more images than memory holds; the result is a memory map
        of it. The same call after a run that was killed goes on where that stopped, and after a
        complete run decodes nothing. A complete file of other paths, sizes or times of change, or
        of another ``size``, ``channels`` or ``aspect``, is an error; an unfinished one keeps the
        rows in front of the first difference. To start anew, delete the ``.npy`` or ``.partial``.
    on_error : {"raise", "skip"}, default="raise"
        What becomes of missing, empty, truncated and other unreadable files: ``"raise"`` lists all
        of them in one error; ``"skip"`` leaves them out, says so in one warning of the logger
        ``"detl"``, and returns them in ``skipped``.
    verbose : int, default=1
        1 shows a progress bar.

    Returns
    -------
    LoadedImages
        ``images`` of shape ``(n, height, width, channels)``; ``labels`` is None.

    Raises
    ------
    ValueError
        If files cannot be read; with ``on_error="skip"``, if none can. If ``memory_map`` holds
        other images than these, is none of ours, or is being written.
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
    >>> file = Path(tempfile.mkdtemp(), "grey.png")
    >>> Image.new("L", (640, 480), color=128).save(file)
    >>> images.load([file], size=(48, 64))
    LoadedImages(images=uint8 (1, 48, 64, 1))
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
    verbose: int = 1,
) -> LoadedImages:
    """Read a folder that has one sub-folder of images per class.

    The name of a sub-folder is the label of its images. Classes and their files are read in the
    order of their names. All other parameters are those of :func:`load`.

    Every file in a sub-folder counts as an image: ``notes.txt`` is reported as unreadable. Only
    hidden files and folders and what operating systems leave behind (``Thumbs.db``,
    ``desktop.ini``, ``__MACOSX``) are ignored. So are files beside the sub-folders, such as a
    table; a warning of the logger ``"detl"`` says so where they are images.

    Parameters
    ----------
    folder : str or path-like
        Parent of the class folders. Folders inside a class folder are refused: for a folder per
        patient, collect the files yourself and call :func:`load`.

    Returns
    -------
    LoadedImages
        ``images`` of shape ``(n, height, width, channels)`` and their ``labels``.

    Raises
    ------
    ValueError
        As :func:`load` does; with ``on_error="skip"``, if a class loses its last image. If there
        are no sub-folders, or one of them is empty or has sub-folders of its own.

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
    paths = list_class_files(check_path("folder", folder, of="a folder with one per class"))
    labels = np.array([path.parent.name for path in paths])
    return _load(paths, labels, read, target, on_error, verbose)


def _reader(*, size: Any, channels: Any, aspect: Any) -> partial[np.ndarray]:
    """Check how images are wanted, and return the function that reads one so."""
    height, width = check_size("size", size)
    check_choice("channels", channels, (1, 3))
    check_count("channels", channels)  # 3.0 is equal to 3
    check_choice("aspect", aspect, ("stretch", "pad"))
    return partial(read_image, height=height, width=width, channels=int(channels), aspect=aspect)


def _npy_path(memory_map: Any) -> Path | None:
    if memory_map is None:
        return None
    path = check_path("memory_map", memory_map, of="a .npy file")
    if not str(memory_map).endswith(".npy"):
        raise ValueError(
            f"memory_map={str(memory_map)!r}; expected a file whose name ends in .npy, such as "
            "'images.npy'."
        )
    return path


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
