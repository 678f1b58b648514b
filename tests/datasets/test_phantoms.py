from collections import Counter

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detl import datasets
from detl.datasets.phantoms import LESIONS

FAINT = 3  # grey levels: the far tail of a lesion
FOUR_CLASSES = ("normal", "pneumonia", "covid-19", "other")


@pytest.fixture(scope="module")
def sick():
    return datasets.make_phantoms(dict.fromkeys(LESIONS, 60), random_state=0)


@pytest.fixture(scope="module")
def healthy():
    return datasets.make_phantoms(dict.fromkeys(LESIONS, 60), lesions=False, random_state=0)


def test_the_same_seed_draws_the_same_phantoms_and_another_seed_others(sick):
    again = datasets.make_phantoms(dict.fromkeys(LESIONS, 60), random_state=0)
    other = datasets.make_phantoms(dict.fromkeys(LESIONS, 60), random_state=1)
    for name in ("images", "labels", "groups", "masks"):
        np.testing.assert_array_equal(getattr(again, name), getattr(sick, name))
    assert not np.array_equal(other.images, sick.images)


def test_each_class_has_as_many_images_as_asked_for():
    drawn = datasets.make_phantoms({"normal": 3, "other": 5}, size=32, random_state=0)
    assert sorted(drawn.labels) == ["normal"] * 3 + ["other"] * 5
    assert drawn.images.shape == (8, 32, 32, 1)
    assert drawn.images.dtype == np.uint8


def test_the_global_seed_is_left_alone():
    # The legacy global state is what this test is about.
    np.random.seed(7)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    datasets.make_phantoms({"covid-19": 2}, size=32)
    datasets.load_phantoms(size=32)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_normal_images_have_no_lesion_and_all_others_have_one_inside_the_chest(sick):
    normal = sick.labels == "normal"
    assert not sick.masks[normal].any()
    assert sick.masks[~normal].any(axis=(1, 2)).all()
    assert not sick.masks[:, [0, -1]].any()
    assert not sick.masks[:, :, [0, -1]].any()


def test_a_lesion_changes_its_mask_and_little_else(sick, healthy):
    np.testing.assert_array_equal(sick.labels, healthy.labels)
    assert not healthy.masks.any()
    change = sick.images[..., 0].astype(int) - healthy.images[..., 0]
    has_lesion = sick.masks.any(axis=(1, 2))
    assert not change[~has_lesion].any()
    brightened = [c[m].mean() for c, m in zip(change[has_lesion], sick.masks[has_lesion])]
    assert min(brightened) > 8
    far = [
        c[~ndimage.binary_dilation(m, iterations=12)]
        for c, m in zip(change[has_lesion], sick.masks[has_lesion])
    ]
    assert np.abs(np.concatenate(far)).max() <= FAINT
    assert np.abs(change[~sick.masks]).max() < 40  # the soft rim, below the mask's threshold
    assert change[~sick.masks].mean() < 0.1 * change[sick.masks].mean()


def test_covid_lies_in_both_lungs_and_pneumonia_in_one(sick):
    left = sick.masks[:, :, :32].any(axis=(1, 2))
    right = sick.masks[:, :, 32:].any(axis=(1, 2))
    covid, pneumonia = sick.labels == "covid-19", sick.labels == "pneumonia"
    assert (left & right)[covid].all()
    assert (left ^ right)[pneumonia].mean() > 0.9  # a tilted chest crosses the middle at times


def test_images_of_one_patient_share_class_and_anatomy(healthy):
    flat = healthy.images.reshape(len(healthy), -1).astype(float)
    patients = np.unique(healthy.groups)
    groups = [np.flatnonzero(healthy.groups == patient) for patient in patients]
    follow_ups = [rows for rows in groups if len(rows) > 1]
    assert len(follow_ups) > 20
    assert all(len(set(healthy.labels[rows])) == 1 for rows in groups)
    correlation = np.corrcoef(flat)
    same = np.mean([correlation[rows[0], rows[1]] for rows in follow_ups])
    first = [rows[0] for rows in groups]
    anybody = correlation[np.ix_(first, first)][np.triu_indices(len(first), k=1)].mean()
    assert same > anybody


def test_nothing_but_the_lesion_tells_the_classes_apart():
    drawn = datasets.make_phantoms(dict.fromkeys(FOUR_CLASSES, 100), random_state=3)
    thumbnails = drawn.images.reshape(-1, 16, 4, 16, 4).mean(axis=(2, 4))
    border = np.ones((16, 16), bool)
    border[1:-1, 1:-1] = False
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    scores = cross_val_score(
        model, thumbnails[:, border], drawn.labels, groups=drawn.groups, cv=folds
    )
    # Chance is 0.25; its standard deviation over 400 images is 0.022.
    assert scores.mean() < 0.25 + 3 * 0.022


def test_an_unknown_class_and_a_size_too_small_are_refused():
    with pytest.raises(ValueError, match=r"'flu'.*expected some of 'normal', 'pneumonia'"):
        datasets.make_phantoms({"flu": 3})
    with pytest.raises(ValueError, match="size=16; expected at least 32"):
        datasets.make_phantoms({"normal": 3}, size=16)
    with pytest.raises(ValueError, match="size=16; expected at least 32"):
        datasets.load_phantoms(size=16)
    with pytest.raises(ValueError, match=r"images_per_class\['normal'\]=0; expected at least 1"):
        datasets.make_phantoms({"normal": 0})
    with pytest.raises(TypeError, match=r"size is float 64\.0; expected a whole number"):
        datasets.load_phantoms(size=64.0)
    with pytest.raises(ValueError, match="random_state='chest'; expected a whole number"):
        datasets.load_phantoms(random_state="chest")


@pytest.fixture(scope="module")
def both():
    return datasets.load_phantoms(size=32)


def test_the_source_has_two_classes_and_the_target_four_all_of_one_size(both):
    source, target = both
    assert Counter(source.labels.tolist()) == {"normal": 500, "diseased": 500}
    assert Counter(target.labels.tolist()) == dict.fromkeys(FOUR_CLASSES, 60)
    assert source.images.shape == (1000, 32, 32, 1)
    assert target.masks.shape == (240, 32, 32)


def test_no_patient_is_in_two_classes_or_in_both_sets(both):
    source, target = both
    assert not set(source.groups) & set(target.groups)
    for drawn in both:
        assert len(set(zip(drawn.groups, drawn.labels))) == len(set(drawn.groups))
        images_of_each = Counter(Counter(drawn.groups).values())
        assert set(images_of_each) == {1, 2, 3}


def test_the_default_seed_is_0_and_another_seed_draws_others(both):
    for drawn, again in zip(both, datasets.load_phantoms(size=32, random_state=0)):
        np.testing.assert_array_equal(drawn.images, again.images)
        np.testing.assert_array_equal(drawn.groups, again.groups)
    other, _ = datasets.load_phantoms(size=32, random_state=1)
    assert not np.array_equal(both[0].images, other.images)


def test_kept_sets_are_copied_so_that_a_change_reaches_nobody_else():
    _, first = datasets.load_phantoms(size=32)
    expected = first.images.copy()
    first.images[:] = 0
    first.labels[:] = "gone"
    _, second = datasets.load_phantoms(size=32)
    np.testing.assert_array_equal(second.images, expected)
    assert second.classes.tolist() == sorted(FOUR_CLASSES)


def test_a_generator_draws_other_phantoms_each_time():
    generator = np.random.default_rng(0)
    (_, first), (_, second) = (
        datasets.load_phantoms(size=32, random_state=generator) for _ in range(2)
    )
    assert not np.array_equal(first.images, second.images)


def test_a_set_says_that_phantoms_are_not_patients(both):
    for drawn in both:
        said = " ".join(repr(drawn).split())
        assert "not patients: nothing measured on them says anything about disease" in said
