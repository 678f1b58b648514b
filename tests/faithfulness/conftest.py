"""Networks whose answers are known: the mean of an image, textures, and untrained ones."""

from types import SimpleNamespace

import keras
import pytest
from keras import layers

from detl import GradCAM
from studies.do_heatmaps_find_known_textures import run as textures


@pytest.fixture(scope="session")
def brightness():
    """Return a model whose probability of class 1 is the mean of the image over 255."""
    mean = layers.Dense(1, kernel_initializer=keras.initializers.Constant(1 / 255))
    return keras.Sequential([layers.Input((8, 8, 1)), layers.GlobalAveragePooling2D(), mean])


@pytest.fixture(scope="session")
def make_classifier():
    """Return a function that builds an untrained classifier, the same each time."""

    def make(*, activation="softmax", units=3):
        start = keras.initializers.RandomNormal(stddev=0.5, seed=0)
        return keras.Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.Rescaling(1 / 255, name="rescaling"),
                layers.Conv2D(4, 3, activation="relu", kernel_initializer=start, name="conv1"),
                layers.BatchNormalization(name="norm1"),
                layers.Conv2D(4, 3, activation="relu", kernel_initializer=start, name="conv2"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(units, activation=activation, kernel_initializer=start, name="head"),
            ],
            name="classifier",
        )

    return make


@pytest.fixture(scope="session")
def classifier(make_classifier):
    """Return an untrained classifier, which every test leaves as it is."""
    return make_classifier()


@pytest.fixture(scope="session")
def known():
    """Return a trained model, its Grad-CAM, and images it has not seen with their masks."""
    model = textures.train(0)
    images, (labels,), (masks,) = textures.draw(100, 1000)
    cam = GradCAM(model)
    return SimpleNamespace(
        model=model,
        cam=cam,
        images=images,
        labels=labels,
        masks=masks,
        heatmaps=cam(images, target_class=labels),
    )
