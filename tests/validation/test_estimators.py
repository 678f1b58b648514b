"""Any classifier of scikit-learn is cross-validated as a transfer is, and examined likewise."""

from typing import ClassVar

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import AdaBoostClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifierCV, SGDClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    GroupKFold,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC

from detl import (
    CrossValidationResult,
    DomainExtensionTransfer,
    FeatureExtractor,
    FoldError,
    GradCAM,
    SourceModel,
    average_results,
    compare,
    compare_results,
    cross_validate,
    plots,
    shortcuts,
)
from detl.validation import estimators

SHAPE = (16, 16, 1)
N = 36
LABELS = np.array(["lung", "heart", "bone"] * (N // 3))
PATIENTS = np.repeat(np.arange(N // 3), 3)


def network():
    pixels = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    for seed, block in enumerate(("block1", "block2")):
        initializer = keras.initializers.HeNormal(seed=seed)
        x = layers.Conv2D(4, 3, 2, kernel_initializer=initializer, name=f"{block}_conv")(x)
        x = layers.ReLU(name=f"{block}_relu")(x)
    return keras.Model(pixels, layers.GlobalAveragePooling2D()(x))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (N, *SHAPE)).astype("uint8")


class Remembers(ClassifierMixin, BaseEstimator):
    """Say how often each class was seen, and keep what came in."""

    seen: ClassVar[list] = []

    def __init__(self, random_state=None, flavour="plain"):
        self.random_state, self.flavour = random_state, flavour

    def fit(self, X, y):
        if hasattr(self, "classes_"):
            raise RuntimeError("fitted before")
        self.seen.append((X.shape, self.random_state))
        if self.flavour == "broken" and len(self.seen) == 2:
            raise RuntimeError("no more")
        self.classes_, counts = np.unique(y, return_counts=True)
        self.shares_ = counts / counts.sum()
        return self

    def predict_proba(self, X):
        return np.tile(self.shares_ * (np.nan if self.flavour == "nan" else 1), (len(X), 1))

    def predict(self, X):
        return np.repeat(self.classes_[self.shares_.argmax()], len(X))


class Mute(ClassifierMixin, BaseEstimator):
    """Name classes, and nothing else."""

    def fit(self, X, y):
        return self


@pytest.fixture
def remembers():
    Remembers.seen = []
    return Remembers()


def on_pixels(*steps):
    return make_pipeline(FunctionTransformer(as_rows), StandardScaler(), *steps)


def as_rows(images):
    return np.reshape(images, (len(images), -1))


def test_any_classifier_of_scikit_learn_is_fitted_on_each_fold_anew(images):
    classifier = on_pixels(LogisticRegression(max_iter=500))
    result = cross_validate(classifier, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)
    for fold in result.folds:
        expected = clone(classifier).fit(images[fold.train], LABELS[fold.train])
        np.testing.assert_allclose(
            fold.probabilities, expected.predict_proba(images[fold.test]), rtol=1e-5
        )
    assert not hasattr(classifier[-1], "coef_")
    assert "accuracy" in str(result)


def test_it_has_the_folds_of_a_transfer_and_can_be_compared_with_one(images):
    features_of_block = FeatureExtractor(network(), layers="block1", grid=2)
    classifiers = {
        "network": DomainExtensionTransfer(network(), epochs=1),
        "features": make_pipeline(features_of_block, StandardScaler(), LogisticRegression()),
    }
    found = compare(classifiers, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)
    alone = cross_validate(
        classifiers["features"], images, LABELS, groups=PATIENTS, n_splits=3, random_state=0
    )
    np.testing.assert_array_equal(found.results["features"].probabilities, alone.probabilities)
    for mine, its in zip(found.results["network"].indices, alone.indices, strict=True):
        np.testing.assert_array_equal(mine[1], its[1])


def test_the_softmax_of_decisions_stands_for_probabilities(images):
    classifier = on_pixels(LinearSVC(random_state=0))
    result = cross_validate(classifier, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)
    fold = result.folds[0]
    fitted = clone(classifier).set_params(linearsvc__random_state=fold.seed)
    fitted.fit(images[fold.train], LABELS[fold.train])
    decisions = fitted.decision_function(images[fold.test])
    np.testing.assert_allclose(fold.probabilities, softmax(decisions, axis=1), rtol=1e-5)


class Decides(ClassifierMixin, BaseEstimator):
    """Decide by the first pixel, and say so on the scale that was asked for."""

    def __init__(self, scale=1.0, columns=None):
        self.scale, self.columns = scale, columns

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def decision_function(self, X):
        pixels = self.scale * (X[:, 0, 0, 0].astype("float64") - 128)
        if self.columns is None:
            return pixels
        return np.stack([pixels * (k - 1) for k in range(self.columns)], axis=1)


TWO = np.array(["dim", "bright"] * (N // 2))


@pytest.mark.parametrize("scale", [1e-3, 0.02, 1.0, 1e4])
def test_large_decisions_between_two_classes_keep_their_ranks(images, scale):
    classifier = Decides(scale)
    result = cross_validate(classifier, images, TWO, n_splits=3, on_leak="ignore", random_state=0)
    for fold in result.folds:
        decisions = classifier.decision_function(images[fold.test])
        largest = abs(classifier.decision_function(images[fold.train])).max()
        expected = 1 / (1 + np.exp(-decisions / max(1, largest / 5)))
        np.testing.assert_allclose(fold.probabilities[:, 1], expected, rtol=1e-5)
        np.testing.assert_array_equal(
            fold.probabilities[:, 1].argsort(kind="stable"), decisions.argsort(kind="stable")
        )


def test_small_decisions_are_what_they_were(images):
    result = cross_validate(
        Decides(0.03), images, TWO, n_splits=3, on_leak="ignore", random_state=0
    )
    for fold in result.folds:
        decisions = Decides(0.03).decision_function(images[fold.test])
        expected = softmax(np.stack([np.zeros_like(decisions), decisions], axis=1), axis=1)
        np.testing.assert_array_equal(fold.probabilities, expected.astype("float32"))


def test_a_classifier_of_unscaled_pixels_has_the_area_of_its_decisions():
    generator = np.random.default_rng(0)
    labels = np.array(["dim", "bright"] * 100)
    pixels = generator.integers(0, 200, (200, 8, 8, 1)) + 8 * (labels == "dim")[:, None, None, None]
    pixels = pixels.astype("uint8")
    classifier = make_pipeline(FunctionTransformer(as_rows), SGDClassifier(max_iter=20, tol=None))
    result = cross_validate(
        classifier, pixels, labels, n_splits=2, on_leak="ignore", random_state=0
    )
    for fold in result.folds:
        fitted = clone(classifier).set_params(sgdclassifier__random_state=fold.seed)
        fitted.fit(pixels[fold.train], labels[fold.train])
        truth = labels[fold.test] == "dim"
        decisions = fitted.decision_function(pixels[fold.test])
        assert abs(decisions).max() > 100
        assert len(np.unique(fold.probabilities[:, 1])) == len(np.unique(decisions))
        assert roc_auc_score(truth, fold.probabilities[:, 1]) == roc_auc_score(truth, decisions)


@pytest.mark.parametrize("searched", [False, True])
def test_decisions_between_pairs_of_classes_are_refused(images, searched):
    machine = on_pixels(SVC(decision_function_shape="ovo"))
    if searched:
        machine = GridSearchCV(machine, {"svc__C": [1, 2]}, cv=2)
    message = (
        r"classifier decides by SVC with decision_function_shape='ovo'.*3 classes; set it to 'ovr'"
    )
    with pytest.raises(ValueError, match=message):
        cross_validate(machine, images, LABELS, n_splits=3, on_leak="ignore")


def test_decisions_between_pairs_that_a_search_chose_are_refused(images):
    machine = GridSearchCV(on_pixels(SVC()), {"svc__decision_function_shape": ["ovo"]}, cv=2)
    with pytest.raises(
        FoldError, match="the classifier decides by SVC with decision_function_shap"
    ):
        cross_validate(machine, images, LABELS, n_splits=3, on_leak="ignore", random_state=0)


@pytest.mark.parametrize(
    ("classifier", "labels"),
    [
        (on_pixels(SVC(decision_function_shape="ovo")), TWO),
        (on_pixels(OneVsRestClassifier(SVC(decision_function_shape="ovo"))), LABELS),
        (on_pixels(SVC(break_ties=True)), LABELS),
    ],
    ids=["two classes", "each against the rest", "ovr"],
)
def test_decisions_on_each_class_are_taken(images, classifier, labels):
    result = cross_validate(
        classifier, images, labels, n_splits=3, on_leak="ignore", random_state=0
    )
    fold = result.folds[0]
    fitted = clone(classifier).fit(images[fold.train], labels[fold.train])
    np.testing.assert_array_equal(
        result.classes[fold.probabilities.argmax(axis=1)], fitted.predict(images[fold.test])
    )


def test_what_the_classifier_decides_is_kept_beside_the_probabilities(images, tmp_path):
    labels = np.where(np.arange(N) % 4 == 0, "ill", "well")
    inner = on_pixels(LogisticRegression(max_iter=500))
    careful = FixedThresholdClassifier(inner, threshold=0.01, pos_label="ill")
    settings = {"n_splits": 3, "on_leak": "ignore", "random_state": 0}
    result = cross_validate(careful, images, labels, checkpoint_dir=tmp_path / "folds", **settings)
    for fold in result.folds:
        fitted = clone(careful).fit(images[fold.train], labels[fold.train])
        decided = fitted.predict(images[fold.test])
        np.testing.assert_array_equal(result.predictions[fold.test], decided)
        assert (decided != result.classes[fold.probabilities.argmax(axis=1)]).any()
    hits = [np.mean(result.predictions[test] == labels[test]) for _, test in result.indices]
    assert result.accuracies.tolist() == hits
    called = (result.predictions == "ill").sum()
    assert result.confusion_matrix[:, 0].sum() == called
    again = cross_validate(careful, images, labels, checkpoint_dir=tmp_path / "folds", **settings)
    back = CrossValidationResult.load(result.save(tmp_path / "result.json"))
    for other in (again, back, average_results([result, back])):
        np.testing.assert_array_equal(other.predictions, result.predictions)
        assert str(other) == str(result)
    plain = cross_validate(inner, images, labels, **settings)
    assert {fold.decisions for fold in plain.folds} == {None}
    found = compare_results({"careful": result, "plain": plain}).differences[0]
    assert found.mean == pytest.approx(result.accuracy - plain.accuracy)


def test_another_number_of_decisions_than_classes_is_refused(images):
    with pytest.raises(FoldError, match="Decides gives 4 decisions on an image for 3 classes"):
        cross_validate(
            Decides(columns=4), images, LABELS, n_splits=3, on_leak="ignore", random_state=0
        )


def test_each_fold_of_a_classifier_has_a_seed_of_its_own(images, remembers):
    result = cross_validate(remembers, images, LABELS, n_splits=3, on_leak="ignore", random_state=0)
    assert [seed for _, seed in remembers.seen] == result.fold_seeds
    assert len(set(result.fold_seeds)) == 3


class Noticing(StratifiedGroupKFold):
    """Keep the groups that came in."""

    seen: ClassVar[list] = []

    def split(self, X, y=None, groups=None):
        self.seen.append(groups)
        return super().split(X, y, groups)


def penalty_searched(inside):
    return GridSearchCV(LogisticRegression(max_iter=500), {"C": [0.01, 1]}, cv=inside)


@pytest.mark.parametrize("where", ["outermost", "in a pipeline", "of a transfer"])
def test_a_search_inside_gets_the_groups_of_its_training_images(images, where):
    Noticing.seen = []
    inside = Noticing(n_splits=2)
    classifier = {
        "outermost": GridSearchCV(
            on_pixels(LogisticRegression(max_iter=500)),
            {"logisticregression__C": [0.01, 1]},
            cv=inside,
        ),
        "in a pipeline": on_pixels(penalty_searched(inside)),
        "of a transfer": GridSearchCV(
            DomainExtensionTransfer(network(), epochs=1),
            {"learning_rate": [1e-3]},
            cv=inside,
        ),
    }[where]
    result = cross_validate(classifier, images, LABELS, groups=PATIENTS, n_splits=2, random_state=0)
    assert len(Noticing.seen) == 2
    for groups, fold in zip(Noticing.seen, result.folds, strict=True):
        np.testing.assert_array_equal(groups, PATIENTS[fold.train])


@pytest.mark.parametrize("where", ["outermost", "in a pipeline"])
def test_what_a_search_chose_is_kept_with_its_fold(images, where, tmp_path):
    classifier = {
        "outermost": GridSearchCV(
            on_pixels(LogisticRegression(max_iter=500)), {"logisticregression__C": [1e-4]}, cv=2
        ),
        "in a pipeline": on_pixels(GridSearchCV(LogisticRegression(), {"C": [1e-4]}, cv=2)),
    }[where]
    name = {"outermost": "logisticregression__C", "in a pipeline": "C"}[where]
    settings = {"groups": PATIENTS, "n_splits": 2, "random_state": 0, "checkpoint_dir": tmp_path}
    result = cross_validate(classifier, images, LABELS, **settings)
    assert [fold.chosen for fold in result.folds] == [{name: 1e-4}] * 2
    from_disk = cross_validate(classifier, images, LABELS, **settings)
    from_file = CrossValidationResult.load(result.save(tmp_path / "result.json"))
    for again in (from_disk, from_file):
        assert [fold.chosen for fold in again.folds] == [{name: 1e-4}] * 2


def test_what_chooses_nothing_has_nothing_chosen(images):
    result = cross_validate(Remembers(), images, LABELS, groups=PATIENTS, n_splits=2)
    assert [fold.chosen for fold in result.folds] == [{}, {}]
    assert "chosen" not in result.to_dict()["folds"][0]


def test_a_search_that_wants_groups_and_gets_none_is_refused(images):
    message = (
        "classifier is Pipeline with inner folds by group, and there are no groups; give groups"
    )
    classifier = on_pixels(penalty_searched(StratifiedGroupKFold(2)))
    with pytest.raises(ValueError, match=message):
        cross_validate(classifier, images, LABELS, n_splits=3, on_leak="ignore")


def stacked(cv=None, final=None, inner=None):
    """Return one whose inner folds never see groups."""
    return StackingClassifier(
        [("a", inner or on_pixels(LogisticRegression(max_iter=500)))], final_estimator=final, cv=cv
    )


@pytest.mark.parametrize(
    "classifier",
    [
        stacked(StratifiedGroupKFold(2), LogisticRegression()),
        on_pixels(AdaBoostClassifier(penalty_searched(GroupKFold(2)))),
        on_pixels(RidgeClassifierCV(cv=GroupKFold(2))),
        stacked(cv=2, inner=on_pixels(penalty_searched(GroupKFold(2)))),
    ],
    ids=["stacked", "boosted", "ridge", "stacked search"],
)
@pytest.mark.parametrize("groups", [None, PATIENTS])
def test_a_splitter_by_group_that_no_groups_come_to_is_refused(images, classifier, groups):
    message = r"inner folds by group, (.*__)?cv=.*Fold.*, to which scikit-learn passes no groups on"
    with pytest.raises(ValueError, match=message):
        cross_validate(classifier, images, LABELS, groups=groups, n_splits=3, on_leak="ignore")


def test_ridge_regression_which_cannot_be_asked_passes_nothing_on(images):
    classifier = on_pixels(RidgeClassifierCV())
    result = cross_validate(classifier, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)
    fold = result.folds[0]
    fitted = clone(classifier).fit(images[fold.train], LABELS[fold.train])
    np.testing.assert_array_equal(
        result.classes[fold.probabilities.argmax(axis=1)], fitted.predict(images[fold.test])
    )


class BrokenRouting(LogisticRegression):
    def get_metadata_routing(self):
        raise TypeError("broken routing")


def test_an_error_in_the_routing_of_a_classifier_is_not_hidden(images):
    with pytest.raises(TypeError, match="broken routing"):
        cross_validate(BrokenRouting(), images, LABELS, n_splits=3)


@pytest.mark.parametrize("inner", ["pixels", "transfer"])
def test_a_stack_with_the_classifier_that_it_brings_is_taken(images, inner):
    inside = DomainExtensionTransfer(network(), epochs=1) if inner == "transfer" else None
    classifier = stacked(cv=2, inner=inside)
    result = cross_validate(classifier, images, LABELS, groups=PATIENTS, n_splits=2, random_state=0)
    np.testing.assert_allclose(result.probabilities.sum(axis=1), 1, rtol=1e-5)
    if inner == "pixels":
        fold = result.folds[0]
        fitted = estimators.seeded(classifier, fold.seed)
        fitted.fit(images[fold.train], LABELS[fold.train])
        expected = fitted.predict_proba(images[fold.test])
        np.testing.assert_allclose(fold.probabilities, expected, rtol=1e-5)


class BringsMute(ClassifierMixin, BaseEstimator):
    """Say only after a fit that there is nothing to say."""

    def __init__(self, estimator=None):
        self.estimator = estimator

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    @property
    def predict_proba(self):
        raise AttributeError("the estimator has none")


def test_what_only_a_fit_shows_to_be_mute_is_refused_after_it(images):
    message = "the classifier is BringsMute, which gives neither probabilities nor decisions; wrap"
    with pytest.raises(FoldError, match=message):
        cross_validate(BringsMute(), images, LABELS, n_splits=3, on_leak="ignore")


def test_inner_folds_without_a_seed_have_that_of_their_fold(images):
    classifier = on_pixels(penalty_searched(StratifiedKFold(2, shuffle=True)))
    first, again = (
        cross_validate(classifier, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)
        for _ in range(2)
    )
    fold = first.folds[0]
    fitted = on_pixels(penalty_searched(StratifiedKFold(2, shuffle=True, random_state=fold.seed)))
    fitted.fit(images[fold.train], LABELS[fold.train])
    np.testing.assert_allclose(
        fold.probabilities, fitted.predict_proba(images[fold.test]), rtol=1e-5
    )
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert classifier[-1].cv.random_state is None


def test_inner_folds_that_say_what_they_are_stay_so(images):
    seeded = estimators.seeded(
        on_pixels(penalty_searched(StratifiedKFold(2, shuffle=True, random_state=7))), 5
    )
    assert seeded[-1].cv.random_state == 7
    number = on_pixels(penalty_searched(2))
    assert estimators.seeded(number, 5)[-1].cv == 2
    result = cross_validate(number, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)
    assert np.isfinite(result.probabilities).all()


def test_a_classifier_that_passes_nothing_on_needs_no_groups(images):
    classifier = on_pixels(AdaBoostClassifier(LogisticRegression(), n_estimators=2))
    result = cross_validate(classifier, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)
    assert np.isfinite(result.probabilities).all()


def test_a_class_that_a_fold_lacks_has_no_probability(images, remembers):
    heart = np.flatnonzero(LABELS == "heart")
    rest = np.flatnonzero(LABELS != "heart")
    result = cross_validate(
        remembers,
        images,
        LABELS,
        cv=[(rest, heart), (np.r_[heart, rest[4:]], rest[:4])],
        on_leak="ignore",
        random_state=0,
    )
    column = result.classes.tolist().index("heart")
    assert (result.folds[0].probabilities[:, column] == 0).all()
    np.testing.assert_allclose(result.folds[0].probabilities.sum(axis=1), 1)


def test_finished_folds_of_a_classifier_are_found_again(images, remembers, tmp_path):
    options = {"n_splits": 3, "on_leak": "ignore", "random_state": 0, "checkpoint_dir": tmp_path}
    broken = Remembers(flavour="broken")
    with pytest.raises(FoldError, match="Fold 1 failed with RuntimeError: no more") as caught:
        cross_validate(broken, images, LABELS, **options)
    assert sorted(caught.value.finished) == [0, 2]
    Remembers.seen = [None, None]  # not broken the second time
    cross_validate(broken, images, LABELS, **options)
    assert len(Remembers.seen) == 3
    with pytest.raises(
        ValueError, match=r"another run: transfer.flavour is 'broken' there, 'plain'"
    ):
        cross_validate(remembers, images, LABELS, **options)


def test_a_parameter_that_is_nan_is_the_same_the_next_time(images, tmp_path):
    options = {"n_splits": 3, "on_leak": "ignore", "random_state": 0, "checkpoint_dir": tmp_path}
    first = cross_validate(Remembers(flavour=float("nan")), images, LABELS, **options)
    again = cross_validate(Remembers(flavour=float("nan")), images, LABELS, **options)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)


def test_a_source_of_other_weights_is_another_run(images, tmp_path):
    def classifier(source):
        return make_pipeline(FeatureExtractor(source, layers="block1"), LogisticRegression())

    options = {"n_splits": 3, "on_leak": "ignore", "random_state": 0, "checkpoint_dir": tmp_path}
    first = network()
    cross_validate(classifier(first), images, LABELS, **options)
    cross_validate(classifier(first), images, LABELS, **options)
    other = network()
    other.set_weights([weight + 1 for weight in other.get_weights()])
    with pytest.raises(ValueError, match=r"other transfer\.featureextractor__source"):
        cross_validate(classifier(other), images, LABELS, **options)


def test_a_source_file_is_known_by_its_weights(images, tmp_path):
    path = str(tmp_path / "source.keras")
    options = {"n_splits": 3, "on_leak": "ignore", "random_state": 0}
    digests = []
    for shift in (0, 1):
        model = network()
        model.set_weights([weight + shift for weight in model.get_weights()])
        SourceModel(model=model, classes=np.array([*"abcd"]), history={}, best_epoch=0).save(path)
        classifier = make_pipeline(FeatureExtractor(path, layers="block1"), LogisticRegression())
        found = cross_validate(classifier, images, LABELS, **options)
        digests.append(found.settings["transfer"]["featureextractor__source"])
    first, other = digests
    assert first["digest"] != other["digest"]
    assert first["outputs on noise"] != other["outputs on noise"]


def test_the_result_of_a_classifier_is_read_back(images, remembers, tmp_path):
    result = cross_validate(remembers, images, LABELS, n_splits=3, on_leak="ignore", random_state=0)
    back = CrossValidationResult.load(result.save(tmp_path / "result.json"))
    np.testing.assert_allclose(back.probabilities, result.probabilities)
    assert back.settings["transfer"] == {"classifier": "Remembers", "flavour": "plain"}


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (
            LogisticRegression,
            "classifier is the class LogisticRegression; expected an object of it",
        ),
        (StandardScaler(), "classifier is StandardScaler; expected a DomainExtensionTransfer or"),
        (None, "classifier is NoneType; expected a DomainExtensionTransfer or another classifier"),
        (Mute(), "Mute, which gives neither probabilities nor decisions; wrap it in"),
        (VotingClassifier([("a", LogisticRegression())]), "VotingClassifier, which gives neither"),
        (StackingClassifier([("a", Mute())], Mute()), "StackingClassifier, which gives neither"),
    ],
)
def test_what_is_no_classifier_is_refused(images, classifier, message):
    with pytest.raises(TypeError, match=message):
        cross_validate(classifier, images, LABELS, n_splits=3)
    with pytest.raises(TypeError, match=message.replace("classifier is", r"classifiers\['b'\] is")):
        compare({"a": Remembers(), "b": classifier}, images, LABELS, n_splits=3)


def test_pixels_and_labels_are_checked_for_every_classifier(images, remembers):
    with pytest.raises(ValueError, match="images contains NaN"):
        cross_validate(remembers, np.where(images > 250, np.nan, images), LABELS, n_splits=3)
    with pytest.raises(ValueError, match="35 labels for 36 images"):
        cross_validate(remembers, images, LABELS[:-1], n_splits=3)
    assert not remembers.seen
    # No scale is wrong: what a classifier is made for, only its own network would tell.
    cross_validate(remembers, images / 255, LABELS, n_splits=3, on_leak="ignore")


def test_probabilities_that_are_none_are_refused(images, remembers):
    with pytest.raises(
        FoldError, match="Remembers gives probabilities that are negative or no numbers"
    ):
        cross_validate(
            Remembers(flavour="nan"), images, LABELS, n_splits=3, on_leak="ignore", random_state=0
        )


def test_a_function_that_cannot_be_pickled_is_on_record_by_its_name(images):
    function = FunctionTransformer(lambda x: x.reshape(len(x), -1))
    result = cross_validate(
        make_pipeline(function, LogisticRegression()),
        images,
        LABELS,
        groups=PATIENTS,
        n_splits=3,
        random_state=0,
    )
    assert result.settings["transfer"]["functiontransformer__func"] == "<lambda>"


def test_a_function_that_cannot_be_pickled_is_refused_for_checkpoints(images, tmp_path):
    function = FunctionTransformer(lambda x: x.reshape(len(x), -1))
    message = (
        r"classifier has functiontransformer__func=<function .*defined in a module, or leave ch"
    )
    with pytest.raises(ValueError, match=message):
        cross_validate(
            make_pipeline(function, LogisticRegression()),
            images,
            LABELS,
            groups=PATIENTS,
            n_splits=3,
            checkpoint_dir=tmp_path,
            random_state=0,
        )
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------- under examination


@pytest.fixture(scope="module")
def examined():
    generator = np.random.default_rng(0)
    labels = np.array(["bright", "dim"] * 30)
    images = generator.integers(0, 120, (60, *SHAPE)).astype("uint8")
    images[labels == "bright", 4:12, 4:12] += 60
    classifier = on_pixels(LogisticRegression(C=0.01, max_iter=500))
    result = cross_validate(
        classifier, images, labels, n_splits=3, on_leak="ignore", random_state=0
    )
    return classifier, images, result


def test_shortcut_tests_train_any_classifier_once_more(examined):
    classifier, images, result = examined
    report = shortcuts.examine(
        result, classifier, images, region=(4, 4, 12, 12), sites=["a", "b", "b", "a"] * 15
    )
    assert report.passed
    assert report.tests["region blanked"].verdict == "no shortcut found"
    assert "heatmaps" not in report.tests
    worth = report.results["region blanked"].scores["roc_auc"].mean
    assert worth < 0.7 < 0.95 < result.scores["roc_auc"].mean


def test_another_classifier_than_was_cross_validated_is_refused(examined):
    classifier, images, result = examined
    other = clone(classifier).set_params(logisticregression__C=1)
    with pytest.raises(ValueError, match="was cross-validated; give the same classifier"):
        shortcuts.region_test(result, other, images, region=(4, 4, 12, 12))


def test_there_are_no_heatmaps_of_what_is_no_network(examined):
    classifier, images, result = examined
    with pytest.raises(TypeError, match=r"Pipeline, which has no heatmaps; .* or use region_test"):
        shortcuts.heatmap_test(result, classifier, images, region=(4, 4, 12, 12))


def test_no_network_and_no_history_are_said_in_words(examined):
    classifier, images, result = examined
    fitted = clone(classifier).fit(images, result.labels)
    with pytest.raises(TypeError, match=r"model is Pipeline; expected a keras\.Model"):
        GradCAM(fitted)
    with pytest.raises(ValueError, match="Pipeline is not fitted; call fit first"):
        GradCAM(classifier)
    with pytest.raises(ValueError, match="These folds have no histories: only what is trained"):
        plots.learning_curves(result)
