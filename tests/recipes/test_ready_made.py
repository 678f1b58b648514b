"""Recipes are classifiers that are not fitted and can be judged as they are."""

import numpy as np
import pytest
from sklearn.base import clone, is_classifier

from detl import DomainExtensionTransfer, compare, recipes

MAKERS = [
    recipes.linear_probe,
    recipes.domain_extension,
    recipes.fine_tuning,
    recipes.from_scratch,
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_recipe_is_a_classifier_with_the_settings_that_were_asked_for(make, tiny_source):
    recipe = make(tiny_source, class_weight="balanced", random_state=3)
    assert is_classifier(clone(recipe))
    assert recipe.source is tiny_source
    assert not hasattr(recipe, "classes_")
    assert (recipe.class_weight, recipe.random_state) == ("balanced", 3)


def test_domain_extension_has_the_defaults_of_the_transfer(tiny_source):
    made = recipes.domain_extension(tiny_source).get_params()
    assert made == DomainExtensionTransfer(tiny_source).get_params()
    whole = recipes.fine_tuning(tiny_source).get_params()
    assert whole == DomainExtensionTransfer(tiny_source, trainable_from="input").get_params()


@pytest.mark.parametrize("make", MAKERS)
def test_a_file_is_read_once_and_what_is_no_network_is_refused(make, tiny_source, tmp_path):
    path = tiny_source.save(tmp_path / "source.keras")
    recipe = make(path)
    path.unlink()
    for one, other in zip(
        recipe.source.model.get_weights(), tiny_source.model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(TypeError, match="source is int; expected what detl"):
        make(3)


def test_a_thumbnail_learns_from_cells(tiny_images, tiny_labels):
    floor = recipes.thumbnail(side=2).fit(tiny_images, tiny_labels)
    cells = tiny_images.reshape(40, 2, 8, 2, 8).mean(axis=(2, 4)).reshape(40, 4)
    expected = floor[1:].predict_proba(cells)
    np.testing.assert_allclose(floor.predict_proba(tiny_images), expected, rtol=1e-5)
    assert floor.score(tiny_images, tiny_labels) == 1


def test_a_thumbnail_without_cells_or_penalty_is_refused():
    with pytest.raises(ValueError, match="side=0; expected at least 1"):
        recipes.thumbnail(side=0)
    with pytest.raises(ValueError, match="C=0; expected a number above 0"):
        recipes.thumbnail(C=0)


def test_recipes_are_compared_like_any_classifier(tiny_source, tiny_images, tiny_labels):
    tried = {"probe": recipes.linear_probe(tiny_source), "floor": recipes.thumbnail()}
    groups = np.arange(40) // 2
    found = compare(
        tried, tiny_images, tiny_labels, groups=groups, n_splits=2, n_jobs=2, random_state=0
    )
    assert found.results["probe"].accuracy == found.results["floor"].accuracy == 1
