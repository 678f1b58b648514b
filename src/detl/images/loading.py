"""Image files to one ``uint8`` array; what cannot be read is reported, never silently dropped."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from detl.checks import check_choice, check_count
from detl.images.decoding import read_image, reason_of
from detl.images.memory_map import FinishedImages, Outcome, PartialImages, open_images
from detl.progress import progress_bar

Skipped = tuple[tuple[Path, str], ...]
_Result = TypeVar("_Result")

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".dcm")
# What Windows and macOS leave in folders of images; they hide the rest behind a leading dot.
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
_REASONS_SHOWN = 20
_READ_AHEAD = 64  # images that wait for their turn
_ALMOST_BLACK = 16  # 12-bit values in a 16-bit file end below 4096 / 256

_logger = logging.getLogger("detl")


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
    return _load(_list_paths(paths), None, read, target, on_error, verbose)


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
    paths = _list_class_files(Path(folder))
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


def _list_paths(paths: Any) -> list[Path]:
    if isinstance(paths, str | bytes | os.PathLike):
        raise TypeError(
            f"paths={paths!r} is one path; expected several: load([path], ...) for one file, "
            "load_folders(folder, ...) for a folder with a sub-folder per class."
        )
    if not isinstance(paths, Iterable):
        raise TypeError(f"paths is {type(paths).__name__} {paths!r}; expected a list of paths.")
    paths = list(paths)
    if not paths:
        raise ValueError("paths is empty; expected at least one file. Did a pattern match nothing?")
    for row, path in enumerate(paths):
        if not isinstance(path, str | os.PathLike):
            raise TypeError(
                f"paths[{row}] is {type(path).__name__} {path!r}; expected a str or pathlib.Path."
            )
    return [Path(path) for path in paths]


def _list_class_files(folder: Path) -> list[Path]:
    """Return the files of every class folder, sorted by class, then by name."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise ValueError(f"folder={str(folder)!r} {what}; expected a folder with one per class.")
    beside, classes = _list_folder(folder)
    if not classes:
        raise ValueError(
            f"folder={str(folder)!r} has no sub-folders, and {len(beside)} files; expected one "
            "sub-folder per class. For files without classes use load(paths, ...)."
        )
    stray = [file.name for file in beside if file.suffix.lower() in _SUFFIXES]
    if stray:
        _logger.warning(
            "%d images beside the class folders of %s belong to no class and are not read: %s.",
            len(stray),
            folder,
            _some(stray),
        )
    files, empty = [], []
    for class_folder in classes:
        members, nested = _list_folder(class_folder)
        if nested:
            raise ValueError(
                f"the class folder {str(class_folder)!r} has sub-folders "
                f"({_some([inner.name for inner in nested])}); expected images only. If those are "
                "the classes, pass this folder; otherwise collect the files and use load(paths)."
            )
        files += members
        if not members:
            empty.append(class_folder.name)
    if empty:
        raise ValueError(
            f"{len(empty)} of the {len(classes)} class folders in {str(folder)!r} hold no image: "
            f"{_some(empty)}; fill or remove them."
        )
    return files


def _list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return files and sub-folders, each sorted by name, without what is hidden or litter."""
    entries = [
        entry
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if not entry.name.startswith(".") and entry.name.lower() not in _LITTER
    ]
    # A broken link is no folder, hence a file: one to be reported.
    files = [entry for entry in entries if not entry.is_dir()]
    return files, [entry for entry in entries if entry.is_dir()]


def _some(names: Sequence[str]) -> str:
    """List the first names, and say how many follow."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _load(
    paths: list[Path],
    labels: np.ndarray | None,
    read: partial[np.ndarray],
    memory_map: Path | None,
    on_error: str,
    verbose: int,
) -> LoadedImages:
    rows = _open_rows(paths, read, memory_map)
    bar = progress_bar(len(paths), verbose=verbose, description="reading", unit="image")
    with closing(rows), bar, ThreadPoolExecutor() as pool:
        bar.update(len(rows.outcomes))
        rest = paths[len(rows.outcomes) :]
        for pixels, outcome in _in_order(pool, partial(_attempt, read), rest):
            rows.add(pixels, outcome)
            bar.update()
        reasons = [outcome.reason for outcome in rows.outcomes]
        skipped = tuple((path, reason) for path, reason in zip(paths, reasons) if reason)
        kept = np.array([reason is None for reason in reasons])
        if skipped:
            _report(skipped, kept, labels, on_error)
        _warn_if_almost_black(rows.outcomes, paths)
        images = rows.finish()
    return LoadedImages(
        images=images,
        labels=None if labels is None else labels[kept],
        paths=tuple(path for path, reason in zip(paths, reasons) if reason is None),
        skipped=skipped,
    )


def _open_rows(
    paths: list[Path], read: partial[np.ndarray], memory_map: Path | None
) -> _Array | FinishedImages | PartialImages:
    """Return where rows go, in memory or in a file, with what is there already."""
    settings = read.keywords
    shape = (settings["height"], settings["width"], settings["channels"])
    if memory_map is None:
        return _Array(len(paths), shape)

    def is_readable(path: Path) -> bool:
        return _attempt(read, path)[1].reason is None

    return open_images(memory_map, paths, shape=shape, settings=settings, is_readable=is_readable)


class _Array:
    """Rows of an array in memory, of which the last stay unused where files are left out."""

    def __init__(self, n_rows: int, shape: tuple[int, ...]) -> None:
        self.outcomes: list[Outcome] = []
        self._images = np.empty((n_rows, *shape), dtype=np.uint8)
        self._n_rows = 0

    def add(self, pixels: np.ndarray | None, outcome: Outcome) -> None:
        if pixels is not None:
            self._images[self._n_rows] = pixels
            self._n_rows += 1
        self.outcomes.append(outcome)

    def finish(self) -> np.ndarray:
        return self._images[: self._n_rows]

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _attempt(read: Callable[[Path], np.ndarray], path: Path) -> tuple[np.ndarray | None, Outcome]:
    try:
        pixels = read(path)
    except ImportError:  # a package is missing, and no file is broken
        raise
    except Exception as error:  # on a broken file, decoders raise nearly anything
        return None, Outcome(reason=reason_of(error))
    return pixels, Outcome(brightest=int(pixels.max()))


def _in_order(
    pool: Executor, function: Callable[[Path], _Result], paths: Iterable[Path]
) -> Iterator[_Result]:
    """Yield what the function returns, calling it ahead for a few paths, not for all."""
    waiting: deque[Future[_Result]] = deque()
    for path in paths:
        waiting.append(pool.submit(function, path))
        if len(waiting) == _READ_AHEAD:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _report(skipped: Skipped, kept: np.ndarray, labels: np.ndarray | None, on_error: str) -> None:
    """Raise what is an error, and log what is skipped."""
    lines = [f"  {path}: {reason}" for path, reason in skipped[:_REASONS_SHOWN]]
    if len(skipped) > _REASONS_SHOWN:
        lines.append(f"  ... and {len(skipped) - _REASONS_SHOWN} more")
    table = "\n".join(lines)
    found = f"{len(skipped)} of {len(kept)} files could not be read"
    if not kept.any():
        raise ValueError(f"{found}, so that no image is left; check the paths:\n{table}")
    if on_error == "raise":
        raise ValueError(
            f'{found}; repair or remove them, or pass on_error="skip", which leaves them out and '
            f"returns them in .skipped:\n{table}"
        )
    lost = [] if labels is None else sorted(set(labels.tolist()) - set(labels[kept].tolist()))
    if lost:
        raise ValueError(
            f"{found}, so that no image is left of class {_some(lost)}; repair the files, or "
            f"remove the class folder:\n{table}"
        )
    _logger.warning("%s and are left out:\n%s", found, table)


def _warn_if_almost_black(outcomes: Sequence[Outcome], paths: list[Path]) -> None:
    levels = [(outcome.brightest, path) for outcome, path in zip(outcomes, paths)]
    dark = [path for level, path in levels if level is not None and level < _ALMOST_BLACK]
    if dark:
        _logger.warning(
            "%d of %d images are almost black, no pixel above %d of 255, the first %s. 16-bit "
            "files that hold 12-bit values look so: scale them to 0..65535 first.",
            len(dark),
            sum(level is not None for level, _ in levels),
            _ALMOST_BLACK - 1,
            dark[0],
        )
