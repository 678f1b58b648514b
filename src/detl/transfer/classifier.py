"""The target stage: extend a trained source network to a small set with other classes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from detl.checks import check_classes, check_labels
from detl.features.trunk import extract
from detl.metrics.learning import advice, not_learned
from detl.networks.heads import with_probabilities
from detl.networks.model_files import write_model
from detl.networks.normalization import with_plain_layers
from detl.networks.precision import Precision
from detl.pretraining.augmentation import Augmentation
from detl.pretraining.batches import ClassWeight
from detl.pretraining.source import SharesSource, Source, source_network
from detl.seeds import seed_sequence
from detl.transfer.extension import Extension, extend
from detl.transfer.records import give_settings, record_of
from detl.transfer.tail import Callbacks
from detl.transfer.training_record import training_record


class DomainExtensionTransfer(ClassifierMixin, SharesSource):
    """Extend a source network to the classes of a small target set: a scikit-learn classifier.

    The last fully connected layer is replaced, everything below the last convolutional block is
    frozen, the rest is trained slowly (Basu et al. 2020, sec. III-C). The frozen trunk runs once
    per image, in inference mode, and the tail trains on what came out.

    Parameters
    ----------
    source : SourceModel, keras.Model or path
        What :func:`detl.pretrain` returned, a file that its ``save`` wrote, or any functional or
        Sequential Keras classifier. It is never changed, and clones share it.
    trainable_from : str, default="last_block"
        Where training begins: ``"last_block"``, or the name of a block, a unit or a layer (see
        :func:`detl.backbones.block_names`). ``"logits"`` trains the new layer only, ``"input"``
        the whole network: with an untrained source, that is training from scratch.
    epochs : int, default=30
        Passes over the target images.
    batch_size : int, default=32
        Images per step. The paper does not give it.
    learning_rate : float, default=3e-3
        Of stochastic gradient descent.
    schedule : {"cosine", "constant"}, default="cosine"
        Whether the rate falls along a cosine, epoch by epoch, nearly to 0 (Loshchilov & Hutter
        2017).
    head_start : {"linear_probe", "random"}, default="linear_probe"
        Where the new layer begins: at a regularised logistic regression on what it sees of the
        training images, so that the layers below are not moved by a layer that knows nothing
        (Kumar et al. 2022), or at random weights.
    head_learning_rate : float, optional
        Of the new layer, which has everything to learn, where the layers below have little to
        change (discriminative learning rates). By default ``learning_rate``.
    momentum : float, default=0.9
        Of stochastic gradient descent.
    label_smoothing : float, default=0.0
        Share of each label, in [0, 1), that goes to all classes alike in the loss, against
        overconfidence (Szegedy et al. 2016, sec. 7).
    class_weight : {"balanced", None} or dict of label to float, default=None
        ``"balanced"`` gives every class the same weight in the loss, however many its images. A
        dict gives each class its own; only their ratios count.
    augmented_views : int, default=0
        How many augmented views of each training image the trunk runs on, once; every epoch draws
        one of them or the image itself. 0 trains on the images alone. Each view takes as long and
        as much room as the images once more.
    augmentation : Augmentation, optional
        How far these views are turned, scaled and mirrored; by default ``Augmentation()``.
    validation_split : float, default=0.0
        Share of the training images, in [0, 0.5], that each fit holds out, stratified; the loss
        and accuracy on them are ``val_loss`` and ``val_accuracy`` of the history. If ``fit`` is
        given groups, no group is on both sides. :func:`detl.cross_validate` passes its groups on; a
        search of scikit-learn does so after ``set_fit_request(groups=True)``.
    early_stopping : int, optional
        Stop after so many epochs without a lower ``val_loss``, and go back to the best weights.
    callbacks : list of keras.callbacks.Callback or callable, optional
        Of the training. Every fit works with copies of a list, or with what a function returns. One
        that sets the rate needs ``schedule="constant"``.
    precision : {"float32", "mixed_bfloat16", "auto"}, default="float32"
        Number format of the computation; weights are float32.
    cache_dir : path, optional
        Where the trunk's features are kept, to be found again by later processes. Without it this
        process finds them again: by a second fit, another fold or grid point with the same source
        and images. Delete the folder when it is no longer needed.
    random_state : int, RandomState instance or None, default=None
        Seeds the new layer's weights, the order of images, augmented views and dropout. None draws
        anew in every fit, even after ``np.random.seed``.
    verbose : int, default=1
        1 shows progress bars in a terminal or a notebook, 2 prints a line per epoch, 0 nothing.

    Attributes
    ----------
    model_ : keras.Model
        One flat network from ``(n, height, width, channels)`` pixels in [0, 255] to
        ``(n, n_classes)`` probabilities; its last layers are ``logits`` and ``probabilities``.
    classes_ : numpy.ndarray of shape (n_classes,)
        Class labels, sorted: column j of ``predict_proba`` belongs to ``classes_[j]``.
    history_ : dict of str to list of float
        ``loss`` and ``accuracy`` on the training images, one entry per epoch; with
        ``validation_split`` also ``val_loss`` and ``val_accuracy``.
    trained_layers_ : list of str
        Names of the layers with weights that were trained; all others are bit-identical to the
        source's.
    n_features_in_ : int
        Length of the second axis of ``X``.
    training_ : TrainingRecord
        What it was trained on, without the images: a digest of each, names of groups, images of
        each class, versions. See :class:`detl.transfer.TrainingRecord`.

    References
    ----------
    Basu, Mitra, Saha 2020, "Deep Learning for Screening COVID-19 using Chest X-Ray Images", SSCI,
    sec. III-C and IV: SGD, rate 1e-4, momentum 0.9.
    Howard, Ruder 2018, "Universal Language Model Fine-tuning for Text Classification", ACL, sec.
    3.2: discriminative learning rates.
    Kumar, Raghunathan, Jones, Ma, Liang 2022, "Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution", ICLR: a linear probe first.
    Loshchilov, Hutter 2017, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR, eq. 5.
    Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision", CVPR, sec. 7:
    label smoothing.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import DomainExtensionTransfer, backbones
    >>> images = np.zeros((8, 64, 64, 1), dtype="uint8")
    >>> images[4:, 8:24, 8:24] = 255
    >>> labels = ["dark"] * 4 + ["bright"] * 4
    >>> source = backbones.alexnet((64, 64, 1), width=0.125)  # untrained: only to show the call
    >>> transfer = DomainExtensionTransfer(source, epochs=2, random_state=0)
    >>> transfer.fit(images, labels).predict_proba(images).shape
    (8, 2)
    """

    # Of scikit-learn's metadata routing: by default a search keeps its groups to itself, because a
    # stack would hand them on to what takes none.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": False}

    def __init__(
        self,
        source: Source,
        *,
        trainable_from: str = "last_block",
        epochs: int = 30,
        batch_size: int = 32,
        learning_rate: float = 3e-3,
        schedule: Literal["cosine", "constant"] = "cosine",
        head_start: Literal["linear_probe", "random"] = "linear_probe",
        head_learning_rate: float | None = None,
        momentum: float = 0.9,
        label_smoothing: float = 0.0,
        class_weight: ClassWeight | dict[Any, float] = None,
        augmented_views: int = 0,
        augmentation: Augmentation | None = None,
        validation_split: float = 0.0,
        early_stopping: int | None = None,
        callbacks: Callbacks | None = None,
        precision: Precision = "float32",
        cache_dir: str | Path | None = None,
        random_state: Any = None,
        verbose: int = 1,
    ) -> None:
        self.source = source
        self.trainable_from = trainable_from
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.head_start = head_start
        self.head_learning_rate = head_learning_rate
        self.momentum = momentum
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.augmented_views = augmented_views
        self.augmentation = augmentation
        self.validation_split = validation_split
        self.early_stopping = early_stopping
        self.callbacks = callbacks
        self.precision = precision
        self.cache_dir = cache_dir
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def as_published(cls, source: Source, **settings: Any) -> Self:
        """Return a transfer that trains as the paper says, but for the given settings.

        The new layer begins at random, the rate is 1e-4 throughout, for 50 epochs (Basu et al.
        2020, sec. IV, which does not give their number).
        """
        published = {
            "head_start": "random",
            "schedule": "constant",
            "learning_rate": 1e-4,
            "epochs": 50,
        }
        return cls(source, **{**published, **settings})

    def fit(self, X: Any, y: Any, groups: Any = None) -> DomainExtensionTransfer:
        """Train the tail from the source's weights, whatever was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, height, width, channels)
            Pixels in [0, 255], ``uint8`` or float; may be a memory map.
        y : array-like of shape (n,)
            Class of each image, strings or integers.
        groups : array-like of shape (n,), optional
            What ``validation_split`` keeps on one side, such as the patient of each image. Their
            names are kept in ``training_``.

        Returns
        -------
        DomainExtensionTransfer
            Itself.

        Raises
        ------
        ValueError
            If images and labels do not fit each other or the source, or a parameter is wrong.
        """
        X, y = self._check_data(X, y)
        if groups is not None:
            groups = check_labels(groups, len(X), name="groups")
        classes, targets = check_classes(y)
        extension = self._extend(classes)
        training = training_record(X, targets, groups)
        self.history_ = extension.tail.fit(
            extension.trunk(X, verbose=self.verbose),
            targets,
            rows=np.arange(len(targets)),
            seed=seed_sequence(self.random_state),
            **{**extension.training, "groups": groups},
        )
        reason = not_learned(self.history_, targets, weighted=self.class_weight is not None)
        if reason is not None:
            warnings.warn(f"The network {reason}. {advice(self)}", ConvergenceWarning, stacklevel=2)
        self.classes_ = classes
        self.model_ = with_plain_layers(with_probabilities(extension.network))
        self.trained_layers_ = [
            layer.name for layer in extension.tail.model.layers if layer.weights
        ]
        self.training_ = training
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class for each image, float32 ``(n, n_classes)``."""
        check_is_fitted(self)
        X = self._check_images(X, self.model_, reset=False)
        return extract(self.model_, X, batch_size=self.batch_size, verbose=self.verbose)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each image, ``(n,)``.

        Raises
        ------
        ValueError
            If the network gives NaN for an image, which has no most probable class.
        """
        probabilities = self.predict_proba(X)
        unknown = np.flatnonzero(np.isnan(probabilities).any(axis=1))
        if len(unknown):
            raise ValueError(
                f"The network gives NaN for {len(unknown)} of {len(probabilities)} images, first "
                f"in row {unknown[0]}; look for broken weights or pixels, or fit again at a lower "
                "learning_rate."
            )
        return self.classes_[probabilities.argmax(axis=1)]

    def save(self, path: str | Path) -> Path:
        """Write the fitted transfer to one ``.keras`` file, which :func:`detl.load` reads back.

        The file has the network, the classes, the history, the settings and ``training_``, with the
        names of the groups: give ``fit`` pseudonyms of patients if the file is for others. Keras
        itself can load it too, and then has the network alone.

        The file has neither ``source`` nor ``cache_dir``. A loaded transfer predicts and is
        explained as before. To train it again, give it a source (``set_params(source=...)``); to
        extend it further, take its network as the source of another
        (``DomainExtensionTransfer(loaded.model_)``).

        Warns
        -----
        UserWarning
            If a setting cannot be written (callbacks, a ``random_state`` that is a generator, an
            augmentation of your own), or if the network has a ``Lambda`` layer that
            :func:`detl.load` will not load.
        """
        check_is_fitted(self, "training_")
        record = record_of(self)
        # What load would refuse is refused before anything is written.
        give_settings(DomainExtensionTransfer(source=None), record["settings"])
        return write_model(path, self.model_, record)

    def _check_data(
        self, X: Any, y: Any, *, names: tuple[str, str] = ("X", "y")
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return images and labels as arrays, refusing what does not fit the source.

        ``names`` are what the messages call them.
        """
        array = None if y is None else np.asarray(y)
        if array is not None and array.ndim == 2 and array.shape[1] == 1:
            y = array = column_or_1d(array, warn=True)  # as every classifier of scikit-learn does
        X = self._check_images(X, source_network(self.source), reset=True, y=array, name=names[0])
        y = check_labels(y, len(X), name=names[1], of=f"rows of {names[0]}")
        check_classification_targets(y)
        return X, y

    def _extend(self, classes: np.ndarray) -> Extension:
        """Return the network for these classes, ready to be trained once or once per fold."""
        return extend(self, classes)
