"""The source stage: train a backbone from scratch on the large data set of its own domain."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from detl import folds
from detl.checks import (
    check_choice,
    check_classes,
    check_count,
    check_images,
    check_labels,
    check_number,
    check_positive,
)
from detl.networks import copying, graphs
from detl.networks.heads import with_logits, with_probabilities
from detl.networks.normalization import fused_layers, with_plain_layers
from detl.networks.pixels import takes_bytes
from detl.networks.precision import Precision, dtype_policy
from detl.pretraining.augmentation import Augmentation
from detl.pretraining.batches import (
    BatchStream,
    ClassWeight,
    balanced_weights,
    in_order,
    steps_per_epoch,
    training_batches,
)
from detl.pretraining.epochs import KeepBest, SaveEpochs, TrainingStore
from detl.pretraining.held_out import HeldOut, checked_validation
from detl.pretraining.optimizer import cosine_adam
from detl.pretraining.run_record import described_augmentation, described_run
from detl.pretraining.source import SourceModel
from detl.seeds import integer_seed, seed_sequence
from detl.storage.run_directory import check_repeatable

_logger = logging.getLogger("detl")
_DEFAULT_AUGMENTATION = Augmentation()


def pretrain(
    backbone: keras.Model,
    images: np.ndarray,
    labels: Any,
    *,
    groups: Any = None,
    validation_data: tuple[Any, Any] | list[Any] | None = None,
    epochs: int = 100,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    warmup_epochs: float = 1.0,
    gradient_clip: float | None = 1.0,
    augmentation: Augmentation | None = _DEFAULT_AUGMENTATION,
    class_weight: ClassWeight = None,
    precision: Precision = "float32",
    ema_epochs: float | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    checkpoint_dir: str | Path | None = None,
    random_state: Any = None,
    verbose: int = 1,
) -> SourceModel:
    """Train a backbone from scratch and keep the weights of the best validation accuracy.

    Adam with a learning rate that falls along a cosine to zero, on images that are turned, scaled
    and mirrored as training runs (Basu et al. 2020, sec. IV).

    Parameters
    ----------
    backbone : keras.Model
        A graph such as :func:`detl.backbones.vgg16` builds. It is left as it is: a copy is
        trained, from weights drawn anew.
    images : numpy.ndarray of shape (n, height, width, channels)
        Pixels in [0, 255], ``uint8`` or float; may be a memory map.
    labels : array-like of shape (n,)
        Class of each image, strings or integers.
    groups : array-like of shape (n,), optional
        Patient (or what else repeats) of each image: no group is in both training and validation.
        Not together with ``validation_data``, which decides that already.
    validation_data : tuple (images, labels), optional
        By default a balanced fifth is held out of ``images``, see
        :func:`detl.folds.balanced_holdout`.
    epochs : int, default=100
        Passes over the training images.
    batch_size : int, default=32
        Images per step. The paper does not give one.
    learning_rate : float, default=1e-3
        Greatest rate of Adam.
    warmup_epochs : float, default=1.0
        The rate rises linearly over so many epochs first; 0 is the paper's text, taken literally.
    gradient_clip : float or None, default=1.0
        Greatest global norm of a step's gradient; None is the paper's text, taken literally.
    augmentation : Augmentation or None
        ``None`` trains on the images as they are. ``Augmentation(mirroring=False)`` where left and
        right matter.
    class_weight : {"balanced", None}, default=None
        ``"balanced"`` gives every class the same weight in the loss, however many its images.
        Use it where the classes are of unequal size: validation is balanced, and a network that
        was trained to prefer one class does badly in it.
    precision : {"float32", "mixed_bfloat16", "auto"}, default="float32"
        Number format of the computation while training; weights are float32, and so is the model
        that comes back. ``"auto"`` takes bfloat16 where the device has units for it; the progress
        bar says so.
    ema_epochs : float, optional
        Validate and keep not the weights of a moment but their exponential moving average (EMA)
        over about so many epochs; try 2. Training itself goes on from the weights. Statistics of
        batch normalisation, averages already, stay those of the moment.
    callbacks : sequence of keras.callbacks.Callback
        What else is to happen while it trains, such as ``keras.callbacks.CSVLogger("log.csv")``.
        They see the training graph; the weights that come back are those of the best epoch all
        the same.
    checkpoint_dir : path, optional
        A directory in which each epoch leaves how far training has come. The same call with the
        same ``random_state``, an integer, goes on from there after it was broken off, to the same
        weights as without a break; once training is finished, or was stopped by a callback, it
        loads the result. Callbacks and augmentations with a state of their own begin anew, and
        see the epochs that are left (``CSVLogger("log.csv", append=True)``); a function that
        augments is known by its name. While an epoch is written it takes eight to ten times the
        size of the model.
    random_state : int, numpy generator or None
        Seeds the initial weights, the held-out images, shuffling, augmentation and dropout. The
        same seed gives the same weights on the same machine, whatever ran before. None draws anew
        in every run, even after ``np.random.seed``.
    verbose : int, default=1
        1 shows a progress bar in a terminal or a notebook, 2 prints a line per epoch, 0 nothing.

    Returns
    -------
    SourceModel
        The trained network with its class names and history.

    Raises
    ------
    ValueError
        If images, labels, groups or the validation data do not fit each other or the backbone, or
        a class is too small to hold a part of it out, or ``checkpoint_dir`` belongs to another
        training.
    OSError
        If ``checkpoint_dir`` cannot be written to.

    Warns
    -----
    sklearn.exceptions.ConvergenceWarning
        If the loss became infinite or NaN.
    UserWarning
        If what was left in ``checkpoint_dir`` is damaged; training begins again.
    RuntimeWarning
        If the disk is full; training goes on.

    References
    ----------
    Basu et al. 2020, sec. III-A and IV. Warm-up and clipping are additions: with them every
    backbone learns at the paper's rate (documentation, "Train a source"). Averaged weights, there
    all alike: Polyak & Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging".
    """
    check_repeatable(checkpoint_dir, random_state)
    check_count("epochs", epochs)
    check_count("batch_size", batch_size)
    check_positive("learning_rate", learning_rate)
    check_number("warmup_epochs", warmup_epochs, at_least=0)
    if gradient_clip is not None:
        check_positive("gradient_clip", gradient_clip)
    if ema_epochs is not None:
        check_positive("ema_epochs", ema_epochs)
    check_choice("class_weight", class_weight, (None, "balanced"))
    if not isinstance(callbacks, Sequence) or not all(
        isinstance(callback, keras.callbacks.Callback) for callback in callbacks
    ):
        raise TypeError(f"callbacks={callbacks!r}; expected a list of keras.callbacks.Callback.")
    if augmentation is not None and not callable(augmentation):
        raise TypeError(
            f"augmentation={augmentation!r}; expected a detl.Augmentation, or None for images as "
            "they are."
        )
    if groups is not None and validation_data is not None:
        raise ValueError(
            "groups say which images to hold out together, but validation_data is given; "
            "leave one of the two out."
        )
    policy = dtype_policy(precision)
    expected: dict[str, Any] = {
        "shape": _image_shape(backbone),
        "any_scale": not takes_bytes(backbone),
    }
    images = check_images(images, **expected)
    labels = check_labels(labels, len(images))
    classes, targets = check_classes(labels)
    holdout_seed, weight_seed, batch_seed, noise_seed = seed_sequence(random_state).spawn(4)

    if validation_data is None:
        rows, held_out_rows = folds.balanced_holdout(
            labels, groups=groups, random_state=integer_seed(holdout_seed)
        )
        held_out = HeldOut(images, targets, rows=held_out_rows, batch_size=batch_size)
        _logger.info(
            "pretrain holds out %d of %d images to validate.", len(held_out_rows), len(labels)
        )
    else:
        rows = np.arange(len(images))
        held_out = HeldOut(
            *checked_validation(validation_data, classes, **expected), batch_size=batch_size
        )

    network = copying.copy_model(
        backbone,
        dtype_policy=policy,
        seeds=np.random.default_rng(weight_seed),
        replacing=fused_layers(),
    )
    network = with_logits(network, len(classes), integer_seed(weight_seed))
    for layer in network._flatten_layers():  # a backbone may come frozen
        layer.trainable = True
    copying.seed_noise(network, integer_seed(noise_seed))
    steps = steps_per_epoch(len(rows), batch_size)
    network.compile(
        optimizer=cosine_adam(
            learning_rate,
            steps=steps,
            epochs=epochs,
            warmup_epochs=warmup_epochs,
            gradient_clip=gradient_clip,
            ema_epochs=ema_epochs,
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        weighted_metrics=[],
        # Under a global policy of float16 Keras would wrap the optimizer; this model is not.
        auto_scale_loss=False,
    )
    # A training step that makes its own variables would be traced twice.
    network.optimizer.build(network.trainable_variables)
    store = None
    if checkpoint_dir is not None:
        run = described_run(
            network,
            settings={
                "epochs": epochs,
                "batch_size": batch_size,
                "learning_rate": learning_rate,
                "warmup_epochs": warmup_epochs,
                "gradient_clip": gradient_clip,
                "augmentation": described_augmentation(augmentation),
                "class_weight": class_weight,
                "precision": policy,
                "ema_epochs": ema_epochs,
            },
            training=(images, labels, rows),
            validation=(held_out.images, classes[held_out.targets], held_out.rows),
            seeds=[integer_seed(seed) for seed in (batch_seed, noise_seed)],
        )
        store = TrainingStore(checkpoint_dir, run)
    with store or nullcontext():
        earlier = None if store is None else store.load(network)
        best, history = KeepBest(earlier), {} if earlier is None else earlier.history
        if earlier is not None:
            _logger.info(
                "pretrain %s: %s has %d of %d epochs.",
                "loads what is finished" if earlier.finished else "goes on",
                checkpoint_dir,
                earlier.n_epochs,
                epochs,
            )
        if earlier is None or not earlier.finished:
            generator = np.random.default_rng(batch_seed)
            epoch_ends: list[Any] = []
            # All built anew for every call: a reused one would carry its best value into the next.
            followers = [best, *callbacks]
            if store is not None:
                store.check_writable()
                followers.append(
                    SaveEpochs(store, best, epoch_ends, epochs=epochs, earlier=earlier)
                )
            if earlier is not None:
                earlier = earlier.restored_to(network)
                generator.bit_generator.state = earlier.generator
            batches = training_batches(
                images,
                targets,
                batch_size=batch_size,
                generator=generator,
                rows=rows,
                weights=None if class_weight is None else balanced_weights(targets, rows),
                augment=augmentation,
                epoch_ends=epoch_ends,
            )
            stream = BatchStream()
            fitted = stream.fit(
                network,
                batches,
                steps_per_epoch=steps,
                epochs=epochs,
                initial_epoch=0 if earlier is None else earlier.n_epochs,
                validation_data=in_order(held_out),
                callbacks=followers,
                verbose=verbose,
                description="training" if policy == "float32" else "training in bfloat16",
            )
            history = {
                name: [*history.get(name, []), *map(float, fitted.history.get(name, []))]
                for name in {**history, **fitted.history}
            }
    network.set_weights(best.weights)
    _warn_of_divergence(history, learning_rate)
    return SourceModel(
        model=with_plain_layers(with_probabilities(network), dtype_policy="float32"),
        classes=classes,
        history=history,
        best_epoch=best.epoch,
    )


def _image_shape(backbone: Any) -> tuple[int | None, ...]:
    """Return the (height, width, channels) that a backbone takes, refusing what takes no images."""
    if not graphs.is_graph(backbone):
        raise TypeError(
            f"backbone is {type(backbone).__name__}; expected a functional keras.Model, such as "
            "detl.backbones.vgg16((224, 224, 1)) returns."
        )
    shapes = [tensor.shape[1:] for tensor in backbone.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 3:
        raise ValueError(
            f"backbone {backbone.name!r} takes inputs of shape {', '.join(map(str, shapes))}; "
            "expected one, images of shape (height, width, channels)."
        )
    return tuple(shapes[0])


def _warn_of_divergence(history: dict[str, list[float]], learning_rate: float) -> None:
    losses = np.array([history["loss"], history["val_loss"]])
    diverged = np.flatnonzero(~np.isfinite(losses).all(axis=0))
    if len(diverged):
        warnings.warn(
            f"The loss was not finite in {len(diverged)} of {losses.shape[1]} epochs, first in "
            f"epoch {diverged[0] + 1}: learning_rate={learning_rate:.3g} is too high here; "
            "try a tenth of it.",
            ConvergenceWarning,
            stacklevel=3,
        )
