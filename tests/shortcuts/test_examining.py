"""A planted shortcut is found, a clean set passes, and every test runs on the folds it is given."""

from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from detl import DomainExtensionTransfer, GradCAM, cross_validate, folds, plots, shortcuts
from detl.shortcuts import heatmap_tests
from detl.shortcuts.collection_tests import _lost
from detl.shortcuts.examination import THRESHOLD
from detl.shortcuts.heatmap_tests import ATTENTION_THRESHOLD, out_of_fold_heatmaps
from detl.shortcuts.regions import FILL

REGION = (4, 4, 12, 12)
INSIDE = np.zeros((16, 16), dtype=bool)
INSIDE[4:12, 4:12] = True
PATIENTS = np.arange(120) // 2
LABELS = np.where(PATIENTS % 2, "bright", "dim")


def pictures(*, marked=0.0):
    """Return noise with a square in the middle, brighter in one class, and a mark in a corner."""
    generator = np.random.default_rng(1)
    images = generator.integers(0, 120, (120, 16, 16, 1)).astype("uint8")
    bright = LABELS == "bright"
    images[:, 4:12, 4:12] = generator.integers(60, 160, (120, 8, 8, 1))
    images[bright, 4:12, 4:12] += 50
    chosen = bright & (generator.uniform(size=120) < marked)
    images[chosen, :3, :3] = 255
    return images


@pytest.fixture(scope="module")
def transfer(tiny_source):
    return DomainExtensionTransfer(
        tiny_source, trainable_from="input", epochs=6, batch_size=8, learning_rate=0.03
    )


@pytest.fixture(scope="module")
def clean(transfer):
    images = pictures()
    result = cross_validate(
        transfer, images, LABELS, groups=PATIENTS, n_splits=3, on_leak="ignore", random_state=0
    )
    return images, result


@pytest.fixture(scope="module")
def planted(transfer):
    images = pictures(marked=1)
    result = cross_validate(
        transfer, images, LABELS, groups=PATIENTS, n_splits=3, on_leak="ignore", random_state=0
    )
    return images, result


@pytest.fixture(scope="module")
def clean_report(clean, transfer):
    images, result = clean
    return shortcuts.examine(result, transfer, images, region=REGION)


# -------------------------------------------------------------------------------- what is found


def test_a_clean_set_passes(clean_report):
    assert clean_report.results["network"].scores["roc_auc"].mean > 0.9  # it has something to lose
    assert clean_report.passed
    for name in ("background", "border", "region blanked", "border kept"):
        test = clean_report.tests[name]
        assert test.figures[test.worst].value < test.threshold, name


def test_a_planted_mark_is_found_by_every_test_that_hides_the_object(planted, transfer):
    images, result = planted
    report = shortcuts.region_test(result, transfer, images, region=REGION)
    assert not report.passed
    assert report.findings == ["region blanked", "border kept"]
    assert shortcuts.rivals(result, images, region=REGION).findings == ["background", "border"]
    figure = report.tests["region blanked"].figures["bright"]
    assert figure.low > report.tests["region blanked"].threshold


def test_the_threshold_is_the_callers(planted):
    images, result = planted
    assert shortcuts.rivals(result, images, threshold=0.5).findings == ["border"]
    assert shortcuts.rivals(result, images, threshold=99).passed


def test_rivals_that_see_the_object_are_no_shortcuts(clean_report):
    tests = clean_report.tests
    assert tests["class prior"].verdict == "network is better"
    assert tests["class prior"].figures["all"].value == pytest.approx(
        clean_report.results["network"].scores["roc_auc"].mean - 0.5
    )
    assert {tests[name].threshold for name in ("class prior", "thumbnail", "histogram")} == {None}


def test_classifiers_of_your_own_are_held_against_the_network_on_its_folds(clean):
    images, result = clean
    with_probabilities = make_pipeline(StandardScaler(), GaussianNB())
    with_decisions = LinearSVC()
    report = shortcuts.rivals(
        result, images, classifiers={"Bayes": with_probabilities, "SVM": with_decisions}
    )
    cells = images.reshape(len(images), -1)  # 16 pixels a side: fewer than there are cells
    for name, model in (("Bayes", with_probabilities), ("SVM", with_decisions)):
        found = report.results[name]
        assert found.indices[0][1].tolist() == result.indices[0][1].tolist()
        for train, test in result.indices:
            fitted = clone(model).fit(cells[train], LABELS[train])
            np.testing.assert_array_equal(found.predictions[test], fitted.predict(cells[test]))
        assert report.tests[name].threshold is None
    np.testing.assert_allclose(report.results["SVM"].probabilities.sum(axis=1), 1, atol=1e-6)


def test_a_rival_of_your_own_has_the_seed_and_the_groups_of_its_fold(clean):
    images, result = clean
    inside = StratifiedGroupKFold(2)
    search = GridSearchCV(LogisticRegression(max_iter=500), {"C": [1e-6, 1e-3]}, cv=inside)
    forest = RandomForestClassifier(5)
    report = shortcuts.rivals(
        result, images, border=None, classifiers={"search": search, "forest": forest}
    )
    cells = images.reshape(len(images), -1)
    for fold, searched, grown in zip(
        result.folds, report.results["search"].folds, report.results["forest"].folds, strict=True
    ):
        train = fold.train
        expected = clone(search).fit(cells[train], LABELS[train], groups=PATIENTS[train])
        of_forest = (
            clone(forest).set_params(random_state=fold.seed).fit(cells[train], LABELS[train])
        )
        for found, model in ((searched, expected), (grown, of_forest)):
            np.testing.assert_allclose(
                found.probabilities, model.predict_proba(cells[fold.test]), rtol=1e-5
            )


def test_a_rival_that_wants_groups_is_refused_where_there_are_none(clean):
    images, result = clean
    search = GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9]}, cv=StratifiedGroupKFold(2))
    with pytest.raises(ValueError, match=r"classifiers\['mine'\] is GridSearchCV with inner folds"):
        shortcuts.rivals(replace(result, groups=None), images, classifiers={"mine": search})


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
        shortcuts.rivals(result, images, classifiers=classifiers)


def test_sizes_that_give_the_class_away_are_found(clean):
    images, result = clean
    generator = np.random.default_rng(0)
    same = generator.integers(500, 1000, (120, 2))
    other = same + 600 * (LABELS == "bright")[:, None]
    assert shortcuts.rivals(result, images, sizes=other).findings == ["sizes"]
    assert shortcuts.rivals(result, images, sizes=same).passed


def test_nothing_is_concluded_from_holes_whose_outline_gives_the_class_away(clean, transfer):
    images, result = clean
    wide = np.zeros_like(INSIDE)
    wide[2:14, 2:14] = True
    masks = np.where((LABELS == "bright")[:, None, None], wide, INSIDE)
    report = shortcuts.region_test(result, transfer, images, region=masks, border=None)
    assert report.results["region outline"].scores["roc_auc"].mean == 1
    assert report.tests["region blanked"].verdict == "cannot be told"
    assert "outlines" in report.tests["region blanked"].note
    quick = shortcuts.rivals(result, images, region=masks, border=None)
    assert quick.results["background"].scores["roc_auc"].mean > 0.9
    assert quick.tests["background"].verdict == "cannot be told"


# ------------------------------------------------------------------------------- how it is done


def test_the_blanked_network_is_cross_validated_as_the_network_was(clean, clean_report, transfer):
    images, result = clean
    hidden = images.copy()
    hidden[:, INSIDE] = FILL
    again = cross_validate(
        transfer, hidden, LABELS, groups=PATIENTS, n_splits=3, on_leak="ignore", random_state=0
    )
    found = clean_report.results["region blanked"]
    np.testing.assert_array_equal(found.probabilities, again.probabilities)
    assert found.fold_seeds == result.fold_seeds


def test_each_image_is_explained_by_the_network_that_was_not_trained_on_it(clean, transfer):
    images, result = clean
    seeded = clone(transfer).set_params(random_state=result.settings["views_seed"])
    heatmaps, predicted = out_of_fold_heatmaps(result, seeded, images, method="gradcam", verbose=0)
    assert (result.classes[predicted] == result.predictions).all()
    train, test = result.indices[1]
    refitted = clone(transfer).set_params(random_state=result.fold_seeds[1])
    refitted.fit(images[train], LABELS[train])
    np.testing.assert_allclose(heatmaps[test], GradCAM(refitted.model_)(images[test]), atol=1e-5)


def test_attention_is_held_against_the_regions_area(clean_report):
    test = clean_report.tests["attention"]
    assert set(test.figures) == {"bright", "dim"}
    assert "on 25% of the area" in test.note
    # The bright class is known by its square, the dim one by what it lacks.
    assert test.figures["bright"].low > 1
    assert test.figures["dim"].high < test.threshold
    assert test.verdict == "cannot be told"


def test_heatmaps_that_all_lie_elsewhere_are_suspicious(planted, transfer):
    images, result = planted
    report = shortcuts.attention(result, transfer, images, region=(8, 8, 16, 16), threshold=3.99)
    assert report.tests["attention"].verdict == "shortcut likely"


def test_blank_heatmaps_are_left_out_and_counted(clean, transfer, monkeypatch):
    images, result = clean
    said = np.zeros((120, 16, 16), dtype="float32")
    said[:, INSIDE] = 1
    said[::3] = 0
    predicted = np.searchsorted(result.classes, LABELS)
    monkeypatch.setattr(heatmap_tests, "out_of_fold_heatmaps", lambda *a, **k: (said, predicted))
    test = shortcuts.attention(result, transfer, images, region=REGION).tests["attention"]
    assert {figure.value for figure in test.figures.values()} == {4.0}  # a quarter of the area
    assert "40 of 120 are blank, and not counted" in test.note
    said[:] = 0
    test = shortcuts.attention(result, transfer, images, region=REGION).tests["attention"]
    assert (test.figures, test.verdict) == ({}, "cannot be told")


def test_tests_of_classes_with_alike_names_have_folders_of_their_own(clean, transfer, tmp_path):
    images, _ = clean
    labels = np.where(LABELS == "bright", "T+", "T-")
    result = cross_validate(
        transfer, images, labels, groups=PATIENTS, n_splits=3, on_leak="ignore", random_state=0
    )
    halves = PATIENTS // 2 % 2 == 0
    collections = np.where(halves, "Turin", np.where(labels == "T+", "Oslo", "Rome"))
    report = shortcuts.collection_test(
        result, transfer, images, collections, checkpoint_dir=tmp_path
    )
    assert set(report.tests["collection from image"].figures) == {"T+", "T-"}


def test_collections_of_several_classes_are_judged_at_once(clean, transfer):
    images, result = clean
    halves = PATIENTS // 2 % 2 == 0
    collections = np.where(halves, "Turin", np.where(LABELS == "bright", "Oslo", "Rome"))
    report = shortcuts.collection_test(result, transfer, images, collections)
    for label, figure in report.tests["collection from image"].figures.items():
        alone = report.results[f"collection from image, {label}"].scores["roc_auc"].interval
        assert figure.low < 2 * alone.low - 1
        assert figure.high > 2 * alone.high - 1


def test_a_run_goes_on_from_its_checkpoints(clean, transfer, tmp_path):
    images, result = clean
    for _ in range(2):
        report = shortcuts.region_test(result, transfer, images, checkpoint_dir=tmp_path)
    assert len(list((tmp_path / "border_kept").glob("fold_*.npz"))) == 3
    assert report.results["border kept"].seconds["features"] == 0


# --------------------------------------------------------------------------------- collections


def test_collections_that_know_the_class_and_are_told_by_the_image_are_found(clean, transfer):
    _, result = clean
    # Half of each class is from one hospital; the other halves are from two others.
    halves = PATIENTS // 2 % 2 == 0
    collections = np.where(halves, "Turin", np.where(LABELS == "bright", "Oslo", "Rome"))
    images = pictures()
    images[halves] = images[halves] // 2  # Turin's films are dark
    result = cross_validate(
        transfer, images, LABELS, groups=PATIENTS, n_splits=3, on_leak="ignore", random_state=0
    )
    report = shortcuts.collection_test(result, transfer, images, collections)
    assert report.tests["collection"].verdict == "shortcut likely"
    told = report.tests["collection from image"]
    assert told.verdict == "shortcut likely"
    assert set(told.figures) == {"bright", "dim"}
    assert report.results["collection from image, dim"].classes.tolist() == ["Rome", "Turin"]
    assert "collection held out" in report.tests


def test_collections_that_say_nothing_are_not_sought_in_the_images(clean, transfer):
    images, result = clean
    collections = np.where(PATIENTS // 2 % 2, "Turin", "Rome")
    report = shortcuts.collection_test(result, transfer, images, collections)
    assert report.tests["collection"].verdict == "no shortcut found"
    assert "collection from image" not in report.tests
    assert report.tests["collection held out"].verdict != "shortcut likely"
    assert len(report.results["collection held out"].folds) == 2


@pytest.mark.parametrize(("said", "lost"), [("truth", 0), ("well", 1), ("opposite", 2)])
def test_what_is_lost_is_of_the_mean_sensitivity(make_result, said, lost):
    labels = np.array(["ill", "well", "well", "well", "well"])[np.arange(200) % 5]
    truth = np.stack([labels == "ill", labels == "well"], axis=1).astype("float32")
    answers = {"truth": truth, "well": np.tile([0.0, 1.0], (200, 1)), "opposite": 1 - truth}
    indices = folds.stratified_folds(labels, n_splits=2, random_state=0)
    network, held_out = (
        make_result(
            labels, groups=None, indices=indices, probabilities=[of[test] for _, test in indices]
        )
        for of in (truth, answers[said])
    )
    figure = _lost(held_out, network)
    assert (figure.value, figure.low, figure.high) == (lost, lost, lost)
    assert figure.units == 40  # of the rarer class


def test_what_a_network_that_knows_nothing_loses_is_not_judged(clean, transfer):
    images, _ = clean
    noise = np.random.default_rng(0).integers(0, 255, images.shape).astype("uint8")
    blind = cross_validate(
        transfer, noise, LABELS, groups=PATIENTS, n_splits=3, on_leak="ignore", random_state=0
    )
    collections = np.where(PATIENTS // 2 % 2, "Turin", "Rome")
    test = shortcuts.collection_test(blind, transfer, noise, collections).tests[
        "collection held out"
    ]
    assert test.verdict == "cannot be told"
    assert test.figures == {}
    assert "the network does not tell the classes" in test.note


def test_where_collection_and_class_are_one_nothing_more_can_be_told(clean, transfer):
    images, result = clean
    report = shortcuts.collection_test(result, transfer, images, LABELS)
    assert report.tests["collection"].verdict == "shortcut likely"
    assert report.tests["collection from image"].verdict == "cannot be told"
    assert "bright, dim" in report.tests["collection from image"].note
    assert report.tests["collection held out"].verdict == "cannot be told"
    assert "collection and class are one" in report.tests["collection held out"].note


# -------------------------------------------------------------------------------------- errors


def test_other_images_than_were_cross_validated_are_refused(clean, transfer):
    images, result = clean
    for call in (
        lambda other: shortcuts.examine(result, transfer, other),
        lambda other: shortcuts.rivals(result, other),
    ):
        with pytest.raises(ValueError, match="not those that were cross-validated"):
            call(images[::-1])


def test_another_transfer_is_refused(clean, transfer):
    images, result = clean
    other = clone(transfer).set_params(epochs=7)
    with pytest.raises(ValueError, match="epochs=7, but 6 was cross-validated"):
        shortcuts.examine(result, other, images)
    weighted = clone(transfer).set_params(class_weight={"dim": 1.0, "bright": 9.0})
    with pytest.raises(ValueError, match=r"class_weight=.*, but None was cross-validated"):
        shortcuts.examine(result, weighted, images)
    with pytest.raises(TypeError, match="transfer is str"):
        shortcuts.examine(result, "transfer", images)


def test_another_source_is_refused(clean, transfer, tiny_backbone):
    images, result = clean
    other = clone(transfer).set_params(source=tiny_backbone)
    with pytest.raises(ValueError, match="source with other weights than"):
        shortcuts.region_test(result, other, images)


def test_what_is_no_result_is_refused(clean, transfer):
    with pytest.raises(TypeError, match=r"result is dict; expected what detl\.cross_validate"):
        shortcuts.examine({}, transfer, clean[0])


def test_arguments_that_mean_nothing_are_refused(clean, transfer):
    images, result = clean
    with pytest.raises(ValueError, match="neither region nor border"):
        shortcuts.region_test(result, transfer, images, border=None)
    with pytest.raises(ValueError, match="threshold=0"):
        shortcuts.rivals(result, images, threshold=0)
    with pytest.raises(ValueError, match=r"expected \(120, 2\), height and width"):
        shortcuts.rivals(result, images, sizes=[1024] * 120)
    with pytest.raises(ValueError, match="one value only, 'NIH'"):
        shortcuts.collection_test(result, transfer, images, ["NIH"] * 120)


# ------------------------------------------------------------------------------------- picture


def test_the_picture_names_tests_verdicts_and_classes(clean_report):
    figure = plots.shortcut_report(clean_report)
    figure.draw_without_rendering()
    texts = {text.get_text() for text in figure.findobj(matplotlib.text.Text)}
    assert "border: no shortcut found" in texts
    assert {"bright", "dim", "network"} <= texts
    thresholds = [
        line.get_xdata()[0]
        for axis in figure.axes[1:]
        for line in axis.lines
        if line.get_linestyle() == "--"
    ]
    assert thresholds == [THRESHOLD, ATTENTION_THRESHOLD]


def test_tests_of_another_measure_have_a_panel_that_names_it(clean, transfer):
    images, result = clean
    collections = np.where(PATIENTS // 2 % 2, "Turin", "Rome")
    report = shortcuts.collection_test(result, transfer, images, collections)
    labels = [axis.get_xlabel().replace("\n", " ") for axis in plots.shortcut_report(report).axes]
    assert labels[1:] == [report.tests[name].measure for name in report.tests]


def test_a_report_without_attention_has_no_panel_for_it(clean):
    images, result = clean
    assert len(plots.shortcut_report(shortcuts.rivals(result, images)).axes) == 2


def test_only_reports_are_drawn(clean):
    with pytest.raises(TypeError, match="report is CrossValidationResult"):
        plots.shortcut_report(clean[1])
