import keras
import numpy as np
import pytest
from keras import layers

from detl import backbones
from detl.networks.pixels import leaves, takes_bytes


def network_of(*first):
    return keras.Sequential([keras.Input((8, 8, 1)), *first, layers.Conv2D(2, 3), layers.Flatten()])


def normalization(mean, variance):
    return layers.Normalization(axis=None, mean=mean, variance=variance)


@pytest.mark.parametrize(
    "first",
    [
        [layers.Rescaling(1 / 255)],
        [layers.Rescaling(1 / 127.5, offset=-1)],
        [layers.ZeroPadding2D(), layers.Rescaling([1 / 255])],
        [normalization(127.0, 60.0**2)],
        [keras.Sequential([layers.RandomFlip(), layers.Rescaling(1 / 255)])],
    ],
)
def test_what_brings_bytes_to_a_small_scale_takes_bytes(first):
    assert takes_bytes(network_of(*first))


@pytest.mark.parametrize(
    "first",
    [
        [],
        [layers.ReLU()],
        [layers.Rescaling(2.0)],
        [normalization(0.5, 0.2**2)],
        [layers.BatchNormalization(), layers.Rescaling(1 / 255)],
    ],
)
def test_of_any_other_network_nothing_is_known(first):
    assert not takes_bytes(network_of(*first))


def test_a_network_without_weights_is_not_known_either():
    assert not takes_bytes(keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten()]))


@pytest.mark.parametrize("make", [backbones.alexnet, backbones.vgg16, backbones.resnet50])
def test_the_backbones_take_bytes(make):
    assert takes_bytes(make((64, 64, 1), width=0.0625))


def test_leaves_are_in_the_place_of_the_model_that_holds_them():
    inner = keras.Sequential([layers.ReLU(name="b"), layers.ReLU(name="c")])
    network = keras.Sequential([layers.ReLU(name="a"), inner, layers.ReLU(name="d")])
    assert [layer.name for layer in leaves(network)] == ["a", "b", "c", "d"]
    assert np.unique([id(layer) for layer in leaves(network)]).size == 4
