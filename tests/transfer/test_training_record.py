"""A fitted transfer remembers what it was trained on, without the images."""

import datetime
import platform

import keras
import numpy as np
import pytest

import detl
from detl import DomainExtensionTransfer, cross_validate
from detl.folds.copies import pixel_digests

LABELS = ["dim", "bright"] * 20
PATIENTS = [f"patient {row // 4}" for row in range(40)]


@pytest.fixture(scope="module")
def fit(tiny_source, tiny_images):
    """Return a function that fits for one epoch and returns what is remembered."""

    def fitted(images=tiny_images, **data):
        transfer = DomainExtensionTransfer(tiny_source, epochs=1, random_state=0)
        return transfer.fit(images, LABELS, **data).training_

    return fitted


@pytest.fixture(scope="module")
def training(fit):
    return fit(groups=PATIENTS)


def test_every_image_is_known_again_by_its_pixels(training, tiny_images, fit, tmp_path):
    np.testing.assert_array_equal(training.image_digests, pixel_digests(tiny_images))
    np.save(tmp_path / "images.npy", tiny_images)
    on_disk = fit(np.load(tmp_path / "images.npy", mmap_mode="r"))
    np.testing.assert_array_equal(on_disk.image_digests, training.image_digests)
    other = 255 - tiny_images[:3].astype("float32")
    known = np.isin(
        pixel_digests(np.concatenate([other, tiny_images[5:7]])), training.image_digests
    )
    assert known.tolist() == [False, False, False, True, True]


def test_the_images_of_each_class_are_counted(tiny_source, tiny_images):
    transfer = DomainExtensionTransfer(tiny_source, epochs=1, random_state=0)
    fitted = transfer.fit(tiny_images, [7] * 5 + [-1] * 10 + [3] * 25)
    assert fitted.training_.class_counts.tolist() == [10, 25, 5]
    assert fitted.classes_.tolist() == [-1, 3, 7]


def test_the_versions_are_those_that_trained(training):
    assert training.versions["python"] == platform.python_version()
    assert training.versions["detl"] == detl.__version__
    assert training.versions["keras"] == keras.__version__
    assert training.versions["numpy"] == np.__version__
    assert keras.backend.backend() in training.versions


def test_the_source_is_known_as_in_a_cross_validation(tiny_source, tiny_images, tmp_path):
    transfer = DomainExtensionTransfer(tiny_source, epochs=1, random_state=0)
    result = cross_validate(transfer, tiny_images, LABELS, n_splits=2, random_state=0)
    fitted = transfer.fit(tiny_images, LABELS)
    assert fitted.training_.source_digest is None  # hashing takes a while: not in every fit
    saved = detl.load(fitted.save(tmp_path / "one.keras")).training_
    assert saved.source_digest == result.settings["source"]
    moved = keras.models.clone_model(tiny_source.model)
    other = DomainExtensionTransfer(moved, epochs=1, random_state=0).fit(tiny_images, LABELS)
    saved_other = detl.load(other.save(tmp_path / "other.keras")).training_
    assert saved_other.source_digest != saved.source_digest


@pytest.mark.parametrize(
    ("groups", "names"),
    [
        (PATIENTS, tuple(sorted(set(PATIENTS)))),
        (np.repeat([30, 4], 20), (4, 30)),
        (np.repeat([0.5, -1.5], 20), (-1.5, 0.5)),
        ([True, False] * 20, (False, True)),
        (np.array(["b", "a"] * 20, dtype=object), ("a", "b")),
        ([datetime.date(2020, 3, 1), datetime.date(2019, 1, 2)] * 20, ("2019-01-02", "2020-03-01")),
        (np.array(["2020-03-01"] * 40, dtype="datetime64[ns]"), ("2020-03-01T00:00:00.000000000",)),
    ],
    ids=["str", "int", "float", "bool", "object", "date", "datetime64"],
)
def test_groups_are_remembered_by_names_that_a_file_can_hold(fit, groups, names):
    found = fit(groups=groups).groups
    assert found == names
    assert list(map(type, found)) == list(map(type, names))


def test_without_groups_none_are_remembered(fit):
    assert fit().groups is None
