"""A probe chooses its block by inner folds of the images that it is given, patients together."""

import pickle

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from detl import FeatureExtractor, cross_validate, features, folds, recipes
from detl.networks.digests import weights_digest
from detl.recipes import LinearProbe, probing
from detl.seeds import integer_seed, seed_sequence

SHAPE = (16, 16, 1)
N = 36
LABELS = np.array(["lung", "heart", "bone"] * (N // 3))
PATIENTS = np.repeat(np.arange(N // 3), 3)
BLOCKS = ["block1", "block2"]


@pytest.fixture(scope="module")
def source():
    pixels = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    for seed, block in enumerate(BLOCKS):
        initializer = keras.initializers.HeNormal(seed=seed)
        x = layers.Conv2D(4 + seed, 3, 2, kernel_initializer=initializer, name=f"{block}_conv")(x)
        x = layers.ReLU(name=f"{block}_relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, layers.Dense(2, activation="softmax")(x))


@pytest.fixture(scope="module")
def images():
    noise = np.random.default_rng(0).integers(0, 120, (N, *SHAPE))
    noise[LABELS == "lung", :, 8:] += 60
    noise[LABELS == "bone", ::2] += 60
    return noise.astype("uint8")


def test_block_and_penalty_are_those_of_a_search_over_inner_folds(source, images):
    probe = LinearProbe(source, Cs=(0.01, 1.0), random_state=3)
    probe.fit(images, LABELS, groups=PATIENTS)
    inner = folds.stratified_folds(
        LABELS, groups=PATIENTS, n_splits=3, random_state=integer_seed(seed_sequence(3))
    )
    search = GridSearchCV(
        make_pipeline(
            FeatureExtractor(source), StandardScaler(), LogisticRegression(max_iter=1000)
        ),
        {"featureextractor__layers": BLOCKS, "logisticregression__C": [0.01, 1.0]},
        cv=inner,
    ).fit(images, LABELS)
    expected = dict(zip(probe.best_params_, sorted(search.best_params_.values(), key=str)[::-1]))
    assert probe.best_params_ == expected
    scores = search.cv_results_["mean_test_score"].reshape(2, 2)
    np.testing.assert_allclose([probe.scores_[b] for b in BLOCKS], scores)
    np.testing.assert_allclose(
        probe.predict_proba(images), search.predict_proba(images), rtol=1e-3, atol=1e-4
    )
    assert probe.predict(images).tolist() == search.predict(images).tolist()


def test_inner_folds_keep_a_patient_on_one_side(source):
    """Each patient has a grey level of his own, and a class that has nothing to do with it."""
    generator = np.random.default_rng(1)
    patients = np.repeat(np.arange(12), 4)
    labels = np.array(["a", "b"] * 6)[generator.permutation(12)][patients]
    levels = generator.permutation(12)[patients] * 20
    images = np.broadcast_to(levels[:, None, None, None], (48, *SHAPE)).astype("uint8")
    images = images + generator.integers(0, 3, images.shape, dtype="uint8")
    probe = LinearProbe(source, blocks=["block1"], Cs=[1000.0], random_state=0)
    told_apart = probe.fit(images, labels).scores_["block1"][0]
    kept_together = probe.fit(images, labels, groups=patients).scores_["block1"][0]
    assert told_apart > kept_together + 0.2


def test_a_cross_validation_hands_on_the_groups_and_keeps_what_was_chosen(source, images):
    probe = LinearProbe(source, Cs=(0.01, 1.0))
    result = cross_validate(probe, images, LABELS, groups=PATIENTS, n_splits=2, random_state=0)
    for fold in result.folds:
        alone = clone(probe).set_params(random_state=fold.seed)
        alone.fit(images[fold.train], LABELS[fold.train], groups=PATIENTS[fold.train])
        np.testing.assert_allclose(
            fold.probabilities, alone.predict_proba(images[fold.test]), rtol=1e-5
        )
        assert fold.chosen == alone.best_params_


def test_without_groups_a_probe_splits_images(source, images):
    result = cross_validate(LinearProbe(source), images, LABELS, n_splits=2, random_state=0)
    assert {fold.chosen["block"] for fold in result.folds} <= set(BLOCKS)


def test_a_class_of_few_groups_has_fewer_inner_folds(source, images):
    few = np.where(LABELS == "bone", PATIENTS % 2, PATIENTS)
    probe = LinearProbe(source, blocks=["block1"], n_splits=3, random_state=0)
    # scikit-learn would warn of it in every search, and warnings are errors here.
    assert probe.fit(images, LABELS, groups=few).classes_.tolist() == ["bone", "heart", "lung"]
    with pytest.raises(ValueError, match="All images of class 'bone' are of one group"):
        probe.fit(images, LABELS, groups=np.where(LABELS == "bone", 0, PATIENTS))


def test_clones_and_pickles_predict_the_same_and_the_source_stays(source, images):
    before = weights_digest(source)
    probe = clone(LinearProbe(source, blocks=["block2"], random_state=0)).fit(images, LABELS)
    again = pickle.loads(pickle.dumps(probe))
    np.testing.assert_allclose(again.predict_proba(images), probe.predict_proba(images), rtol=1e-5)
    assert weights_digest(source) == before
    assert probe.n_features_in_ == 16


def test_more_images_than_features_are_not_needed(source, images):
    probe = LinearProbe(source, grid=3, blocks=["block1"], random_state=0).fit(
        images[:9], LABELS[:9]
    )
    assert probe.extractor_.layer_sizes_ == (36,)
    assert probe.predict(images[:9]).tolist() == LABELS[:9].tolist()


def test_a_network_without_named_blocks_is_read_at_its_last_convolution(images):
    pixels = keras.Input(SHAPE)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3, name="only")(pixels))
    probe = LinearProbe(keras.Model(pixels, x), random_state=0).fit(images, LABELS)
    assert probe.best_params_["block"] == "last_block"


def test_of_regressions_that_do_not_converge_it_is_said_once(source, images, monkeypatch):
    monkeypatch.setattr(probing, "_STEPS", 1)
    with pytest.warns(ConvergenceWarning, match="give smaller Cs") as warned:
        LinearProbe(source, random_state=0).fit(images, LABELS)
    assert len([w for w in warned if w.category is ConvergenceWarning]) == 1


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"blocks": "block1"}, TypeError, r"blocks is the text 'block1'; expected \['block1'\]"),
        ({"blocks": ["blok1"]}, ValueError, "'blok1' names neither.*'block1'"),
        ({"Cs": 1.0}, TypeError, r"Cs is 1\.0; expected numbers above 0, such as"),
        ({"Cs": []}, ValueError, "Cs is empty; give at least one"),
        ({"Cs": [-1]}, ValueError, "Cs=-1; expected a number above 0"),
        ({"n_splits": 1}, ValueError, "n_splits=1; expected at least 2"),
    ],
)
def test_what_does_not_fit_is_named(source, images, settings, error, message):
    with pytest.raises(error, match=message):
        LinearProbe(source, **settings).fit(images, LABELS)


def test_of_precomputed_features_the_penalty_alone_is_chosen(source, images):
    rows = FeatureExtractor(source, layers="block2").fit_transform(images)
    known = features.precomputed(images, rows)
    probe = clone(recipes.linear_probe(known, Cs=(0.01, 1.0), random_state=3))
    probe.fit(images, LABELS, groups=PATIENTS)
    of_network = LinearProbe(source, blocks=["block2"], Cs=(0.01, 1.0), random_state=3)
    of_network.fit(images, LABELS, groups=PATIENTS)
    assert probe.best_params_ == {"C": of_network.best_params_["C"]}
    np.testing.assert_array_equal(probe.predict_proba(images), of_network.predict_proba(images))
    assert probe.n_features_in_ == 16
    settings = {"groups": PATIENTS, "n_splits": 3, "random_state": 0, "verbose": 0}
    chosen = [fold.chosen for fold in cross_validate(probe, images, LABELS, **settings).folds]
    assert {name for of_fold in chosen for name in of_fold} == {"C"}


@pytest.mark.parametrize("option", [{"blocks": ["block1"]}, {"grid": 2}])
def test_precomputed_features_have_neither_blocks_nor_grid(images, option):
    probe = LinearProbe(features.precomputed(images, np.eye(N)), **option)
    with pytest.raises(ValueError, match="the features are precomputed; leave both out"):
        probe.fit(images, LABELS)


def test_one_thread_computes_whatever_the_process_has(source, images, monkeypatch):
    counts = set()
    fit = LogisticRegression.fit

    def watched(self, *args, **kwargs):
        counts.update(of["num_threads"] for of in threadpool_info() if of["user_api"] == "blas")
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(LogisticRegression, "fit", watched)
    with threadpool_limits(2, user_api="blas"):
        LinearProbe(source, random_state=0).fit(images, LABELS)
    assert counts == {1}
