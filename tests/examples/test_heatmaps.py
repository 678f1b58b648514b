"""Heatmaps are compared with the lesion, and explain what they are asked for."""

import numpy as np

import detl
from examples.covid_chest_xray import heatmaps


def test_attention_is_the_heatmaps_share_in_the_lesion_against_its_area():
    masks = np.zeros((4, 4, 4), bool)
    masks[:3, :2, :2] = True  # a quarter of the image; the last one is normal
    maps = np.zeros((4, 4, 4))
    maps[0] = 1  # everywhere alike
    maps[1, :2, :2] = 1  # all in the lesion
    labels = np.array(["x", "y", "y", "normal"])  # the second y has a blank heatmap
    found = heatmaps.attention(
        heatmaps.Explanation(rows=np.arange(4), heatmaps=maps, predictions=labels),
        labels,
        masks,
    )
    assert found["x"]["ratio"] == 1
    assert found["y"] == {
        "images": 1,
        "empty_heatmaps": 1,
        "energy_in_lesion": 1,
        "lesion_area": 0.25,
        "ratio": 4,
    }
    assert found["all"]["energy_in_lesion"] == (0.25 + 1) / 2
    assert set(found) == {"x", "y", "all"}


def test_a_finer_heatmap_explains_a_class_rather_than_normal():
    logits = np.array([[1.0, 5.0, 2.0], [0.0, -1.0, 3.0]])
    assert heatmaps.rather_than(1, 2)(logits).tolist() == [-3.0, 4.0]
    assert heatmaps.rather_than(1, 1) == 1  # normal has nothing to be compared with


def test_the_last_maps_of_a_block_are_those_before_its_pooling():
    network = detl.backbones.vgg16((32, 32, 1), width=0.03)
    assert heatmaps.last_maps(network, "block3") == "block3_conv3_relu"
    layer = network.get_layer("block3_conv3_relu")
    assert network.get_layer("block3_pool").input is layer.output


def test_a_class_whose_heatmaps_are_all_blank_has_no_ratio():
    labels, masks = np.array(["x"]), np.ones((1, 2, 2), bool)
    blank = heatmaps.Explanation(
        rows=np.array([0]), heatmaps=np.zeros((1, 2, 2)), predictions=labels
    )
    found = heatmaps.attention(blank, labels, masks)
    assert found["x"] == {"images": 0, "empty_heatmaps": 1}
