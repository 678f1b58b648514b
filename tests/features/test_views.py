"""Training sees each image, and views of it that depend on its content and a seed alone."""

import numpy as np

from detl.features.views import Views, image_digests, pixels_of_views
from detl.pretraining.augmentation import Augmentation

SHAPE = (8, 8, 1)
N = 11


def drawn(n, seed=0, **amounts):
    return Views(n_augmented=n, augmentation=Augmentation(**amounts), seed=seed)


def test_the_first_view_is_the_image_and_the_others_are_its_augmentations(images):
    found = pixels_of_views(images, drawn(2, rotation=0, scaling=0)).reshape(3, N, *SHAPE)
    np.testing.assert_array_equal(found[0], images)
    mirrored = images[:, :, ::-1]
    for view in found[1:]:
        same, flipped = ((view == other).all(axis=(1, 2, 3)) for other in (images, mirrored))
        assert (same | flipped).all()
        assert same.any()
        assert flipped.any()
    assert (found[1] != found[2]).any()
    assert pixels_of_views(images, drawn(0)) is images


def test_the_views_of_an_image_depend_on_its_content_and_the_seed_alone(images):
    whole = pixels_of_views(images, drawn(2)).reshape(3, N, *SHAPE)
    part = pixels_of_views(images[[5, 1]], drawn(2)).reshape(3, 2, *SHAPE)
    np.testing.assert_array_equal(part, whole[:, [5, 1]])
    other = pixels_of_views(images, drawn(2, seed=1)).reshape(3, N, *SHAPE)
    np.testing.assert_array_equal(other[0], whole[0])
    assert (other[1:] != whole[1:]).any(axis=(2, 3, 4)).all()


def test_a_view_is_named_by_the_image_its_number_the_seed_and_the_augmentation(images):
    digests = image_digests(images[:2])
    names = drawn(2).names(digests)
    assert names[:2] == digests == image_digests(images[:2].copy())
    others = [drawn(2, seed=1), drawn(2, rotation=5.0)]
    later = [name for views in (drawn(2), *others) for name in views.names(digests)[2:]]
    assert len({*digests, *later}) == 2 + 3 * 4
    assert drawn(1).names(digests) == names[:4]
    assert len({*image_digests(images), *image_digests(images.astype("float32"))}) == 2 * N
