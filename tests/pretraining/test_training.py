"""The source stage: what is trained on what, which weights come back, and what a file keeps."""

import gc
import itertools
import logging
import math
import random
import weakref
from collections import Counter
from contextlib import redirect_stderr

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

from detl import load_source
from detl.networks.digests import weights_digest

SHAPE = (16, 16, 1)


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
    assert 0 < Watched.most_copied <= 8


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


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="only TensorFlow traces")
def test_the_training_step_is_traced_once(train):
    class Traced(layers.Layer):
        times = 0

        def call(self, inputs, training=False):
            Traced.times += bool(training and not tf.executing_eagerly())
            return inputs

    images = keras.Input(SHAPE)
    train(keras.Model(images, layers.GlobalAveragePooling2D()(Traced()(images))), epochs=2)
    assert Traced.times == 1


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


@pytest.fixture(scope="module")
def of_floats(train, tiny_images):
    return train(images=tiny_images.astype("float32")).model.get_weights()


@pytest.mark.parametrize("dtype", ["int16", "uint16", ">u2", ">f4"])
def test_other_types_of_pixels_train_to_the_weights_of_floats(train, of_floats, tiny_images, dtype):
    found = train(images=tiny_images.astype(dtype)).model.get_weights()
    for weight, expected in zip(found, of_floats, strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize(
    ("precision", "said"),
    [("float32", "training: "), ("mixed_bfloat16", "training in bfloat16: ")],
)
def test_the_bar_says_the_number_format(train, terminal, precision, said):
    with redirect_stderr(terminal):
        train(precision=precision, epochs=2, verbose=1)
    assert said in terminal.getvalue()


def test_nothing_is_printed_with_verbose_0(train, capfd):
    train(backbone=mean_brightness())
    assert capfd.readouterr().out == ""


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
        "epochs": 100,
        "batch_size": 40,
        "learning_rate": 0.2,
        "augmentation": None,
    }
    for class_weight, expected in ((None, 0.1), ("balanced", 0.5)):
        source = train(mean_brightness(), images, labels, class_weight=class_weight, **settings)
        # The accuracy in validation is the same in all epochs: the last losses are what counts.
        last = source.history["val_loss"][-1]
        assert last == pytest.approx(log_loss([1, 0], [expected, expected]), abs=0.02)


# ------------------------------------------------------------------------- rate and gradient


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
        ({"warmup_epochs": -1}, "warmup_epochs=-1; expected a number at least 0"),
        ({"warmup_epochs": math.nan}, "warmup_epochs=nan; expected a number at least 0"),
        ({"gradient_clip": 0}, "gradient_clip=0; expected a number above 0"),
        ({"class_weight": "even"}, "class_weight='even'; expected one of None, 'balanced'"),
        ({"precision": "float16"}, "expected one of 'float32', 'mixed_bfloat16', 'auto'"),
        ({"random_state": -1}, "random_state=-1; expected a whole number >= 0"),
        ({"labels": ["a"] * 40}, "labels has one class only, 'a'"),
        ({"labels": ["a", "b"]}, "2 labels for 40 images"),
        ({"labels": ["a", None] * 20}, "labels has a missing value .* row 1"),
        ({"labels": ["a"] * 37 + ["b"] * 3}, "'b' has 3 images.*fraction>=0.34.*validation_data"),
        ({"groups": [0] * 37 + [1] * 3}, "'bright' has 2 groups.*validation_data of detl.pretrain"),
        ({"groups": [1, 2]}, "2 groups for 40 labels"),
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
        ({"warmup_epochs": "one"}, "warmup_epochs is str 'one'; expected a number at least 0"),
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
