"""A training goes on only from one that all that decides it is the same of."""

import copy
import functools

import keras
import numpy as np
import pytest
from keras import layers

from detl import folds
from detl.seeds import integer_seed, seed_sequence

SHAPE = (16, 16, 1)


def test_settings_may_be_numbers_of_numpy(train, tmp_path):
    plain = train(epochs=2, learning_rate=0.25, checkpoint_dir=tmp_path)
    numbers = {"epochs": np.int64(2), "learning_rate": np.float32(0.25)}
    assert train(**numbers, checkpoint_dir=tmp_path).history == plain.history


class End(keras.callbacks.Callback):
    """End training after the first epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def plain(batch, generator):
    return batch


def darker(batch, generator, by=1):
    return np.maximum(batch, by) - by


class Darker:
    def __init__(self, by):
        self.by = by

    def __call__(self, batch, generator):
        return darker(batch, generator, self.by)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (plain, darker),
        (Darker(1), Darker(2)),
        (functools.partial(darker, by=1), functools.partial(darker, by=2)),
    ],
)
def test_augmentations_of_ones_own_are_told_apart(train, tmp_path, first, other):
    train(augmentation=first, checkpoint_dir=tmp_path)
    train(augmentation=copy.copy(first), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"other settings\.augmentation"):
        train(augmentation=other, checkpoint_dir=tmp_path)


def test_a_backbone_whose_layer_was_edited_is_another(train, tmp_path):
    def backbone(factor):
        kind = type("Scaled", (layers.Layer,), {"call": lambda self, x: x * factor})
        images = keras.Input(SHAPE)
        return keras.Model(images, layers.GlobalAveragePooling2D()(kind()(images)))

    train(backbone(1 / 255), checkpoint_dir=tmp_path)
    train(backbone(1 / 255), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="belongs to another run: other outputs on noise"):
        train(backbone(2 / 255), checkpoint_dir=tmp_path)


def test_one_that_cannot_be_is_refused_before_anything_is_trained(train, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be pickled.*leave checkpoint_dir out"):
        train(augmentation=lambda batch, generator: batch, checkpoint_dir=tmp_path)


def test_a_training_on_other_rows_of_the_same_images_is_another(
    train, tiny_images, tiny_labels, tmp_path
):
    """The same images are held out, and others of their groups are left out of training."""
    images, labels = tiny_images[:16], tiny_labels[:16]
    seed = integer_seed(seed_sequence(0).spawn(4)[0])  # that pretrain holds out by
    found = {}
    for draw in range(500):
        groups = np.random.default_rng(draw).permutation(np.repeat(np.arange(8), 2))
        rows, held_out = folds.balanced_holdout(labels, groups=groups, random_state=seed)
        other_rows, other = found.setdefault(tuple(held_out), (tuple(rows), groups))
        if other_rows != tuple(rows):
            break
    assert other_rows != tuple(rows)
    train(images=images, labels=labels, groups=other, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="other split"):
        train(images=images, labels=labels, groups=groups, checkpoint_dir=tmp_path)


@pytest.fixture(scope="module")
def folder(train, validation, tmp_path_factory):
    """Return where a training is kept; another that is refused writes nothing there."""
    folder = tmp_path_factory.mktemp("epochs")
    train(epochs=5, validation_data=validation, checkpoint_dir=folder, callbacks=[End()])
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 6}, r"settings\.epochs is 5 there, 6 here"),
        ({"ema_epochs": 2}, r"settings\.ema_epochs is None there, 2 here"),
        ({"augmentation": None}, r"settings\.augmentation is 'Augmentation\(.*there, 'None' here"),
        ({"augmentation": plain}, r"settings\.augmentation is 'Augmentation\("),
        ({"random_state": 1}, "other initial weights; .*seeds is"),
    ],
)
def test_another_training_does_not_go_on_from_there(train, validation, folder, changes, message):
    options = {"epochs": 5, "validation_data": validation, **changes}
    with pytest.raises(ValueError, match=f"belongs to another run: .*{message}"):
        train(**options, checkpoint_dir=folder)


@pytest.mark.parametrize("what", ["images", "labels", "validation images", "validation labels"])
def test_nor_does_one_on_other_images(train, tiny_images, tiny_labels, validation, folder, what):
    given = {
        "images": tiny_images,
        "labels": tiny_labels,
        "validation images": validation[0],
        "validation labels": validation[1],
    }
    given[what] = given[what][::-1]
    with pytest.raises(ValueError, match=f"other {what}"):
        train(
            images=given["images"],
            labels=given["labels"],
            validation_data=(given["validation images"], given["validation labels"]),
            epochs=5,
            checkpoint_dir=folder,
        )


def test_a_training_that_never_comes_again_is_not_kept(train, tmp_path):
    with pytest.raises(ValueError, match=r"without random_state.*give random_state=0"):
        train(checkpoint_dir=tmp_path, random_state=None)
    assert not list(tmp_path.iterdir())
