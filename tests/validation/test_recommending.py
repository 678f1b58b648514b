"""Recipes are tried on the same folds, and one is recommended, whatever fails."""

import contextlib
import json
import math
import pickle
import warnings

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.dummy import DummyClassifier

from detl import Recommendation, compare, cross_validate, recommend
from detl.validation.candidates import KNOW_THE_SOURCE, candidates
from tests.validation.networks import SHAPE, network

GROUPS = np.arange(40) // 2
SLOW = ["domain extension", "fine-tuning", "from scratch"]
QUICK = {"without": SLOW, "n_splits": 2, "random_state": 0}


class Fails(ClassifierMixin, BaseEstimator):
    """Fail in every fit, or warn of it."""

    def __init__(self, *, only_warns=False):
        self.only_warns = only_warns

    def fit(self, X, y):
        if not self.only_warns:
            raise MemoryError("too large for this machine")
        warnings.warn(f"{X.mean():.3f} looks odd", UserWarning, stacklevel=2)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))

    def predict(self, X):
        return np.repeat(self.classes_[:1], len(X))


@pytest.fixture(scope="module")
def source():
    return network()


@pytest.fixture(scope="module")
def found(source, tiny_images, tiny_labels, tmp_path_factory):
    """All recipes, with another network in the place of one of photographs."""
    return recommend(
        source,
        tiny_images,
        tiny_labels,
        groups=GROUPS,
        imagenet=keras.models.clone_model(source),
        also={"most frequent": DummyClassifier()},
        n_splits=2,
        checkpoint_dir=tmp_path_factory.mktemp("folds"),
        random_state=0,
        verbose=0,
    )


def test_all_recipes_are_tried_on_the_same_folds(found):
    assert isinstance(found, Recommendation)
    assert list(found.results) == [
        "linear probe",
        "domain extension",
        "fine-tuning",
        "from scratch",
        "ImageNet probe",
        "thumbnail",
        "most frequent",
    ]
    first, *others = found.results.values()
    for other in others:
        for one, same in zip(first.folds, other.folds, strict=True):
            np.testing.assert_array_equal(one.test, same.test)
            assert one.seed == same.seed
    assert found.failed == {}
    assert found.recommended in found.results
    assert found.classifier is found.recipes[found.recommended]


def test_a_recipe_has_the_result_that_a_cross_validation_of_it_has(found, tiny_images, tiny_labels):
    settings = {"groups": GROUPS, "n_splits": 2, "random_state": 0}
    for name in ("linear probe", "thumbnail"):
        alone = cross_validate(found.recipes[name], tiny_images, tiny_labels, **settings)
        np.testing.assert_array_equal(alone.probabilities, found.results[name].probabilities)


def test_what_is_found_is_what_compare_finds(found, tiny_images, tiny_labels):
    pair = {name: found.recipes[name] for name in ("thumbnail", "most frequent")}
    settings = {"groups": GROUPS, "n_splits": 2, "random_state": 0}
    by_hand = compare(pair, tiny_images, tiny_labels, **settings).differences[0]
    names = by_hand.first, by_hand.second
    (ours,) = (d for d in found.comparison.differences if (d.first, d.second) == names)
    assert ours.mean == by_hand.mean
    assert ours.interval == by_hand.interval


def test_a_second_run_finds_the_folds_again(source, tiny_images, tiny_labels, tmp_path):
    settings = {"groups": GROUPS, "checkpoint_dir": tmp_path, "verbose": 0, **QUICK}
    first = recommend(source, tiny_images, tiny_labels, **settings)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["linear_probe", "thumbnail"]
    again = recommend(source, tiny_images, tiny_labels, **settings)
    for name in first.results:
        kept = sum(fold.seconds for fold in first.results[name].folds)
        assert again.seconds[name] == pytest.approx(kept)  # as when they were trained
        assert again.results[name].folds[0].chosen == first.results[name].folds[0].chosen


def test_without_groups_it_is_said_once_what_that_may_hide(source, tiny_images, tiny_labels):
    alone = "^No groups are given. If a patient has several images"
    with pytest.warns(UserWarning, match=alone) as warned:
        found = recommend(source, tiny_images, tiny_labels, verbose=0, **QUICK)
    assert len([w for w in warned if w.category is UserWarning]) == 1
    assert "Split without groups" in str(found)
    copied = tiny_images.copy()
    copied[4:8] = copied[:4]
    with pytest.warns(
        UserWarning, match=r"Copies are on both sides.*No groups are given"
    ) as warned:
        recommend(source, copied, tiny_labels, verbose=0, **QUICK)
    assert len([w for w in warned if w.category is UserWarning]) == 1
    recommend(source, tiny_images, tiny_labels, on_leak="ignore", verbose=0, **QUICK)
    with pytest.raises(ValueError, match="Copies are on both sides"):
        recommend(source, copied, tiny_labels, on_leak="raise", verbose=0, **QUICK)


def test_patients_of_the_source_are_looked_for_where_the_source_is_used(
    source, tiny_images, tiny_labels
):
    with pytest.warns(UserWarning, match=r"1 group of the target.*The source of linear probe\."):
        found = recommend(
            source, tiny_images, tiny_labels, groups=GROUPS, source_groups=[3], verbose=0, **QUICK
        )
    assert found.results["thumbnail"].audit.source_shared_groups is None
    assert "LEAK: The source has 1 group" in str(found)


def test_every_recipe_that_knows_the_source_is_audited_for_its_patients(source, tiny_images):
    tried = candidates(
        source, tiny_images, imagenet=None, also=None, without=[], score="accuracy",
        class_weight=None, random_state=0,
    )  # fmt: skip
    of_source = {name for name, one in tried.items() if getattr(one, "source", None) is source}
    assert of_source - {"from scratch"} == set(KNOW_THE_SOURCE)  # that takes the architecture alone


def test_a_recipe_that_fails_leaves_the_others(source, tiny_images, tiny_labels):
    with pytest.warns(RuntimeWarning, match=r"left out: broken \(FoldError.*too large for this"):
        found = recommend(
            source, tiny_images, tiny_labels, groups=GROUPS, also={"broken": Fails()}, verbose=0,
            **QUICK,
        )  # fmt: skip
    assert list(found.results) == ["linear probe", "thumbnail"]
    assert found.failed.keys() == {"broken"}
    assert "broken failed: FoldError: Fold 0 failed with MemoryError" in str(found)
    with pytest.warns(RuntimeWarning, match="left out"):
        alone = recommend(
            source, tiny_images, tiny_labels, groups=GROUPS, also={"broken": Fails()}, verbose=0,
            **{**QUICK, "without": [*QUICK["without"], "linear probe"]},
        )  # fmt: skip
    assert alone.verdict == "thumbnail: the only recipe that did not fail"
    assert alone.comparison is None
    assert alone.best == alone.recommended == "thumbnail"
    assert "<- recommended" in str(alone)


def test_where_every_recipe_fails_all_reasons_are_given(source, tiny_images, tiny_labels):
    nothing_else = ["linear probe", *SLOW, "thumbnail"]
    with pytest.raises(RuntimeError, match=r"Every recipe failed: one \(.*too large.*two \("):
        recommend(
            source, tiny_images, tiny_labels, groups=GROUPS, also={"one": Fails(), "two": Fails()},
            verbose=0, **{**QUICK, "without": nothing_else},
        )  # fmt: skip


def test_what_every_fold_warns_of_is_said_once(source, tiny_images, tiny_labels):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = recommend(
            source, tiny_images, tiny_labels, groups=GROUPS, verbose=0,
            also={"odd": Fails(only_warns=True), "odd too": Fails(only_warns=True)}, **QUICK,
        )  # fmt: skip
    assert len([w for w in warned if "looks odd" in str(w.message)]) == 1
    assert found.results["odd"].accuracy == 0.5


def test_a_source_that_ends_in_maps_fails_alone(tiny_images, tiny_labels):
    pixels = keras.Input(SHAPE)
    maps = layers.Conv2D(3, 3, name="block1_conv")(layers.Rescaling(1 / 255)(pixels))
    with pytest.warns(RuntimeWarning, match=r"domain extension \(ValueError.*Flatten"):
        found = recommend(
            keras.Model(pixels, maps), tiny_images, tiny_labels, groups=GROUPS, verbose=0,
            **{**QUICK, "without": ["fine-tuning", "from scratch"]},
        )  # fmt: skip
    assert list(found.results) == ["linear probe", "thumbnail"]


def test_a_probe_is_chosen_by_what_is_compared(source, tiny_images, tiny_labels):
    found = recommend(
        source, tiny_images, tiny_labels, groups=GROUPS, score="roc_auc", class_weight="balanced",
        verbose=0, **QUICK,
    )  # fmt: skip
    assert found.recipes["linear probe"].scoring == "balanced_accuracy"
    assert found.recipes["linear probe"].class_weight == "balanced"
    assert "ROC AUC" in str(found)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"source": 3}, TypeError, "source is int 3; expected what detl.pretrain returned"),
        ({"imagenet": "no such"}, FileNotFoundError, "No model at no such"),
        ({"imagenet": 3}, TypeError, "imagenet is int 3; expected what detl.pretrain"),
        ({"score": "f1"}, ValueError, "score='f1'; expected one of 'accuracy'"),
        ({"margin": 0}, ValueError, "margin=0; expected a number above 0"),
        ({"on_leak": "x"}, ValueError, "on_leak='x'; expected one of 'warn'"),
        ({"without": "thumbnail"}, TypeError, "without is str 'thumbnail'; expected a list"),
        ({"without": None}, TypeError, "without is NoneType None; expected a list of names"),
        ({"without": ["probe"]}, ValueError, "'probe'; expected names of recipes: 'linear probe'"),
        ({"without": ["linear probe", *QUICK["without"]]}, ValueError, "is left to compare"),
        ({"also": [1]}, TypeError, r"also is list \[1\]; expected a dict"),
        ({"also": {"thumbnail": 1}}, ValueError, "also has 'thumbnail', the name of a recipe"),
        ({"also": {"mine": 1}}, TypeError, r"mine is int; expected a DomainExtensionTransfer"),
        ({"random_state": None, "checkpoint_dir": "x"}, ValueError, "without random_state"),
    ],
)
def test_wrong_arguments_are_named(source, tiny_images, tiny_labels, changes, error, message):
    settings = {"source": source, "groups": GROUPS, "verbose": 0, **QUICK} | changes
    source = settings.pop("source")
    with pytest.raises(error, match=message):
        recommend(source, tiny_images, tiny_labels, **settings)


def test_images_that_a_network_does_not_take_are_refused_by_its_name(
    source, tiny_images, tiny_labels
):
    coloured = keras.Sequential([keras.Input((16, 16, 3)), layers.GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match=r"do not fit imagenet: images has shape .*16, 16, 3"):
        recommend(source, tiny_images, tiny_labels, imagenet=coloured)
    with pytest.raises(ValueError, match="do not fit source: images has shape"):
        recommend(coloured, tiny_images, tiny_labels)


def test_a_class_of_one_image_is_refused_before_anything_is_trained(source, tiny_images):
    labels = ["dim", "bright"] * 19 + ["dim", "rare"]
    with pytest.raises(ValueError, match="All images of class 'rare' are of one group"):
        recommend(source, tiny_images, labels, groups=GROUPS)


def test_each_recipe_has_a_bar_of_its_name(source, tiny_images, tiny_labels, terminal):
    every = range(len(tiny_images))  # all images are independent, and nothing is warned of
    with contextlib.redirect_stderr(terminal):
        recommend(source, tiny_images, tiny_labels, groups=every, **QUICK)
    assert "linear probe: 100%" in terminal.getvalue()
    assert "thumbnail: 100%" in terminal.getvalue()


def test_a_recommendation_travels(found):
    again = pickle.loads(pickle.dumps(found))
    assert str(again) == str(found)
    record = json.loads(json.dumps(found.to_dict()))
    assert record["recommended"] == found.recommended
    assert len(record["differences"]) == math.comb(len(found.results), 2)
    assert record["results"].keys() == found.results.keys()
