"""A fitted transfer in JSON's terms, and back."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from detl.checks import check_count
from detl.networks.digests import weights_digest
from detl.networks.model_files import check_class_names
from detl.pretraining.augmentation import Augmentation
from detl.seeds import seed_sequence
from detl.transfer.extension import check_parameters, extend
from detl.transfer.training_record import TrainingRecord

if TYPE_CHECKING:
    from detl.transfer.classifier import DomainExtensionTransfer

# Files do not have the source, and no folder of the machine that wrote them.
_NOT_WRITTEN = ("source", "cache_dir")
_CLASS_TYPES = {"U": "str", "b": "bool", "i": "int64", "u": "uint64", "f": "float64", "O": "object"}


def record_of(transfer: DomainExtensionTransfer) -> dict[str, Any]:
    """Return all but the network of a fitted transfer; a setting that cannot be is warned of."""
    settings = {
        name: _in_json(value)
        for name, value in transfer.get_params(deep=False).items()
        if name not in _NOT_WRITTEN
    }
    lost = [name for name, value in settings.items() if not _can_be_written(value)]
    if lost:
        warnings.warn(
            f"The file will not have {' and '.join(lost)} of this transfer, which cannot be "
            "written; give them again (set_params) before you fit what you load.",
            UserWarning,
            stacklevel=3,
        )
    training = transfer.training_
    return {
        "kind": "transfer",
        "classes": transfer.classes_.tolist(),
        "class_type": transfer.classes_.dtype.kind,
        "settings": {name: value for name, value in settings.items() if name not in lost},
        "history": {k: list(map(float, v)) for k, v in transfer.history_.items()},
        "trained_layers": transfer.trained_layers_,
        "n_features_in": transfer.n_features_in_,
        "training": {
            "image_digests": training.image_digests.astype("<u8").tobytes().hex(),
            "groups": None if training.groups is None else list(training.groups),
            "class_counts": training.class_counts.tolist(),
            "source_digest": _source_digest(transfer),
            "versions": training.versions,
        },
    }


def _source_digest(transfer: DomainExtensionTransfer) -> str | None:
    """Return the digest of the weights that the source gives; hashing a large one takes seconds."""
    if transfer.source is None:  # as of a transfer that was loaded
        return transfer.training_.source_digest
    network = extend(transfer, transfer.classes_).network
    return weights_digest(network, but=network.layers[-1])


def _in_json(value: Any) -> Any:
    """Return a setting in JSON's terms, where there are any for it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):  # of class weights: JSON's own objects have text alone for keys
        return [[_in_json(label), _in_json(weight)] for label, weight in value.items()]
    return asdict(value) if type(value) is Augmentation else value


def _can_be_written(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def give_settings(transfer: DomainExtensionTransfer, settings: Mapping[str, Any]) -> None:
    """Set the parameters that a record has, refusing what they cannot be."""
    unknown = settings.keys() - (transfer.get_params().keys() - set(_NOT_WRITTEN))
    if unknown:
        raise ValueError(f"the settings {sorted(unknown)}, which this version does not know")
    transfer.set_params(**settings)
    if isinstance(transfer.augmentation, dict):
        transfer.augmentation = Augmentation(**transfer.augmentation)
    if isinstance(transfer.class_weight, list):
        transfer.class_weight = dict(transfer.class_weight)
    check_parameters(transfer)
    seed_sequence(transfer.random_state)
    for name, kind in (("trainable_from", str), ("verbose", int)):
        if not isinstance(getattr(transfer, name), kind):
            raise TypeError(f"{name}={getattr(transfer, name)!r}; expected {kind.__name__}")


def learned(record: Mapping[str, Any], model: keras.Model) -> dict[str, Any]:
    """Return the attributes of a fitted transfer, refusing what does not fit its network."""
    if len(model.inputs) != 1:
        raise ValueError(f"a network of {len(model.inputs)} inputs")
    height = model.inputs[0].shape[1]
    n_features_in = record["n_features_in"]
    check_count("n_features_in", n_features_in)
    if height not in (None, n_features_in):
        raise ValueError(f"n_features_in={n_features_in}, but the network takes {height}")
    trained_layers = record["trained_layers"]
    strangers = set(trained_layers) - {layer.name for layer in model.layers}
    if strangers:
        raise ValueError(f"trained layers that the network has not, {sorted(strangers)}")
    classes = _classes(record["classes"], record["class_type"], model.output_shape[-1])
    return {
        "model_": model,
        "classes_": classes,
        "history_": {k: list(map(float, v)) for k, v in record["history"].items()},
        "trained_layers_": list(trained_layers),
        "n_features_in_": n_features_in,
        "training_": _training(record["training"], len(classes)),
    }


def _classes(names: list[Any], kind: str, n_outputs: int) -> np.ndarray:
    check_class_names(names, n_outputs)
    if kind not in _CLASS_TYPES:
        raise ValueError(f"names of classes of the type {kind!r}")
    classes = np.array(names, dtype=_CLASS_TYPES[kind])
    if classes.tolist() != names or not np.array_equal(classes, np.unique(classes)):
        raise ValueError(f"classes that are not sorted, or not of the type {kind!r}")
    return classes


def _training(record: Mapping[str, Any], n_classes: int) -> TrainingRecord:
    digests = np.frombuffer(bytes.fromhex(record["image_digests"]), "<u8").astype("uint64")
    counts = np.array(record["class_counts"])
    is_count = counts.dtype.kind == "i" and counts.shape == (n_classes,) and counts.min() > 0
    if not is_count or counts.sum() != len(digests):
        raise ValueError(f"class_counts={counts.tolist()} of {len(digests)} training images")
    groups = record["groups"]
    if not isinstance(groups, list | None):
        raise TypeError(f"groups={groups!r}; expected a list")
    if not all(isinstance(name, str | int | float) for name in groups or ()):
        raise TypeError("names of groups that are neither text nor numbers")
    return TrainingRecord(
        image_digests=digests,
        groups=None if groups is None else tuple(groups),
        class_counts=counts,
        versions={str(name): str(version) for name, version in record["versions"].items()},
        source_digest=None if record["source_digest"] is None else str(record["source_digest"]),
    )
