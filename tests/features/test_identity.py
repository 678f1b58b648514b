"""Features are those of a trunk with the same weights that computes the same."""

import keras
import pytest
from keras import layers

from detl.features import identity
from detl.features.identity import trunk_name
from detl.networks.copying import copy_model
from detl.networks.normalization import FusedBatchNormalization, fused_layers

SHAPE = (8, 8, 1)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    monkeypatch.setattr(identity, "_known", {})


@pytest.fixture(scope="module")
def scaled():
    """Return a function that builds a trunk with a layer as a notebook defines it."""
    convolution = layers.Conv2D(2, 3, name="shared")

    def build(factor):
        kind = type("Scaled", (layers.Layer,), {"call": lambda self, x: x * factor})
        images = keras.Input(SHAPE)
        return keras.Model(images, convolution(kind()(images)))

    return build


def test_an_edited_layer_makes_another_trunk_and_rounding_does_not(scaled):
    name = trunk_name(scaled(1.0))
    assert trunk_name(scaled(1.0)) == trunk_name(scaled(1.00001)) == name
    assert trunk_name(scaled(1.1)) != name
    assert trunk_name(scaled(1.0), settings="float32") != name


@pytest.mark.skipif(not fused_layers(), reason="the fused kernel is TensorFlow's")
def test_frozen_normalisation_is_the_same_whatever_it_trains_with():
    images = keras.Input(SHAPE)
    plain = keras.Model(images, layers.BatchNormalization()(layers.Conv2D(2, 3)(images)))
    fused = copy_model(plain, replacing={layers.BatchNormalization: FusedBatchNormalization})
    assert type(fused.layers[2]) is FusedBatchNormalization
    assert trunk_name(fused) == trunk_name(plain) != trunk_name(keras.Model(images, images))


def test_another_process_finds_the_name_in_the_folder(scaled, tmp_path, monkeypatch):
    name = trunk_name(scaled(1.00001), cache_dir=tmp_path)
    monkeypatch.setattr(identity, "_known", {})
    assert trunk_name(scaled(1.0)) != name
    assert trunk_name(scaled(1.0), cache_dir=tmp_path) == name
    assert trunk_name(scaled(2.0), cache_dir=tmp_path) != name
    assert len(list(tmp_path.glob("*.trunk.json"))) == 2


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"numbers": ["x"], "within": 1}'])
def test_a_damaged_file_is_that_of_no_trunk(scaled, tmp_path, monkeypatch, content):
    name = trunk_name(scaled(1.00001), cache_dir=tmp_path)
    (path,) = tmp_path.glob("*.trunk.json")
    path.write_text(content)
    monkeypatch.setattr(identity, "_known", {})
    assert trunk_name(scaled(1.0), cache_dir=tmp_path) != name


def test_a_folder_that_cannot_be_written_to_is_left_to_the_features(scaled, tmp_path):
    (tmp_path / "file").write_text("")
    assert trunk_name(scaled(1.0), cache_dir=tmp_path / "file" / "folder") == trunk_name(scaled(1))
