"""The owners' tables: which file, which label, which patient. No pixel is read here.

References
----------
The NIH table: Wang et al. 2017, "ChestX-ray8". The COVID-19 column layout:
Cohen et al. 2020, "COVID-19 image data collection" (ieee8023/covid-chestxray-dataset).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
OnMissing = Literal["raise", "skip"]

NORMAL, PNEUMONIA, OTHER, COVID = "normal", "pneumonia", "other", "covid-19"
DISEASED = "diseased"

NO_FINDING = "No Finding"
DISEASES = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Effusion",
    "Emphysema",
    "Fibrosis",
    "Hernia",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pleural_Thickening",
    "Pneumonia",
    "Pneumothorax",
)

NIH_COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
# What the early edition of ieee8023/covid-chestxray-dataset calls pneumonias other than COVID-19.
PNEUMONIA_GERMS = frozenset(
    {
        "Bacterial",
        "Chlamydophila",
        "E.Coli",
        "Influenza",
        "Klebsiella",
        "Legionella",
        "Lipoid",
        "MERS",
        "MERS-CoV",
        "Pneumocystis",
        "SARS",
        "Streptococcus",
        "Varicella",
    }
)
COVID_COLUMNS = ("patientid", "finding", "view", "modality", "filename")
# A blank view is kept: some collections do not fill the column in, and lateral views say so.
FRONTAL_VIEWS = frozenset({"", "pa", "ap", "ap supine", "ap erect"})
IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True, kw_only=True)
class Records:
    """Image files with what is known of each; row i of every array is image i.

    Attributes
    ----------
    paths : ndarray of Path, shape (n,)
        Image files.
    labels : ndarray of str, shape (n,)
        Class of each image; in a table as read, its findings as the owners write them.
    patients : ndarray of str, shape (n,)
        Whose image it is, prefixed by the data set ("nih-", "covid-"): equal ids of two
        hospitals are not one patient.
    sources : ndarray of str, shape (n,)
        The collection that an image comes from.
    n_missing : int
        Images that the table names but no folder holds, left out with ``on_missing="skip"``.
    """

    paths: Array
    labels: Array
    patients: Array
    sources: Array
    n_missing: int = 0

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def take(self, which: Any, labels: Array | None = None) -> Records:
        """Return the selected rows, relabelled if ``labels`` (one per selected row) is given."""
        return Records(
            paths=self.paths[which],
            labels=self.labels[which] if labels is None else labels,
            patients=self.patients[which],
            sources=self.sources[which],
        )


def read_nih(
    table: str | Path,
    image_folders: str | Path | Sequence[str | Path],
    *,
    on_missing: OnMissing = "raise",
) -> Records:
    """Read the NIH ChestX-ray14 table (``Data_Entry_2017.csv``).

    Parameters
    ----------
    table : path
        CSV file as the NIH publishes it. Only "Image Index", "Finding Labels" and
        "Patient ID" are needed.
    image_folders : path or list of paths
        Where the images lie. They are looked up by name, then by name without ending, so that a
        table's ``00000001_000.png`` may be a ``00000001_000.jpg``. Subfolders are not searched: a
        folder of another resolution beside this one must not slip in.
    on_missing : {"raise", "skip"}
        What to do about rows whose file is in none of the folders.

    Returns
    -------
    Records
        Labels are the table's own, several of them joined by ``|``.
    """
    rows = _read_rows(Path(table), NIH_COLUMNS)
    for row in rows:
        unknown = set(row["Finding Labels"].split("|")) - {*DISEASES, NO_FINDING}
        if unknown:
            raise ValueError(
                f"{table}: image {row['Image Index']} has the unknown finding {min(unknown)!r}; "
                f"expected {NO_FINDING!r} or some of {', '.join(DISEASES)}, joined by '|'."
            )
    return _locate(
        Path(table),
        image_folders,
        names=[row["Image Index"] for row in rows],
        labels=[row["Finding Labels"] for row in rows],
        # The 2017 edition writes 1, later ones 00000001.
        patients=[row["Patient ID"].strip().lstrip("0") for row in rows],
        prefix="nih-",
        sources=["nih"] * len(rows),
        on_missing=on_missing,
    )


def read_covid(
    table: str | Path,
    image_folders: str | Path | Sequence[str | Path],
    *,
    on_missing: OnMissing = "raise",
) -> Records:
    """Read the frontal COVID-19 radiographs of a collection in the ieee8023 column layout.

    ``metadata.csv`` has the columns patientid, finding, view, modality and filename; a column
    ``source`` (the collection, where several were merged) is used if present. Kept are X-rays (no
    CT) in a frontal view whose finding is COVID-19. Folders and what is missing: as in
    :func:`read_nih`.
    """
    return _read_collection(table, image_folders, {COVID}, on_missing)


def read_controls(
    table: str | Path,
    image_folders: str | Path | Sequence[str | Path],
    *,
    on_missing: OnMissing = "raise",
) -> Records:
    """Read what a COVID-19 collection has without COVID-19: normal and other pneumonia.

    They are not in the paper. With them a network can be asked whether it knows the disease or
    the collection. Frontal X-rays are labelled "normal" (finding ``No Finding``) or "pneumonia"
    (any pneumonia or germ but COVID-19; other findings, such as ARDS alone, are left out).
    """
    return _read_collection(table, image_folders, {NORMAL, PNEUMONIA}, on_missing)


def _read_collection(
    table: str | Path,
    image_folders: str | Path | Sequence[str | Path],
    wanted: set[str],
    on_missing: OnMissing,
) -> Records:
    rows = [
        (label, row)
        for row in _read_rows(Path(table), COVID_COLUMNS)
        if (label := _collection_class(row["finding"])) in wanted and _is_frontal_radiograph(row)
    ]
    if not rows:
        raise ValueError(
            f"{table} has no frontal radiograph of {' or '.join(sorted(wanted))}; expected rows "
            "with such a finding (COVID-19 begins with 'COVID'), modality 'X-ray', view one of PA, "
            "AP, AP Supine, AP erect or blank."
        )
    return _locate(
        Path(table),
        image_folders,
        names=[row["filename"] for _, row in rows],
        labels=[label for label, _ in rows],
        patients=[row["patientid"].strip() for _, row in rows],
        prefix="covid-",
        sources=[row.get("source") or "covid" for _, row in rows],
        on_missing=on_missing,
    )


def _read_rows(table: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        # utf-8-sig: tables that went through a spreadsheet begin with a byte-order mark.
        text = table.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{table} is not in UTF-8 ({error}); save it so, in Excel as 'CSV UTF-8'."
        ) from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    found = list(reader.fieldnames or [])
    missing = [name for name in columns if name not in found]
    if missing:
        raise ValueError(
            f"{table} lacks the column(s) {', '.join(map(repr, missing))}; "
            f"found {', '.join(map(repr, found)) or 'an empty file'}."
        )
    # The NIH's header ends in a comma in some editions: its last column has no name.
    rows = [{name: value or "" for name, value in row.items() if name} for row in reader]
    if not rows:
        raise ValueError(f"{table} has a header but no rows; expected one row per image.")
    return rows


def _collection_class(finding: str) -> str | None:
    # Later editions write a path, "Pneumonia/Viral/COVID-19".
    parts = [part.strip() for part in finding.split("/")]
    if any(part.startswith("COVID") for part in parts):
        return COVID
    if parts == [NO_FINDING]:
        return NORMAL
    if parts[0].endswith("Pneumonia") or parts[0] in PNEUMONIA_GERMS:
        return PNEUMONIA
    return None


def _is_frontal_radiograph(row: dict[str, str]) -> bool:
    is_radiograph = row["modality"].strip().lower() == "x-ray"
    return is_radiograph and row["view"].strip().lower() in FRONTAL_VIEWS


def _locate(
    table: Path,
    image_folders: str | Path | Sequence[str | Path],
    *,
    names: Sequence[str],
    labels: Sequence[str],
    patients: Sequence[str],
    prefix: str,
    sources: Sequence[str],
    on_missing: OnMissing,
) -> Records:
    if on_missing not in ("raise", "skip"):
        raise ValueError(f"on_missing={on_missing!r}; expected 'raise' or 'skip'.")
    if isinstance(image_folders, str | Path):
        image_folders = [image_folders]
    folders = [Path(folder) for folder in image_folders]
    files = _files_by_name(folders)
    found = _look_up(names, files)
    # What is missing may be named twice too.
    known_as = [str(path or name) for path, name in zip(found, names, strict=True)]
    if len(set(known_as)) < len(known_as):
        twice = next(i for i, name in enumerate(known_as) if known_as.count(name) > 1)
        raise ValueError(
            f"{table} names image {names[twice]!r} more than once; expected one row each."
        )

    if "" in patients:
        raise ValueError(
            f"{table} gives no patient for image {names[patients.index('')]!r}; expected an id in "
            "every row, without which images of one patient cannot be kept together."
        )

    where = ", ".join(map(str, folders))
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if len(missing) == len(names):
        raise FileNotFoundError(
            f"None of the {len(names):,} images that {table} names is in {where}; "
            f"expected files such as {names[0]} (or with another of the endings .png .jpg .jpeg)."
        )
    if missing and on_missing == "raise":
        raise FileNotFoundError(
            f"{len(missing):,} of the {len(names):,} images that {table} names are not in {where}: "
            f"{', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''}. Complete the folder, "
            f"or leave them out with on_missing='skip'."
        )
    here = [i for i, path in enumerate(found) if path is not None]
    paths = np.empty(len(here), dtype=object)
    paths[:] = [found[i] for i in here]
    return Records(
        paths=paths,
        labels=np.array([labels[i] for i in here]),
        patients=np.array([prefix + patients[i] for i in here]),
        sources=np.array([sources[i] for i in here]),
        n_missing=len(missing),
    )


def _files_by_name(folders: Sequence[Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"Image folder {folder} does not exist or is not a folder.")
        for path in folder.iterdir():
            if path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            if path.name in files:
                raise _there_twice(files[path.name], path)
            files[path.name] = path
    return files


def _look_up(names: Sequence[str], files: dict[str, Path]) -> list[Path | None]:
    """Return the file of each name; where it has another ending, the only one of that stem."""
    by_stem: dict[str, list[Path]] = {}
    for path in files.values():
        by_stem.setdefault(path.stem, []).append(path)
    found = []
    for name in names:
        # A name without an ending may have dots.
        has_ending = Path(name).suffix.lower() in IMAGE_SUFFIXES
        alike = by_stem.get(Path(name).stem if has_ending else name, [])
        if name not in files and len(alike) > 1:
            raise _there_twice(*alike[:2])
        found.append(files.get(name) or (alike[0] if alike else None))
    return found


def _there_twice(one: Path, other: Path) -> ValueError:
    return ValueError(
        f"Image {one.stem!r} is there twice: {one} and {other}. Give folders that share no image, "
        "copies of other sizes would give classes away, or name each file in full in the table."
    )
