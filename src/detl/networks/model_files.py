"""A network and the record of what it is, in one ``.keras`` file that Keras reads too."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import keras

from detl.checks import check_path
from detl.networks.opening import read_member
from detl.networks.reading_back import lost_layer
from detl.storage.reading import check_archive
from detl.storage.seals import seal
from detl.storage.writing import write_whole

_RECORD = "detl.json"
_LARGEST_RECORD = 16 * 1024**2  # bytes; that of 100 epochs and 1,000 classes has 30 thousand


def write_model(path: str | Path, model: keras.Model, record: dict[str, Any]) -> Path:
    """Write a model, and a record beside it, to one ``.keras`` file.

    Warns
    -----
    UserWarning
        If the model has a ``Lambda`` layer that will not be read back.
    """
    path = check_path("path", path, of="a .keras file")
    if path.suffix != ".keras":
        raise ValueError(f"path={str(path)!r}; expected a file name that ends in .keras.")
    text = json.dumps(record)  # before anything is written: not every label can be
    if len(text) > _LARGEST_RECORD:
        raise ValueError(
            f"The record beside the network has {len(text):,} bytes; {_LARGEST_RECORD:,} can be "
            "read back. Save the network alone, with its own save."
        )
    lost = lost_layer(model, safe_mode=True)
    if lost is not None:
        warnings.warn(
            f"{path} will not be loaded by detl: the code of its {type(lost).__name__} layer "
            f"{lost.name!r} is not read from files. Use a registered layer "
            "(keras.saving.register_keras_serializable) in its place.",
            UserWarning,
            stacklevel=3,
        )

    def write(file: IO[bytes]) -> None:
        model.save(file.name)  # Keras takes no open file
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(_RECORD, text)
        seal(file)

    path.parent.mkdir(parents=True, exist_ok=True)
    return write_whole(path, write)


def read_record(path: str | Path) -> dict[str, Any]:
    """Return the record of a file that matches its checksum; of its content, ``kind`` is checked.

    That is ``"source"`` or ``"transfer"``. Files of before are of sources, and do not say so.
    """
    path = check_path("path", path, of="a .keras file")
    if not path.is_file():
        raise FileNotFoundError(f"No model at {path}.")
    with path.open("rb") as file:
        start = file.read(4)
    if start not in (b"", b"PK\x03\x04"):  # nothing at all may be left of a file
        raise ValueError(
            f"{path} is not a .keras file; expected what SourceModel.save or "
            "DomainExtensionTransfer.save wrote."
        )
    parts = check_archive(path, remedy="save the model again, or use a copy of the file.")
    if _RECORD not in (part.filename for part in parts):
        raise ValueError(
            f"{path} has no record of classes and history, so detl did not write it. Load it with "
            "keras.saving.load_model and pass that as the source."
        )
    with zipfile.ZipFile(path) as archive:
        text = read_member(archive, _RECORD, at_most=_LARGEST_RECORD)
    with checking_record(path, kind="model"):
        record = {"kind": "source", **json.loads(text)}
        if record["kind"] not in ("source", "transfer"):
            raise ValueError(f"its kind is {record['kind']!r}, which this version does not know")
    return record


@contextlib.contextmanager
def checking_record(path: str | Path, *, kind: str) -> Iterator[None]:
    """Name the file of a record that lacks an entry, or does not fit its network."""
    try:
        yield
    except KeyError as error:
        raise ValueError(
            f"{path} has a {_RECORD} without {error}; save the {kind} again."
        ) from None
    except (
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path} has a {_RECORD} that is none of a {kind}: {error}. Save the {kind} again."
        ) from error


def check_class_names(classes: Sequence[Any], n_outputs: int) -> None:
    """Refuse what cannot be the names of a network's outputs: text, or finite numbers."""
    if len(classes) != n_outputs or len(set(classes)) != len(classes):
        raise ValueError(f"{len(classes)} classes, {n_outputs} outputs of the network")
    if not all(isinstance(name, str) or math.isfinite(name) for name in classes):
        raise ValueError("names of classes that are neither text nor numbers")
