"""Every fold is a fit of its own, every image is judged by a fold that did not see it."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix

from detl import DomainExtensionTransfer, cross_validate, metrics
from detl.tail import weights_digest

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
        type(self).traces["training" if training else "inference"] += 1
        if training:
            return batch
        import tensorflow as tf

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
    assert (grouped.groups_given, result.groups_given) == (True, False)


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
        right = np.mean(found.predictions == LABELS)
        assert found.interval.low < right < found.interval.high
        assert f"bootstrap over {drawn}" in found.interval.method


def test_a_class_that_nobody_predicts_keeps_its_row_and_column(images):
    labels = np.where(np.arange(N) < 3, "rare", "common")
    found = cross_validate(transfer(learning_rate=1e-30), images, labels, n_splits=3)
    assert found.confusion_matrix.shape == (2, 2)
    assert found.confusion_matrix.sum(axis=1).tolist() == [33, 3]


def test_the_text_holds_every_number_and_says_what_it_is(result, grouped):
    text = str(result)
    first, interval, folds = text.splitlines()[:3]
    assert first == (
        f"accuracy {result.accuracy:.3f} ± {result.accuracy_std:.3f} (share of images; mean ± "
        "standard deviation over 3 folds, images split at random)"
    )
    assert "groups kept together" in str(grouped).splitlines()[0]
    assert interval == (
        f"95 % interval {result.interval.low:.3f} to {result.interval.high:.3f} "
        f"({result.interval.method})"
    )
    assert folds == "folds " + "  ".join(f"{accuracy:.3f}" for accuracy in result.accuracies)

    lines = [line.split() for line in text.splitlines()]
    (header,) = [cells for cells in lines if cells[:1] == ["class"]]
    assert header[1:] == ["images", "sensitivity", "specificity", "precision"]
    table = metrics.class_table(result.confusion_matrix)
    for row, name in enumerate(result.classes):
        scores, counts = [
            cells[1:] for cells in lines if cells[:1] == [name] and cells[1].isdigit()
        ]
        assert scores[0] == "12"
        assert scores[1:] == [f"{table[score][row]:.3f}" for score in header[2:]]
        assert counts == [str(count) for count in result.confusion_matrix[row]]
    assert "summed over folds (rows: true, columns: predicted)" in text


def test_the_table_is_aligned_whatever_the_names(images):
    names = {"lung": "x", "heart": "a name much longer than any number", "bone": "7"}
    labels = np.array([names[label] for label in LABELS])
    lines = str(cross_validate(transfer(epochs=1), images, labels, n_splits=2)).splitlines()
    matrix = lines[-4:]
    assert len({len(line) for line in matrix}) == 1
    assert len({len(line) for line in lines if "images" in line[:60] and "class" in line[:6]}) == 1


# ---------------------------------------------------------------------------- the work that is done


@needs_tensorflow
@pytest.mark.parametrize("n_splits", [2, 6])
def test_each_image_passes_the_trunk_once_whatever_the_number_of_folds(images, n_splits):
    source = network(witness_in="block1")
    Witness.forget()
    cross_validate(transfer(source), images, LABELS, n_splits=n_splits)
    assert Witness.images == N


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


def test_wall_times_are_given_for_the_trunk_and_each_fold(result):
    assert result.seconds["features"] > 0
    assert len(result.seconds["folds"]) == 3
    assert min(result.seconds["folds"]) > 0


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


def test_a_bar_over_the_folds_is_shown_on_request_only(images, capsys):
    cross_validate(transfer(epochs=1), images, LABELS, n_splits=2)
    assert capsys.readouterr().out == ""
    cross_validate(transfer(epochs=1), images, LABELS, n_splits=2, verbose=1)
    shown = capsys.readouterr().out
    assert "2/2" in shown
    assert "accuracy" in shown


# -------------------------------------------------------------------------------- what is refused


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
            "n_splits=5 exceeds the 1 groups of class 'lung'.*merge or leave out that class",
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


@pytest.mark.parametrize("other", [LogisticRegression(), DomainExtensionTransfer, None])
def test_other_estimators_are_referred_to_scikit_learn(images, other):
    with pytest.raises(TypeError, match=r"use sklearn\.model_selection\.cross_validate"):
        cross_validate(other, images, LABELS)
