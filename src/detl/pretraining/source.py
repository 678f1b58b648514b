"""A trained source network: what it is, its file, and estimators that share one."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import keras
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from detl.checks import check_images
from detl.networks import copying, graphs
from detl.networks.model_files import (
    check_class_names,
    checking_record,
    read_record,
    write_model,
)
from detl.networks.opening import open_model
from detl.networks.pixels import takes_bytes
from detl.networks.reading_back import Portable, lost_layer


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
        record = {
            "kind": "source",
            "classes": self.classes.tolist(),
            "history": self.history,
            "best_epoch": self.best_epoch,
        }
        return write_model(path, self.model, record)

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
    record = read_record(path)
    if record["kind"] != "source":
        raise ValueError(
            f"{path} is a fitted transfer, not a source: detl.load reads it, and "
            "DomainExtensionTransfer(detl.load(path).model_) extends it further."
        )
    return source_from(record, path)


def source_from(record: dict[str, Any], path: str | Path) -> SourceModel:
    """Return the source of a file whose record is read."""
    model = open_model(Path(path))
    with checking_record(path, kind="source"):
        return SourceModel(model=model, **_checked(record, model.output_shape[-1]))


def _checked(record: dict[str, Any], n_outputs: int) -> dict[str, Any]:
    """Return the classes, history and best epoch that a file has beside its network."""
    classes, history, best_epoch = (record[name] for name in ("classes", "history", "best_epoch"))
    check_class_names(classes, max(2, n_outputs))  # a single unit stands for two classes
    if len({type(name) for name in classes}) > 1:
        raise ValueError("names of classes of several types")
    lengths = {len(values) for values in history.values()}
    if len(lengths) > 1 or not 0 <= operator.index(best_epoch) < max(lengths, default=1):
        raise ValueError(f"the best epoch {best_epoch} of {sorted(lengths)}")
    return {"classes": np.array(classes), "history": history, "best_epoch": best_epoch}


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
        hint = (
            " A loaded transfer has none: train it again with set_params(source=...), or extend it "
            "further with DomainExtensionTransfer(loaded.model_)."
        )
        raise TypeError(
            f"source is {type(source).__name__}; expected what detl.pretrain returned, the "
            "path of a saved source, or a functional or built Sequential keras.Model."
            f"{hint if source is None else ''}"
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

    source: Any

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
