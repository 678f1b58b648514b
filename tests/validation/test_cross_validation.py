"""Every fold is a fit of its own, every image is judged by a fold that did not see it."""

import io
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr

import joblib
import keras
import numpy as np
import pytest
import scipy
from keras import layers
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold

from detl import (
    CrossValidationResult,
    DomainExtensionTransfer,
    FoldError,
    SourceModel,
    cross_validate,
    features,
)
from detl.folds.splitting import leave_one_collection_out
from detl.networks.digests import weights_digest
from detl.networks.precision import dtype_policy
from detl.pretraining.augmentation import Augmentation

SHAPE = (16, 16, 1)
N = 36
LABELS = np.array(["lung", "heart", "bone"] * (N // 3))
PATIENTS = np.repeat(np.arange(N // 3), 3)  # all three classes in every patient
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow counts what a layer sees"
)


class Witness(layers.Layer):
    """Count the images that pass in inference, and how often each kind of graph is traced."""

    @classmethod
    def forget(cls):
        cls.images = 0  # of the class: a transfer trains a copy of its source
        cls.traces = {"training": 0, "inference": 0}

    @classmethod
    def count(cls, batch):
        cls.images += len(batch)
        return batch

    def call(self, batch, training=False):
        import tensorflow as tf

        if tf.executing_eagerly():  # noise, by which a copy is proved
            return batch
        type(self).traces["training" if training else "inference"] += 1
        if training:
            return batch
        seen = tf.numpy_function(self.count, [batch], batch.dtype)
        seen.set_shape(batch.shape)
        return seen


Witness.forget()


def network(*, witness_in=None, dropout=0.0):
    images = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(images)
    for seed, block in enumerate(("block1", "block2")):
        initializer = keras.initializers.HeNormal(seed=seed)
        x = layers.Conv2D(
            4, 3, strides=2, padding="same", kernel_initializer=initializer, name=f"{block}_conv"
        )(x)
        x = layers.BatchNormalization(name=f"{block}_norm", momentum=0.9)(x)
        x = layers.ReLU(name=f"{block}_relu")(x)
        if witness_in == block:
            x = Witness(name=f"{block}_witness")(x)
        x = layers.Dropout(dropout, name=f"{block}_dropout")(x)
    return keras.Model(images, layers.GlobalAveragePooling2D(name="pool")(x))


def transfer(source=None, **changes):
    settings = {"epochs": 3, "learning_rate": 0.05, "batch_size": 8}
    return DomainExtensionTransfer(source or network(), **{**settings, **changes})


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype("uint8")


@pytest.fixture(scope="module")
def noisy():
    """Return a transfer whose result depends on every seed there is."""
    return transfer(network(dropout=0.3), class_weight="balanced")


@pytest.fixture(scope="module")
def result(noisy, images):
    return cross_validate(noisy, images, LABELS, n_splits=3, random_state=0)


@pytest.fixture(scope="module")
def grouped(noisy, images):
    return cross_validate(noisy, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)


# ---------------------------------------------------------------------------------------- the folds


@pytest.mark.parametrize("fold", [2, 0, 1])  # in an order other than theirs
def test_each_fold_is_what_fitting_by_hand_gives(noisy, images, result, fold):
    train, test = result.indices[fold]
    by_hand = clone(noisy).set_params(random_state=result.fold_seeds[fold])
    by_hand.fit(images[train], LABELS[train])
    np.testing.assert_allclose(
        by_hand.predict_proba(images[test]), result.probabilities[test], atol=1e-6
    )
    assert by_hand.history_["loss"] == pytest.approx(result.histories[fold]["loss"], rel=1e-5)
    np.testing.assert_array_equal(by_hand.predict(images[test]), result.predictions[test])


def test_the_folds_are_a_partition_in_which_every_class_has_its_share(result):
    assert sorted(np.concatenate([test for _, test in result.indices])) == list(range(N))
    for fold, (train, test) in enumerate(result.indices):
        assert sorted([*train, *test]) == list(range(N))
        assert np.unique(LABELS[test], return_counts=True)[1].tolist() == [4, 4, 4]
        np.testing.assert_array_equal(np.flatnonzero(result.fold_of == fold), test)


def test_no_group_is_on_both_sides_of_a_fold(grouped, result):
    for train, test in grouped.indices:
        assert not set(PATIENTS[train]) & set(PATIENTS[test])
    assert any(set(PATIENTS[train]) & set(PATIENTS[test]) for train, test in result.indices)
    assert result.groups is None
    np.testing.assert_array_equal(grouped.groups, PATIENTS)


def test_the_random_state_decides_the_folds_and_everything_after(noisy, images, result):
    keras.utils.set_random_seed(1)
    same = cross_validate(noisy, images, LABELS, n_splits=3, random_state=0)
    np.testing.assert_array_equal(same.probabilities, result.probabilities)
    assert same.fold_seeds == result.fold_seeds
    assert same.interval == result.interval
    other = cross_validate(noisy, images, LABELS, n_splits=3, random_state=1)
    assert (other.fold_of != result.fold_of).any()
    assert not set(other.fold_seeds) & set(result.fold_seeds)


def test_the_random_state_of_the_transfer_plays_no_part(noisy, images, result):
    seeded = clone(noisy).set_params(random_state=7)
    found = cross_validate(seeded, images, LABELS, n_splits=3, random_state=0)
    np.testing.assert_array_equal(found.probabilities, result.probabilities)


# --------------------------------------------------------------------------------------- the scores


def test_row_i_belongs_to_image_i(images):
    # Brightness is the class, so that every image can be told by its own prediction.
    levels = np.array([0, 120, 240])[np.arange(N) % 3]
    bright = (images // 16 + levels[:, None, None, None]).astype("uint8")
    plain = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(plain)
    x = layers.Conv2D(1, 1, kernel_initializer="ones", name="block1_conv")(x)
    mean = keras.Model(plain, layers.GlobalAveragePooling2D()(x))
    shuffled = np.random.default_rng(3).permutation(N)
    found = cross_validate(
        transfer(mean, trainable_from="logits", learning_rate=0.5, epochs=200),
        bright[shuffled],
        LABELS[shuffled],
        n_splits=3,
        random_state=0,
    )
    np.testing.assert_array_equal(found.labels, LABELS[shuffled])
    outer = LABELS[shuffled] != "heart"  # the one in between
    np.testing.assert_array_equal(found.predictions[outer], LABELS[shuffled][outer])


def test_the_scores_follow_from_the_predictions(result):
    assert result.classes.tolist() == ["bone", "heart", "lung"]
    np.testing.assert_array_equal(result.labels, LABELS)
    np.testing.assert_array_equal(
        result.predictions, result.classes[result.probabilities.argmax(axis=1)]
    )
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, atol=1e-6)
    per_fold = [
        accuracy_score(LABELS[test], result.predictions[test]) for _, test in result.indices
    ]
    np.testing.assert_allclose(result.accuracies, per_fold)
    assert result.accuracy == pytest.approx(np.mean(per_fold))
    assert result.accuracy_std == pytest.approx(np.std(per_fold, ddof=1))
    np.testing.assert_array_equal(
        result.confusion_matrix, confusion_matrix(LABELS, result.predictions)
    )


def test_the_interval_is_over_images_or_over_groups(result, grouped):
    for found, drawn in ((result, "36 images"), (grouped, "12 groups")):
        assert found.interval.low < found.accuracy < found.interval.high
        assert f"bootstrap over {drawn}" in found.interval.method


def test_a_class_that_nobody_predicts_keeps_its_row_and_column(images):
    labels = np.where(np.arange(N) < 3, "rare", "common")
    found = cross_validate(transfer(learning_rate=1e-30), images, labels, n_splits=3)
    assert found.confusion_matrix.shape == (2, 2)
    assert found.confusion_matrix.sum(axis=1).tolist() == [33, 3]


# ---------------------------------------------------------------------------- the work that is done


@needs_tensorflow
@pytest.mark.parametrize("n_splits", [2, 6])
def test_each_image_passes_the_trunk_once_whatever_the_number_of_folds(images, n_splits):
    features.clear_cache()
    source = network(witness_in="block1")
    Witness.forget()
    cross_validate(transfer(source), images, LABELS, n_splits=n_splits)
    assert Witness.images == 48  # the 36 in batches of 16, the last filled up
    cross_validate(transfer(source, trainable_from="logits"), images, LABELS, n_splits=n_splits)
    Witness.forget()
    cross_validate(transfer(source, learning_rate=0.1), images[::-1], LABELS, n_splits=n_splits)
    assert Witness.images == 0


def test_augmented_views_are_trained_on_and_never_predicted(images):
    still, viewed, again = (
        cross_validate(
            transfer(augmented_views=n, epochs=2), images, LABELS, n_splits=3, random_state=0
        )
        for n in (0, 2, 2)
    )
    assert [fold.history for fold in still.folds] != [fold.history for fold in viewed.folds]
    np.testing.assert_array_equal(viewed.probabilities, again.probabilities)
    # A head that cannot learn predicts the same whatever it was trained on.
    fixed = [
        cross_validate(
            transfer(augmented_views=n, learning_rate=1e-30, trainable_from="logits"),
            images,
            LABELS,
            n_splits=3,
            random_state=0,
        ).probabilities
        for n in (0, 2)
    ]
    np.testing.assert_array_equal(*fixed)


@pytest.mark.parametrize("random_state", [0, 1])
def test_augmented_views_are_part_of_what_a_directory_belongs_to(images, tmp_path, random_state):
    settings = {"n_splits": 3, "random_state": random_state, "checkpoint_dir": tmp_path}
    amounts = Augmentation(rotation=5.0)
    first = cross_validate(
        transfer(augmented_views=1, augmentation=amounts), images, LABELS, **settings
    )
    again = cross_validate(
        transfer(augmented_views=1, augmentation=amounts, cache_dir=tmp_path / "cache"),
        images,
        LABELS,
        **settings,
    )
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    with pytest.raises(ValueError, match="augmentation"):
        cross_validate(
            transfer(augmented_views=1, augmentation=Augmentation(rotation=6.0)),
            images,
            LABELS,
            **settings,
        )


@needs_tensorflow
@pytest.mark.parametrize("groups", [None, PATIENTS], ids=["images", "groups"])
def test_the_tail_is_traced_once_for_all_folds(images, groups):
    source = network(witness_in="block2")
    traced = []
    for n_splits in (2, 6):  # training sets of 18 and 30, whose last batches differ
        Witness.forget()
        cross_validate(transfer(source), images, LABELS, groups=groups, n_splits=n_splits)
        traced.append(Witness.traces)
        assert Witness.images == N  # every image is predicted once
    assert traced[0]["training"] == traced[1]["training"] == 1
    # Keras builds the graph, and traces it for a whole batch, for a smaller one, and for any.
    assert max(traces["inference"] for traces in traced) <= 4


def test_the_result_says_what_it_was_computed_with(images):
    found = cross_validate(transfer(epochs=1, precision="auto"), images, LABELS, n_splits=2)
    assert found.settings["transfer"]["precision"] == "auto"
    assert found.settings["precision"] == dtype_policy("auto")
    assert found.settings["device"] in ("cpu", "gpu")
    assert {"python", "detl", "keras", "numpy", "scipy", "scikit-learn"} < set(found.versions)
    assert found.versions["scipy"] == scipy.__version__


def test_wall_times_are_given_for_the_trunk_and_each_fold(result):
    assert 0 < result.seconds["features"] < result.seconds["total"]
    assert all(0 < fold.seconds < result.seconds["total"] for fold in result.folds)


def test_transfer_source_and_arrays_are_left_as_they_were(images):
    source = network()
    estimator = transfer(source, random_state=np.random.RandomState(0))
    digest, parameters = weights_digest(source), estimator.get_params()
    pixels, labels, groups = images.astype("float32"), LABELS.copy(), PATIENTS.copy()
    for array in (pixels, labels, groups):
        array.setflags(write=False)
    cross_validate(estimator, pixels, labels, groups=groups, n_splits=2)
    assert weights_digest(source) == digest
    assert vars(estimator) == parameters
    assert estimator.random_state.rand() == np.random.RandomState(0).rand()


def test_one_bar_counts_the_epochs_of_all_folds_and_shows_the_accuracy(images, terminal):
    with redirect_stderr(terminal):
        cross_validate(transfer(epochs=3), images, LABELS, n_splits=2)
        assert terminal.getvalue() == ""
        found = cross_validate(transfer(epochs=3), images, LABELS, n_splits=2, verbose=1)
    last = terminal.getvalue().split("\r")[-1]
    assert "folds: 100%" in last
    assert "6/6" in last
    assert f"accuracy {found.accuracy:.3f} in 2 folds" in last


def test_nothing_is_written_to_a_log_whatever_is_asked_for(images, capfd):
    cross_validate(transfer(epochs=1, verbose=1), images, LABELS, n_splits=2, verbose=1)
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------ repeats, other folds, the audit


def test_every_fold_starts_from_the_same_weights(noisy, images, result):
    frozen = extended_start(noisy)
    assert {fold.start for fold in result.folds} == {frozen}


def extended_start(estimator):
    tail = estimator.extend(3).tail
    return weights_digest(tail.model, but=tail.model.layers[-1])


def test_repeats_split_anew_and_every_image_is_tested_in_each(noisy, images):
    found = cross_validate(noisy, images, LABELS, n_splits=3, n_repeats=2, random_state=0)
    assert len(found.folds) == 6
    for repeat in (found.folds[:3], found.folds[3:]):
        assert sorted(np.concatenate([fold.test for fold in repeat])) == list(range(N))
    first, second = ({tuple(fold.test) for fold in r} for r in (found.folds[:3], found.folds[3:]))
    assert not first & second
    assert len(set(found.fold_seeds)) == 6
    assert found.confusion_matrix.sum() == 2 * N


@pytest.mark.parametrize(
    "cv", [StratifiedKFold(3), LeaveOneGroupOut(), [(range(12, 36), range(12)), ([0, 1], [2, 3])]]
)
def test_any_splitter_of_scikit_learn_or_any_folds_will_do(images, cv):
    found = cross_validate(
        transfer(epochs=1), images, LABELS, groups=PATIENTS, cv=cv, on_leak="ignore"
    )
    expected = (
        cv.split(images, LABELS, None if isinstance(cv, StratifiedKFold) else PATIENTS)
        if hasattr(cv, "split")
        else cv
    )
    for (train, test), (of_train, of_test) in zip(found.indices, expected, strict=True):
        np.testing.assert_array_equal(train, list(of_train))
        np.testing.assert_array_equal(test, list(of_test))


def test_a_splitter_without_a_seed_draws_from_the_random_state(images, tmp_path):
    cv = StratifiedKFold(3, shuffle=True)
    first, second, other = (
        cross_validate(
            transfer(epochs=1), images, LABELS, cv=cv, random_state=seed, checkpoint_dir=folder
        )
        for seed, folder in ((0, tmp_path), (0, tmp_path), (1, None))
    )
    assert first.fold_of.tolist() == second.fold_of.tolist() != other.fold_of.tolist()
    assert cv.random_state is None


def test_a_splitter_with_a_seed_keeps_it(images):
    cv = StratifiedKFold(3, shuffle=True, random_state=7)
    found = cross_validate(transfer(epochs=1), images, LABELS, cv=cv, random_state=0)
    for (_, test), (_, expected) in zip(found.indices, cv.split(images, LABELS), strict=True):
        np.testing.assert_array_equal(test, expected)


def test_a_result_does_not_change_with_the_arrays_it_was_made_from(images):
    labels, patients = LABELS.copy(), PATIENTS.copy()
    found = cross_validate(
        transfer(epochs=1), images, labels, groups=patients, n_splits=3, random_state=0
    )
    labels[:], patients[:] = np.roll(LABELS, 1), 0
    assert found.labels.tolist() == LABELS.tolist()
    assert found.groups.tolist() == PATIENTS.tolist()


def test_views_are_those_of_the_views_seed_in_every_fold(images):
    viewed = transfer(augmented_views=2)
    found = cross_validate(viewed, images, LABELS, n_splits=3, random_state=0)
    train, _ = found.indices[1]
    by_hand = clone(viewed).set_params(random_state=found.fold_seeds[1])
    by_hand.fit(images[train], LABELS[train])
    assert by_hand.history_["loss"] != pytest.approx(found.histories[1]["loss"], rel=1e-5)


def test_n_jobs_may_be_a_number_of_numpy(images):
    found = cross_validate(
        transfer(epochs=1), images, LABELS, n_splits=2, n_jobs=np.int64(-1), random_state=0
    )
    assert len(found.folds) == 2


def test_n_splits_beside_cv_is_refused(images):
    with pytest.raises(ValueError, match="n_splits=3 is given together with cv"):
        cross_validate(transfer(), images, LABELS, cv=StratifiedKFold(3), n_splits=3)


def test_a_leak_is_a_warning_or_an_error_as_asked_and_is_kept_with_the_result(images):
    leaking = {"groups": PATIENTS, "cv": StratifiedKFold(3, shuffle=True, random_state=0)}
    with pytest.warns(UserWarning, match="The folds leak: Groups are on both sides in 3"):
        found = cross_validate(transfer(epochs=1), images, LABELS, **leaking)
    assert found.audit.leaks
    assert "groups on both sides" in str(found)
    with pytest.raises(ValueError, match="before anything is trained"):
        cross_validate(transfer(epochs=1), images, LABELS, on_leak="raise", **leaking)
    with pytest.raises(ValueError, match="on_leak='no'; expected one of 'warn'"):
        cross_validate(transfer(), images, LABELS, on_leak="no")


def test_the_advice_fits_the_leak(images):
    settings = {"groups": PATIENTS, "n_splits": 3, "on_leak": "raise", "random_state": 0}
    with pytest.raises(ValueError, match=r"the source model was trained on\. Train the source wi"):
        cross_validate(transfer(), images, LABELS, source_groups=[3], **settings)
    settings |= {"cv": StratifiedKFold(3, shuffle=True, random_state=0), "n_splits": None}
    with pytest.raises(ValueError, match=r"in fold 0\. Give groups, .* is trained\.$"):
        cross_validate(transfer(), images, LABELS, **settings)
    with pytest.raises(ValueError, match=r"Give groups, .* is trained\. Train the source without"):
        cross_validate(transfer(), images, LABELS, source_groups=[3], **settings)


# ----------------------------------------------------------------------------------- many processes


class Broken(DomainExtensionTransfer):
    """Fail, or end the process, in the fold that tests image 0."""

    how = "raise"

    def extend(self, n_classes):
        extension = super().extend(n_classes)
        fit = extension.tail.fit

        def broken_fit(features, targets, *, rows, **settings):
            if 0 not in rows:
                if self.how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise MemoryError("no room for image 0")
            return fit(features, targets, rows=rows, **settings)

        extension.tail.fit = broken_fit
        return extension


class Killed(Broken):
    how = "kill"


def broken(kind, source=None):
    return kind(source or network(), epochs=1, batch_size=8)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_fold_that_fails_is_named_and_the_others_are_kept(images, tmp_path, n_jobs):
    source = network()
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": tmp_path, "n_jobs": n_jobs}
    with pytest.raises(FoldError, match=r"Fold \d failed with MemoryError: no room") as caught:
        cross_validate(broken(Broken, source), images, LABELS, **settings)
    (failed,) = caught.value.errors
    assert sorted([failed, *caught.value.finished]) == [0, 1, 2]
    repaired = cross_validate(broken(DomainExtensionTransfer, source), images, LABELS, **settings)
    assert 0 in repaired.folds[failed].test
    for number, fold in caught.value.finished.items():
        np.testing.assert_array_equal(fold.probabilities, repaired.folds[number].probabilities)
        assert fold.seconds == repaired.folds[number].seconds  # it was not trained again


def test_a_worker_that_dies_takes_no_finished_fold_with_it(images, tmp_path):
    said = r"failed with ChildProcessError: a worker process died .*fewer than n_jobs=2 folds"
    with pytest.raises(FoldError, match=said):
        cross_validate(
            broken(Killed), images, LABELS, n_splits=3, random_state=0, n_jobs=2,
            checkpoint_dir=tmp_path,
        )  # fmt: skip
    assert not list(tmp_path.glob("*work-*"))


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fold_that_diverged_is_a_failed_fold(images, n_jobs):
    wild = transfer(learning_rate=1e38, epochs=1)
    with pytest.raises(FoldError, match=r"FloatingPointError: the training diverged .*a tenth of"):
        cross_validate(wild, images, LABELS, n_splits=2, random_state=0, n_jobs=n_jobs)


def test_a_worker_that_warns_is_heard_and_its_error_says_where(images):
    with (
        pytest.warns(ConvergenceWarning, match=r"Fold \d: The loss was nan") as warned,
        pytest.raises(FoldError) as caught,
    ):
        cross_validate(transfer(learning_rate=1e38), images, LABELS, n_splits=2, n_jobs=2)
    said = [str(w.message) for w in warned if w.category is ConvergenceWarning]
    assert sorted(text[:7] for text in said) == ["Fold 0:", "Fold 1:"]
    (note,) = caught.value.errors[0].__notes__
    assert "in train_fold" in note


def test_a_warning_of_a_worker_that_is_an_error_here_fails_its_fold(images):
    with (
        warnings.catch_warnings(action="error", category=ConvergenceWarning),
        pytest.raises(FoldError, match="failed with ConvergenceWarning: Fold 0: The loss was nan"),
    ):
        cross_validate(transfer(learning_rate=1e38), images, LABELS, n_splits=2, n_jobs=2)


def test_the_error_of_folds_travels_between_processes():
    error = FoldError({1: MemoryError("no room")}, {0: "a fold"})
    found = pickle.loads(pickle.dumps(error))
    assert str(found) == str(error)
    assert found.finished == {0: "a fold"}
    assert str(found.errors[1]) == "no room"


def test_a_wrong_number_of_jobs_is_refused(images):
    with pytest.raises(ValueError, match="n_jobs=0; expected at least 1"):
        cross_validate(transfer(), images, LABELS, n_jobs=0)
    with pytest.raises(TypeError, match=r"n_jobs is float 0.5; expected a whole number"):
        cross_validate(transfer(), images, LABELS, n_jobs=0.5)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_source_in_a_file_is_read_once_for_all_folds(images, tmp_path, n_jobs):
    source, path = network(), tmp_path / "source.keras"
    for shift in (0.0, 1.0):  # the same path, and the same worker, but another network
        source.get_layer("block1_conv").bias.assign(np.full(4, shift))
        SourceModel(model=source, classes=np.arange(4), history={}, best_epoch=0).save(path)
        settings = {"n_splits": 2, "random_state": 0, "n_jobs": n_jobs}
        in_a_file = transfer(str(path))
        from_file = cross_validate(in_a_file, images, LABELS, **settings)
        in_memory = cross_validate(transfer(source), images, LABELS, **settings)
        np.testing.assert_allclose(from_file.probabilities, in_memory.probabilities, atol=1e-6)
        assert {fold.start for fold in from_file.folds} == {f.start for f in in_memory.folds}
        assert in_a_file.source == str(path)


def test_images_in_a_memory_map_are_those_in_memory(noisy, images, result, tmp_path):
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    found = cross_validate(noisy, mapped, LABELS, n_splits=3, random_state=0)
    np.testing.assert_array_equal(found.probabilities, result.probabilities)
    assert found.settings["images"] == result.settings["images"]


@pytest.mark.parametrize(
    "labels",
    [np.arange(N) % 3, np.arange(N) % 2 == 0, LABELS.astype(object)],
    ids=lambda y: y.dtype,
)
@pytest.mark.parametrize(
    "groups",
    [PATIENTS.astype(str), np.datetime64("2020-03-01") + PATIENTS, PATIENTS.astype(object)],
    ids=lambda groups: groups.dtype,
)
def test_labels_and_groups_may_be_of_any_type(images, tmp_path, labels, groups):
    settings = {"groups": groups, "n_splits": 2, "random_state": 0, "checkpoint_dir": tmp_path}
    found = cross_validate(transfer(epochs=1), images, labels, **settings)
    again = cross_validate(transfer(epochs=1), images, labels, **settings)
    np.testing.assert_array_equal(again.predictions, found.predictions)
    np.testing.assert_array_equal(found.classes, np.unique(labels))
    for train, test in found.indices:
        assert not set(groups[train]) & set(groups[test])
    assert (
        found.confusion_matrix.sum(axis=1).tolist()
        == np.unique(labels, return_counts=True)[1].tolist()
    )


def test_images_of_a_class_that_only_the_held_out_collection_has_are_not_tested(images, tmp_path):
    labels = np.where(np.arange(N) < 4, "rare", LABELS)
    collections = np.where(np.arange(N) < 12, "Hannover", "Turin")
    with pytest.warns(UserWarning, match="its 4 images of class 'rare' are left out"):
        cv = leave_one_collection_out(labels, collections)
    found = cross_validate(transfer(epochs=1), images, labels, cv=cv, random_state=0)
    assert found.fold_of[:4].tolist() == [-1] * 4
    assert found.predictions[:4].tolist() == [None] * 4
    assert np.isnan(found.probabilities[:4]).all()
    assert found.class_scores["rare"]["sensitivity"].n_missing == 2
    assert "4 of 36 images were tested by no fold" in str(found)
    assert CrossValidationResult.load(found.save(tmp_path / "r.json")).interval == found.interval


def test_one_patient_held_out_has_an_accuracy_but_no_interval(images, tmp_path):
    with_one = [(np.arange(3, N), np.arange(3))]
    found = cross_validate(transfer(epochs=1), images, LABELS, groups=PATIENTS, cv=with_one)
    assert found.accuracy == np.mean(found.predictions[:3] == LABELS[:3])
    assert "(none: 1 of groups is too few)" in str(found)
    found.save(tmp_path / "result.json")


def test_folds_in_processes_are_those_of_one_process(noisy, images, result):
    found = cross_validate(noisy, images, LABELS, n_splits=3, random_state=0, n_jobs=2)
    assert found.fold_seeds == result.fold_seeds
    np.testing.assert_allclose(found.probabilities, result.probabilities, atol=1e-5)
    assert {fold.start for fold in found.folds} == {fold.start for fold in result.folds}


@pytest.mark.parametrize("backend", ["threading", "multiprocessing"])
def test_threads_and_forks_are_refused(images, backend):
    with (
        joblib.parallel_config(backend=backend, n_jobs=2),
        pytest.raises(ValueError, match="use the backend 'loky', 'dask' or 'ray'"),
    ):
        cross_validate(transfer(epochs=1), images, LABELS, n_splits=3)


def test_a_transfer_that_cannot_travel_is_refused_in_words(images):
    source = network()
    source.note = lambda: None
    unsendable = transfer(source)
    unsendable.source.__class__ = type("Local", (type(source),), {"__reduce__": unpicklable})
    with pytest.raises(TypeError, match=r"cannot be sent to a worker process .*use n_jobs=1"):
        cross_validate(unsendable, images, LABELS, n_splits=3, n_jobs=2)


def unpicklable(self):
    raise pickle.PicklingError("it is a secret")


# ---------------------------------------------------------------------------------- broken-off runs


def test_numbers_of_numpy_as_a_grid_search_sets_them_can_be_written(images, tmp_path):
    found = cross_validate(
        transfer(epochs=np.int64(1), learning_rate=np.float32(0.5)),
        images,
        LABELS,
        n_splits=2,
        checkpoint_dir=tmp_path / "folds",
        random_state=0,
    )
    found.save(tmp_path / "result.json")
    assert found.settings["transfer"]["learning_rate"] == 0.5


def test_checkpoints_of_a_run_that_never_comes_again_are_refused(images, tmp_path):
    with pytest.raises(ValueError, match=r"without random_state: .*; give random_state=0"):
        cross_validate(transfer(), images, LABELS, checkpoint_dir=tmp_path / "folds")
    assert not (tmp_path / "folds").exists()


def test_a_run_goes_on_with_another_number_of_jobs(noisy, images, result, tmp_path, terminal):
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": tmp_path}
    first = cross_validate(noisy, images, LABELS, n_jobs=2, **settings)
    (tmp_path / "fold_001.npz").unlink()
    with redirect_stderr(terminal):
        resumed = cross_validate(noisy, images, LABELS, verbose=1, **settings)
    np.testing.assert_allclose(resumed.probabilities, result.probabilities, atol=1e-5)
    assert [resumed.folds[k].seconds == first.folds[k].seconds for k in range(3)] == [
        True,
        False,
        True,
    ]
    # The bar has the epochs that are left, and the accuracy of all folds.
    last = terminal.getvalue().split("\r")[-1]
    assert "3/3" in last
    assert f"accuracy {resumed.accuracy:.3f} in 3 folds" in last


def test_a_finished_run_is_read_back_and_nothing_is_trained(noisy, images, result, tmp_path):
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": tmp_path}
    first = cross_validate(noisy, images, LABELS, **settings)
    again = cross_validate(noisy, images, LABELS, **settings)
    np.testing.assert_array_equal(first.probabilities, result.probabilities)
    np.testing.assert_array_equal(again.probabilities, result.probabilities)
    assert [fold.seconds for fold in again.folds] == [fold.seconds for fold in first.folds]
    assert again.seconds["features"] == 0


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"epochs": 4}, "transfer.epochs is 3 there, 4 here"),
        ({"labels": LABELS[::-1]}, "other labels"),
        ({"images": 255 - np.zeros((N, *SHAPE), "uint8")}, "other images"),
        ({"random_state": 1}, "fold_seeds is .* there, .* here"),
        ({"groups": PATIENTS}, "groups is None there"),
        ({"source": network(dropout=0.3)}, "other source"),
    ],
)
def test_the_directory_of_another_run_is_refused(noisy, images, tmp_path, changes, difference):
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": tmp_path, "on_leak": "ignore"}
    cross_validate(noisy, images, LABELS, **settings)
    other = clone(noisy)
    for name in ("epochs", "source"):
        if name in changes:
            other.set_params(**{name: shifted(changes.pop(name))})
    data = {"images": images, "labels": LABELS, **settings, **changes}
    with pytest.raises(ValueError, match=f"belongs to another run: .*{difference}"):
        cross_validate(other, data.pop("images"), data.pop("labels"), **data)


def test_the_same_labels_and_groups_in_arrays_of_another_type_go_on(images, tmp_path):
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": tmp_path}
    names = PATIENTS.astype(str)
    first = cross_validate(transfer(epochs=1), images, LABELS, groups=names, **settings)
    columns = LABELS.astype(object), names.astype(object)
    again = cross_validate(transfer(epochs=1), images, columns[0], groups=columns[1], **settings)
    assert [fold.seconds for fold in again.folds] == [fold.seconds for fold in first.folds]


def test_the_directory_of_another_architecture_of_equal_weights_is_refused(images, tmp_path):
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": tmp_path}
    cross_validate(transfer(network(dropout=0.3)), images, LABELS, **settings)
    with pytest.raises(ValueError, match="belongs to another run: other architecture\\."):
        cross_validate(transfer(network(dropout=0.2)), images, LABELS, **settings)
    cross_validate(transfer(network(dropout=0.3)), images, LABELS, **settings)  # built anew


def shifted(value):
    if isinstance(value, keras.Model):
        value.layers[2].bias.assign(np.ones(4))
    return value


# Killed, never asked to stop: nothing is written but what is on disk at that moment.
KILLED_RUN = """
import sys
import keras
import numpy as np
from detl import DomainExtensionTransfer, backbones, cross_validate

rng = np.random.default_rng(0)
labels = np.array(["a", "b"] * 30)
images = (rng.integers(0, 200, (60, 32, 32, 1)) + 50 * (labels == "a")[:, None, None, None])
keras.utils.set_random_seed(0)
source = backbones.vgg16((32, 32, 1), width=0.125)
transfer = DomainExtensionTransfer(source, epochs=40, learning_rate=0.001)
print("ready", flush=True)
result = cross_validate(
    transfer, images.astype("uint8"), labels, n_splits=12, random_state=0,
    checkpoint_dir=sys.argv[1] if len(sys.argv) > 1 else None, on_leak="ignore",
)
np.save(sys.stdout.buffer, result.probabilities)
"""


def test_a_run_killed_at_ten_random_moments_ends_like_one_that_was_not(tmp_path):
    def start(*arguments):
        return subprocess.Popen(
            [sys.executable, "-c", KILLED_RUN, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def finished():
        return len(list(tmp_path.glob("fold_*.npz")))

    rng = np.random.default_rng()  # other moments in every run of this test
    whole = start()
    assert whole.stdout.readline() == b"ready\n"
    started = time.monotonic()
    uninterrupted = np.load(io.BytesIO(whole.communicate()[0]))
    duration = time.monotonic() - started

    kills = 0
    while kills < 10:
        run = start(str(tmp_path))
        assert run.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, duration / 5))
        run.kill()
        run.communicate()
        if run.returncode == -signal.SIGKILL:
            kills += 1
        if finished() == 12:  # there is to be work left for the next
            for path in tmp_path.glob("fold_*.npz"):
                path.unlink() if rng.random() < 0.5 else None
    run = start(str(tmp_path))
    run.stdout.readline()
    resumed = np.load(io.BytesIO(run.communicate()[0]))
    assert np.isfinite(resumed).all()
    np.testing.assert_array_equal(resumed, uninterrupted)
    assert finished() == 12


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels": LABELS[:-1]}, ValueError, "35 labels for 36 rows of images"),
        ({"labels": ["lung"] * N}, ValueError, "one class only, .*'lung'"),
        (
            {"labels": np.where(np.arange(N) < 3, "rare", "common")},
            ValueError,
            "n_splits=5 exceeds the 3 images of class 'rare'.*use n_splits<=3",
        ),
        ({"labels": [None, *LABELS[1:]]}, ValueError, "labels has a missing value .* row 0"),
        ({"groups": PATIENTS[:-1]}, ValueError, "35 groups for 36 images"),
        (
            {"groups": np.where(PATIENTS == 3, np.nan, PATIENTS)},
            ValueError,
            "groups has a missing value .* row 9",
        ),
        (
            {"groups": np.where(LABELS == "lung", 0, np.arange(N) + 1)},
            ValueError,
            "All images of class 'lung' are of one group.*merge or leave out that class",
        ),
        ({"n_splits": 1}, ValueError, "n_splits=1; expected at least 2"),
        ({"n_splits": "5"}, TypeError, "n_splits is str '5'; expected a whole number"),
        ({"random_state": "x"}, ValueError, "random_state='x'; expected a whole number >= 0"),
        (
            {"images": np.zeros((N, 8, 8, 1), "uint8")},
            ValueError,
            r"images has shape \(36, 8, 8, 1\), but the model takes \(n, 16, 16, 1\)",
        ),
        (
            {"images": np.full((N, *SHAPE), np.nan)},
            ValueError,
            "images contains NaN or infinity, first in row 0",
        ),
    ],
)
def test_wrong_data_are_refused_before_anything_is_trained(images, changes, error, message):
    settings = {"images": images, "labels": LABELS, "n_splits": 5, **changes}
    with pytest.raises(error, match=message):
        cross_validate(transfer(), settings.pop("images"), settings.pop("labels"), **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainable_from": "blok2"}, "neither a block nor a layer.*'block2'"),
        ({"class_weight": {"lung": 1}}, r"weights for \['lung'\]; expected one for each class"),
        ({"epochs": 0}, "epochs=0; expected at least 1"),
    ],
)
def test_wrong_parameters_of_the_transfer_are_refused(images, changes, message):
    with pytest.raises(ValueError, match=message):
        cross_validate(transfer(**changes), images, LABELS)


def test_pixels_between_0_and_1_are_warned_of_once(images):
    with pytest.warns(UserWarning, match="rescaling is inside the model") as warned:
        cross_validate(transfer(epochs=1), images / 255, LABELS, n_splits=2)
    assert len([warning for warning in warned if warning.category is UserWarning]) == 1
