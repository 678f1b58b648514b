"""The transfer is a scikit-learn classifier, and scikit-learn's tools keep the source's weights."""

import pickle

import keras
import matplotlib
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone, is_classifier
from sklearn.metrics import ConfusionMatrixDisplay, RocCurveDisplay, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    permutation_test_score,
)
from sklearn.model_selection import (
    cross_validate as sklearn_cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_estimators_overwrite_params,
    parametrize_with_checks,
)

from detl import DomainExtensionTransfer, FeatureExtractor, SourceModel, cross_validate
from detl.networks.digests import weights_digest
from detl.pretraining.augmentation import Augmentation

matplotlib.use("Agg")  # scikit-learn's displays go through pyplot

# ---------------------------------------------------------------------------- scikit-learn's checks


@keras.saving.register_keras_serializable(package="detl_tests")
class FixedWidth(layers.Layer):
    """Zeros to the right, so that one source serves tables of any number of columns."""

    def call(self, rows):
        width = 20
        return keras.ops.reshape(keras.ops.pad(rows, [[0, 0], [0, width]])[:, :width], (-1, width))


def table_source():
    rows = keras.Input((None,))
    x = FixedWidth()(rows)
    for name in ("frozen", "hidden"):
        initializer = keras.initializers.HeNormal(seed=len(name))
        x = layers.Dense(32, activation="relu", kernel_initializer=initializer, name=name)(x)
    return keras.Model(rows, layers.Dense(2, activation="softmax", name="classes")(x))


def table_classifier(source):
    return DomainExtensionTransfer(
        source, trainable_from="hidden", learning_rate=0.1, epochs=2, batch_size=32
    )


def place_decides_the_last_bit():
    """Ask plain Keras, without detl, whether a row's output depends on its place in the batch."""
    generator = np.random.default_rng(0)
    model = table_source()
    for n in range(20, 70):
        rows, order = generator.normal(size=(n, 3)).astype("float32"), generator.permutation(n)
        if (model.predict_on_batch(rows[order]) != model.predict_on_batch(rows)[order]).any():
            return True
    return False


PICKLES = {
    "check_estimators_overwrite_params": (
        "it compares pickles, and Keras writes the time into the pickle of a model; "
        "a source given as a path passes below"
    )
}


def expected_failures(_):
    if not place_decides_the_last_bit():
        return PICKLES
    return PICKLES | {
        "check_methods_sample_order_invariance": (
            "it asks for 1e-9, which plain Keras does not give here; asked to rounding below"
        )
    }


@parametrize_with_checks(
    [table_classifier(table_source())],
    expected_failed_checks=expected_failures,
    xfail_strict=False,  # within one second the pickles may be equal
)
def test_every_check_of_scikit_learn_passes(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [FeatureExtractor(table_source(), layers="hidden")],
    expected_failed_checks=lambda _: PICKLES,
    xfail_strict=False,
)
def test_every_check_of_scikit_learn_passes_for_features(estimator, check):
    check(estimator)


def test_predictions_do_not_depend_on_the_order_of_rows_but_for_rounding():
    generator = np.random.default_rng(0)
    rows, labels = generator.normal(size=(60, 3)), np.array(["a", "b", "c"] * 20)
    fitted = table_classifier(table_source()).set_params(random_state=0).fit(rows, labels)
    order = generator.permutation(60)
    np.testing.assert_allclose(
        fitted.predict_proba(rows[order]), fitted.predict_proba(rows)[order], rtol=1e-5, atol=1e-7
    )


def test_fit_changes_none_of_its_parameters(tmp_path):
    source = SourceModel(
        model=table_source(), classes=np.array(["a", "b"]), history={}, best_epoch=0
    )
    path = source.save(tmp_path / "source.keras")
    check_estimators_overwrite_params("DomainExtensionTransfer", table_classifier(str(path)))


# ----------------------------------------------------------------------------- scikit-learn's tools

SHAPE = (16, 16, 1)
LABELS = np.array(["heart", "lung", "bone"] * 8)


@pytest.fixture(scope="module")
def source():
    images = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(images)
    for block in (1, 2, 3):
        x = layers.Conv2D(4, 3, strides=2, padding="same", name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(name=f"block{block}_norm")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(images, layers.Dense(2, activation="softmax", name="healthy_or_not")(x))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (len(LABELS), *SHAPE)).astype("uint8")


@pytest.fixture
def digest(source):
    """Digest of the source before a test; after it, the source must still have it."""
    before = weights_digest(source)
    yield before
    assert weights_digest(source) == before


def transfer(source, **changes):
    settings = {"epochs": 1, "learning_rate": 0.1, "batch_size": 8, "random_state": 0}
    return DomainExtensionTransfer(source, **{**settings, **changes})


def assert_frozen_part_is_the_sources(fitted, source):
    frozen = [
        layer
        for layer in source.layers
        if layer.weights and layer.name not in [*fitted.trained_layers_, "healthy_or_not"]
    ]
    assert frozen
    for layer in frozen:
        for mine, theirs in zip(
            fitted.model_.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_it_counts_as_a_classifier_so_that_folds_are_stratified(source):
    assert is_classifier(transfer(source))
    assert is_classifier(make_pipeline(transfer(source)))


def test_a_clone_has_the_very_same_source_and_equal_parameters(source, images):
    settings = {
        "trainable_from": "block2",
        "epochs": 3,
        "batch_size": 5,
        "learning_rate": 0.5,
        "schedule": "constant",
        "head_start": "random",
        "head_learning_rate": 0.7,
        "momentum": 0.3,
        "label_smoothing": 0.2,
        "class_weight": {"heart": 1, "lung": 2, "bone": 3},
        "augmented_views": 2,
        "augmentation": Augmentation(rotation=3.0),
        "validation_split": 0.2,
        "early_stopping": 4,
        "callbacks": list,
        "precision": "auto",
        "cache_dir": "features",
        "random_state": 9,
        "verbose": 2,
    }
    original = DomainExtensionTransfer(source, **settings)
    twin = clone(original)
    assert twin.source is source
    assert twin.get_params() == {"source": source, **settings}
    assert type(twin) is DomainExtensionTransfer

    fitted = transfer(source).fit(images, LABELS)
    assert {name for name in vars(fitted) if name.endswith("_")} == {
        "classes_",
        "history_",
        "model_",
        "n_features_in_",
        "trained_layers_",
        "training_",
    }
    assert not [name for name in vars(clone(fitted)) if name.endswith("_")]


def test_a_clone_shares_a_pretrained_source_and_copies_a_random_state(source):
    pretrained = SourceModel(model=source, classes=np.array(["a", "b"]), history={}, best_epoch=0)
    original = transfer(pretrained, random_state=np.random.RandomState(0))
    twin = clone(original)
    assert twin.source is pretrained
    assert twin.random_state is not original.random_state


def test_parameters_are_got_and_set_as_the_same_objects(source):
    estimator = transfer(source)
    assert estimator.get_params()["source"] is source
    assert estimator.set_params(learning_rate=0.5, trainable_from="block2") is estimator
    assert (estimator.learning_rate, estimator.trainable_from) == (0.5, "block2")
    with pytest.raises(ValueError, match="Invalid parameter 'freeze' for estimator"):
        estimator.set_params(freeze=True)


def test_cross_val_score_scores_each_fold_as_fitting_by_hand_does(source, images, digest):
    folds = KFold(3, shuffle=True, random_state=1)
    by_hand = []
    for train, test in folds.split(images):
        fitted = transfer(source).fit(images[train], LABELS[train])
        by_hand.append(np.mean(fitted.predict(images[test]) == LABELS[test]))
    assert cross_val_score(transfer(source), images, LABELS, cv=folds).tolist() == by_hand


def test_cross_val_predict_puts_each_image_in_its_own_row(source, images, digest):
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    found = cross_val_predict(transfer(source), images, LABELS, cv=folds, method="predict_proba")
    train, test = next(folds.split(images, LABELS))
    expected = transfer(source).fit(images[train], LABELS[train]).predict_proba(images[test])
    np.testing.assert_allclose(found[test], expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_grid_search_starts_every_candidate_from_the_pretrained_weights(source, images, digest):
    grid = [
        {"learning_rate": [1e-4], "trainable_from": ["last_block"]},
        {"learning_rate": [0.1], "trainable_from": ["logits"]},
    ]
    search = GridSearchCV(transfer(source), grid, cv=2, error_score="raise").fit(images, LABELS)
    assert len(search.cv_results_["params"]) == 2
    best = search.best_estimator_
    assert best.source is source
    assert_frozen_part_is_the_sources(best, source)
    by_hand = transfer(source, **search.best_params_).fit(images, LABELS)
    assert weights_digest(best.model_) == weights_digest(by_hand.model_)


def test_scikit_learns_own_cross_validation_gives_the_folds_of_ours(source, images):
    folds = StratifiedKFold(2, shuffle=True, random_state=0)
    found = sklearn_cross_validate(
        transfer(source), images, LABELS, cv=folds, return_estimator=True, error_score="raise"
    )
    ours = cross_validate(transfer(source), images, LABELS, cv=folds, random_state=0)
    for fitted, (train, test), score in zip(
        found["estimator"], ours.indices, found["test_score"], strict=True
    ):
        assert fitted.source is source
        assert score == np.mean(fitted.predict(images[test]) == LABELS[test])
        assert not set(train) & set(test)


def test_a_learning_curve_trains_on_more_and_more_images(source, images):
    sizes, train_scores, test_scores = learning_curve(
        transfer(source, epochs=1), images, LABELS, cv=2, train_sizes=[0.5, 1.0],
        shuffle=True, random_state=0, error_score="raise",
    )  # fmt: skip
    assert sizes.tolist() == [len(images) // 4, len(images) // 2]
    assert train_scores.shape == test_scores.shape == (2, 2)
    assert np.isfinite([train_scores, test_scores]).all()


def test_permuted_labels_score_no_better_than_chance_allows(source, images):
    score, permuted, p_value = permutation_test_score(
        transfer(source, epochs=1), images, LABELS, cv=2, n_permutations=1, random_state=0
    )
    assert len(permuted) == 1
    assert p_value == (np.sum(permuted >= score) + 1) / 2


def test_scikit_learns_displays_take_our_results(source, images):
    result = cross_validate(transfer(source), images, LABELS, n_splits=2, random_state=0)
    shown = ConfusionMatrixDisplay.from_predictions(result.labels, result.predictions)
    np.testing.assert_array_equal(shown.confusion_matrix, result.confusion_matrix)
    assert ConfusionMatrixDisplay(result.confusion_matrix, display_labels=result.classes).plot()
    curve = RocCurveDisplay.from_predictions(
        result.labels == result.classes[0], result.probabilities[:, 0]
    )
    assert curve.roc_auc == pytest.approx(
        roc_auc_score(result.labels == result.classes[0], result.probabilities[:, 0])
    )
    fitted = transfer(source).fit(images, LABELS)
    of_estimator = ConfusionMatrixDisplay.from_estimator(fitted, images, LABELS)
    assert of_estimator.confusion_matrix.sum() == len(images)


def test_grid_search_compares_sources(source, images):
    other = keras.models.clone_model(source)
    pretrained = [
        SourceModel(model=model, classes=np.array(["a", "b"]), history={}, best_epoch=0)
        for model in (source, other)
    ]
    search = GridSearchCV(
        transfer(None, trainable_from="logits"), {"source": pretrained}, cv=2, error_score="raise"
    ).fit(images, LABELS)
    assert any(search.best_estimator_.source is candidate for candidate in pretrained)


def test_a_pipeline_predicts_as_its_transfer_on_what_it_is_given(source, images, digest):
    brighter = FunctionTransformer(lambda pixels: np.minimum(pixels.astype("float32") + 9, 255))
    pipeline = Pipeline([("brighter", brighter), ("transfer", transfer(source))])
    pipeline.set_params(transfer__epochs=2).fit(images, LABELS)
    alone = transfer(source, epochs=2).fit(brighter.transform(images), LABELS)
    np.testing.assert_allclose(
        pipeline.predict_proba(images),
        alone.predict_proba(brighter.transform(images)),
        atol=1e-6,
    )
    assert pipeline["transfer"].source is source
    assert clone(pipeline)["transfer"].source is source


def test_the_trunk_of_every_clone_computes_what_the_source_computes(source, images, digest):
    fitted = clone(transfer(source)).fit(images, LABELS)
    cut = "block2_relu"
    theirs = keras.Model(source.input, source.get_layer(cut).output)
    mine = keras.Model(fitted.model_.input, fitted.model_.get_layer(cut).output)
    np.testing.assert_array_equal(mine.predict_on_batch(images), theirs.predict_on_batch(images))


def test_a_pickled_transfer_predicts_the_same_and_can_be_fitted_again(source, images, digest):
    fitted = transfer(source).fit(images, LABELS)
    loaded = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(loaded.predict_proba(images), fitted.predict_proba(images))
    np.testing.assert_array_equal(loaded.predict(images), fitted.predict(images))
    assert weights_digest(loaded.source) == digest
    again = loaded.fit(images, LABELS)
    assert weights_digest(again.model_) == weights_digest(fitted.model_)


@pytest.mark.slow
def test_two_processes_score_as_one(source, images):
    alone, shared = (
        cross_val_score(transfer(source), images, LABELS, cv=2, n_jobs=n_jobs, error_score="raise")
        for n_jobs in (1, 2)
    )
    np.testing.assert_array_equal(alone, shared)
