"""Features of another program are found by the pixels of the image, or refused in words."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detl import compare, cross_validate, datasets, evaluate, features, recipes

N = 120


@pytest.fixture(scope="module")
def images():
    return datasets.load_digits(size=8)[1].images[:N]


@pytest.fixture(scope="module")
def labels():
    return datasets.load_digits(size=8)[1].labels[:N]


@pytest.fixture(scope="module")
def dino(labels):
    """Return features of which one knows a class, and one numbers the images."""
    return np.column_stack([labels == 8, labels == 9, np.arange(N) / N]).astype("float32")


@pytest.fixture(scope="module")
def known(images, dino):
    return features.precomputed(images, dino)


def test_each_image_gets_its_row_in_any_order_and_number(known, images, dino):
    order = np.random.default_rng(0).permutation(N)[:50]
    found = known.fit_transform(images[order])
    np.testing.assert_array_equal(found, dino[order])
    assert found.dtype == np.float32
    np.testing.assert_array_equal(known.transform(images[[3, 3]]), dino[[3, 3]])
    assert len(known.get_feature_names_out()) == 3


def test_images_are_known_whether_they_are_bytes_or_floats(known, images, dino, tmp_path):
    np.testing.assert_array_equal(known.transform(images.astype("float64")), dino)
    np.save(tmp_path / "images.npy", images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    np.testing.assert_array_equal(known.transform(mapped), dino)


def test_what_is_returned_may_be_written_to(images, dino):
    own = dino.copy()
    known = features.precomputed(images, own)
    own[:] = 0
    known.transform(images)[:] = 0
    np.testing.assert_array_equal(known.transform(images), dino)


def test_unknown_images_are_refused_and_counted(known, images):
    some = images.copy()
    some[[7, 9], 0, 0] ^= 1  # a pixel is another image
    with pytest.raises(ValueError, match=r"2 of 120 images have no precomputed .*first in row 7"):
        known.fit(some)
    with pytest.raises(ValueError, match=r"120 of 120 .* pixel for pixel as they are"):
        known.transform(images[:, :7])


def test_copies_of_an_image_share_a_row_to_rounding(images, dino):
    twice = np.concatenate([images, images[:5]])
    nearly = np.concatenate([dino, dino[:5] + 1e-4])
    found = features.precomputed(twice, nearly).transform(twice)
    np.testing.assert_array_equal(found[N:], dino[:5])
    nearly[N + 2] += 1
    with pytest.raises(ValueError, match=r"copies whose features differ \(1 rows\).* 2 and 122;"):
        features.precomputed(twice, nearly)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (lambda rows: rows[:-1], ValueError, "119 rows of features for 120 images"),
        (lambda rows: rows[:, 0], ValueError, r"shape \(120,\); .*features\[:, np.newaxis\]"),
        (lambda rows: rows[:, None], ValueError, r"\(120, 1, 3\); .*features\[:, 0\], the class"),
        (lambda rows: rows[:, None, None], ValueError, r"features.mean\(axis=\(1, 2\)\)"),
        (lambda rows: rows[:, :0], ValueError, r"shape \(120, 0\); expected \(n, n_features\)"),
        (lambda rows: rows.astype(str), TypeError, "features has dtype <U.*expected numbers"),
        (lambda rows: [[1], [1, 2]], TypeError, "features has dtype object; expected numbers"),
        (lambda rows: np.where(rows == 0.5, np.nan, rows), ValueError, "NaN .* first in row 60"),
        (lambda rows: rows + 1e300, ValueError, "infinity in 120 rows"),
    ],
)
def test_what_are_no_features_is_refused(images, dino, given, error, message):
    with np.errstate(over="ignore"), pytest.raises(error, match=message):
        features.precomputed(images, given(dino.astype("float64")))


def test_what_are_no_images_is_refused(images, dino, known):
    with pytest.raises(ValueError, match=r"images has shape .*expected \(n, height, width"):
        features.precomputed(images[..., 0], dino)
    with pytest.raises(ValueError, match=r"X has shape .*expected \(n, height, width"):
        known.transform(images[..., 0])


def test_clones_share_the_arrays_and_a_pickle_has_no_image(known, images, dino):
    assert clone(known).features is known.features
    assert repr(known) == "PrecomputedFeatures(120 images, 3 features)"
    pickled = pickle.dumps(known)
    assert images[60].tobytes() not in pickled
    np.testing.assert_array_equal(pickle.loads(pickled).transform(images), dino)


@pytest.mark.slow
def test_they_reach_other_processes(known, images, labels):
    classifier = make_pipeline(known, StandardScaler(), LogisticRegression())
    assert cross_val_score(classifier, images, labels, cv=3, n_jobs=2).min() == 1


def test_a_search_takes_them(known, images, labels):
    classifier = make_pipeline(known, StandardScaler(), LogisticRegression())
    search = GridSearchCV(classifier, {"logisticregression__C": [0.1, 1.0]}, cv=3)
    assert search.fit(images, labels).best_score_ == 1


def test_they_are_cross_validated_like_the_same_columns(known, images, labels, dino):
    settings = {"n_splits": 3, "on_leak": "ignore", "random_state": 0, "verbose": 0}
    classifier = make_pipeline(known, StandardScaler(), LogisticRegression())
    tried = {"DINO": classifier, "thumbnail": recipes.thumbnail()}
    found = compare(tried, images, labels, **settings).results["DINO"]
    for fold in found.folds:
        columns = make_pipeline(StandardScaler(), LogisticRegression())
        columns.fit(dino[fold.train], labels[fold.train])
        np.testing.assert_allclose(
            fold.probabilities, columns.predict_proba(dino[fold.test]), rtol=1e-5
        )
    first = cross_validate(classifier, images, labels, **settings)
    other = make_pipeline(features.precomputed(images, dino + 1), *classifier[1:])
    second = cross_validate(other, images, labels, **settings)
    np.testing.assert_array_equal(first.probabilities, found.probabilities)
    assert first.settings["transfer"] != second.settings["transfer"]


def test_a_classifier_is_evaluated_on_images_that_were_given_too(images, labels, dino):
    classifier = make_pipeline(features.precomputed(images, dino), LogisticRegression())
    classifier.fit(images[:60], labels[:60])
    assert evaluate(classifier, images[60:], labels[60:], random_state=0).accuracy == 1
    partly = make_pipeline(features.precomputed(images[:60], dino[:60]), LogisticRegression())
    partly.fit(images[:60], labels[:60])
    with pytest.raises(ValueError, match="60 of 60 images have no precomputed features"):
        evaluate(partly, images[60:], labels[60:], random_state=0)
