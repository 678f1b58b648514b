"""Training from scratch: what the architecture of a source learns without its knowledge."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from detl.networks.copying import copy_model
from detl.networks.precision import Precision
from detl.pretraining.batches import ClassWeight
from detl.pretraining.source import SharesSource, Source, source_network
from detl.seeds import integer_seed, seed_sequence
from detl.transfer.classifier import DomainExtensionTransfer


class FromScratch(ClassifierMixin, SharesSource):
    """Train an untrained copy of a network on the target images alone, all of it.

    Every fit draws the weights afresh, each layer by its own initializer: nothing that the source
    has learned is left. A ``Normalization`` layer keeps the mean and variance of the pixels that it
    was adapted to; that is preprocessing.

    Parameters
    ----------
    source : SourceModel, keras.Model or path
        Whose architecture is trained; its weights play no part, and it is never changed.
    epochs : int, default=30
        Passes over the images.
    batch_size : int, default=32
        Images per step.
    learning_rate : float, default=1e-2
        Of stochastic gradient descent; falls along a cosine. Weights that know nothing need larger
        steps than those of a source.
    momentum : float, default=0.9
        Of stochastic gradient descent.
    class_weight : {"balanced", None} or dict of label to float, default=None
        As for :class:`detl.DomainExtensionTransfer`.
    precision : {"float32", "mixed_bfloat16", "auto"}, default="float32"
        Number format of the computation; weights are float32.
    random_state : int, numpy generator or None, default=None
        Seeds weights, the order of images and dropout.
    verbose : int, default=1
        1 shows a progress bar.

    Attributes
    ----------
    transfer_ : DomainExtensionTransfer
        What trained the copy.
    model_, classes_, history_, n_features_in_
        Those of ``transfer_``.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import backbones
    >>> from detl.recipes import FromScratch
    >>> images = np.zeros((8, 64, 64, 1), dtype="uint8")
    >>> images[4:, 8:24, 8:24] = 255
    >>> labels = ["dark"] * 4 + ["bright"] * 4
    >>> scratch = FromScratch(backbones.alexnet((64, 64, 1), width=0.125), epochs=1, random_state=0)
    >>> scratch.fit(images, labels).predict_proba(images).shape
    (8, 2)
    """

    def __init__(
        self,
        source: Source,
        *,
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 1e-2,
        momentum: float = 0.9,
        class_weight: ClassWeight | dict[Any, float] = None,
        precision: Precision = "float32",
        random_state: Any = None,
        verbose: int = 1,
    ) -> None:
        self.source = source
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.class_weight = class_weight
        self.precision = precision
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> FromScratch:
        """Train from fresh weights, whatever was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Pixels in [0, 255]; may be a memory map.
        y : array-like of shape (n,)
            Class of each image.

        Returns
        -------
        FromScratch
            Itself.
        """
        weights, training = seed_sequence(self.random_state).spawn(2)
        untrained = copy_model(source_network(self.source), seeds=np.random.default_rng(weights))
        self.transfer_ = DomainExtensionTransfer(
            untrained,
            trainable_from="input",
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            schedule="cosine",
            head_start="random",  # what untrained layers see is not worth a regression
            head_learning_rate=None,
            momentum=self.momentum,
            label_smoothing=0.0,
            class_weight=self.class_weight,
            augmented_views=0,
            precision=self.precision,
            random_state=integer_seed(training),
            verbose=self.verbose,
        ).fit(X, y)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each image, float32 ``(n, n_classes)``."""
        check_is_fitted(self)
        return self.transfer_.predict_proba(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each image, ``(n,)``."""
        check_is_fitted(self)
        return self.transfer_.predict(X)

    @property
    def model_(self) -> keras.Model:
        """The trained network, from pixels to probabilities."""
        return self.transfer_.model_

    @property
    def classes_(self) -> np.ndarray:
        """Class labels, sorted."""
        return self.transfer_.classes_

    @property
    def history_(self) -> dict[str, list[float]]:
        """``loss`` and ``accuracy`` on the training images, one entry per epoch."""
        return self.transfer_.history_

    @property
    def n_features_in_(self) -> int:
        """Length of the second axis of ``X``."""
        return self.transfer_.n_features_in_
