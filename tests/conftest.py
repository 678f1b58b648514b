"""What several test modules need: images of two classes, and a network that learns them."""

import contextlib
import errno
import io
import os

import keras
import numpy as np
import pytest
from keras import layers

import detl
from detl import folds, progress
from detl.validation.results import CrossValidationResult, FoldResult

SHAPE = (16, 16, 1)


@pytest.fixture(autouse=True)
def environment():
    """Undo what a test sets in the environment: processes started later would inherit it."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def tiny_labels():
    """Return 40 labels, alternating, so that any rows in order hold both classes."""
    return _read_only(np.array(["dim", "bright"] * 20))


@pytest.fixture(scope="session")
def tiny_images(tiny_labels):
    """Return noise, brighter in one class; the array cannot be written to."""
    noise = np.random.default_rng(0).integers(0, 136, (len(tiny_labels), *SHAPE))
    return _read_only(
        (noise + 120 * (tiny_labels == "bright")[:, None, None, None]).astype("uint8")
    )


@pytest.fixture(scope="session")
def tiny_backbone():
    """Return a network in which all that can be random is: weights, statistics, dropout."""
    images = keras.Input(SHAPE, name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(images)
    x = layers.Conv2D(8, 3, strides=2, name="block1_conv")(x)
    x = layers.BatchNormalization(momentum=0.5, name="block1_norm")(x)
    x = layers.ReLU(name="block1_relu")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dropout(0.2, name="dropout")(x), name="tiny")


@pytest.fixture(scope="session")
def tiny_source(tiny_backbone, tiny_images, tiny_labels):
    """Return a source model that tells the two classes apart."""
    return detl.pretrain(
        tiny_backbone,
        tiny_images,
        tiny_labels,
        epochs=4,
        batch_size=8,
        learning_rate=0.03,
        random_state=0,
        verbose=0,
    )


@pytest.fixture
def terminal(monkeypatch):
    """Return what passes for a terminal, for ``contextlib.redirect_stderr``.

    Bars are shown at once there, so that what takes no time shows one.
    """
    monkeypatch.setattr(progress, "SHOWN_AFTER", 0)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    return Terminal()


@pytest.fixture
def full_disk(monkeypatch):
    """Return a context in which nothing reaches the disk, for want of room."""

    @contextlib.contextmanager
    def full():
        def no_room(descriptor):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", no_room)
            yield

    return full


@pytest.fixture(scope="session")
def make_result():
    """Return a function that makes up the result of a cross-validation, without any training."""

    def make(labels, *, groups=None, indices=None, probabilities=None, histories=None):
        labels = np.asarray(labels)
        groups = None if groups is None else np.asarray(groups)
        if indices is None:
            indices = folds.stratified_folds(labels, groups=groups, random_state=0)
        if probabilities is None:
            probabilities = made_up_probabilities(labels)
            probabilities = [probabilities[test] for _, test in indices]
        if histories is None:
            histories = [{"loss": [1.0, 0.5 + k], "accuracy": [0.5, 0.75]} for k in range(9)]
        return CrossValidationResult(
            classes=np.unique(labels),
            labels=labels,
            groups=groups,
            folds=tuple(
                FoldResult(
                    train=train,
                    test=test,
                    probabilities=np.asarray(probabilities[k], "float32"),
                    history=histories[k % len(histories)],
                    seed=k,
                    start="digest",
                    seconds=1.5,
                )
                for k, (train, test) in enumerate(indices)
            ),
            audit=folds.audit(indices, labels, groups=groups),
            settings={"interval_seed": 0, "transfer": {"epochs": 2}},
            versions={"python": "3"},
            seconds={"features": 0.1, "total": 2.5},
        )

    def made_up_probabilities(labels):
        classes, targets = np.unique(labels, return_inverse=True)
        logits = np.random.default_rng(0).normal(size=(len(labels), len(classes)))
        shares = np.exp(1.5 * logits + 2 * np.eye(len(classes))[targets])
        return shares / shares.sum(axis=1, keepdims=True)

    return make


def _read_only(array):
    array.flags.writeable = False
    return array
