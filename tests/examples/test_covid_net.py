import numpy as np
import pytest
from keras import layers

from detl import DomainExtensionTransfer, GradCAM, backbones
from examples.covid_net import STAGES, covid_net

SHAPE = (64, 64, 1)


def test_it_is_as_deep_as_described_and_its_blocks_are_known():
    network = covid_net(SHAPE, width=0.0625)
    assert backbones.block_names(network) == [f"block{n}" for n in range(1, 6)]
    depthwise = [layer for layer in network.layers if isinstance(layer, layers.DepthwiseConv2D)]
    assert len(depthwise) == sum(units for units, _ in STAGES) == 16
    assert network.output_shape == (None, 16)
    norms = [layer for layer in network.layers if isinstance(layer, layers.BatchNormalization)]
    assert {norm.momentum for norm in norms} == {0.9}  # with 0.99 it validates at chance


@pytest.mark.slow
def test_it_is_extended_like_any_other():
    images = np.random.default_rng(0).integers(0, 256, (12, *SHAPE)).astype("uint8")
    transfer = DomainExtensionTransfer(covid_net(SHAPE, width=0.0625), epochs=1, random_state=0)
    transfer.fit(images, ["normal", "covid", "other"] * 4)
    assert all(name.startswith(("block5", "dense", "logits")) for name in transfer.trained_layers_)
    assert GradCAM(transfer).layer == "block5_sum3"
