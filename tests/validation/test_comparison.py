"""Every classifier that is compared is cross-validated on the same folds and seeds."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import StratifiedKFold

from detl import Comparison, DomainExtensionTransfer, FoldError, compare, cross_validate


def network(seed):
    images = keras.Input((16, 16, 1))
    x = layers.Rescaling(1 / 255)(images)
    initializer = keras.initializers.HeNormal(seed=seed)
    x = layers.Conv2D(4, 3, strides=4, kernel_initializer=initializer, name="block1_conv")(x)
    return keras.Model(images, layers.GlobalAveragePooling2D()(x))


@pytest.fixture(scope="module")
def classifiers():
    source = network(0)
    return {
        "trained": DomainExtensionTransfer(source, epochs=8, learning_rate=0.5, batch_size=8),
        "from scratch!": DomainExtensionTransfer(
            source, epochs=1, trainable_from="input", batch_size=8
        ),
    }


@pytest.fixture(scope="module")
def quick():
    return {"trained": DummyClassifier(), "from scratch!": DummyClassifier(strategy="uniform")}


def test_each_transfer_is_cross_validated_on_the_same_folds_and_seeds(
    classifiers, tiny_images, tiny_labels, tmp_path
):
    groups = np.arange(40) // 2
    settings = {"groups": groups, "n_splits": 4, "checkpoint_dir": tmp_path}
    found = compare(classifiers, tiny_images, tiny_labels, random_state=0, **settings)
    assert isinstance(found, Comparison)
    trained, scratch = found.results.values()
    for one, other in zip(trained.folds, scratch.folds, strict=True):
        np.testing.assert_array_equal(one.test, other.test)
        assert one.seed == other.seed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["from_scratch_", "trained"]
    again = compare(classifiers, tiny_images, tiny_labels, random_state=0, **settings)
    assert str(again) == str(found)


def test_a_transfer_compared_is_the_transfer_cross_validated(classifiers, tiny_images, tiny_labels):
    def seed():
        return np.random.default_rng(3)

    settings = {"groups": np.arange(40) // 2, "n_splits": 2}
    found = compare(classifiers, tiny_images, tiny_labels, random_state=seed(), **settings)
    for name, estimator in classifiers.items():
        alone = cross_validate(estimator, tiny_images, tiny_labels, random_state=seed(), **settings)
        np.testing.assert_array_equal(alone.probabilities, found.results[name].probabilities)
        assert alone.fold_seeds == found.results[name].fold_seeds
        assert alone.settings == found.results[name].settings
        assert alone.interval == found.results[name].interval


def test_a_generator_of_folds_serves_every_classifier(quick, tiny_images, tiny_labels):
    generator = StratifiedKFold(2).split(tiny_images, tiny_labels)
    found = compare(quick, tiny_images, tiny_labels, cv=generator, random_state=0)
    assert {len(result.folds) for result in found.results.values()} == {2}


class DrawsAnew:
    """A splitter of one's own that never splits alike."""

    def __init__(self):
        self.generator = np.random.default_rng(0)

    def split(self, X, y, groups=None):
        seed = int(self.generator.integers(1000))
        return StratifiedKFold(2, shuffle=True, random_state=seed).split(X, y)


@pytest.mark.parametrize("splitter", [DrawsAnew, lambda: StratifiedKFold(2, shuffle=True)])
def test_a_splitter_that_draws_anew_is_asked_once(quick, tiny_images, tiny_labels, splitter):
    found = compare(quick, tiny_images, tiny_labels, cv=splitter(), random_state=0)
    trained, scratch = found.results.values()
    assert trained.fold_of.tolist() == scratch.fold_of.tolist()


def test_leaks_are_said_once_and_stand_below_the_table(quick, tiny_images, tiny_labels):
    with pytest.warns(UserWarning, match="The folds leak") as warned:
        found = compare(
            quick, tiny_images, tiny_labels, groups=np.arange(40) // 20,
            cv=StratifiedKFold(2, shuffle=True, random_state=0), random_state=0,
        )  # fmt: skip
    assert len([w for w in warned if "leak" in str(w.message)]) == 1
    assert "LEAKS" in str(found)


def test_each_source_may_have_groups_of_its_own(quick, tiny_images, tiny_labels):
    settings = {"groups": np.arange(40) // 2, "n_splits": 2, "random_state": 0}
    data = {"classifiers": quick, "images": tiny_images, "labels": tiny_labels}
    own = {"trained": np.array([3, 4, 99])}
    said = r"The source has 2 groups of the target too, .* \(The source of trained\.\)"
    with pytest.warns(UserWarning, match=said):
        found = compare(**data, source_groups=own, **settings)
    trained, scratch = (result.audit for result in found.results.values())
    assert trained.source_shared_groups == (3, 4)
    assert scratch.source_shared_groups is None
    assert str(found).count("(The source of trained.)") == 1
    with pytest.warns(UserWarning, match="The source has 1 group of the target too") as warned:
        found = compare(**data, source_groups=[3], **settings)
    assert "The source of" not in str(warned[0].message)
    assert {r.audit.source_shared_groups for r in found.results.values()} == {(3,)}
    with pytest.raises(
        ValueError, match=r"has 'ImageNet'; expected names of classifiers: 'trained'"
    ):
        compare(**data, source_groups={"ImageNet": None}, **settings)


def test_a_leak_of_any_source_is_refused_before_the_first_is_trained(
    quick, tiny_images, tiny_labels, tmp_path
):
    with pytest.raises(ValueError, match=r"The source of from scratch!"):
        compare(
            quick, tiny_images, tiny_labels, groups=np.arange(40) // 2, n_splits=2,
            source_groups={"from scratch!": [0]}, on_leak="raise", random_state=0,
            checkpoint_dir=tmp_path / "folds",
        )  # fmt: skip
    assert not (tmp_path / "folds").exists()


def test_copies_are_looked_for_once_for_all_transfers(quick, tiny_images, tiny_labels):
    found = compare(quick, tiny_images, tiny_labels, n_splits=2, random_state=0)
    one, other = (result.audit for result in found.results.values())
    assert one is other


@pytest.mark.parametrize(
    ("classifiers", "settings", "message"),
    [
        ({}, {}, r"classifiers is \{\}; expected a dict of at least two"),
        ({"a": None}, {}, "expected a dict of at least two"),
        ([1, 2], {}, r"classifiers is \[1, 2\]; expected a dict"),
        ({"a": 1, "b": 2}, {"score": "f1"}, "score='f1'; expected one of 'accuracy'"),
        (
            dict.fromkeys(["a!", "a?"], DomainExtensionTransfer(None)),
            {"checkpoint_dir": "x", "random_state": 0},
            "make the same folder; rename one",
        ),
        (
            dict.fromkeys("ab", DomainExtensionTransfer(None)),
            {"checkpoint_dir": "x"},
            "checkpoint_dir='x' without random_state",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(classifiers, settings, message):
    with pytest.raises(ValueError, match=message):
        compare(classifiers, np.zeros((4, 8, 8, 1)), list("abab"), **settings)


def test_another_estimator_is_refused_before_the_first_is_trained():
    mixed = {"a": DomainExtensionTransfer(None), "b": "resnet"}
    with pytest.raises(TypeError, match=r"classifiers\['b'\] is str; expected a DomainExtension"):
        compare(mixed, np.zeros((4, 8, 8, 1)), list("abab"))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_fold_that_fails_says_of_which_classifier(classifiers, tiny_images, tiny_labels):
    wild = clone(classifiers["trained"]).set_params(learning_rate=1e38)
    with pytest.raises(FoldError) as caught:
        compare({"fine": classifiers["from scratch!"], "wild": wild}, tiny_images, tiny_labels)
    assert caught.value.__notes__ == ["The classifier that failed: 'wild'; finished: ['fine']."]
