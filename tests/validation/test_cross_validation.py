"""Every fold is a fit of its own, every image is judged by a fold that did not see it."""

from contextlib import redirect_stderr

import keras
import numpy as np
import pytest
import scipy
from keras import layers
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, confusion_matrix

from detl import cross_validate
from detl.networks.digests import weights_digest
from detl.networks.precision import dtype_policy
from detl.pretraining.augmentation import Augmentation
from tests.validation.networks import SHAPE, network, transfer

N = 36
LABELS = np.array(["lung", "heart", "bone"] * (N // 3))
PATIENTS = np.repeat(np.arange(N // 3), 3)  # all three classes in every patient


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype("uint8")


@pytest.fixture(scope="module")
def noisy():
    """Return a transfer whose result depends on every seed there is."""
    return transfer(network(dropout=0.3), class_weight="balanced")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return where the folds of ``result`` are kept."""
    return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def result(noisy, images, folder):
    return cross_validate(noisy, images, LABELS, n_splits=3, random_state=0, checkpoint_dir=folder)


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


def test_the_random_state_decides_the_folds_and_everything_after(noisy, images, result, tmp_path):
    # Neither the global seed, nor that of the transfer, nor a memory map plays a part.
    keras.utils.set_random_seed(1)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    seeded = clone(noisy).set_params(random_state=7)
    same = cross_validate(seeded, mapped, LABELS, n_splits=3, random_state=0)
    np.testing.assert_array_equal(same.probabilities, result.probabilities)
    assert same.fold_seeds == result.fold_seeds
    assert same.interval == result.interval
    assert same.settings == result.settings
    other = cross_validate(
        clone(noisy).set_params(epochs=1), images, LABELS, n_splits=3, random_state=1
    )
    assert (other.fold_of != result.fold_of).any()
    assert not set(other.fold_seeds) & set(result.fold_seeds)


# --------------------------------------------------------------------------------------- the scores


def test_row_i_belongs_to_image_i(images):
    # Brightness is the class, so that every image can be told by its own prediction.
    levels = np.array([0, 120, 240])[np.arange(N) % 3]
    bright = (images // 16 + levels[:, None, None, None]).astype("uint8")
    plain = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(plain)
    hidden = {"activation": "relu", "kernel_initializer": "ones", "name": "block1_conv"}
    x = layers.Conv2D(1, 1, **hidden)(x)
    mean = keras.Model(plain, layers.GlobalAveragePooling2D()(x))
    shuffled = np.random.default_rng(3).permutation(N)
    found = cross_validate(
        transfer(mean, trainable_from="logits", learning_rate=5.0, epochs=40),
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


def test_augmented_views_are_trained_on_and_never_predicted(images):
    still, viewed, again = (
        cross_validate(
            transfer(augmented_views=n, epochs=2), images, LABELS, n_splits=2, random_state=0
        )
        for n in (0, 2, 2)
    )
    assert [fold.history for fold in still.folds] != [fold.history for fold in viewed.folds]
    np.testing.assert_array_equal(viewed.probabilities, again.probabilities)
    # Views are drawn once, from the views_seed, and not from that of the fold.
    train, _ = viewed.indices[1]
    by_hand = transfer(augmented_views=2, epochs=2, random_state=viewed.fold_seeds[1])
    by_hand.fit(images[train], LABELS[train])
    assert by_hand.history_["loss"] != pytest.approx(viewed.histories[1]["loss"], rel=1e-5)
    # A head that cannot learn predicts the same whatever it was trained on.
    fixed = [
        cross_validate(
            transfer(augmented_views=n, learning_rate=1e-30, trainable_from="logits", epochs=1),
            images,
            LABELS,
            n_splits=2,
            random_state=0,
        ).probabilities
        for n in (0, 2)
    ]
    np.testing.assert_array_equal(*fixed)


def test_augmented_views_are_part_of_what_a_directory_belongs_to(images, tmp_path):
    settings = {"n_splits": 2, "random_state": 1, "checkpoint_dir": tmp_path}
    amounts = Augmentation(rotation=5.0)
    first = cross_validate(
        transfer(augmented_views=1, epochs=1, augmentation=amounts), images, LABELS, **settings
    )
    again = cross_validate(
        transfer(augmented_views=1, epochs=1, augmentation=amounts, cache_dir=tmp_path / "cache"),
        images,
        LABELS,
        **settings,
    )
    np.testing.assert_array_equal(again.probabilities, first.probabilities)
    with pytest.raises(ValueError, match="augmentation"):
        cross_validate(
            transfer(augmented_views=1, epochs=1, augmentation=Augmentation(rotation=6.0)),
            images,
            LABELS,
            **settings,
        )


def test_wall_times_are_given_for_the_trunk_and_each_fold(result):
    assert 0 < result.seconds["features"] < result.seconds["total"]
    assert all(0 < fold.seconds < result.seconds["total"] for fold in result.folds)


def test_transfer_source_and_arrays_are_left_as_they_were(images):
    source = network()
    estimator = transfer(source, epochs=1, random_state=np.random.RandomState(0))
    digest, parameters = weights_digest(source), estimator.get_params()
    pixels, labels, groups = images.astype("float32"), LABELS.copy(), PATIENTS.copy()
    for array in (pixels, labels, groups):
        array.setflags(write=False)
    cross_validate(estimator, pixels, labels, groups=groups, n_splits=2)
    assert weights_digest(source) == digest
    assert vars(estimator) == parameters
    assert estimator.random_state.rand() == np.random.RandomState(0).rand()


def test_one_bar_counts_the_epochs_of_all_folds_and_shows_the_accuracy(noisy, images, terminal):
    with redirect_stderr(terminal):
        found = cross_validate(noisy, images, LABELS, n_splits=2)
    last = terminal.getvalue().split("\r")[-1]
    assert "folds: 100%" in last
    assert "6/6" in last
    assert f"accuracy {found.accuracy:.3f} in 2 folds" in last


def test_nothing_is_written_to_a_log_nor_with_verbose_0(images, capfd, terminal):
    loud = transfer(epochs=1, verbose=1, precision="auto")
    found = cross_validate(loud, images, LABELS, n_splits=2, verbose=1)
    assert capfd.readouterr() == ("", "")
    with redirect_stderr(terminal):
        cross_validate(loud, images, LABELS, n_splits=2, verbose=0)
    assert terminal.getvalue() == ""
    assert found.settings["transfer"]["precision"] == "auto"
    assert found.settings["precision"] == dtype_policy("auto")
    assert found.settings["device"] in ("cpu", "gpu")
    assert {"python", "detl", "keras", "numpy", "scipy", "scikit-learn"} < set(found.versions)
    assert found.versions["scipy"] == scipy.__version__


# ------------------------------------------------------------------ repeats, other folds, the audit


def test_every_fold_starts_from_the_same_weights(noisy, images, result):
    frozen = extended_start(noisy)
    assert {fold.start for fold in result.folds} == {frozen}


def extended_start(estimator):
    tail = estimator._extend(np.arange(3)).tail
    return weights_digest(tail.model, but=tail.model.layers[-1])


def test_repeats_split_anew_and_every_image_is_tested_in_each(images):
    found = cross_validate(
        DummyClassifier(), images, LABELS, n_splits=3, n_repeats=2, random_state=0
    )
    assert len(found.folds) == 6
    for repeat in (found.folds[:3], found.folds[3:]):
        assert sorted(np.concatenate([fold.test for fold in repeat])) == list(range(N))
    first, second = ({tuple(fold.test) for fold in r} for r in (found.folds[:3], found.folds[3:]))
    assert not first & second
    assert len(set(found.fold_seeds)) == 6
    assert found.confusion_matrix.sum() == 2 * N


# ---------------------------------------------------------------------------------- broken-off runs


def test_checkpoints_of_a_run_that_never_comes_again_are_refused(images, tmp_path):
    with pytest.raises(ValueError, match=r"without random_state: .*; give random_state=0"):
        cross_validate(transfer(), images, LABELS, checkpoint_dir=tmp_path / "folds")
    assert not (tmp_path / "folds").exists()


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_jobs(noisy, images, result, tmp_path, terminal):
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": tmp_path}
    first = cross_validate(noisy, images, LABELS, n_jobs=np.int64(2), **settings)
    np.testing.assert_allclose(first.probabilities, result.probabilities, atol=1e-5)
    assert first.fold_seeds == result.fold_seeds
    assert {fold.start for fold in first.folds} == {fold.start for fold in result.folds}
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


def test_a_finished_run_is_read_back_and_nothing_is_trained(noisy, images, result, folder):
    again = cross_validate(noisy, images, LABELS, n_splits=3, random_state=0, checkpoint_dir=folder)
    np.testing.assert_array_equal(again.probabilities, result.probabilities)
    assert [fold.seconds for fold in again.folds] == [fold.seconds for fold in result.folds]
    assert again.seconds["features"] == 0


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"epochs": 4}, "transfer.epochs is 3 there, 4 here"),
        ({"labels": LABELS[::-1]}, "other labels"),
        ({"images": 255 - np.zeros((N, *SHAPE), "uint8")}, "other images"),
        ({"random_state": 1}, "fold_seeds is .* there, .* here"),
        ({"groups": PATIENTS}, "groups is None there"),
        ({"source": network(dropout=0.3), "shift": 1.0}, "other source"),
        ({"source": network(dropout=0.2)}, "other architecture\\."),
    ],
)
def test_the_directory_of_another_run_is_refused(
    noisy, images, result, folder, changes, difference
):
    settings = {"n_splits": 3, "random_state": 0, "checkpoint_dir": folder, "on_leak": "ignore"}
    other = clone(noisy)
    other.set_params(**{n: changes[n] for n in ("epochs", "source") if n in changes})
    if "shift" in changes:
        other.source.layers[2].bias.assign(np.full(4, changes["shift"]))
    data = {"images": images, "labels": LABELS, **settings}
    data |= {n: changes[n] for n in changes.keys() - {"epochs", "source", "shift"}}
    with pytest.raises(ValueError, match=f"belongs to another run: .*{difference}"):
        cross_validate(other, data.pop("images"), data.pop("labels"), **data)


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
