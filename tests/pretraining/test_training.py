"""The source stage: what is trained on what, which weights come back, and what a file keeps."""

import contextlib
import copy
import functools
import gc
import itertools
import logging
import math
import random
import re
import weakref
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from detl import folds, load_source, pretrain
from detl.networks.digests import weights_digest
from detl.pretraining.training import _adam
from detl.seeds import integer_seed, seed_sequence

SHAPE = (16, 16, 1)
LIKE_TINY_SOURCE = {"epochs": 4, "batch_size": 8, "learning_rate": 0.03, "random_state": 0}


@pytest.fixture
def train(tiny_backbone, tiny_images, tiny_labels):
    """Return a function that pretrains as for ``tiny_source``, but for what it is given."""

    def trained(backbone=tiny_backbone, images=tiny_images, labels=tiny_labels, **changes):
        return pretrain(
            backbone, images, labels, **{**LIKE_TINY_SOURCE, "verbose": 0, "epochs": 1, **changes}
        )

    return trained


def mean_brightness():
    """A backbone without weights: what is trained on top of it is a logistic regression."""
    images = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(images)
    return keras.Model(images, layers.GlobalAveragePooling2D()(x))


def probabilities(source, images):
    return source.model.predict_on_batch(np.asarray(images))


def shares(found):
    """The same probabilities in float64, with a sum of 1 to the last digit."""
    found = found.astype("float64")
    return found / found.sum(axis=1, keepdims=True)


def trained_layers(before, after):
    """Names of the layers whose first weight differs."""
    return [
        layer.name
        for layer in before.layers
        if layer.weights
        and not np.array_equal(layer.get_weights()[0], after.get_layer(layer.name).get_weights()[0])
    ]


class Witness:
    """An augmentation that changes nothing and counts the images that pass, known by a pixel."""

    def __init__(self):
        self.batches = []

    def __call__(self, images, generator):
        self.batches.append(images[:, 0, 0, 0].tolist())
        return images

    def times_seen(self, n):
        seen = Counter(image for batch in self.batches for image in batch)
        return np.array([seen[row] for row in range(n)])


def numbered(images):
    """Write the number of each image into its first pixel."""
    images = np.array(images)
    images[:, 0, 0, 0] = np.arange(len(images))
    return images


# ---------------------------------------------------------------------------- what decides


def draws():
    """Return what each global generator gives next."""
    numbers = random.random(), np.random.random()  # noqa: NPY002
    return *numbers, *map(float, keras.random.normal((2,))), *map(float, tf.random.normal((2,)))


def test_the_weights_depend_on_the_random_state_alone_and_global_generators_are_not_moved(
    train, tiny_source
):
    keras.utils.set_random_seed(99)
    expected_draws = draws()
    keras.utils.set_random_seed(99)
    again = train(epochs=4)
    assert draws() == expected_draws
    assert weights_digest(again.model) == weights_digest(tiny_source.model)
    assert again.history == tiny_source.history
    assert np.array_equal(again.classes, tiny_source.classes)


def test_another_random_state_gives_other_weights(train):
    digests = {weights_digest(train(random_state=seed).model) for seed in (0, 1, None, None)}
    assert len(digests) == 4


@pytest.mark.parametrize("policy", ["mixed_float16", "float64"])
def test_the_callers_dtype_policy_is_neither_used_nor_changed(train, tiny_source, policy):
    keras.config.set_dtype_policy(policy)
    try:
        found = train(epochs=4)
        assert keras.config.dtype_policy().name == policy
    finally:
        keras.config.set_dtype_policy("float32")
    assert weights_digest(found.model) == weights_digest(tiny_source.model)


def test_the_backbone_is_left_as_it_is_even_frozen_and_trained_from_the_start_nonetheless(train):
    backbone = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Rescaling(1 / 255),
            layers.Conv2D(2, 3, strides=4, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    backbone.trainable = False
    digest = weights_digest(backbone)
    model = train(backbone).model
    assert weights_digest(backbone) == digest
    assert not backbone.trainable
    assert not backbone.compiled
    assert trained_layers(backbone, model) == ["conv", "norm"]
    # Gamma starts at 1 whatever the seed: that it moved shows training, not a new draw.
    assert not np.array_equal(model.get_layer("norm").gamma, np.ones(2))


# -------------------------------------------------------------------- which weights come back


@pytest.fixture(scope="module")
def validation(tiny_images):
    """Return grey images with labels by chance, so that accuracy goes up and down."""
    levels = np.linspace(20, 235, 60).astype("uint8")
    images = np.broadcast_to(levels[:, None, None, None], (60, *SHAPE))
    return images, np.random.default_rng(3).choice(["dim", "bright"], 60)


@pytest.fixture(scope="module")
def judged(tiny_backbone, tiny_images, tiny_labels, validation):
    """Return a source whose best validation accuracy is neither the first nor the last."""
    return pretrain(
        tiny_backbone,
        tiny_images,
        tiny_labels,
        validation_data=validation,
        **{**LIKE_TINY_SOURCE, "epochs": 6, "verbose": 0},
    )


def test_the_weights_that_come_back_are_those_of_the_best_epoch(judged, validation):
    accuracies = judged.history["val_accuracy"]
    assert 0 < judged.best_epoch < 5
    assert accuracies[-1] < max(accuracies)
    found = probabilities(judged, validation[0])
    right = judged.classes[found.argmax(axis=1)] == validation[1]
    assert right.mean() == pytest.approx(max(accuracies))
    # The loss tells apart epochs of one accuracy.
    loss = log_loss(validation[1], shares(found), labels=judged.classes)
    assert loss == pytest.approx(judged.history["val_loss"][judged.best_epoch], rel=1e-5)


class Watched(np.ndarray):
    """Images that know how many of them were copied at once."""

    most_copied = 0

    def __getitem__(self, key):
        found = super().__getitem__(key)
        if isinstance(key, np.ndarray):
            Watched.most_copied = max(Watched.most_copied, len(found))
        return found


def test_no_more_than_a_batch_is_copied_not_even_to_validate(train, tiny_images):
    train(images=tiny_images.view(Watched))
    assert 0 < Watched.most_copied <= LIKE_TINY_SOURCE["batch_size"]


def test_the_images_are_let_go_of(train, tiny_images):
    images = tiny_images.copy()
    source = train(images=images)
    kept = weakref.ref(images)
    del images
    gc.collect()
    assert kept() is None
    assert source.history["val_loss"]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow has it")
def test_no_generator_of_tensorflow_is_used_which_slows_the_whole_process_down(train, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("from_generator is called")

    monkeypatch.setattr(tf.data.Dataset, "from_generator", refuse)
    train()


def test_an_error_of_an_augmentation_is_raised_as_it_is(train):
    asked = []

    def break_down_later(batch, generator):
        asked.append(len(batch))
        if len(asked) == 2:
            raise LookupError("no colour left")
        return batch

    with pytest.raises(LookupError, match=r"^'?no colour left'?$"):
        train(augmentation=break_down_later, epochs=2)


def test_callbacks_run_beside_the_one_that_keeps_the_best_epoch(train):
    epochs = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(logs))
    source = train(epochs=2, callbacks=[watch])
    assert [logs["val_accuracy"] for logs in epochs] == source.history["val_accuracy"]


@pytest.mark.parametrize("wrong", [keras.callbacks.History(), ["log.csv"]])
def test_what_is_no_list_of_callbacks_is_refused(train, wrong):
    with pytest.raises(TypeError, match="expected a list of keras"):
        train(callbacks=wrong)


def test_of_equally_good_epochs_the_first_is_kept(judged):
    accuracies = judged.history["val_accuracy"]
    assert accuracies.count(max(accuracies)) > 1
    assert judged.best_epoch == accuracies.index(max(accuracies))


def test_training_runs_to_the_last_epoch_and_each_has_an_entry_in_the_history(judged):
    assert set(judged.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert {len(values) for values in judged.history.values()} == {6}
    assert all(type(value) is float for values in judged.history.values() for value in values)


def test_the_loss_falls(tiny_source):
    assert tiny_source.history["loss"][-1] < tiny_source.history["loss"][0] / 2


def test_columns_of_probabilities_belong_to_the_sorted_classes(
    tiny_source, tiny_images, tiny_labels
):
    assert tiny_source.classes.tolist() == ["bright", "dim"]
    found = probabilities(tiny_source, tiny_images)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(tiny_source.classes[found.argmax(axis=1)], tiny_labels)


@pytest.mark.parametrize("names", [(3, 7), (False, True), (1.0, 2.0)])
def test_labels_may_be_numbers_and_only_their_order_matters(train, tiny_source, tiny_labels, names):
    named = np.where(tiny_labels == "bright", *names).tolist()  # a list will do
    found = train(labels=named, epochs=4)
    assert found.classes.tolist() == list(names)
    assert weights_digest(found.model) == weights_digest(tiny_source.model)


def test_training_in_bfloat16_gives_a_float32_model(train, tiny_source, tiny_images):
    found = train(precision="mixed_bfloat16", epochs=4)
    assert {layer.dtype_policy.name for layer in found.model.layers} == {"float32"}
    assert {weight.dtype for weight in found.model.weights} == {"float32"}
    assert found.history["loss"][-1] < found.history["loss"][0] / 2
    assert found.history["loss"] != tiny_source.history["loss"]
    expected = probabilities(tiny_source, tiny_images)
    np.testing.assert_allclose(probabilities(found, tiny_images), expected, atol=0.1)


@pytest.mark.parametrize("dtype", ["int16", "uint16", ">u2", ">f4"])
def test_other_types_of_pixels_train_to_the_weights_of_floats(train, tiny_images, dtype):
    found, expected = (
        train(images=tiny_images.astype(each)).model.get_weights() for each in (dtype, "float32")
    )
    for weight, of_floats in zip(found, expected, strict=True):
        np.testing.assert_array_equal(weight, of_floats)


def test_nothing_is_printed_with_verbose_0(train, capfd):
    train(backbone=mean_brightness())
    assert capfd.readouterr().out == ""


# ----------------------------------------------------------------- a training that breaks off

LONG = {"epochs": 5, "class_weight": "balanced"}


class Break(keras.callbacks.Callback):
    """Break training off, in the middle of an epoch or at its end."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.epoch, self.batch, self.seen = epoch, batch, []

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(epoch)

    def on_train_batch_end(self, batch, logs=None):
        if (self.seen[-1], batch) == (self.epoch, self.batch):
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if self.epoch == epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("broken", "changes"),
    [
        ((0, 1), {}),
        ((2, 1), {"ema_epochs": 0.6}),
        ((4, None), {}),
        # In one step an epoch, so that what is prepared ahead is of the epochs to come.
        ((2, None), {"batch_size": 64, "ema_epochs": 2}),
    ],
)
def test_a_training_that_broke_off_goes_on_to_the_same_weights(
    train, validation, tmp_path, broken, changes
):
    options = {**LONG, **changes, "validation_data": validation}
    whole = train(**options)
    with pytest.raises(KeyboardInterrupt):
        train(**options, callbacks=[Break(*broken)], checkpoint_dir=tmp_path / "epochs")
    watch = Break(None)
    found = train(**options, callbacks=[watch], checkpoint_dir=tmp_path / "epochs")
    assert watch.seen == list(range(broken[0], 5))
    assert weights_digest(found.model) == weights_digest(whole.model)
    assert found.history == whole.history
    assert found.best_epoch == whole.best_epoch


def test_what_is_kept_may_be_of_an_epoch_before_the_break(train, validation, judged, tmp_path):
    options = {"epochs": 6, "validation_data": validation, "checkpoint_dir": tmp_path}
    assert judged.best_epoch < 5
    with pytest.raises(KeyboardInterrupt):
        train(**options, callbacks=[Break(5)])
    found = train(**options)
    assert found.best_epoch == judged.best_epoch
    assert weights_digest(found.model) == weights_digest(judged.model)


def test_a_finished_training_is_loaded_and_takes_less_room_than_one_that_goes_on(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(**LONG, checkpoint_dir=tmp_path, callbacks=[Break(4)])
    size = (tmp_path / "training.npz").stat().st_size
    watch = Break(None)
    first = train(**LONG, checkpoint_dir=tmp_path)
    again = train(**LONG, checkpoint_dir=tmp_path, callbacks=[watch])
    assert watch.seen == []
    assert weights_digest(again.model) == weights_digest(first.model)
    assert again.history == first.history
    assert len(again.history["loss"]) == 5
    assert (tmp_path / "training.npz").stat().st_size < size / 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "training.npz"]


def test_a_training_that_a_callback_ended_is_finished(train, tmp_path):
    class End(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    first = train(**LONG, checkpoint_dir=tmp_path, callbacks=[End()])
    again = train(**LONG, checkpoint_dir=tmp_path)
    assert again.history == first.history
    assert len(again.history["loss"]) == 2


@pytest.mark.parametrize("stop", [True, np.True_])
def test_a_callback_may_end_it_within_an_epoch(train, tmp_path, stop):
    class End(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.stop_training = stop

    first = train(**LONG, batch_size=2, checkpoint_dir=tmp_path, callbacks=[End()])
    assert len(first.history["loss"]) == 1
    assert train(**LONG, batch_size=2, checkpoint_dir=tmp_path).history == first.history


def test_a_log_that_a_callback_adds_is_in_the_history_before_and_after_the_break(train, tmp_path):
    class Add(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["place"] = epoch / 2

    with pytest.raises(KeyboardInterrupt):
        train(**LONG, checkpoint_dir=tmp_path, callbacks=[Add(), Break(3)])
    again = train(**LONG, checkpoint_dir=tmp_path)
    assert again.history["place"] == [0, 0.5, 1]
    assert len(again.history["loss"]) == 5
    assert train(**LONG, checkpoint_dir=tmp_path).history == again.history


def test_settings_may_be_numbers_of_numpy(train, tmp_path):
    plain = train(epochs=2, learning_rate=0.25, checkpoint_dir=tmp_path)
    numbers = {"epochs": np.int64(2), "learning_rate": np.float32(0.25)}
    assert train(**numbers, checkpoint_dir=tmp_path).history == plain.history


def test_whose_folders_lie_beside_it_does_not_matter(train, tmp_path):
    (tmp_path / "work-2024").mkdir()
    train(checkpoint_dir=tmp_path)
    assert (tmp_path / "work-2024").is_dir()


@pytest.mark.parametrize("logged", ["goes on: .* has 2 of 5", "loads what is finished: .* 5 of 5"])
def test_it_is_said_that_less_is_trained_than_one_might_think(train, tmp_path, caplog, logged):
    with pytest.raises(KeyboardInterrupt):
        train(**LONG, checkpoint_dir=tmp_path, callbacks=[Break(2)])
    with caplog.at_level(logging.INFO, "detl"):
        train(**LONG, checkpoint_dir=tmp_path)
        train(**LONG, checkpoint_dir=tmp_path)
    assert re.search(logged, caplog.text)


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
def test_another_training_does_not_go_on_from_there(train, tmp_path, changes, message):
    with pytest.raises(KeyboardInterrupt):
        train(**LONG, checkpoint_dir=tmp_path, callbacks=[Break(1)])
    with pytest.raises(ValueError, match=f"belongs to another run: .*{message}"):
        train(**LONG | changes, checkpoint_dir=tmp_path)


@pytest.mark.parametrize("what", ["images", "labels", "validation images", "validation labels"])
def test_nor_does_one_on_other_images(train, tiny_images, tiny_labels, validation, tmp_path, what):
    given = {
        "images": tiny_images,
        "labels": tiny_labels,
        "validation images": validation[0],
        "validation labels": validation[1],
    }

    def trained(given):
        return train(
            images=given["images"],
            labels=given["labels"],
            validation_data=(given["validation images"], given["validation labels"]),
            checkpoint_dir=tmp_path,
        )

    trained(given)
    with pytest.raises(ValueError, match=f"other {what}"):
        trained(given | {what: given[what][::-1]})


def test_a_training_that_never_comes_again_is_not_kept(train, tmp_path):
    with pytest.raises(ValueError, match=r"without random_state.*give random_state=0"):
        train(checkpoint_dir=tmp_path, random_state=None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("cut", [0, 100])
def test_a_damaged_file_is_warned_of_and_training_begins_again(train, tmp_path, cut):
    with pytest.raises(KeyboardInterrupt):
        train(**LONG, checkpoint_dir=tmp_path, callbacks=[Break(2)])
    path = tmp_path / "training.npz"
    path.write_bytes(path.read_bytes()[:-cut] if cut else b"")
    watch = Break(None)
    with pytest.warns(UserWarning, match=r"training\.npz is damaged .* begins again"):
        found = train(**LONG, checkpoint_dir=tmp_path, callbacks=[watch])
    assert watch.seen == [0, 1, 2, 3, 4]
    assert weights_digest(found.model) == weights_digest(train(**LONG).model)


def test_training_goes_on_where_the_disk_is_full(train, tmp_path, full_disk):
    class Fill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                stack.enter_context(full_disk())
            if epoch == 2:
                stack.close()

    with (
        contextlib.ExitStack() as stack,
        pytest.warns(RuntimeWarning, match=r"No space left.*the epochs since the last") as warned,
    ):
        found = train(**LONG, checkpoint_dir=tmp_path, callbacks=[Fill()])
    full = [said for said in warned if said.category is RuntimeWarning]
    assert len(full) == 1  # there is room again in the next epoch
    assert weights_digest(found.model) == weights_digest(train(**LONG).model)


# ------------------------------------------------------------------------ averaged weights


def test_averaged_weights_are_validated_and_kept_and_training_goes_on_without_them(
    train, tiny_images, validation
):
    """Without dropout and statistics, so that all that is random is the order."""
    weights, ends = [], []
    watch = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weights.append(watch.model.get_weights()),
        on_epoch_end=lambda epoch, logs: ends.append(len(weights)),
    )
    options = {"epochs": 4, "validation_data": validation, "augmentation": None}
    found = train(mean_brightness(), **options, ema_epochs=1.5, callbacks=[watch])
    plain = train(mean_brightness(), **options)
    assert found.history["loss"] == plain.history["loss"]
    assert found.history["val_loss"] != plain.history["val_loss"]

    share = 1 / (1.5 * ends[0])
    average, averages = weights[0], []
    for now in weights:
        average = [mean + share * (new - mean) for mean, new in zip(average, now, strict=True)]
        averages.append(average)
    for kept, mean in zip(
        found.model.get_weights(), averages[ends[found.best_epoch] - 1], strict=True
    ):
        np.testing.assert_allclose(kept, mean, rtol=1e-4)
    loss = log_loss(
        validation[1], shares(probabilities(found, validation[0])), labels=found.classes
    )
    assert loss == pytest.approx(found.history["val_loss"][found.best_epoch], rel=1e-5)


def test_an_average_over_less_than_a_step_is_no_average(train, validation):
    options = {"epochs": 3, "validation_data": validation}
    plain = train(**options)
    assert weights_digest(train(**options, ema_epochs=1e-9).model) == weights_digest(plain.model)


# ------------------------------------------------------------------------ what is trained on


def test_a_balanced_fifth_is_held_out_and_every_other_image_is_seen_once_per_epoch(
    train, tiny_images, caplog
):
    labels = np.array(["rare"] * 10 + ["common"] * 30)
    witness = Witness()
    with caplog.at_level(logging.INFO, logger="detl"):
        train(
            mean_brightness(), numbered(tiny_images), labels, epochs=2, batch_size=16,
            augmentation=witness,
        )  # fmt: skip
    seen = witness.times_seen(40)
    # Keras reads a few batches ahead of what it trains on, which never amount to an epoch here.
    assert [len(batch) for batch in witness.batches[:6]] == [16, 16, 4] * 2
    for epoch in (witness.batches[:3], witness.batches[3:6]):
        assert sorted(itertools.chain(*epoch)) == np.flatnonzero(seen).tolist()
    held_out = labels[seen == 0]
    assert np.unique(held_out, return_counts=True)[1].tolist() == [2, 2]
    assert "pretrain holds out 4 of 40 images to validate." in caplog.text


def test_images_of_a_group_are_trained_on_together_or_not_at_all(train, tiny_images):
    witness = Witness()
    groups = np.arange(40) % 10  # each of them has four images of one class
    train(mean_brightness(), numbered(tiny_images), groups=groups, augmentation=witness)
    trained = witness.times_seen(40) > 0
    whole = [set(trained[groups == group]) for group in range(10)]
    assert whole.count({True}) + whole.count({False}) == 10
    assert whole.count({False}) == 2


def test_validation_images_that_are_given_are_used_and_all_others_trained_on(
    train, tiny_images, tiny_labels
):
    witness = Witness()
    source = train(
        mean_brightness(),
        numbered(tiny_images),
        validation_data=(tiny_images[:5], tiny_labels[:5].tolist()),
        augmentation=witness,
    )
    assert (witness.times_seen(40) > 0).all()
    found = shares(probabilities(source, tiny_images[:5]))
    expected = log_loss(tiny_labels[:5], found, labels=source.classes)
    assert source.history["val_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_a_memory_map_is_never_read_whole(train, tiny_source, tiny_images, tmp_path):
    class Watched(np.memmap):
        reads = []  # noqa: RUF012

        def __getitem__(self, index):
            found = super().__getitem__(index)
            self.reads.append(len(np.atleast_1d(found)))
            return found

    np.save(tmp_path / "images.npy", tiny_images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r").view(Watched)
    found = train(images=mapped, epochs=4)
    assert weights_digest(found.model) == weights_digest(tiny_source.model)
    assert max(Watched.reads) == 8  # a batch, and the fifth that is held out


def test_floats_train_like_the_bytes_they_are(train, tiny_images):
    found = {
        weights_digest(train(mean_brightness(), images, augmentation=None).model)
        for images in (tiny_images, tiny_images.astype("float64"), tiny_images.tolist())
    }
    assert len(found) == 1


def test_balanced_weights_undo_the_preference_for_the_common_class(train, tiny_images):
    # All images are the same, so that nothing but how often a class is seen can be learned.
    images = np.broadcast_to(tiny_images[:1], tiny_images.shape)
    labels = np.array(["rare"] * 4 + ["common"] * 36)
    settings = {
        "validation_data": (images[:2], ["rare", "common"]),
        "epochs": 160,
        "batch_size": 40,
        "learning_rate": 0.1,
        "augmentation": None,
    }
    for class_weight, expected in ((None, 0.1), ("balanced", 0.5)):
        source = train(mean_brightness(), images, labels, class_weight=class_weight, **settings)
        # The accuracy in validation is the same in all epochs: the last losses are what counts.
        last = source.history["val_loss"][-1]
        assert last == pytest.approx(log_loss([1, 0], [expected, expected]), abs=0.02)


# ------------------------------------------------------------------------- rate and gradient


@pytest.mark.parametrize(("steps", "epochs", "warmup_epochs"), [(10, 5, 1), (7, 3, 0.5), (4, 4, 0)])
def test_the_rate_rises_linearly_and_then_falls_along_a_cosine_to_zero(
    steps, epochs, warmup_epochs
):
    rate = _adam(2e-3, steps, epochs, warmup_epochs, gradient_clip=1.0)._learning_rate
    warm = round(warmup_epochs * steps)
    for step in range(steps * epochs + 1):
        if step < warm:
            expected = 2e-3 * step / warm
        else:
            done = (step - warm) / (steps * epochs - warm)
            expected = 2e-3 * (1 + math.cos(math.pi * done)) / 2
        assert float(rate(step)) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_a_training_of_one_step_takes_it_at_the_full_rate():
    rate = _adam(2e-3, steps=1, epochs=1, warmup_epochs=1, gradient_clip=1.0)._learning_rate
    assert float(rate(0)) == pytest.approx(2e-3)


@pytest.mark.parametrize("gradient_clip", [None, 0.5])
def test_the_gradient_is_clipped_by_its_global_norm_or_not_at_all(gradient_clip):
    optimizer = _adam(1e-3, steps=1, epochs=1, warmup_epochs=0, gradient_clip=gradient_clip)
    assert optimizer.global_clipnorm == gradient_clip
    gradients = [np.array([3.0]), np.array([4.0])]
    clipped = np.ravel(optimizer._clip_gradients(gradients))
    np.testing.assert_allclose(clipped, [3, 4] if gradient_clip is None else [0.3, 0.4], rtol=1e-6)


@pytest.mark.parametrize(("warmup_epochs", "expected"), [(0, 0.01), (1, 0.0)])
def test_the_papers_text_taken_literally_steps_at_the_full_rate_at_once(
    train, warmup_epochs, expected
):
    """The first step of Adam is the rate, whatever the gradient; a warm-up begins at zero."""
    source = train(
        mean_brightness(),
        epochs=2,
        batch_size=40,
        learning_rate=0.01,
        warmup_epochs=warmup_epochs,
        gradient_clip=None,
        augmentation=None,
    )
    assert source.best_epoch == 0  # after one step
    np.testing.assert_allclose(
        np.abs(source.model.get_layer("logits").bias), [expected, expected], rtol=1e-3
    )


def test_a_loss_that_is_no_number_is_warned_of(train):
    with pytest.warns(ConvergenceWarning, match=r"first in epoch 1: learning_rate=1e\+30 .* tenth"):
        train(learning_rate=1e30, epochs=2)


def test_classes_that_are_numpys_numbers_in_an_array_of_objects_are_saved(
    train, tiny_labels, tmp_path
):
    labels = np.empty(len(tiny_labels), dtype=object)
    labels[:] = [np.int64(3) if label == "dim" else np.int64(7) for label in tiny_labels]
    back = load_source(train(labels=labels, random_state=0).save(tmp_path / "source.keras"))
    assert back.classes.tolist() == [3, 7]


def test_validation_data_may_be_a_list_of_two(train, tiny_images, tiny_labels):
    pair = (tiny_images[:10], tiny_labels[:10])
    one, other = (train(validation_data=kind(pair), random_state=0) for kind in (tuple, list))
    assert one.history == other.history


# ------------------------------------------------------------------------------- wrong input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0; expected at least 1"),
        ({"batch_size": 0}, "batch_size=0; expected at least 1"),
        ({"learning_rate": 0}, "learning_rate=0; expected a number above 0"),
        ({"warmup_epochs": -1}, "warmup_epochs=-1; expected 0 or more"),
        ({"warmup_epochs": math.nan}, "warmup_epochs=nan; expected 0 or more"),
        ({"warmup_epochs": "one"}, "warmup_epochs='one'; expected 0 or more"),
        ({"gradient_clip": 0}, "gradient_clip=0; expected a number above 0"),
        ({"class_weight": "even"}, "class_weight='even'; expected one of None, 'balanced'"),
        ({"precision": "float16"}, "expected one of 'float32', 'mixed_bfloat16', 'auto'"),
        ({"random_state": -1}, "random_state=-1; expected a whole number >= 0"),
        ({"labels": ["a"] * 40}, "labels has one class only, 'a'"),
        ({"labels": ["a", "b"]}, "2 labels for 40 images"),
        ({"labels": ["a", None] * 20}, "labels has a missing value .* row 1"),
        ({"labels": ["a"] * 37 + ["b"] * 3}, "'b' has 3 images.*fraction>=0.34.*validation_data"),
        ({"groups": [0] * 37 + [1] * 3}, "'bright' has 2 groups.*validation_data of detl.pretrain"),
        ({"groups": [1, 2]}, "2 groups for 40 images"),
        ({"groups": [math.nan] + [1] * 39}, "groups has a missing value .* row 0"),
        (
            {"images": np.zeros((40, 8, 8, 1))},
            r"shape \(40, 8, 8, 1\), but the model takes \(n, 16",
        ),
        ({"images": np.zeros((40, 16, 16))}, r"expected \(n, height, width, channels\)"),
        ({"images": np.full((40, *SHAPE), np.nan)}, "NaN or infinity, first in row 0"),
    ],
)
def test_wrong_values_are_refused(train, changes, message):
    with pytest.raises(ValueError, match=message):
        train(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2.5}, "epochs is float 2.5; expected a whole number"),
        ({"learning_rate": "fast"}, "learning_rate is str 'fast'; expected a number"),
        ({"augmentation": True}, r"augmentation=True; expected a detl\.Augmentation, or None"),
        ({"backbone": "vgg16"}, r"backbone is str; expected a functional keras\.Model"),
        ({"labels": np.array(["a", 1] * 20, dtype=object)}, "labels mixes int and str"),
        ({"images": [np.zeros((4, 4, 1)), np.zeros((5, 5, 1))]}, r"detl\.images\.load resizes"),
        ({"validation_data": np.zeros(40)}, r"not a pair; expected \(images, labels\)"),
        ({"validation_data": [np.zeros(40)] * 3}, r"not a pair; expected \(images, labels\)"),
    ],
)
def test_wrong_types_are_refused(train, changes, message):
    with pytest.raises(TypeError, match=message):
        train(**changes)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (slice(4), ["dim", "other", "bright", "new"], r"labels lack: \['new', 'other'\]; expected"),
        (slice(4), ["dim"] * 3, "3 validation labels for 4"),
        (slice(0), [], "validation images is empty"),
    ],
)
def test_validation_data_that_do_not_fit_are_refused(train, tiny_images, images, labels, message):
    with pytest.raises(ValueError, match=message):
        train(validation_data=(tiny_images[images], labels))


def test_groups_that_would_do_nothing_are_refused(train, tiny_images, tiny_labels):
    with pytest.raises(ValueError, match=r"validation_data is given; leave one of the two out"):
        train(groups=np.arange(40), validation_data=(tiny_images, tiny_labels))


def test_a_backbone_that_takes_no_images_is_refused(train):
    numbers, image = keras.Input((10,)), keras.Input(SHAPE)
    dense = keras.Model(numbers, layers.Dense(4)(numbers), name="dense")
    with pytest.raises(ValueError, match=r"'dense' takes inputs of shape \(10,\); expected one"):
        train(dense)
    two = keras.Model([image, numbers], layers.Flatten()(image), name="two")
    with pytest.raises(ValueError, match=r"\(16, 16, 1\), \(10,\); expected one, images"):
        train(two)


def test_images_between_0_and_1_are_warned_of(train, tiny_images):
    with pytest.warns(UserWarning, match=r"images are floats in .* expected in \[0, 255\]"):
        train(mean_brightness(), images=tiny_images / 255)
