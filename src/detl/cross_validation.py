"""Judge a transfer by k-fold cross-validation: every prediction is of an image not trained on."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from sklearn.base import clone
from sklearn.metrics import confusion_matrix

from detl import folds, metrics
from detl._batches import integer_seed, seed_sequence
from detl._checks import check_classes, check_count, check_labels
from detl.transfer import DomainExtensionTransfer


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossValidationResult:
    """What cross-validation found; ``print`` it for a table.

    Attributes
    ----------
    classes : numpy.ndarray of shape (n_classes,)
        Class names, sorted.
    labels, predictions : numpy.ndarray of shape (n,)
        True class of image i and the class predicted for it by the fold that did not train on it.
    probabilities : numpy.ndarray of shape (n, n_classes)
        Out-of-fold probabilities; row i belongs to image i.
    indices : list of (train, test)
        Row indices of each fold.
    fold_of : numpy.ndarray of shape (n,)
        Fold in which image i was tested.
    accuracies : numpy.ndarray of shape (n_splits,)
        Share of right predictions among each fold's test images, in [0, 1].
    confusion_matrix : numpy.ndarray of shape (n_classes, n_classes)
        Summed over folds (Basu et al. 2020, Fig. 3); rows are true classes, columns predicted.
    interval : Interval
        95 % interval of the accuracy over all images, and how it was found.
    groups_given : bool
        Whether images of one group were kept together.
    histories : list of dict
        Course of the training of each fold.
    seconds : dict of str to float or list of float
        Wall time: ``features`` (trunk, once) and ``folds`` (fit and predict, each).
    fold_seeds : list of int
        ``transfer.set_params(random_state=fold_seeds[k]).fit(images[train], labels[train])``
        repeats fold k.
    """

    classes: np.ndarray
    labels: np.ndarray = field(repr=False)
    predictions: np.ndarray = field(repr=False)
    probabilities: np.ndarray = field(repr=False)
    indices: list[folds.Indices] = field(repr=False)
    fold_of: np.ndarray = field(repr=False)
    accuracies: np.ndarray
    confusion_matrix: np.ndarray
    interval: metrics.Interval
    groups_given: bool
    histories: list[dict[str, list[float]]] = field(repr=False)
    seconds: dict[str, Any] = field(repr=False)
    fold_seeds: list[int] = field(repr=False)

    @property
    def accuracy(self) -> float:
        """Mean of the folds' accuracies, in [0, 1]."""
        return float(self.accuracies.mean())

    @property
    def accuracy_std(self) -> float:
        """Sample standard deviation (n - 1) of the folds' accuracies, in [0, 1]."""
        return float(self.accuracies.std(ddof=1))

    def __str__(self) -> str:
        """Return the table worth pasting."""
        n_folds = len(self.accuracies)
        together = "groups kept together" if self.groups_given else "images split at random"
        lines = [
            f"accuracy {self.accuracy:.3f} ± {self.accuracy_std:.3f} (share of images; mean ± "
            f"standard deviation over {n_folds} folds, {together})",
            f"95 % interval {self.interval.low:.3f} to {self.interval.high:.3f} "
            f"({self.interval.method})",
            "folds " + "  ".join(f"{accuracy:.3f}" for accuracy in self.accuracies),
            "",
        ]
        table = metrics.class_table(self.confusion_matrix)
        names = [str(name) for name in self.classes]
        width = max(len("class"), *map(len, names))
        lines.append(f"{'class':<{width}}  " + "  ".join(f"{name:>11}" for name in table))
        for row, name in enumerate(names):
            cells = [f"{table['images'][row]:>11d}"]
            cells += [f"{table[score][row]:>11.3f}" for score in list(table)[1:]]
            lines.append(f"{name:<{width}}  " + "  ".join(cells))
        lines += ["", "confusion matrix, summed over folds (rows: true, columns: predicted)"]
        cell = max(7, *(len(name) + 2 for name in names))
        lines.append(" " * width + "".join(f"{name:>{cell}}" for name in names))
        lines += [
            f"{name:<{width}}" + "".join(f"{count:>{cell}d}" for count in counts)
            for name, counts in zip(names, self.confusion_matrix, strict=True)
        ]
        return "\n".join(lines)


def cross_validate(
    transfer: DomainExtensionTransfer,
    images: Any,
    labels: Any,
    *,
    groups: Any = None,
    n_splits: int = 5,
    random_state: Any = None,
    verbose: int = 0,
) -> CrossValidationResult:
    """Cross-validate a transfer with stratified folds, groups kept together.

    The frozen trunk runs once for all folds, and one compiled tail is reset before each.

    Parameters
    ----------
    transfer : DomainExtensionTransfer
        Left unfitted.
    images : numpy.ndarray of shape (n, height, width, channels)
        Pixels in [0, 255]; may be a memory map.
    labels : array-like of shape (n,)
        Class of each image, strings or integers.
    groups : array-like of shape (n,), optional
        Patient (or what else repeats) of each image. Give it wherever one patient has several
        images: otherwise the same patient is trained and tested on, and the accuracy flatters.
    n_splits : int, default=5
        Number of folds.
    random_state : int, numpy generator or None
        Seeds the folds and, spawned from it, each fold's new layer, order of images and dropout.
        The transfer's own ``random_state`` plays no part.
    verbose : int, default=0
        1 shows a progress bar over the folds with the mean accuracy so far.

    Returns
    -------
    CrossValidationResult
        Out-of-fold predictions of every image, and scores.

    Raises
    ------
    ValueError
        If labels, groups or images do not fit, or a class has fewer images or groups than
        ``n_splits``. Nothing has been trained then.

    References
    ----------
    Basu et al. 2020, sec. IV: stratified 5-fold cross-validation.
    """
    if not isinstance(transfer, DomainExtensionTransfer):
        raise TypeError(
            f"transfer is {type(transfer).__name__}; expected a DomainExtensionTransfer. "
            "For any other classifier use sklearn.model_selection.cross_validate."
        )
    check_count("n_splits", n_splits, at_least=2)
    transfer = clone(transfer)
    images, labels = transfer.check_data(images, labels, names=("images", "labels"))
    classes, targets = check_classes(labels)
    if groups is not None:
        groups = check_labels(groups, len(images), name="groups")
    split_seed, interval_seed, *seeds = seed_sequence(random_state).spawn(2 + n_splits)
    indices = folds.stratified_folds(
        labels, groups=groups, n_splits=n_splits, random_state=integer_seed(split_seed)
    )
    fold_seeds = [integer_seed(seed) for seed in seeds]
    training = transfer.training(classes)

    started = time.perf_counter()
    extension = transfer.extend(len(classes))
    features = extension.trunk(images)
    seconds: dict[str, Any] = {"features": time.perf_counter() - started, "folds": []}

    probabilities = np.full((len(images), len(classes)), np.nan, dtype="float32")
    fold_of = np.full(len(images), -1)
    histories = []
    progress = keras.utils.Progbar(n_splits, verbose=verbose, unit_name="fold")
    for fold, (train, test) in enumerate(indices):
        started = time.perf_counter()
        history = extension.tail.fit(
            features,
            targets,
            rows=train,
            seed=seed_sequence(fold_seeds[fold]),
            **training,
        )
        probabilities[test] = extension.tail.probabilities(
            features, rows=test, batch_size=transfer.batch_size
        )
        fold_of[test] = fold
        histories.append(history)
        seconds["folds"].append(time.perf_counter() - started)
        accuracy = np.mean(probabilities[test].argmax(axis=1) == targets[test])
        progress.update(fold + 1, values=[("accuracy", accuracy)])

    predicted = probabilities.argmax(axis=1)
    correct = predicted == targets
    return CrossValidationResult(
        classes=classes,
        labels=labels,
        predictions=classes[predicted],
        probabilities=probabilities,
        indices=indices,
        fold_of=fold_of,
        accuracies=np.array([correct[test].mean() for _, test in indices]),
        confusion_matrix=confusion_matrix(targets, predicted, labels=np.arange(len(classes))),
        interval=metrics.accuracy_interval(
            correct, groups=groups, random_state=integer_seed(interval_seed)
        ),
        groups_given=groups is not None,
        histories=histories,
        seconds=seconds,
        fold_seeds=fold_seeds,
    )
