"""What is kept as training goes from epoch to epoch: the best weights, and all to go on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from detl.storage.run_directory import RunDirectory

_FILE = "training.npz"
_PARTS = ("best", "variables", "optimizer")
Arrays = list[np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How far a training has come; what only the next epoch needs is empty once it is finished."""

    history: dict[str, list[float]]
    finished: bool  # no epoch is left, or a callback has ended it
    best_epoch: int
    best: Arrays  # the weights of that epoch
    variables: Arrays  # of the network, as they are now
    optimizer: Arrays
    generator: dict[str, Any]  # state of what draws the batches

    @property
    def n_epochs(self) -> int:
        """Number of epochs so far."""
        return len(self.history["loss"])

    @property
    def best_accuracy(self) -> float:
        """Validation accuracy of the weights that are kept."""
        return self.history["val_accuracy"][self.best_epoch]

    def restored_to(self, model: keras.Model) -> Training:
        """Bring a compiled model to where the training was; return what is needed from then on."""
        model.optimizer.build(model.trainable_variables)
        _assign(model.variables, self.variables)
        _assign(model.optimizer.variables, self.optimizer)
        return replace(self, variables=[], optimizer=[])


class TrainingStore(RunDirectory):
    """Keep one training in a directory of its own, one file that every epoch replaces."""

    def __init__(self, directory: str | Path, run: Mapping[str, Any]) -> None:
        super().__init__(directory, run, files=_FILE)

    def load(self, model: keras.Model) -> Training | None:
        """Return what an earlier process left; None where nothing is or the file is damaged."""

        def made_of(arrays: dict[str, Any], rest: dict[str, Any]) -> Training:
            for part in _PARTS:
                rest[part] = [arrays[f"{part}_{k}"] for k in range(rest.pop(f"n_{part}"))]
            training = Training(**rest)
            shapes = [weight.shape for weight in model.get_weights()]
            if [weight.shape for weight in training.best] != shapes:
                raise ValueError("it is of another network")
            return training

        return self.read(_FILE, made_of, again="the training begins again")

    def save(self, training: Training) -> None:
        """Write how far it has come; a full disk is warned of."""
        arrays: dict[str, np.ndarray] = {}
        rest: dict[str, Any] = {}
        for field in fields(training):
            value = getattr(training, field.name)
            if field.name in _PARTS:
                rest[f"n_{field.name}"] = len(value)
                arrays |= {f"{field.name}_{k}": array for k, array in enumerate(value)}
            else:
                rest[field.name] = value
        lost = "the epochs since the last that was written have to be"
        self.write(_FILE, arrays, rest, lost=lost)


class KeepBest(keras.callbacks.Callback):
    """Keep the weights of the first epoch with the best validation accuracy.

    Of an optimizer with ``use_ema`` the averaged weights are validated, and kept. Keras's
    ``SwapEMAWeights`` would add and subtract to swap, so that the weights which training goes on
    from are rounded.
    """

    def __init__(self, earlier: Training | None = None) -> None:
        super().__init__()
        self.epoch = 0 if earlier is None else earlier.best_epoch
        self.weights: Arrays = [] if earlier is None else earlier.best
        self._accuracy = -np.inf if earlier is None else earlier.best_accuracy
        self._now = 0
        self._of_the_moment: Arrays = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note which epoch it is."""
        self._now = epoch

    def on_test_begin(self, logs: Any = None) -> None:
        """Put averaged weights into the model."""
        if self.model.optimizer.use_ema:
            self._of_the_moment = _values(self.model.trainable_variables)
            averages = self.model.optimizer._model_variables_moving_average
            _assign(self.model.trainable_variables, _values(averages))

    def on_test_end(self, logs: Any = None) -> None:
        """Keep the weights if they are the best so far."""
        accuracy = float(logs["accuracy"])
        if accuracy > self._accuracy:
            self._accuracy, self.epoch = accuracy, self._now
            self.weights = self.model.get_weights()
        if self.model.optimizer.use_ema:
            _assign(self.model.trainable_variables, self._of_the_moment)
            self._of_the_moment = []


class SaveEpochs(keras.callbacks.Callback):
    """Write after each epoch all that training goes on from; the last of the callbacks.

    ``epoch_ends`` has the states of the generator of batches, see
    :func:`detl.pretraining.batches.training_batches`.
    """

    def __init__(
        self,
        store: TrainingStore,
        best: KeepBest,
        epoch_ends: list[Any],
        *,
        epochs: int,
        earlier: Training | None = None,
    ) -> None:
        super().__init__()
        self._store, self._best, self._epoch_ends, self._epochs = store, best, epoch_ends, epochs
        self._first = 0 if earlier is None else earlier.n_epochs
        history = {} if earlier is None else earlier.history
        self._history = {name: list(values) for name, values in history.items()}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write, without what only a training that goes on needs once it does not."""
        for name, value in logs.items():
            self._history.setdefault(name, []).append(float(value))
        # One that a callback has stopped within an epoch never drew the last batch of it.
        finished = bool(self.model.stop_training) or epoch + 1 == self._epochs
        self._store.save(
            Training(
                history=self._history,
                finished=finished,
                best_epoch=self._best.epoch,
                best=self._best.weights,
                variables=[] if finished else _values(self.model.variables),
                optimizer=[] if finished else _values(self.model.optimizer.variables),
                generator={} if finished else self._epoch_ends[epoch - self._first],
            )
        )


def _values(variables: list[Any]) -> Arrays:
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _assign(variables: list[Any], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
