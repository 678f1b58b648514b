"""Make a source network ready for other classes: a new last layer, a trunk, a tail."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, get_args

import keras
import numpy as np

from detl.backbones.blocks import entrance_of
from detl.checks import check_choice, check_count, check_number, check_path, check_positive
from detl.features.identity import trunk_name
from detl.features.trunk import features_of
from detl.features.views import Views, pixels_of_views
from detl.networks import copying, graphs
from detl.networks.folding import Folded
from detl.networks.heads import with_logits
from detl.networks.normalization import fused_layers
from detl.networks.precision import Precision, dtype_policy
from detl.pretraining.augmentation import Augmentation
from detl.pretraining.source import source_network
from detl.seeds import integer_seed, seed_sequence
from detl.transfer.tail import Tail

if TYPE_CHECKING:
    from detl.transfer.classifier import DomainExtensionTransfer


class Trunk(Protocol):
    """The frozen layers, run once per image."""

    def __call__(self, images: np.ndarray, *, verbose: int = 0) -> np.ndarray:
        """Return the features of the images, then of their augmented views."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Extension:
    """A source network with a new last layer, cut where training begins.

    It can be trained many times: :func:`detl.cross_validate` runs the trunk once and compiles the
    tail once for all folds.

    Attributes
    ----------
    network : keras.Model
        From pixels to logits: a copy of the source, with the weights that ``tail`` trains.
    trunk : callable
        From images to what the frozen layers make of them and of their augmented views, see
        :func:`detl.features.trunk.features_of`.
    tail : Tail
        The layers that are trained.
    training : dict
        What each ``tail.fit`` takes beside data and seed.
    """

    network: keras.Model
    trunk: Trunk
    tail: Tail
    training: dict[str, Any]


def extend(transfer: DomainExtensionTransfer, classes: np.ndarray) -> Extension:
    """Copy the source, give it a new last layer for the classes, and cut it where training begins.

    Raises
    ------
    TypeError, ValueError
        If a parameter of the transfer is wrong.
    """
    check_parameters(transfer)
    training = {
        "epochs": transfer.epochs,
        "batch_size": transfer.batch_size,
        "class_weight": _in_order(transfer.class_weight, classes),
        "n_views": 1 + int(transfer.augmented_views),
        "groups": None,  # what validation_split keeps together; whoever knows them sets them
        "validation_split": transfer.validation_split,
        "early_stopping": transfer.early_stopping,
        "callbacks": transfer.callbacks or (),
        "verbose": transfer.verbose,
    }
    network = copying.copy_model(
        source_network(transfer.source),
        dtype_policy=dtype_policy(transfer.precision),
        replacing=fused_layers(),
    )
    network = with_logits(network, len(classes), integer_seed(seed_sequence(transfer.random_state)))
    entrance = entrance_of(network, transfer.trainable_from)
    if entrance is network.inputs[0]:
        frozen, trained = None, network
    else:
        frozen = keras.Model(network.input, entrance)
        trained = graphs.above(entrance, network.outputs[0])
        _check_no_shared_weights(frozen, trained, transfer.trainable_from)
    # A source may come with layers frozen. One by one: a model that is trainable already does not
    # pass the setting on to its layers.
    for layer in trained._flatten_layers():
        layer.trainable = True
    tail = Tail(
        trained,
        learning_rate=transfer.learning_rate,
        momentum=transfer.momentum,
        head_learning_rate=transfer.head_learning_rate,
        label_smoothing=transfer.label_smoothing,
        schedule=transfer.schedule,
        head_start=transfer.head_start,
    )
    return Extension(network=network, trunk=_trunk(transfer, frozen), tail=tail, training=training)


def check_parameters(transfer: DomainExtensionTransfer) -> None:
    """Refuse a setting that no source and no images could be trained with."""
    check_count("epochs", transfer.epochs)
    check_count("batch_size", transfer.batch_size)
    check_positive("learning_rate", transfer.learning_rate)
    if transfer.head_learning_rate is not None:
        check_positive("head_learning_rate", transfer.head_learning_rate)
    for name in ("momentum", "label_smoothing"):
        check_number(name, getattr(transfer, name), at_least=0, below=1)
    if not isinstance(transfer.class_weight, str | dict | None):
        raise TypeError(
            f"class_weight is {type(transfer.class_weight).__name__}; expected None, 'balanced', "
            "or a dict of each class and its weight."
        )
    if not isinstance(transfer.class_weight, dict):
        check_choice("class_weight", transfer.class_weight, (None, "balanced"))
    check_number("validation_split", transfer.validation_split, at_least=0, at_most=0.5)
    if transfer.early_stopping is not None:
        check_count("early_stopping", transfer.early_stopping)
        if not transfer.validation_split:
            raise ValueError(
                f"early_stopping={transfer.early_stopping}, but validation_split=0 holds out no "
                "images to stop by; try validation_split=0.2."
            )
    _check_callbacks(transfer.callbacks)
    check_choice("head_start", transfer.head_start, ("linear_probe", "random"))
    check_choice("schedule", transfer.schedule, ("cosine", "constant"))
    check_choice("precision", transfer.precision, get_args(Precision))
    check_count("augmented_views", transfer.augmented_views, at_least=0)
    if not (transfer.augmentation is None or isinstance(transfer.augmentation, Augmentation)):
        raise TypeError(
            f"augmentation is {type(transfer.augmentation).__name__}; expected an Augmentation."
        )
    if transfer.augmentation is not None and not transfer.augmented_views:
        raise ValueError("augmentation is given, but augmented_views=0; try augmented_views=8.")


def _check_callbacks(callbacks: Any) -> None:
    if callbacks is None or callable(callbacks):
        return
    is_list = isinstance(callbacks, list | tuple)
    if not (is_list and all(isinstance(one, keras.callbacks.Callback) for one in callbacks)):
        raise TypeError(
            f"callbacks={callbacks!r}; expected a list of keras.callbacks.Callback, or a function "
            "that returns a new list for every fit."
        )


def _in_order(class_weight: Any, classes: np.ndarray) -> Any:
    """Return the weights of a dict in the order of the classes; anything else as it is."""
    if not isinstance(class_weight, dict):
        return class_weight
    if set(class_weight) != set(classes.tolist()):
        raise ValueError(
            f"class_weight has weights for {sorted(class_weight, key=str)}; expected one for each "
            f"class and no others: {classes.tolist()}."
        )
    for label, weight in class_weight.items():
        check_positive(f"class_weight[{label!r}]", weight)
    return np.array([class_weight[label] for label in classes.tolist()], dtype="float64")


def _trunk(transfer: DomainExtensionTransfer, frozen: keras.Model | None) -> Trunk:
    """Return what runs the frozen layers; without any, the views themselves are features."""
    cache_dir = transfer.cache_dir
    if cache_dir is not None:
        cache_dir = check_path("cache_dir", cache_dir, of="a folder")
    views = Views(
        n_augmented=int(transfer.augmented_views),
        augmentation=transfer.augmentation or Augmentation(),
        seed=integer_seed(seed_sequence(transfer.random_state)),
    )

    if frozen is None:
        return partial(pixels_of_views, views=views)
    folded = Folded(frozen)

    def trunk(images: np.ndarray, *, verbose: int = 0) -> np.ndarray:
        return features_of(
            folded,
            images,
            key=trunk_name(frozen, cache_dir=cache_dir),
            views=views,
            cache_dir=cache_dir,
            verbose=verbose,
        )

    return trunk


def _check_no_shared_weights(
    frozen: keras.Model, trained: keras.Model, trainable_from: str
) -> None:
    above = {id(layer) for layer in trained.layers}
    shared: Iterable[str] = (
        layer.name for layer in frozen.layers if layer.weights and id(layer) in above
    )
    name = next(iter(shared), None)
    if name is not None:
        raise ValueError(
            f"The layer {name!r} is called both below and above "
            f"trainable_from={trainable_from!r}, so it cannot be frozen in the one and trained in "
            "the other; name a layer further up or further down."
        )
