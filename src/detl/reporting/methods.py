"""A paragraph for the methods section of a paper, from what a result has on record."""

from __future__ import annotations

from typing import Any

import numpy as np

from detl.reporting.parts import kept, plural
from detl.validation.results import CrossValidationResult

REFERENCES = (
    "Basu, Mitra, Saha 2020, Deep Learning for Screening COVID-19 using Chest X-Ray Images, SSCI: "
    "domain extension transfer learning.",
    "Efron, Tibshirani 1993, An Introduction to the Bootstrap: percentile intervals.",
)
_KUMAR = (
    "Kumar et al. 2022, Fine-Tuning can Distort Pretrained Features and Underperform "
    "Out-of-Distribution, ICLR: a linear probe first."
)
_GRADCAM = (
    "Selvaraju et al. 2017, Grad-CAM: Visual Explanations from Deep Networks via Gradient-based "
    "Localization, ICCV."
)


def methods_text(result: CrossValidationResult, *, with_heatmaps: bool) -> str:
    """Return protocol, training, intervals and versions in sentences."""
    sentences = [_protocol(result), *_training(result.settings)]
    accuracy = result.scores["accuracy"]
    sentences.append(
        "Scores were computed in each fold and averaged. Intervals are 95 % "
        f"({accuracy.interval.method})."
    )
    if with_heatmaps:
        sentences.append(
            "Grad-CAM was computed for the predicted class, by a network that was not trained on "
            "the image."
        )
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    device = result.settings.get("device", "unknown device")
    sentences.append(f"Software: {versions}; computed on {device}.")
    return " ".join(sentences)


def references(result: CrossValidationResult, *, with_heatmaps: bool) -> tuple[str, ...]:
    """Return the works that the paragraph rests on."""
    found = list(REFERENCES)
    if result.settings.get("transfer", {}).get("head_start") == "linear_probe":
        found.append(_KUMAR)
    return (*found, *[_GRADCAM] * with_heatmaps)


def _protocol(result: CrossValidationResult) -> str:
    tested = np.unique(result.predicted_rows)
    row = result.row_unit.removesuffix("s")
    of_groups = ""
    if result.groups is not None and row == "image":
        of_groups = f" of {plural(len(np.unique(result.groups[tested])), 'group')}"
    joined = ""
    if row == "group":
        joined = (
            " The probabilities of the images of a group were joined "
            f"({result.settings['by_group']})."
        )
    n_classes = len(result.classes)
    return (
        f"{plural(len(tested), row)}{of_groups} of {n_classes} classes were classified by "
        f"cross-validation, {plural(len(result.folds), 'fold')} in all{kept(result)}; each was "
        f"predicted by a classifier that had not been trained on it.{joined}"
    )


def _training(settings: dict[str, Any]) -> list[str]:
    """Return how a transfer was trained; of another classifier, its name."""
    of = settings.get("transfer", {})
    if "trainable_from" not in of:
        name = of.get("classifier", "a classifier")
        return [f"The classifier was {name}; its settings are listed below."]
    start = {
        "linear_probe": "began at a regularised logistic regression on the training images",
        "random": "began at random weights",
    }[of["head_start"]]
    schedule = {"cosine": ", falling along a cosine", "constant": ""}[of["schedule"]]
    weight = ""
    if of["class_weight"] is not None:
        kind = (
            "balanced class weights" if of["class_weight"] == "balanced" else "given class weights"
        )
        weight = f", with {kind}"
    if of["trainable_from"] == "input":
        trained, frozen = "all layers", ""
    else:
        first = of["trainable_from"].replace("_", " ")
        trained, frozen = f"layers from {first} on", "; the layers below were frozen"
    epochs = f"{of['epochs']} epochs"
    if of.get("early_stopping"):
        epochs = (
            f"at most {epochs} (until {of['early_stopping']} passed without a lower validation "
            "loss)"
        )
    return [
        "A network pretrained on a source domain was extended by domain extension transfer "
        f"learning: its last layer was replaced and {start}; {trained} were trained for {epochs} "
        f"by stochastic gradient descent (momentum {of['momentum']:g}, batches of "
        f"{of['batch_size']}) at a learning rate of {of['learning_rate']:g}{schedule}{weight}"
        f"{frozen}."
    ]
