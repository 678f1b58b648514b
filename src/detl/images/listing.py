"""Which files are to be read: paths as given, or the files of a folder per class."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".dcm")
# What Windows and macOS leave in folders of images; they hide the rest behind a leading dot.
_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})

_logger = logging.getLogger("detl")


def list_paths(paths: Any) -> list[Path]:
    """Return the paths as a list, refusing what is none."""
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


def list_class_files(folder: Path) -> list[Path]:
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
            first_of(stray),
        )
    files, empty = [], []
    for class_folder in classes:
        members, nested = _list_folder(class_folder)
        if nested:
            names = first_of([inner.name for inner in nested])
            raise ValueError(
                f"the class folder {str(class_folder)!r} has sub-folders ({names}); expected "
                "images only. If those are the classes, pass this folder; otherwise collect the "
                "files and use load(paths)."
            )
        files += members
        if not members:
            empty.append(class_folder.name)
    if empty:
        raise ValueError(
            f"{len(empty)} of the {len(classes)} class folders in {str(folder)!r} hold no image: "
            f"{first_of(empty)}; fill or remove them."
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


def first_of(names: Sequence[str]) -> str:
    """List the first names, and say how many follow."""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
