"""Where a model looks, and whether it is at the lesion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

import detl
from examples.covid_chest_xray import tables
from examples.covid_chest_xray.material import Array, Part

HEATMAPS = {
    "gradcam": "Grad-CAM, last block",
    "hirescam": "HiResCAM, two blocks lower, rather than normal",
}


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Heatmaps of images that the explained model was not trained on.

    Attributes
    ----------
    rows : ndarray of int, shape (n,)
        Which images of the target set.
    heatmaps : ndarray of float, shape (n, height, width)
        For each image's true class, in [0, 1].
    predictions : ndarray of str, shape (n,)
        What the model takes each image for.
    """

    rows: Array
    heatmaps: Array
    predictions: Array


def explain(
    transfer: detl.DomainExtensionTransfer, result: detl.CrossValidationResult, target: Part
) -> dict[str, Explanation]:
    """Explain the first fold's model on that fold's test images, each for its true class.

    Returns
    -------
    dict of str to Explanation
        Of the names in :data:`HEATMAPS`. ``gradcam`` is the paper's, a map of as few cells as the
        last block has. ``hirescam`` looks two blocks lower, where VGG and ResNet have four times
        as many cells along each side (AlexNet as many), and asks what speaks for the class rather
        than for normal (``studies/which_heatmap_finds_the_lesion`` compares them on phantoms).
    """
    train, test = result.indices[0]
    transfer = transfer.set_params(random_state=result.fold_seeds[0])
    transfer.fit(target.images[train], target.labels[train])
    network = transfer.model_
    normal = int(np.flatnonzero(transfer.classes_ == tables.NORMAL)[0])
    fine = last_maps(network, detl.backbones.block_names(network)[-3])
    cams = {
        "gradcam": detl.GradCAM(network),
        "hirescam": detl.GradCAM(network, layer=fine, method="hirescam"),
    }
    heatmaps = {name: np.zeros((len(test), *target.images.shape[1:3]), np.float32) for name in cams}
    for index, label in enumerate(transfer.classes_):
        rows = np.flatnonzero(target.labels[test] == label)
        scores = {"gradcam": index, "hirescam": rather_than(normal, index)}
        for name, cam in cams.items():
            heatmaps[name][rows] = cam(target.images[test[rows]], target_class=scores[name])
    predictions = transfer.predict(target.images[test])
    return {
        name: Explanation(rows=test, heatmaps=found, predictions=predictions)
        for name, found in heatmaps.items()
    }


def last_maps(network: keras.Model, block: str) -> str:
    """Return the name of a block's last layer before it is pooled."""
    names = [layer.name for layer in network.layers if layer.name.startswith(block)]
    return [name for name in names if "pool" not in name][-1]


def rather_than(normal: int, index: int) -> Any:
    """Return what a heatmap explains: a class against normal, by their logits; or normal itself."""
    return index if index == normal else lambda logits: logits[:, index] - logits[:, normal]


def attention(
    explanation: Explanation, labels: Array, masks: Array | None
) -> dict[str, dict[str, float]] | None:
    """Compare the share of heatmap energy in the lesion with the lesion's share of the area.

    ``labels`` and ``masks``, ``(n, height, width)``, are those of all target images. Per class with
    a lesion, and for all of them: ``energy_in_lesion`` and ``lesion_area``, means over images,
    their ``ratio``, and ``images``. ``empty_heatmaps`` were left out, since nothing spoke for the
    class there; if all are empty there are no means. None without masks.
    """
    if masks is None:
        return None
    heatmaps, lesions = explanation.heatmaps, masks[explanation.rows]
    energy = heatmaps.sum(axis=(1, 2))
    in_lesion = (heatmaps * lesions).sum(axis=(1, 2)) / np.where(energy > 0, energy, 1)
    area = lesions.mean(axis=(1, 2))
    names = labels[explanation.rows]
    found = {}
    for name in [*np.unique(names[area > 0]).tolist(), "all"]:
        here = (area > 0) & ((names == name) | (name == "all"))
        shown = here & (energy > 0)
        found[name] = {
            "images": int(shown.sum()),
            "empty_heatmaps": int(here.sum() - shown.sum()),
        }
        if shown.any():
            share, expected = in_lesion[shown].mean(), area[shown].mean()
            found[name] |= {
                "energy_in_lesion": float(share),
                "lesion_area": float(expected),
                "ratio": float(share / expected),
            }
    return found


def attention_text(title: str, found: dict[str, dict[str, float]]) -> str:
    """Write what :func:`attention` found as a table."""
    lines = [f"{title}: share of the heatmap inside the lesion, and the lesion's share of the area"]
    for name, row in found.items():
        blank = f", {row['empty_heatmaps']} blank" if row["empty_heatmaps"] else ""
        if row["images"]:
            lines.append(
                f"{name:<10} {row['energy_in_lesion']:>6.1%} {row['lesion_area']:>6.1%}  "
                f"ratio {row['ratio']:.1f}  ({row['images']} images{blank})"
            )
        else:
            lines.append(f"{name:<10} nothing to compare{blank}")
    return "\n".join(lines)
