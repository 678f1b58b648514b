"""Any classifier of scikit-learn is cross-validated as a transfer is, and examined likewise."""

from typing import ClassVar

import keras
import numpy as np
import pytest
from keras import layers
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import AdaBoostClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

from detl import (
    CrossValidationResult,
    DomainExtensionTransfer,
    FeatureExtractor,
    FoldError,
    GradCAM,
    SourceModel,
    _estimators,
    compare,
    cross_validate,
    plots,
    shortcuts,
)

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
    transfers = {
        "network": DomainExtensionTransfer(network(), epochs=1),
        "features": make_pipeline(features_of_block, StandardScaler(), LogisticRegression()),
    }
    found = compare(transfers, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)
    alone = cross_validate(
        transfers["features"], images, LABELS, groups=PATIENTS, n_splits=3, random_state=0
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
            {"learning_rate": [1e-4, 1e-3]},
            cv=inside,
        ),
    }[where]
    result = cross_validate(classifier, images, LABELS, groups=PATIENTS, n_splits=3, random_state=0)
    assert len(Noticing.seen) == 3
    for groups, fold in zip(Noticing.seen, result.folds, strict=True):
        np.testing.assert_array_equal(groups, PATIENTS[fold.train])


def test_a_search_that_wants_groups_and_gets_none_is_refused(images):
    message = "transfer is Pipeline with inner folds by group, and there are no groups; give groups"
    classifier = on_pixels(penalty_searched(StratifiedGroupKFold(2)))
    with pytest.raises(ValueError, match=message):
        cross_validate(classifier, images, LABELS, n_splits=3, on_leak="ignore")


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
    seeded = _estimators.seeded(
        on_pixels(penalty_searched(StratifiedKFold(2, shuffle=True, random_state=7))), 5
    )
    assert seeded[-1].cv.random_state == 7
    number = on_pixels(penalty_searched(2))
    assert _estimators.seeded(number, 5)[-1].cv == 2
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
        SourceModel(model=model, classes=np.array(["a", "b"]), history={}, best_epoch=0).save(path)
        classifier = make_pipeline(FeatureExtractor(path, layers="block1"), LogisticRegression())
        found = cross_validate(classifier, images, LABELS, **options)
        digests.append(found.settings["transfer"]["featureextractor__source"])
    assert len(set(digests)) == 2


def test_the_result_of_a_classifier_is_read_back(images, remembers, tmp_path):
    result = cross_validate(remembers, images, LABELS, n_splits=3, on_leak="ignore", random_state=0)
    back = CrossValidationResult.load(result.save(tmp_path / "result.json"))
    np.testing.assert_allclose(back.probabilities, result.probabilities)
    assert back.settings["transfer"] == {"classifier": "Remembers", "flavour": "plain"}


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (LogisticRegression, "transfer is the class LogisticRegression; expected an object of it"),
        (StandardScaler(), "transfer is StandardScaler; expected a DomainExtensionTransfer or"),
        (None, "transfer is NoneType; expected a DomainExtensionTransfer or another classifier"),
        (Mute(), "Mute, which gives neither probabilities nor decisions; wrap it in"),
    ],
)
def test_what_is_no_classifier_is_refused(images, classifier, message):
    with pytest.raises(TypeError, match=message):
        cross_validate(classifier, images, LABELS, n_splits=3)
    with pytest.raises(TypeError, match=message.replace("transfer", r"transfers\['b'\]")):
        compare({"a": Remembers(), "b": classifier}, images, LABELS, n_splits=3)


def test_pixels_and_labels_are_checked_for_every_classifier(images, remembers):
    with pytest.raises(ValueError, match="images contains NaN"):
        cross_validate(remembers, np.where(images > 250, np.nan, images), LABELS, n_splits=3)
    with pytest.raises(ValueError, match="35 labels for 36 images"):
        cross_validate(remembers, images, LABELS[:-1], n_splits=3)
    assert not remembers.seen
    with pytest.warns(UserWarning, match="rescaling is inside the model") as warned:
        cross_validate(remembers, images / 255, LABELS, n_splits=3, on_leak="ignore")
    assert len(warned) == 1


def test_probabilities_that_are_none_are_refused(images, remembers):
    with pytest.raises(FoldError, match="Remembers gives NaN or infinity"):
        cross_validate(
            Remembers(flavour="nan"), images, LABELS, n_splits=3, on_leak="ignore", random_state=0
        )


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
        result, classifier, images, region=(4, 4, 12, 12), collections=["a", "b", "b", "a"] * 15
    )
    assert report.passed
    assert report.tests["region blanked"].verdict == "no shortcut found"
    assert "attention" not in report.tests
    worth = report.results["region blanked"].scores["roc_auc"].mean
    assert worth < 0.7 < 0.95 < result.scores["roc_auc"].mean


def test_another_classifier_than_was_cross_validated_is_refused(examined):
    classifier, images, result = examined
    other = clone(classifier).set_params(logisticregression__C=1)
    with pytest.raises(ValueError, match="was cross-validated; give the same classifier"):
        shortcuts.region_test(result, other, images, region=(4, 4, 12, 12))


def test_there_are_no_heatmaps_of_what_is_no_network(examined):
    classifier, images, result = examined
    with pytest.raises(TypeError, match=r"Pipeline, which is no network .* or use region_test"):
        shortcuts.attention(result, classifier, images, region=(4, 4, 12, 12))


def test_no_network_and_no_history_are_said_in_words(examined):
    classifier, images, result = examined
    fitted = clone(classifier).fit(images, result.labels)
    with pytest.raises(TypeError, match=r"model is Pipeline; expected a keras\.Model"):
        GradCAM(fitted)
    with pytest.raises(ValueError, match="Pipeline is not fitted; call fit first"):
        GradCAM(classifier)
    with pytest.raises(ValueError, match="These folds have no histories: only what is trained"):
        plots.learning_curves(result)
