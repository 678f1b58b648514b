"""Folds are trained with one trunk and one tail; one that fails takes no other with it."""

import pickle

import keras
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from detl import DomainExtensionTransfer, FoldError, SourceModel, cross_validate, features
from tests.validation.networks import SHAPE, Witness, network, transfer

N = 36
LABELS = np.array(["lung", "heart", "bone"] * (N // 3))
PATIENTS = np.repeat(np.arange(N // 3), 3)  # all three classes in every patient
needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow counts what a layer sees"
)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype("uint8")


@needs_tensorflow
def test_each_image_passes_the_trunk_once_whatever_the_number_of_folds(images):
    features.clear_cache()
    source = network(witness_in="block1")
    Witness.forget()
    cross_validate(transfer(source, epochs=1), images, LABELS, n_splits=2)
    assert Witness.images == 48  # the 36 in batches of 16, the last filled up
    cross_validate(transfer(source, trainable_from="logits"), images, LABELS, n_splits=6)
    Witness.forget()
    cross_validate(transfer(source, epochs=2), images[::-1], LABELS, n_splits=6)
    assert Witness.images == 0


@needs_tensorflow
def test_the_tail_is_traced_once_for_all_folds(images):
    source = network(witness_in="block2")
    traced = []
    # Training sets of 18 and 30, whose last batches differ.
    for n_splits, groups, seen in ((2, PATIENTS, 24 + 24), (6, None, 32 + 6)):
        Witness.forget()
        cross_validate(transfer(source, epochs=1), images, LABELS, groups=groups, n_splits=n_splits)
        traced.append(Witness.traces)
        # In each fold the images that are trained on pass once for the start of the new layer, and
        # the others once to be predicted; batches of 8 are filled up.
        assert Witness.images == n_splits * seen
    assert traced[0]["training"] == traced[1]["training"] == 1
    # The copy is proved on noise and on its negative; Keras builds the graph, and traces it for a
    # whole batch, for a smaller one, and for any.
    assert max(traces["inference"] for traces in traced) <= 5


class Broken(DomainExtensionTransfer):
    """Fail in the fold that tests image 0."""

    def _extend(self, classes):
        extension = super()._extend(classes)
        fit = extension.tail.fit

        def broken_fit(features, targets, *, rows, **settings):
            if 0 not in rows:
                raise MemoryError("no room for image 0")
            return fit(features, targets, rows=rows, **settings)

        extension.tail.fit = broken_fit
        return extension


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_fold_that_fails_is_named_and_the_others_are_kept(images, tmp_path, n_jobs):
    source = network()
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": tmp_path, "n_jobs": n_jobs}
    with pytest.raises(FoldError, match=r"Fold \d failed with MemoryError: no room") as caught:
        cross_validate(Broken(source, epochs=1, batch_size=8), images, LABELS, **settings)
    (failed,) = caught.value.errors
    assert sorted([failed, *caught.value.finished]) == [0, 1, 2]
    repaired = cross_validate(
        DomainExtensionTransfer(source, epochs=1, batch_size=8), images, LABELS, **settings
    )
    assert 0 in repaired.folds[failed].test
    for number, fold in caught.value.finished.items():
        np.testing.assert_array_equal(fold.probabilities, repaired.folds[number].probabilities)
        assert fold.seconds == repaired.folds[number].seconds  # it was not trained again


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fold_that_diverged_is_a_failed_fold(images):
    with pytest.raises(FoldError, match=r"FloatingPointError: the training diverged .*a tenth of"):
        cross_validate(
            transfer(learning_rate=1e38, epochs=1), images, LABELS, n_splits=2, random_state=0
        )


def test_the_error_of_folds_travels_between_processes():
    error = FoldError({1: MemoryError("no room")}, {0: "a fold"})
    found = pickle.loads(pickle.dumps(error))
    assert str(found) == str(error)
    assert found.finished == {0: "a fold"}
    assert str(found.errors[1]) == "no room"


def test_a_source_in_a_file_is_read_once_for_all_folds(images, tmp_path):
    source, path = network(), tmp_path / "source.keras"
    for shift in (0.0, 1.0):  # the same path, and the same worker, but another network
        source.get_layer("block1_conv").bias.assign(np.full(4, shift))
        SourceModel(model=source, classes=np.arange(4), history={}, best_epoch=0).save(path)
        settings = {"n_splits": 2, "random_state": 0}
        in_a_file = transfer(str(path), epochs=1)
        from_file = cross_validate(in_a_file, images, LABELS, n_jobs=2, **settings)
        in_memory = cross_validate(transfer(source, epochs=1), images, LABELS, **settings)
        np.testing.assert_allclose(from_file.probabilities, in_memory.probabilities, atol=1e-6)
        assert {fold.start for fold in from_file.folds} == {f.start for f in in_memory.folds}
        assert in_a_file.source == str(path)


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


def test_what_is_held_out_inside_a_fold_shares_no_group_here_and_in_workers(images):
    groups = np.arange(N) // 4
    validating = transfer(validation_split=0.5, epochs=2)
    settings = {"groups": groups, "n_splits": 2, "random_state": 0}
    here = cross_validate(validating, images, LABELS, **settings)
    there = cross_validate(validating, images, LABELS, n_jobs=2, **settings)
    without = cross_validate(transfer(epochs=2), images, LABELS, **settings)
    for one, other, plain in zip(here.folds, there.folds, without.folds, strict=True):
        assert set(one.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        np.testing.assert_allclose(one.history["val_loss"], other.history["val_loss"], rtol=1e-4)
        assert one.history["loss"] != plain.history["loss"]


def test_folds_that_have_not_learned_are_counted_in_one_warning_and_in_the_table(images):
    slow = transfer(head_start="random", learning_rate=1e-9, epochs=10)
    with pytest.warns(ConvergenceWarning, match="In 2 of 2 folds .*Try more epochs") as caught:
        found = cross_validate(slow, images, LABELS, n_splits=2, random_state=0)
    assert [w.category for w in caught].count(ConvergenceWarning) == 1
    assert "In 2 of 2 folds the network has not learned enough; one has hardly" in " ".join(
        str(found).split()
    )
