"""The paragraph has protocol, training, seeds and versions, from the record."""

import dataclasses

import numpy as np

from detl.reporting.methods import methods_text, references

TRANSFER = {
    "head_start": "linear_probe",
    "schedule": "cosine",
    "class_weight": "balanced",
    "trainable_from": "last_block",
    "epochs": 30,
    "momentum": 0.9,
    "batch_size": 32,
    "learning_rate": 0.003,
}


def of_transfer(result, **changes):
    settings = {**result.settings, "transfer": {**TRANSFER, **changes}, "device": "cpu"}
    return dataclasses.replace(result, settings=settings)


def test_protocol_and_training_are_in_words(result):
    text = methods_text(of_transfer(result), with_heatmaps=True)
    assert text.startswith(
        "120 images of 40 groups of 3 classes were classified by cross-validation, 5 folds in all, "
        "with all images of a group on one side; each was predicted by a classifier that had not "
        "been trained on it."
    )
    assert (
        "layers from last block on were trained for 30 epochs by stochastic gradient descent "
        "(momentum 0.9, batches of 32) at a learning rate of 0.003, falling along a cosine, with "
        "balanced class weights; the layers below were frozen."
    ) in text
    assert "its last layer was replaced and began at a regularised logistic regression" in text
    assert "percentile bootstrap over 40 groups, 2000 draws" in text
    assert "Grad-CAM was computed" in text
    assert text.endswith("Software: python 3; computed on cpu.")


def test_the_published_settings_read_otherwise(result):
    text = methods_text(
        of_transfer(result, head_start="random", schedule="constant", class_weight=None),
        with_heatmaps=False,
    )
    assert "began at random weights" in text
    assert "at a learning rate of 0.003; the layers below" in text
    assert "Grad-CAM" not in text


def test_a_network_that_is_trained_whole_has_no_frozen_layers(result):
    text = methods_text(of_transfer(result, trainable_from="input"), with_heatmaps=False)
    assert "all layers were trained for 30 epochs" in text
    assert "frozen" not in text


def test_training_that_may_stop_early_says_so(result):
    text = methods_text(of_transfer(result, early_stopping=5), with_heatmaps=False)
    assert "trained for at most 30 epochs (until 5 passed without a lower validation loss)" in text


def test_class_weights_that_were_given_are_said(result):
    text = methods_text(of_transfer(result, class_weight=[["lung", 2]]), with_heatmaps=False)
    assert "falling along a cosine, with given class weights; the layers below" in text


def test_another_classifier_is_named(result):
    settings = {**result.settings, "transfer": {"classifier": "GridSearchCV"}}
    text = methods_text(dataclasses.replace(result, settings=settings), with_heatmaps=False)
    assert "The classifier was GridSearchCV; its settings are listed below." in text


def test_what_is_not_so_is_not_said(make_result, result):
    half = make_result(
        result.labels, indices=[(np.arange(59), np.arange(59, 120))] * 2, groups=result.groups
    )
    text = methods_text(half, with_heatmaps=False)
    assert text.startswith("61 images of 21 groups of 3 classes were")  # others were not tested
    assert "2 folds in all, WITH GROUPS ON BOTH SIDES; each" in text
    alone = methods_text(make_result(result.labels), with_heatmaps=False)
    assert "5 folds in all, split without groups; each" in alone


def test_rows_of_groups_are_called_so(make_result):
    groups = np.arange(120) // 4
    of_groups = make_result(np.array(["a", "b"])[groups % 2], groups=groups).by_group("max")
    text = methods_text(of_groups, with_heatmaps=False)
    assert text.startswith("30 groups of 2 classes were classified by cross-validation")
    assert "The probabilities of the images of a group were joined (max)." in text


def test_references_are_of_what_was_used(result):
    assert len(references(of_transfer(result), with_heatmaps=True)) == 4
    assert len(references(of_transfer(result, head_start="random"), with_heatmaps=False)) == 2
