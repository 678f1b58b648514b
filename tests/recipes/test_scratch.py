"""From scratch means that nothing of the source's knowledge is left."""

import pickle

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone

from detl import GradCAM, cross_validate
from detl.networks.digests import weights_digest
from detl.recipes import FromScratch

SHAPE = (16, 16, 1)


@pytest.fixture(scope="module")
def images():
    found = np.random.default_rng(0).integers(0, 100, (12, *SHAPE))
    found[::2] += 100
    return found.astype("uint8")


LABELS = np.array(["bright", "dim"] * 6)


def network(filled_with):
    """Return a network, all of whose weights and statistics come from one seed."""
    pixels = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = layers.Conv2D(4, 3, strides=2, name="block1_conv")(x)
    x = layers.ReLU(name="block1_relu")(layers.BatchNormalization(name="block1_norm")(x))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, name="block2_conv")(x))
    built = keras.Model(pixels, layers.Dropout(0.5)(x))
    generator = np.random.default_rng(filled_with)
    built.set_weights([generator.uniform(0.1, 1, w.shape) for w in built.get_weights()])
    return built


@pytest.fixture(scope="module")
def source():
    return network(0)


@pytest.fixture(scope="module")
def scratch(source, images):
    return FromScratch(source, epochs=1, random_state=5).fit(images, LABELS)


def test_the_weights_of_the_source_play_no_part(scratch, source, images):
    other = network(1)
    assert weights_digest(other) != weights_digest(source)
    again = FromScratch(other, epochs=1, random_state=5).fit(images, LABELS)
    for one, same in zip(scratch.model_.get_weights(), again.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(one, same)


def test_the_source_stays_as_it_is(scratch, source):
    assert weights_digest(source) == weights_digest(network(0))


def test_another_seed_draws_other_weights(scratch, source, images):
    other = FromScratch(source, epochs=1, random_state=6).fit(images, LABELS)
    assert not np.array_equal(other.predict_proba(images), scratch.predict_proba(images))


def test_each_fold_draws_its_own_weights(source, images):
    result = cross_validate(
        FromScratch(source, epochs=1), images, LABELS, n_splits=2, random_state=0
    )
    fold = result.folds[1]
    alone = FromScratch(source, epochs=1, random_state=fold.seed)
    alone.fit(images[fold.train], LABELS[fold.train])
    np.testing.assert_allclose(
        fold.probabilities, alone.predict_proba(images[fold.test]), rtol=1e-5
    )


def test_all_layers_are_trained(scratch, source):
    weighted = [layer.name for layer in source.layers if layer.weights]
    assert scratch.transfer_.trained_layers_ == [*weighted, "logits"]
    assert len(scratch.history_["loss"]) == 1


def test_a_fitted_one_is_a_network_that_can_be_explained(scratch, images):
    assert scratch.classes_.tolist() == ["bright", "dim"]
    assert scratch.n_features_in_ == 16
    assert isinstance(scratch.model_, keras.Model)
    assert GradCAM(scratch)(images[:2], "dim").shape == (2, 16, 16)


def test_clones_and_pickles(scratch, source, images):
    unfitted = clone(scratch)
    assert unfitted.source is source
    assert not hasattr(unfitted, "classes_")
    again = pickle.loads(pickle.dumps(scratch))
    np.testing.assert_allclose(
        again.predict_proba(images), scratch.predict_proba(images), rtol=1e-4, atol=1e-5
    )
    assert again.predict(images).tolist() == scratch.predict(images).tolist()
