"""Baselines are fitted on the network's folds, and those that see the object are no shortcuts."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC

from detl import shortcuts


def test_a_planted_mark_is_found_at_the_callers_threshold(planted):
    images, result = planted
    region = (4, 4, 12, 12)
    assert shortcuts.baseline_test(result, images, region=region).findings == [
        "background",
        "border",
    ]
    assert shortcuts.baseline_test(result, images, threshold=1).passed


def test_baselines_that_see_the_object_are_no_shortcuts(clean_report):
    tests = clean_report.tests
    assert tests["class prior"].verdict == "network is better"
    assert tests["class prior"].estimates["all"].value == pytest.approx(
        clean_report.results["network"].scores["roc_auc"].mean - 0.5
    )
    assert {tests[name].threshold for name in ("class prior", "thumbnail", "histogram")} == {None}


def test_classifiers_of_your_own_have_the_folds_the_seeds_and_the_groups_of_the_network(clean):
    images, result = clean
    labels, groups = result.labels, result.groups
    search = GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9, 1.0]}, cv=StratifiedGroupKFold(2))
    forest = RandomForestClassifier(5)
    report = shortcuts.baseline_test(
        result,
        images,
        border=None,
        classifiers={"SVM": LinearSVC(), "search": search, "forest": forest},
    )
    cells = images.reshape(len(images), -1)  # 16 pixels a side: fewer than there are cells
    found = {name: report.results[name] for name in ("SVM", "search", "forest")}
    for number, fold in enumerate(result.folds):
        train, test = fold.train, fold.test
        decisions = LinearSVC(random_state=fold.seed).fit(cells[train], labels[train])
        decided = decisions.predict(cells[test])
        np.testing.assert_array_equal(found["SVM"].predictions[test], decided)
        searched = clone(search).fit(cells[train], labels[train], groups=groups[train])
        grown = clone(forest).set_params(random_state=fold.seed).fit(cells[train], labels[train])
        for name, model in (("search", searched), ("forest", grown)):
            probabilities = found[name].folds[number].probabilities
            np.testing.assert_allclose(probabilities, model.predict_proba(cells[test]), atol=1e-6)
    np.testing.assert_allclose(found["SVM"].probabilities.sum(axis=1), 1, atol=1e-6)
    assert {report.tests[name].threshold for name in found} == {None}


def test_a_baseline_that_wants_groups_is_refused_where_there_are_none(clean):
    images, result = clean
    search = GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9]}, cv=StratifiedGroupKFold(2))
    with pytest.raises(ValueError, match=r"classifiers\['mine'\] is GridSearchCV with inner folds"):
        shortcuts.baseline_test(replace(result, groups=None), images, classifiers={"mine": search})


@pytest.mark.parametrize(
    ("classifiers", "message"),
    [
        ([LinearSVC()], "expected a dict of names"),
        ({"mine": "SVC"}, "expected a dict of names"),
        ({"border": LinearSVC()}, "'border', a name that is taken"),
    ],
)
def test_wrong_classifiers_are_refused(clean, classifiers, message):
    images, result = clean
    with pytest.raises((TypeError, ValueError), match=message):
        shortcuts.baseline_test(result, images, classifiers=classifiers)


def test_sizes_that_give_the_class_away_are_found(clean):
    images, result = clean
    sizes = np.random.default_rng(0).integers(500, 1000, (120, 2))
    sizes[result.labels == "bright"] += 600
    assert shortcuts.baseline_test(result, images, border=None, sizes=sizes).findings == ["sizes"]


def test_sizes_are_two_numbers_an_image(clean):
    images, result = clean
    with pytest.raises(ValueError, match=r"expected \(120, 2\), height and width"):
        shortcuts.baseline_test(result, images, sizes=[1024] * 120)
