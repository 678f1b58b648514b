import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

from detl.folds import copies

SIZE = 64


def within(images, **settings):
    return copies.copies_within(copies.sketch(images), np.zeros(len(images), int), **settings)


def between(images, others):
    sketches = copies.sketch(images), copies.sketch(others)
    return copies.copies_between(*sketches, np.zeros(len(images), int))


def pictures(n, seed=0, size=SIZE):
    """Return pictures with detail of all sizes, no two alike."""
    noise = np.random.default_rng(seed).normal(size=(n, size, size))
    mixed = sum(gaussian_filter(noise, (0, s, s)) * s for s in (1, 2, 4, 8))
    return np.clip(128 + 50 * mixed, 0, 255).astype("uint8")[..., np.newaxis]


def saved(image):
    file = io.BytesIO()
    Image.fromarray(image[..., 0]).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))[..., np.newaxis]


def resized(image):
    small = Image.fromarray(image[..., 0]).resize((40, 40))
    return np.asarray(small.resize((SIZE, SIZE)))[..., np.newaxis]


def cropped(image):
    return np.asarray(Image.fromarray(image[3:, 2:-1, 0]).resize((SIZE, SIZE)))[..., np.newaxis]


KINDS = {
    "JPEG": saved,
    "resized": resized,
    "cropped": cropped,
    "brightened": lambda image: np.clip(image * 0.9 + 20, 0, 255).astype("uint8"),
    "mirrored": lambda image: image[:, ::-1],
    "all": lambda image: saved(cropped(resized(image)))[:, ::-1],
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_found_and_nothing_else(kind):
    images = pictures(60)
    images[50] = KINDS[kind](images[7])
    found = within(images)
    assert found.pairs.tolist() == [[7, 50]]
    assert found.exact.tolist() == [False]
    assert copies.THRESHOLD <= found.scores[0] < 1.001


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_is_found_in_another_set_whichever_of_the_two_is_the_copy(kind):
    images, others = pictures(30), pictures(40, seed=1)
    others[11] = KINDS[kind](images[5])
    others[12] = images[6]
    images[6] = KINDS[kind](images[6])
    found = between(images, others)
    assert found.pairs.tolist() == [[5, 11], [6, 12]]


def test_digests_tell_pixels_whatever_their_dtype(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (600, 8, 8, 1)).astype("uint8")
    changed = images.copy()
    changed[550, 3, 4] ^= 1
    np.save(tmp_path / "images.npy", images)
    digests = copies.pixel_digests(images)
    assert len(np.unique(digests)) == 600
    for same in (images.astype("float64"), np.load(tmp_path / "images.npy", mmap_mode="r")):
        np.testing.assert_array_equal(copies.pixel_digests(same), digests)
    assert np.flatnonzero(copies.pixel_digests(changed) != digests).tolist() == [550]
    assert copies.pixel_digests(images.reshape(600, 4, 16, 1))[0] != digests[0]
    np.testing.assert_array_equal(copies.sketch(images).digests, digests)


def test_digests_are_read_in_batches():
    images = Counted(np.zeros((1100, 8, 8, 1), "uint8"))
    copies.pixel_digests(images)
    assert images.most_read == 512


class Counted:
    """An array on disk, as far as its reader knows, that notes how much is read at once."""

    def __init__(self, images):
        self.images, self.most_read = images, 0

    def __len__(self):
        return len(self.images)

    def __getitem__(self, rows):
        self.most_read = max(self.most_read, len(self.images[rows]))
        return self.images[rows]


def test_equal_pixels_are_exact_whatever_their_dtype():
    images = pictures(20)
    others = images[[3, 8]].astype("float64")
    found = between(images, others)
    assert found.pairs.tolist() == [[3, 0], [8, 1]]
    assert found.exact.tolist() == [True, True]
    assert found.scores.tolist() == [1, 1]
    fractions = copies.sketch(others + 0.25).digests
    assert not set(fractions.tolist()) & set(copies.sketch(others).digests.tolist())


def test_equal_images_are_each_paired_with_the_first():
    images = pictures(30)
    images[[9, 20]] = images[4]
    found = within(images)
    assert found.pairs.tolist() == [[4, 9], [4, 20]]
    assert found.exact.all()


def test_only_two_images_that_are_copies_are_found():
    image = pictures(1)[0]
    found = within(np.stack([image, saved(image)]))
    assert found.pairs.tolist() == [[0, 1]]


def test_sizes_and_channels_may_differ_between_sets():
    small = pictures(30)
    large = np.repeat(small.repeat(2, axis=1).repeat(3, axis=2), 3, axis=3)
    found = between(small, large)
    assert found.pairs.tolist() == [[i, i] for i in range(30)]
    assert not found.exact.any()


def test_blank_images_are_copies_of_equal_ones_only():
    images = np.zeros((5, SIZE, SIZE, 1), "uint8")
    images[3:] = [[[[10]]], [[[200]]]]
    found = within(images)
    assert found.pairs.tolist() == [[0, 1], [0, 2]]


def test_a_frame_that_all_images_share_makes_no_copies():
    images = pictures(200)
    rows, columns = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    images[:, np.hypot(rows, columns) > 28] = 0
    images[150] = saved(images[20])
    found = within(images)
    assert found.pairs.tolist() == [[20, 150]]


def test_a_set_of_several_near_copies_hangs_together():
    images = pictures(40)
    for row, copy in zip((10, 20, 30), (saved, resized, cropped)):
        images[row] = copy(images[3])
    pairs = within(images).pairs.tolist()
    assert {row for pair in pairs for row in pair} == {3, 10, 20, 30}
    assert len(pairs) == 6


def test_a_memory_map_gives_what_its_array_gives(tmp_path, monkeypatch):
    images = pictures(50)
    images[49] = images[0][:, ::-1]
    np.save(tmp_path / "images.npy", images)
    whole = copies.sketch(images)
    monkeypatch.setattr(copies, "_BATCH", 7)
    monkeypatch.setattr(copies, "_CELLS", 100)
    mapped = copies.sketch(np.load(tmp_path / "images.npy", mmap_mode="r"))
    np.testing.assert_array_equal(mapped.digests, whole.digests)
    np.testing.assert_allclose(mapped.fine, whole.fine, atol=1e-3)
    assert copies.copies_within(mapped, np.zeros(50, int)).pairs.tolist() == [[0, 49]]


def test_the_score_of_a_moved_detail_is_that_of_the_inverse_fourier_transform():
    generator = np.random.default_rng(0)
    cells = copies._FINE
    first = generator.normal(size=(2, 1, cells, cells)).astype("float32")
    second = np.roll(first, (2, -1), axis=(2, 3))
    score = copies._best_correlation(first, second)
    np.testing.assert_allclose(score, (first[0] ** 2).sum(), rtol=1e-5)


def test_resampling_keeps_a_ramp():
    weights = copies._resampling(60, 6, 1.0)
    np.testing.assert_allclose((weights @ np.arange(60.0))[1:-1], [14.5, 24.5, 34.5, 44.5])
    np.testing.assert_allclose(copies._resampling(40, 4, 0.5) @ np.arange(40.0), [12, 17, 22, 27])


def variations(n):
    """Return pictures of one coarse ground, and of fine detail of their own."""
    generator = np.random.default_rng(0)
    ground = gaussian_filter(generator.normal(size=(SIZE, SIZE)), 6) * 600
    detail = gaussian_filter(generator.normal(size=(n, SIZE, SIZE)), (0, 1, 1)) * 80
    return np.clip(128 + ground + detail, 0, 255).astype("uint8")[..., np.newaxis]


def crops():
    """Return 256 crops of one texture that repeats itself, side by side."""
    rows, columns = np.mgrid[:1024, :1024]
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(1024, 1024)), 3) * 200
    texture = 128 + 60 * np.sign(np.sin(rows / 4) * np.sin(columns / 6)) + noise
    parts = texture.reshape(16, SIZE, 16, SIZE).transpose(0, 2, 1, 3).reshape(-1, SIZE, SIZE, 1)
    return np.clip(parts, 0, 255).astype("uint8")


def plain_digits():
    return load_digits().images[..., np.newaxis] * 15.9


@pytest.mark.parametrize("images", [plain_digits(), crops()])
def test_different_images_of_a_kind_that_are_all_alike_are_no_copies(images):
    found = within(images)
    assert len(np.unique(found.pairs)) < 0.01 * len(images)
    assert found.n_alike > len(images) / 4


@pytest.mark.parametrize("n", [300, 600, 900])
def test_of_fewer_digits_equal_ones_are_copies_and_hardly_any_other(n):
    images = plain_digits()[:n]
    images[100] = images[5]
    found = within(images)
    assert found.pairs[found.exact].tolist() == [[5, 100]]
    assert len(np.unique(found.pairs[~found.exact])) < 0.01 * n


def test_a_class_of_images_that_are_all_alike_has_a_threshold_of_its_own():
    digits = np.kron(plain_digits()[:200], np.ones((1, 8, 8, 1))).astype("uint8")
    images = np.concatenate([digits, variations(600)])
    images[700] = saved(images[300])
    found = copies.copies_within(copies.sketch(images), np.repeat([0, 1], [200, 600]))
    assert found.thresholds[0] > found.thresholds[1] == copies.THRESHOLD
    assert found.pairs.tolist() == [[300, 700]]
    assert len(within(images).pairs) > 1


def test_copies_are_found_where_every_image_has_one():
    images = pictures(60)
    doubled = np.concatenate([images, np.stack([saved(image) for image in images])])
    assert within(doubled).pairs.tolist() == [[i, i + 60] for i in range(60)]


def test_the_user_says_how_alike_a_copy_is():
    images = pictures(60)
    images[50] = saved(images[7])
    score = within(images).scores[0]
    assert within(images, threshold=score).pairs.tolist() == [[7, 50]]
    assert within(images, threshold=score + 1e-6).pairs.tolist() == []
