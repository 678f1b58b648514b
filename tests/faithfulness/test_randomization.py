"""Weights are scrambled from the top down, and come back."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy import stats

from detl import GradCAM, faithfulness


def noise(n=3, size=(8, 8), seed=0):
    return np.random.default_rng(seed).random((n, *size))


def pixels(n=3, size=(8, 8), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *size, 1)).astype("uint8")


def test_model_and_images_are_left_as_they_were(classifier):
    model, images, heatmaps = classifier, pixels(), noise()
    images.flags.writeable = heatmaps.flags.writeable = False
    before, copies = model.get_weights(), (images.copy(), heatmaps.copy())
    np.random.seed(0)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002

    faithfulness.insertion(model, images, heatmaps)
    faithfulness.road(model, images, heatmaps)
    faithfulness.randomization(model, images, n_repeats=1)

    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    np.testing.assert_array_equal(images, copies[0])
    np.testing.assert_array_equal(heatmaps, copies[1])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_layers_are_scrambled_from_the_output_down_each_by_a_permutation(classifier):
    model, images = classifier, pixels()
    trained, seen = model.get_weights(), []

    def explain(images, target_class):
        seen.append(model.get_weights())
        return noise(len(images))

    result = faithfulness.randomization(model, images, explain, n_repeats=2, random_state=0)

    assert result.layers == (("head",), ("conv2",), ("norm1",), ("conv1",))
    first_changed = [8, 6, 6, 0]  # norm1 is all ones and zeros: it cannot be told from itself
    for weights, start in zip(seen[1:5], first_changed, strict=True):
        for index, (was, now) in enumerate(zip(trained, weights, strict=True)):
            if index < start or was.ndim == 1:
                np.testing.assert_array_equal(was, now)
            else:
                assert (was != now).any()
                np.testing.assert_array_equal(np.sort(was, axis=None), np.sort(now, axis=None))
    assert any((a != b).any() for a, b in zip(seen[4], seen[8], strict=True))  # another repeat
    for was, now in zip(seen[4][:6], seen[5][:6], strict=True):
        assert was.ndim == 1 or (was != now).any()  # repeats start from the trained weights
    for was, now in zip(trained[:8], seen[5][:8], strict=True):
        np.testing.assert_array_equal(was, now)
    np.testing.assert_allclose(result.correlations, 1)  # what looks at no model


def test_correlations_are_spearmans_of_the_maps_with_those_of_the_intact_model(classifier):
    model, images = classifier, pixels()
    maps = np.round(noise(15), 1).reshape(5, 3, 8, 8)
    calls = iter(maps)

    result = faithfulness.randomization(
        model, images, lambda images, target_class: next(calls), n_repeats=1
    )

    for step in range(4):
        for i in range(3):
            expected = stats.spearmanr(maps[0, i].ravel(), maps[step + 1, i].ravel()).statistic
            assert result.correlations[step, i] == pytest.approx(expected, abs=1e-12)
    assert [estimate.mean for estimate in result.steps] == pytest.approx(
        result.correlations.mean(axis=1)
    )


def test_a_map_gone_blank_has_nothing_in_common_and_one_that_was_blank_does_not_count(classifier):
    maps = noise(3)
    maps[0] = 0
    after = noise(3, seed=1)
    after[1] = 0
    calls = iter([maps, *[after] * 4])

    result = faithfulness.randomization(
        classifier, pixels(), lambda images, target_class: next(calls), n_repeats=1
    )

    np.testing.assert_array_equal(result.blank, [True, False, False])
    assert np.isnan(result.correlations[:, 0]).all()
    np.testing.assert_array_equal(result.correlations[:, 1], 0)
    assert result.steps[0].mean == pytest.approx(result.correlations[0, 2] / 2)


def test_the_default_explanation_is_grad_cam_of_the_class_the_intact_model_predicts(classifier):
    model, images = classifier, pixels(4)

    default = faithfulness.randomization(model, images, random_state=0)
    predicted = keras.ops.convert_to_numpy(model(images)).argmax(1)
    asked = faithfulness.randomization(
        model, images, GradCAM(model), target_class=predicted, random_state=0
    )

    np.testing.assert_array_equal(default.correlations, asked.correlations)
    np.testing.assert_array_equal(default.class_indices, asked.class_indices)


def test_weights_come_back_also_after_an_exception(classifier):
    model, images = classifier, pixels()
    before = model.get_weights()
    calls = []

    def explain(images, target_class):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return noise(len(images))

    with pytest.raises(RuntimeError, match="out of memory"):
        faithfulness.randomization(model, images, explain)
    for was, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_many_layers_are_scrambled_in_groups_and_nested_ones_in_their_place(make_classifier):
    inner = make_classifier()
    model = keras.Sequential([layers.Input((8, 8, 1)), inner])

    result = faithfulness.randomization(model, pixels(), n_steps=2, n_repeats=1)

    assert result.layers == (("head", "conv2"), ("norm1", "conv1"))
    assert [line.split()[0] for line in str(result).splitlines()[1:3]] == ["conv2", "conv1"]


def test_steps_of_equal_names_have_a_line_each():
    def inner(name):
        conv = layers.Conv2D(2, 3, padding="same", name="conv")
        return keras.Sequential([layers.Input((8, 8, 1)), conv], name=name)

    first, second = inner("first"), inner("second")
    inputs = layers.Input((8, 8, 1))
    both = layers.Add()([first(inputs), second(inputs)])
    outputs = layers.Dense(2, "softmax", name="centre")(layers.GlobalAveragePooling2D()(both))
    model = keras.Model(inputs, outputs)

    result = faithfulness.randomization(
        model, pixels(), lambda images, target_class: noise(len(images)), n_repeats=1
    )

    assert [name for (name,) in result.layers] == ["centre", "conv", "conv"]
    lines = str(result).splitlines()[1:-1]
    assert [line.split("  ")[0] for line in lines] == [
        *("centre", "conv", "conv", "random map", "centre")
    ]


def test_what_cannot_be_scrambled_is_refused(classifier):
    model = keras.Sequential(
        [layers.Input((8, 8, 1)), layers.GlobalAveragePooling2D(), layers.Rescaling(1 / 255)],
        name="mean",
    )
    with pytest.raises(ValueError, match="'mean' has no weights to scramble"):
        faithfulness.randomization(model, pixels(), lambda images, target_class: noise())
    with pytest.raises(ValueError, match=r"heatmaps has shape \(3, 4, 4\); expected \(3, 8, 8\)"):
        faithfulness.randomization(
            classifier, pixels(), lambda images, target_class: noise(3, (4, 4))
        )
    with pytest.raises(ValueError, match="n_repeats=0"):
        faithfulness.randomization(classifier, pixels(), n_repeats=0)


@pytest.mark.slow
def test_grad_cam_depends_on_what_was_learned(known):
    few = slice(40)
    result = faithfulness.randomization(
        known.model,
        known.images[few],
        known.cam,
        target_class=known.labels[few],
        random_state=0,
    )
    names = [layers[-1] for layers in result.layers]
    from_last_convolution = result.steps[names.index("conv2") :]

    assert names[-1] == "conv1"
    assert max(step.mean for step in from_last_convolution) < 0.4
