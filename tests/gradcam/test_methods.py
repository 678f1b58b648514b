"""Each method is its paper's formula, written out in slow loops here."""

import keras
import numpy as np
import pytest

from detl.gradcam import methods
from detl.gradcam.methods import METHODS, Evidence

GRADIENT_METHODS = ("gradcam", "gradcam++", "hirescam", "layercam", "xgradcam")


def evidence(n=3, n_pixels=12, channels=5, seed=0, scores=None):
    generator = np.random.default_rng(seed)
    return Evidence(
        maps=np.maximum(generator.normal(size=(n, n_pixels, channels)), 0),
        gradients=generator.normal(size=(n, n_pixels, channels)),
        masked_scores=lambda: scores,
    )


def gradcam(maps, gradients):
    weights = [gradients[:, k].sum() / len(gradients) for k in range(maps.shape[1])]
    return sum(w * maps[:, k] for k, w in enumerate(weights))


def gradcam_plus_plus(maps, gradients, score=0.7):
    """Eq. 5, 6 and 19 as printed, of the score's exponential, its derivatives being powers of G."""
    total = np.zeros(len(maps))
    for k in range(maps.shape[1]):
        weight = 0.0
        for i in range(len(maps)):
            first, second, third = (np.exp(score) * gradients[i, k] ** power for power in (1, 2, 3))
            alpha = second / (2 * second + sum(maps[a, k] * third for a in range(len(maps))))
            weight += alpha * max(first, 0)
        total += weight * maps[:, k]
    return total / np.exp(score)  # one factor for all weights of an image


def hirescam(maps, gradients):
    return sum(gradients[:, k] * maps[:, k] for k in range(maps.shape[1]))


def layercam(maps, gradients):
    return sum(np.maximum(gradients[:, k], 0) * maps[:, k] for k in range(maps.shape[1]))


def xgradcam(maps, gradients):
    total = np.zeros(len(maps))
    for k in range(maps.shape[1]):
        shares = maps[:, k] / maps[:, k].sum()
        total += (shares * gradients[:, k]).sum() * maps[:, k]
    return total


@pytest.mark.parametrize(
    "loop", [gradcam, gradcam_plus_plus, hirescam, layercam, xgradcam], ids=GRADIENT_METHODS
)
def test_a_method_is_its_formula(loop, request):
    given = evidence()
    found = METHODS[request.node.callspec.id](given)
    expected = [loop(*row) for row in zip(given.maps, given.gradients)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_no_two_methods_are_one():
    given = evidence(scores=np.random.default_rng(1).normal(size=(3, 5)))
    found = [method(given) for method in METHODS.values()]
    for i, first in enumerate(found):
        for second in found[:i]:
            assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.999


def test_score_cam_weighs_by_a_softmax_of_the_scores():
    scores = np.array([[1.0, 3, -2, 0, 2]] * 3) * [[1], [10], [1000]]
    given = evidence(scores=scores)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    expected = [m @ w for m, w in zip(given.maps, weights)]
    np.testing.assert_allclose(METHODS["scorecam"](given), expected)
    np.testing.assert_allclose(METHODS["scorecam"](given)[2], given.maps[2][:, 1])


def test_eigen_cam_is_the_projection_on_the_first_eigenvector():
    given = evidence()
    found = METHODS["eigencam"](given)
    for projection, maps in zip(found, given.maps):
        values, vectors = np.linalg.eigh(maps.T @ maps)
        expected = maps @ vectors[:, np.argmax(values)]
        np.testing.assert_allclose(projection, expected * np.sign(expected.sum()), atol=1e-12)
        assert projection.sum() > 0


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_zeros_and_gradients_of_zeros_give_numbers(method):
    given = evidence(n=4, scores=np.zeros((4, 5)))
    given.maps[1] = given.gradients[2] = given.maps[3] = given.gradients[3] = 0
    given.maps[0, :, 2] = 0  # a channel that is dead
    found = METHODS[method](given)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[1], 0)


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_gradients_too_small_to_be_squared_still_count(method):
    given = evidence()
    tiny = Evidence(
        maps=given.maps.astype("float32"),
        gradients=(given.gradients * 1e-25).astype("float32"),
        masked_scores=given.masked_scores,
    )
    found = METHODS[method](tiny).astype(float) * 1e25
    assert np.abs(found).max() > 0.1
    if method != "gradcam++":  # which is not homogeneous in its gradients
        np.testing.assert_allclose(found, METHODS[method](given), rtol=1e-4, atol=1e-5)


def test_a_heatmap_is_the_positive_part_over_its_maximum():
    raw = np.array([[[-1.0, 2], [4, 0]], [[-1, -2], [-3, 0]]], dtype="float32")
    np.testing.assert_array_equal(
        methods.heatmaps_of(raw, (2, 2)), [[[0, 0.5], [1, 0]], [[0, 0], [0, 0]]]
    )


@pytest.mark.parametrize("shape", [(3, 5), (7, 4), (16, 16)])
def test_resizing_agrees_with_keras(shape):
    maps = np.random.default_rng(0).normal(size=(2, 4, 6)).astype("float32")
    expected = keras.ops.image.resize(
        maps[..., np.newaxis], shape, interpolation="bilinear", antialias=False
    )
    found = methods.resized(maps, shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(
        found, keras.ops.convert_to_numpy(expected)[..., 0], rtol=1e-5, atol=1e-6
    )


def test_one_axis_and_three_are_resized_along_each():
    line = methods.resized(np.array([[0.0, 4]], dtype="float32"), (4,))
    np.testing.assert_allclose(line, [[0, 1, 3, 4]])
    cube = np.einsum("i,j,k->ijk", *[[0.0, 4]] * 3)[np.newaxis].astype("float32")
    np.testing.assert_allclose(
        methods.resized(cube, (4, 4, 4))[0], np.einsum("i,j,k->ijk", *[line[0]] * 3), rtol=1e-6
    )


def test_a_mask_reaches_from_zero_to_one_and_a_flat_map_masks_everything():
    maps = np.stack([np.arange(4.0).reshape(2, 2) - 7, np.full((2, 2), 3.0)]).astype("float32")
    masks = methods.masks_of(maps, (8, 8))
    assert masks[0].min() == 0
    assert masks[0].max() == 1
    np.testing.assert_array_equal(masks[1], 0)
