import keras
import numpy as np
import pytest

from detl import DomainExtensionTransfer, backbones
from detl.backbones.blocks import entrance_of
from studies.shared import efficientnet_lite

SHAPE = (32, 32, 1)


@pytest.fixture(scope="module")
def network():
    return efficientnet_lite.efficientnet_lite0(SHAPE)


def as_published(network):
    """Return the network's own weights by PyTorch's names and with PyTorch's axes."""
    arrays = {}
    names = efficientnet_lite.pytorch_names(network)
    for layer in network.layers:
        weights = [np.asarray(weight) for weight in layer.get_weights()]
        if len(weights) == 4:
            parts = ("weight", "bias", "running_mean", "running_var")
        elif len(weights) == 2:
            parts = ("weight", "bias")
            weights[0] = weights[0].T
        else:
            parts = ("weight",)
            # (height, width, in, out), and (height, width, channels, 1) of a depthwise kernel
            depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
            source = (2, 3) if depthwise else (3, 2)
            weights = [np.moveaxis(kernel, source, (0, 1)) for kernel in weights]
        arrays |= {f"{names[layer.name]}.{p}": w for p, w in zip(parts, weights)}
    return arrays


def test_it_has_as_many_parameters_as_published(network):
    assert sum(np.prod(weight.shape) for weight in network.trainable_weights) == 4_652_008
    assert network.output_shape == (None, 1000)


def test_the_graph_is_flat_and_its_blocks_are_found(network):
    assert not any(isinstance(layer, keras.Model) for layer in network.layers)
    assert backbones.block_names(network) == [f"block{number}" for number in range(1, 8)]


def test_training_begins_where_the_last_unit_of_block_6_was_added(network):
    entrance = entrance_of(network, "last_block")
    assert entrance is network.get_layer("block6d_add").output
    assert entrance.shape == (None, 1, 1, 192)


def test_grey_is_repeated_and_rescaled_as_the_published_weights_expect(network):
    pixels = np.array([0, 127, 255], "float32")[:, None, None, None] * np.ones(SHAPE, "float32")
    seen = keras.Model(network.input, network.get_layer("rescaling").output)
    expected = np.repeat((pixels - 127) / 128, 3, axis=-1)
    np.testing.assert_allclose(seen.predict(pixels, verbose=0), expected, atol=1e-6)


def test_images_can_be_enlarged_inside():
    network = efficientnet_lite.efficientnet_lite0((16, 16, 1), enlarged_to=32)
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 1)).astype("float32")
    seen = keras.Model(network.input, network.get_layer("rescaling").output)
    enlarged = keras.ops.convert_to_numpy(keras.ops.image.resize(images, (32, 32)))
    expected = np.repeat((enlarged - 127) / 128, 3, axis=-1)
    np.testing.assert_allclose(seen.predict(images, verbose=0), expected, atol=1e-5)


def test_every_weight_finds_its_place():
    network = efficientnet_lite.efficientnet_lite0(SHAPE)
    generator = np.random.default_rng(0)
    arrays = {
        name: generator.random(array.shape, "float32")
        for name, array in as_published(network).items()
    }
    efficientnet_lite.load_weights(network, arrays)
    loaded = as_published(network)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_a_weight_that_no_layer_takes_is_reported(network):
    arrays = as_published(network) | {"_se_reduce.weight": np.zeros(1)}
    with pytest.raises(ValueError, match="_se_reduce"):
        efficientnet_lite.load_weights(network, arrays)


@pytest.mark.slow
def test_a_transfer_trains_its_last_block_and_leaves_the_rest_alone(network):
    images = np.random.default_rng(0).integers(0, 256, (12, *SHAPE)).astype("uint8")
    labels = np.array(["normal", "ill"] * 6)
    transfer = DomainExtensionTransfer(
        network, epochs=1, batch_size=4, learning_rate=0.01, random_state=0, verbose=0
    ).fit(images, labels)
    assert transfer.model_.output_shape == (None, 2)
    changed = {
        layer.name
        for layer in network.layers
        if layer.name != "predictions"
        and any(
            not np.array_equal(before, after)
            for before, after in zip(
                layer.get_weights(), transfer.model_.get_layer(layer.name).get_weights()
            )
        )
    }
    assert changed
    assert {name.split("_")[0] for name in changed} == {"block7a", "top"}


def test_versions_grow_as_published():
    assert efficientnet_lite.scaled(0) == efficientnet_lite.BLOCKS
    assert [block[-1] for block in efficientnet_lite.scaled(1)] == [1, 3, 3, 4, 4, 5, 1]
    assert [block[-2:] for block in efficientnet_lite.scaled(2)] == [
        (16, 1),
        (24, 3),
        (48, 3),
        (88, 4),
        (120, 4),
        (208, 5),
        (352, 1),
    ]
