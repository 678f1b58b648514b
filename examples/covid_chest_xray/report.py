"""What a run leaves behind: numbers, which may be published, and pictures, which may not.

``numbers/`` holds JSON, CSV, matrices and curves. ``pictures/`` shows images of the target set;
those of radiographs stay on the machine that has the right to them.
"""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import sklearn
from matplotlib.figure import Figure

import detl
from examples.covid_chest_xray.heatmaps import Explanation
from examples.covid_chest_xray.material import Array, Part

IMAGES_PER_CLASS = 4


def surroundings() -> dict[str, Any]:
    """Return the versions and the machine that results depend on."""
    backend = keras.backend.backend()
    return {
        "versions": {
            "python": platform.python_version(),
            "detl": _version("detl"),
            "keras": keras.__version__,
            "backend": f"{backend} {_version('torch' if backend == 'torch' else backend)}",
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processors": os.cpu_count(),
        },
    }


def write_numbers(
    folder: Path,
    numbers: Mapping[str, Any],
    *,
    sources: Mapping[str, detl.SourceModel],
    results: Mapping[str, detl.CrossValidationResult],
    target: Part,
    explanation: Explanation,
) -> None:
    """Write everything that shows no image: results.json, tables, matrices, curves, mean maps."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(numbers, indent=2) + "\n")
    write_csv(folder / "curves.csv", _curves(sources, results))
    for name, source in sources.items():
        _save(detl.plots.learning_curves(source.history), folder / f"curves_source_{name}.png")
    for name, result in results.items():
        classes = result.classes.tolist()
        write_csv(
            folder / f"confusion_matrix_{name}.csv",
            (
                {"true": label, **dict(zip(classes, row))}
                for label, row in zip(classes, result.confusion_matrix.tolist())
            ),
        )
        write_csv(folder / f"predictions_{name}.csv", _predictions(result, target))
        _save(detl.plots.confusion_matrix(result), folder / f"confusion_matrix_{name}.png")
    _save(mean_heatmaps(explanation, target), folder / "mean_heatmaps.png")


def mean_heatmaps(explanation: Explanation, target: Part) -> Figure:
    """Draw where each class's heatmaps lie on average: shows no image."""
    labels = target.labels[explanation.rows]
    names = np.unique(labels)
    means = [explanation.heatmaps[labels == name].mean(axis=0) for name in names]
    figure = Figure(figsize=(2.1 * len(names) + 0.6, 2.6), layout="constrained")
    axes = figure.subplots(1, len(names), squeeze=False)[0]
    for axis, name, mean in zip(axes, names, means, strict=True):
        shown = axis.imshow(
            mean, cmap="inferno", vmin=0, vmax=np.max(means) or 1, interpolation="bilinear"
        )
        axis.set_title(f"{name}\n{np.count_nonzero(labels == name)} images", fontsize=10)
        axis.set_axis_off()
    figure.colorbar(shown, ax=axes, label="mean heatmap", fraction=0.05)
    return figure


def draw_pictures(
    folder: Path,
    *,
    explanations: Mapping[str, Explanation],
    target: Part,
    masks: Array | None,
) -> list[Path]:
    """Draw the counterpart of the paper's Fig. 4: images of each class and their heatmaps.

    The first images of each class that the model gets right, in the order of the data, are shown;
    where there are too few, others follow. Over each image stands what it was taken for. The
    contour is the lesion, where it is known. Every kind of heatmap gets a file of its name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for kind, explanation in explanations.items():
        labels = target.labels[explanation.rows]
        right = explanation.predictions == labels
        shown = np.concatenate(
            [
                np.flatnonzero(labels == name)[
                    np.argsort(~right[labels == name], kind="stable")[:IMAGES_PER_CLASS]
                ]
                for name in np.unique(labels)
            ]
        )
        figure = detl.plots.heatmap_grid(
            target.images[explanation.rows[shown]],
            explanation.heatmaps[shown],
            labels=labels[shown],
            predicted=explanation.predictions[shown],
            masks=None if masks is None else masks[explanation.rows[shown]],
            columns=IMAGES_PER_CLASS,
            colormap="jet",  # the paper's look
        )
        paths.append(_save(figure, folder / f"{kind}.png"))
    return paths


def write_page(
    path: Path,
    result: detl.CrossValidationResult,
    explanation: Explanation,
    target: Part,
    *,
    kind: str,
) -> Path:
    """Write the page to send: of the most honest protocol, with the heatmaps that are there."""
    heatmaps = np.full(target.images.shape[:3], np.nan, dtype="float32")
    heatmaps[explanation.rows] = explanation.heatmaps
    return detl.report(
        result,
        path,
        images=target.images,
        heatmaps=heatmaps,
        title=f"Domain extension transfer learning on {kind}",
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"


def _curves(
    sources: Mapping[str, detl.SourceModel], results: Mapping[str, detl.CrossValidationResult]
) -> list[dict[str, Any]]:
    histories: list[tuple[str, int | str, Mapping[str, Sequence[float]]]] = [
        (f"source_{name}", "", source.history) for name, source in sources.items()
    ]
    for name, result in results.items():
        histories += [(f"target_{name}", k, h) for k, h in enumerate(result.histories)]
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return [
        {
            "stage": stage,
            "fold": fold,
            "epoch": epoch + 1,
            **{name: f"{history[name][epoch]:.5g}" if name in history else "" for name in names},
        }
        for stage, fold, history in histories
        for epoch in range(len(history["loss"]))
    ]


def _predictions(result: detl.CrossValidationResult, target: Part) -> Iterable[dict[str, Any]]:
    for i, name in enumerate(target.names):
        yield {
            "image": name,
            "patient": target.patients[i],
            "fold": int(result.fold_of[i]),
            "label": result.labels[i],
            "prediction": result.predictions[i],
            **{
                f"probability of {label}": f"{probability:.5f}"
                for label, probability in zip(result.classes, result.probabilities[i])
            },
        }


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table whose columns are those of the first row."""
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _save(drawn: Any, path: Path) -> Path:
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    figure.savefig(path, dpi=110)
    return path
