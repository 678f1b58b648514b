"""A trained source network: what it is, its file, and estimators that share one."""

from __future__ import annotations

import json
import math
import operator
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Self, TypeAlias

import keras
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from detl.checks import (
    check_images,
    check_path,
)
from detl.networks import copying, graphs
from detl.networks.opening import open_model, read_member
from detl.networks.pixels import takes_bytes
from detl.networks.reading_back import Portable, lost_layer
from detl.storage.reading import check_archive
from detl.storage.seals import seal
from detl.storage.writing import write_whole

_RECORD = "detl.json"
_LARGEST_RECORD = 16 * 1024**2  # bytes; that of 100 epochs and 1,000 classes has 30 thousand


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceModel:
    """A trained source network with the names of its classes and the course of its training.

    Attributes
    ----------
    model : keras.Model
        From ``(n, height, width, channels)`` pixels in [0, 255] to ``(n, n_classes)``
        probabilities. detl never changes it.
    classes : numpy.ndarray
        Name of each output, sorted.
    history : dict of str to list of float
        ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``, one entry per epoch.
    best_epoch : int
        Index of the epoch whose weights these are: the first with the best validation accuracy.
    """

    model: keras.Model = field(repr=False)
    classes: np.ndarray
    history: dict[str, list[float]] = field(repr=False)
    best_epoch: int

    def save(self, path: str | Path) -> Path:
        """Write the model with its classes and history to one ``.keras`` file.

        Keras itself can load the file too; it then ignores the classes and the history.

        Warns
        -----
        UserWarning
            If the model has a ``Lambda`` layer that :func:`load_source` will not load.
        """
        path = check_path("path", path, of="a .keras file")
        if path.suffix != ".keras":
            raise ValueError(f"path={str(path)!r}; expected a file name that ends in .keras.")
        record = {
            "classes": self.classes.tolist(),
            "history": self.history,
            "best_epoch": self.best_epoch,
        }
        text = json.dumps(record)  # before anything is written: not every label can be
        lost = lost_layer(self.model, safe_mode=True)
        if lost is not None:
            warnings.warn(
                f"{path} will not be loaded by load_source: the code of its {type(lost).__name__} "
                f"layer {lost.name!r} is not read from files. Use a registered layer "
                "(keras.saving.register_keras_serializable) in its place.",
                UserWarning,
                stacklevel=2,
            )

        def write(file: IO[bytes]) -> None:
            self.model.save(file.name)  # Keras takes no open file
            with zipfile.ZipFile(file, "a") as archive:
                archive.writestr(_RECORD, text)
            seal(file)

        path.parent.mkdir(parents=True, exist_ok=True)
        return write_whole(path, write)

    def __sklearn_clone__(self) -> SourceModel:
        """Return itself: clones of an estimator share the pretrained weights."""
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled, refusing a model that would not come back."""
        return {**self.__dict__, "model": _portable(self.model)}


@copying.global_seed_kept()
def load_source(path: str | Path) -> SourceModel:
    """Load what :meth:`SourceModel.save` wrote.

    Nothing in the file runs: layers and functions that it names must be Keras's own, compute and do
    nothing else, or be registered (``keras.saving.register_keras_serializable``).

    Raises
    ------
    ValueError
        If the file is damaged, names a layer or function that is not allowed, or is a Keras model
        without detl's record of classes and history: ``DomainExtensionTransfer`` takes such a model
        as it is, once ``keras.saving.load_model`` has loaded it.
    OSError
        If there is no such file, or no room to unpack it: Keras does so in the temporary folder.
    """
    path = check_path("path", path, of="a .keras file")
    if not path.is_file():
        raise FileNotFoundError(f"No source model at {path}.")
    with path.open("rb") as file:
        start = file.read(4)
    if start not in (b"", b"PK\x03\x04"):  # nothing at all may be left of a file
        raise ValueError(f"{path} is not a .keras file; expected what SourceModel.save wrote.")
    parts = check_archive(path, remedy="save the source again, or use a copy of the file.")
    if _RECORD not in (part.filename for part in parts):
        raise ValueError(
            f"{path} has no record of classes and history, so SourceModel.save did not write "
            "it. Load it with keras.saving.load_model and pass that as the source."
        )
    with zipfile.ZipFile(path) as archive:
        text = read_member(archive, _RECORD, at_most=_LARGEST_RECORD)
    model = open_model(path)
    return SourceModel(model=model, **_checked_record(text, model.output_shape[-1], path))


def _checked_record(text: bytes, n_outputs: int, path: Path) -> dict[str, Any]:
    """Return the classes, history and best epoch that a file has beside its network."""
    try:
        record = json.loads(text)
        classes, history, best_epoch = (
            record[name] for name in ("classes", "history", "best_epoch")
        )
        lengths = {len(values) for values in history.values()}
        fits = len(classes) == max(2, n_outputs)  # a single unit stands for two classes
        if not fits or len(set(classes)) != len(classes):
            raise ValueError(f"{len(classes)} classes, {n_outputs} outputs of the network")
        if not all(isinstance(name, str) or math.isfinite(name) for name in classes):
            raise ValueError("names of classes that are neither text nor numbers")
        if len({type(name) for name in classes}) > 1:
            raise ValueError("names of classes of several types")
        if len(lengths) > 1 or not 0 <= operator.index(best_epoch) < max(lengths, default=1):
            raise ValueError(f"the best epoch {best_epoch} of {sorted(lengths)}")
        return {"classes": np.array(classes), "history": history, "best_epoch": best_epoch}
    except KeyError as error:
        raise ValueError(
            f"{path} has a {_RECORD} without {error}; save the source again."
        ) from None
    except (AttributeError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} has a {_RECORD} that is none of a source: {error}. Save the source again."
        ) from error


def _portable(model: keras.Model) -> Portable:
    """Return what is pickled in place of a model, refusing one that nobody could read."""
    lost = lost_layer(model, safe_mode=False)
    if lost is not None:
        raise TypeError(
            f"The {type(lost).__name__} layer {lost.name!r} of {model.name!r} cannot be pickled: "
            "Keras would not read its code back. Use a registered layer in its place "
            "(keras.saving.register_keras_serializable), or stay in one process (n_jobs=1)."
        )
    return Portable(model)


Source: TypeAlias = "SourceModel | keras.Model | str | Path"


def source_network(source: Source) -> keras.Model:
    """Return the network of a source, however it is given."""
    if isinstance(source, (str, Path)):
        source = load_source(source)
    if isinstance(source, SourceModel):
        source = source.model
    if not graphs.is_graph(source):
        raise TypeError(
            f"source is {type(source).__name__}; expected what detl.pretrain returned, the "
            "path of a saved source, or a functional or built Sequential keras.Model."
        )
    if len(source.inputs) != 1:
        raise ValueError(
            f"The source {source.name!r} has {len(source.inputs)} inputs; expected one, images."
        )
    return source


class SharesSource(BaseEstimator):
    """An estimator of images with a parameter ``source``, which its clones share.

    scikit-learn would copy the source's weights for every fold and grid point.
    """

    source: Source

    def __sklearn_clone__(self) -> Self:
        """Return an unfitted estimator of equal parameters."""
        shell = BaseEstimator.__new__(type(self))
        shell.__dict__.update(self.__dict__, source=None)
        clone = BaseEstimator.__sklearn_clone__(shell)
        clone.source = self.source
        return clone

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled, refusing networks that would not come back."""
        return {
            name: _portable(value) if isinstance(value, keras.Model) else value
            for name, value in BaseEstimator.__getstate__(self).items()
        }

    def _check_images(
        self,
        X: Any,
        network: keras.Model,
        *,
        reset: bool,
        y: Any = "no_validation",
        name: str = "X",
    ) -> np.ndarray:
        """Return images as an array, refusing what does not fit the network."""
        shape = network.inputs[0].shape[1:]
        if len(shape) == 3:
            X = check_images(X, name=name, shape=shape, any_scale=not takes_bytes(network))
            if reset:
                self.n_features_in_ = X.shape[1]
            return X
        # Not images: scikit-learn's own checks, with the messages that its users know.
        checked = validate_data(self, X, y, reset=reset, allow_nd=True)
        return checked if isinstance(y, str) and y == "no_validation" else checked[0]
