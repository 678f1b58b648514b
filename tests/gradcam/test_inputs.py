"""What a model reads is taken as Keras takes it, and checked."""

import keras
import numpy as np
import pytest
from keras import layers

from detl import GradCAM
from tests.gradcam.classifiers import Plain, called, last_kernel, maps_of, pixels, pooled, randomize


def with_metadata(structure):
    """Build a model of images and two numbers per patient, given in that structure."""
    images, ages = keras.Input((8, 8, 1), name="images"), keras.Input((2,), name="ages")
    x = layers.Conv2D(4, 3, activation="gelu", name="conv")(layers.Rescaling(1 / 255)(images))
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), ages])
    x = layers.Dense(6, activation="tanh")(x)
    outputs = layers.Dense(3, activation="softmax")(x)
    return randomize(keras.Model(structure(images, ages), outputs))


AGES = np.random.default_rng(7).normal(size=(3, 2)).astype("float32")


@pytest.mark.parametrize(
    "structure",
    [
        lambda images, ages: [images, ages],
        lambda images, ages: [ages, images],
        lambda images, ages: {"images": images, "ages": ages},
    ],
    ids=["images first", "images last", "by name"],
)
def test_a_model_of_several_inputs_is_explained_by_its_images(structure):
    model, images = with_metadata(structure), pixels()
    found = GradCAM(model).explain(structure(images, AGES), target_class=1)
    single = keras.Input((8, 8, 1))  # with the numbers of the second image as part of the model
    numbers = layers.Lambda(
        lambda x: keras.ops.ones_like(x[:, 0, 0]) * keras.ops.convert_to_tensor(AGES[1]),
        output_shape=(2,),
    )
    fixed = keras.Model(single, model(structure(single, numbers(single))))
    expected = GradCAM(fixed).explain(images[1:2], target_class=1)
    np.testing.assert_allclose(found.raw[1], expected.raw[0], rtol=1e-4, atol=1e-7)


def test_a_subclassed_model_of_several_inputs_is_explained_like_its_graph():
    network = with_metadata(lambda images, ages: {"images": images, "ages": ages})

    class ByHand(keras.Model):
        def __init__(self):
            super().__init__()
            self.layers_by_name = {layer.name: layer for layer in network.layers}
            self.dense = [layer for layer in network.layers if isinstance(layer, layers.Dense)]

        def call(self, given):
            maps = self.layers_by_name["conv"](given["images"] / 255)
            pooled = keras.ops.mean(maps, axis=(1, 2))
            x = keras.ops.concatenate([pooled, given["ages"]], axis=-1)
            return self.dense[1](self.dense[0](x))

    given = {"images": pixels(), "ages": AGES}
    model = called(ByHand(), given)
    np.testing.assert_allclose(
        GradCAM(model)(given, 1), GradCAM(network)(given, 1), rtol=1e-4, atol=1e-6
    )


def test_inputs_that_do_not_fit_are_refused():
    cam = GradCAM(with_metadata(lambda images, ages: {"images": images, "ages": ages}))
    with pytest.raises(
        ValueError, match=r"has the keys \['images'\]; the model takes \['ages', 'i"
    ):
        cam({"images": pixels()})
    with pytest.raises(ValueError, match="input 'ages' has 2 rows for 3 images"):
        cam({"images": pixels(), "ages": AGES[:2]})
    with pytest.raises(ValueError, match=r"input 'ages' has shape \(3, 3\), but the model takes"):
        cam({"images": pixels(), "ages": np.zeros((3, 3))})
    with pytest.raises(ValueError, match="input 'ages' contains NaN"):
        cam({"images": pixels(), "ages": AGES * np.nan})
    with pytest.raises(TypeError, match="input 'ages' has dtype <U3; expected numbers"):
        cam({"images": pixels(), "ages": np.array([["old", "sex"]] * 3)})
    with pytest.raises(ValueError, match=r"images is ndarray for a model of the 2 inputs"):
        cam(pixels())


def test_grey_images_without_an_axis_of_channels_are_explained():
    images = keras.Input((8, 8))
    x = layers.Conv2D(4, 3, activation="gelu", name="conv")(layers.Reshape((8, 8, 1))(images))
    model = randomize(
        keras.Model(images, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)))
    )  # fmt: skip
    pictures = pixels()[..., 0] / 255
    found = GradCAM(model).explain(pictures, target_class=0)
    maps = maps_of(model, "conv", pictures)
    np.testing.assert_allclose(
        found.raw, maps @ last_kernel(model)[:, 0] / 36, rtol=1e-4, atol=1e-6
    )
    assert found.heatmaps.shape == (3, 8, 8)


def test_images_may_be_floats_or_a_memory_map(tmp_path):
    cam, images = GradCAM(pooled()), pixels(5)
    expected = cam(images)
    np.testing.assert_array_equal(cam(images.astype("float64")), expected)
    np.save(tmp_path / "images.npy", images)
    np.testing.assert_array_equal(cam(np.load(tmp_path / "images.npy", mmap_mode="r")), expected)


def test_images_may_have_any_size_where_the_model_takes_it():
    cam = GradCAM(pooled(shape=(None, None, 1)))
    for size in ((8, 8), (20, 13)):
        heatmaps = cam(pixels(2, shape=(*size, 1)))
        assert heatmaps.shape == (2, *size)
        assert heatmaps.max() == 1


def test_a_subclassed_model_whose_size_is_open_takes_images_of_any_size():
    network = pooled()
    model = called(Plain(network.layers))
    cam = GradCAM(model)
    assert cam(pixels(2, (12, 10, 1))).shape == (2, 12, 10)
    np.testing.assert_allclose(cam(pixels()), GradCAM(network)(pixels()), rtol=1e-4, atol=1e-6)


def test_images_that_do_not_fit_the_model_are_refused():
    cam = GradCAM(pooled())
    with pytest.raises(ValueError, match=r"images has shape \(3, 9, 9, 1\), but the model takes"):
        cam(pixels(shape=(9, 9, 1)))
    with pytest.raises(ValueError, match=r"One image: images\[np.newaxis\]"):
        cam(pixels()[0])
    with pytest.raises(ValueError, match="contains NaN or infinity, first in row 0"):
        cam(np.full((1, 8, 8, 1), np.nan))


def test_a_model_that_knows_neither_layers_nor_inputs_is_refused():
    with pytest.raises(TypeError, match=r"'fresh', which is not built; begin it with keras.layers"):
        GradCAM(keras.Sequential([layers.Dense(1)], name="fresh"))
    with pytest.raises(ValueError, match=r"has not been called on one array.*call it on a batch"):
        GradCAM(Plain(pooled().layers))


FORMS = {"bare": lambda x: x, "list": lambda x: [x], "dictionary": lambda x: {"images": x}}


@pytest.mark.parametrize("inputs", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("outputs", FORMS.values(), ids=FORMS)
def test_one_input_and_one_output_come_in_any_form(inputs, outputs):
    network = pooled()
    single = keras.Input((8, 8, 1), name="images")
    cam = GradCAM(keras.Model(inputs(single), outputs(network(single))))
    expected = GradCAM(network)(pixels(), 0)
    for form in FORMS.values():
        np.testing.assert_array_equal(cam(form(pixels()), 0), expected)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_subclassed_model_gives_its_output_in_any_form(form):
    class Wrapped(Plain):
        def call(self, images):
            return form(super().call(images))

    network = pooled()
    found = GradCAM(called(Wrapped(network.layers)))(pixels(), 0)
    np.testing.assert_allclose(found, GradCAM(network)(pixels(), 0), rtol=1e-5, atol=1e-6)
