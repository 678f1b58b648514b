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
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import sklearn
from matplotlib.figure import Figure

import detl
from examples.covid_chest_xray.material import Array, Part

if TYPE_CHECKING:
    from examples.covid_chest_xray.experiment import Explanation

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
    source: detl.SourceModel,
    results: Mapping[str, detl.CrossValidationResult],
    target: Part,
) -> None:
    """Write everything that shows no image: results.json, tables, matrices and curves."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(numbers, indent=2) + "\n")
    _write_csv(folder / "curves.csv", _curves(source, results))
    for split, result in results.items():
        classes = result.classes.tolist()
        _write_csv(
            folder / f"confusion_matrix_{split}.csv",
            (
                {"true": name, **dict(zip(classes, row))}
                for name, row in zip(classes, result.confusion_matrix.tolist())
            ),
        )
        _write_csv(folder / f"predictions_{split}.csv", _predictions(result, target))
        _save(detl.plots.confusion_matrix(result), folder / f"confusion_matrix_{split}.png")
    _save(detl.plots.learning_curves(source.history), folder / "curves_source.png")


def copy_numbers(output: str | Path, destination: str | Path) -> list[Path]:
    """Copy every backbone's numbers, and no picture of a radiograph, to where they are published.

    Tables over all backbones are written beside them: ``accuracies.csv``, ``counts.csv`` and
    ``seconds.csv``. Single predictions stay behind: they are of patients.

    Parameters
    ----------
    output : path
        What ``--output`` was.
    destination : path
        Gets one subfolder per backbone.

    Returns
    -------
    list of Path
        The folders written.
    """
    folders = sorted(Path(output).glob("*/numbers"))
    if not folders:
        raise FileNotFoundError(f"{output} has no */numbers; expected the output of a run.")
    destination = Path(destination)
    no_predictions = shutil.ignore_patterns("predictions_*")
    copies = [
        Path(
            shutil.copytree(
                folder, destination / folder.parent.name, dirs_exist_ok=True, ignore=no_predictions
            )
        )
        for folder in folders
    ]
    runs = [json.loads((folder / "results.json").read_text()) for folder in folders]
    _write_csv(destination / "accuracies.csv", _accuracies(runs))
    _write_csv(destination / "counts.csv", runs[0]["data"]["counts"])
    _write_csv(
        destination / "seconds.csv",
        [{"backbone": run["settings"]["backbone"], **run["seconds"]} for run in runs],
    )
    return copies


def draw_pictures(
    folder: Path, *, explanation: Explanation, target: Part, masks: Array | None
) -> Path:
    """Draw the counterpart of the paper's Fig. 4: images of each class and their heatmaps.

    The first images of each class that the model gets right, in the order of the data, are shown;
    where there are too few, others follow. Over each image stands what it was taken for. The
    contour is the lesion, where it is known.
    """
    folder.mkdir(parents=True, exist_ok=True)
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
        alpha=0.4,
        colormap="jet",  # the paper's look
    )
    return _save(figure, folder / "gradcam.png")


def _accuracies(runs: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for run in runs:
        for split, found in run["target"].items():
            interval = found["interval"]
            yield {
                "backbone": run["settings"]["backbone"],
                "folds by": split,
                "accuracy": f"{found['accuracy']:.3f}",
                "standard deviation": f"{found['accuracy_std']:.3f}",
                "95 % interval": f"{interval['low']:.3f} to {interval['high']:.3f}",
                "folds": " ".join(f"{accuracy:.3f}" for accuracy in found["accuracies"]),
                "test images of patients also trained on": f"{found['share_of_test_images']:.0%}",
                "source validation accuracy": f"{run['source']['val_accuracy']:.3f}",
            }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"


def _curves(
    source: detl.SourceModel, results: Mapping[str, detl.CrossValidationResult]
) -> list[dict[str, Any]]:
    histories: list[tuple[str, int | str, Mapping[str, Sequence[float]]]] = [
        ("source", "", source.history)
    ]
    for split, result in results.items():
        histories += [(f"target_{split}", k, h) for k, h in enumerate(result.histories)]
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    return [
        {
            "stage": stage,
            "fold": fold,
            "epoch": epoch + 1,
            **{name: history[name][epoch] if name in history else "" for name in names},
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


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _save(drawn: Any, path: Path) -> Path:
    figure = drawn if isinstance(drawn, Figure) else drawn.figure
    figure.savefig(path, dpi=110)
    return path
