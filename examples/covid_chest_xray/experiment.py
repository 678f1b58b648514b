"""The paper's experiment, stage by stage, through detl's public names alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

import detl
from examples.covid_chest_xray import report
from examples.covid_chest_xray.material import Array, Material, Part
from examples.covid_chest_xray.profiles import Profile

Backbone = Literal["alexnet", "vgg16", "resnet50"]
Split = Literal["image", "patient"]


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


def run(
    material: Material,
    *,
    profile: Profile,
    backbone: Backbone,
    splits: Sequence[Split] = ("image", "patient"),
    output: str | Path,
    random_state: int = 0,
) -> dict[str, Any]:
    """Run all stages for one backbone, and write what they find.

    Parameters
    ----------
    material : Material
        Source and target images.
    profile : Profile
        Settings.
    backbone : {"alexnet", "vgg16", "resnet50"}
        The network to train.
    splits : sequence of {"image", "patient"}
        Protocols of the folds: the paper's, which may put a patient on both sides, and one which
        does not. Heatmaps are of the last one.
    output : path
        Folder for the results; a subfolder is made for the backbone.
    random_state : int
        Seed of everything that is random.

    Returns
    -------
    dict
        What ``numbers/results.json`` holds.
    """
    folder = Path(output) / backbone
    seconds: dict[str, float] = {}

    with _timed(f"{backbone}: source stage", "source", seconds):
        source, trained_in, reused = source_stage(
            material, profile=profile, backbone=backbone, folder=folder, random_state=random_state
        )
    seconds["source"] = trained_in
    best = source.best_epoch
    print(
        f"best validation accuracy {source.history['val_accuracy'][best]:.3f} in epoch {best + 1} "
        f"of {len(source.history['loss'])}"
        + (" (trained earlier, with the same settings and images)" if reused else "")
    )

    transfer = detl.DomainExtensionTransfer(
        source,
        epochs=profile.target_epochs,
        batch_size=profile.batch_size,
        learning_rate=profile.target_learning_rate,
        class_weight=profile.class_weight,
        precision=profile.precision,
    )
    target, results = material.target, {}
    for split in splits:
        with _timed(f"{backbone}: target stage, folds by {split}", f"target_{split}", seconds):
            results[split] = detl.cross_validate(
                transfer,
                target.images,
                target.labels,
                groups=target.patients if split == "patient" else None,
                n_splits=profile.n_splits,
                on_leak="ignore",  # the table below names every leak
                random_state=random_state,
            )
        print(results[split])
        print(_both_sides_text(both_sides(results[split].indices, target.patients)))

    with _timed(f"{backbone}: Grad-CAM", "gradcam", seconds):
        explanation = explain(transfer, results[splits[-1]], target)

    numbers = {
        "data": {"kind": material.kind, "counts": material.counts, **material.facts},
        "settings": {
            "backbone": backbone,
            "profile": {k: v for k, v in asdict(profile).items() if k != "phantoms"},
            "splits": list(splits),
            "random_state": random_state,
        },
        "source": {
            "reused": reused,
            "best_epoch": best + 1,
            "val_accuracy": source.history["val_accuracy"][best],
            "train_accuracy": source.history["accuracy"][best],
        },
        "target": {split: _scores(result, target.patients) for split, result in results.items()},
        "gradcam": {
            "folds_by": splits[-1],
            "images": len(explanation.rows),
            "attention": attention(explanation, target.labels, material.masks),
        },
        "seconds": {stage: round(spent, 1) for stage, spent in seconds.items()},
        **report.surroundings(),
    }
    report.write_numbers(folder / "numbers", numbers, source=source, results=results, target=target)
    report.draw_pictures(
        folder / "pictures", explanation=explanation, target=target, masks=material.masks
    )
    if numbers["gradcam"]["attention"]:
        print(_attention_text(numbers["gradcam"]["attention"]))
    return numbers


def source_stage(
    material: Material, *, profile: Profile, backbone: Backbone, folder: Path, random_state: int
) -> tuple[detl.SourceModel, float, bool]:
    """Pretrain on Data-A, or load what an earlier run trained with the same settings and images.

    Returns
    -------
    source : SourceModel
        Also saved, as ``source.keras`` in the folder.
    seconds : float
        Wall time of its training, now or then.
    reused : bool
        Whether it was loaded.
    """
    model_path, settings_path = folder / "source.keras", folder / "source.json"
    settings = {
        "backbone": backbone,
        "size": profile.size,
        "width": profile.width,
        "epochs": profile.source_epochs,
        "batch_size": profile.batch_size,
        "learning_rate": profile.source_learning_rate,
        "mirroring": profile.mirroring,
        "class_weight": profile.class_weight,
        "precision": profile.precision,
        "random_state": random_state,
        "train": material.train.digest(),
        "validation": material.validation.digest(),
        "versions": report.surroundings()["versions"],
    }
    if model_path.is_file() and settings_path.is_file():
        earlier = json.loads(settings_path.read_text())
        if earlier["settings"] == settings:
            return detl.load_source(model_path), earlier["seconds"], True

    started = time.perf_counter()
    build = getattr(detl.backbones, backbone)
    source = detl.pretrain(
        build((profile.size, profile.size, 1), width=profile.width),
        material.train.images,
        material.train.labels,
        validation_data=(material.validation.images, material.validation.labels),
        epochs=profile.source_epochs,
        batch_size=profile.batch_size,
        learning_rate=profile.source_learning_rate,
        augmentation=detl.Augmentation(mirroring=profile.mirroring),
        class_weight=profile.class_weight,
        precision=profile.precision,
        random_state=random_state,
        verbose=2,
    )
    # The settings come last: without them a model of a run that was cut short is not reused.
    settings_path.unlink(missing_ok=True)
    source.save(model_path)
    seconds = time.perf_counter() - started
    settings_path.write_text(
        json.dumps({"settings": settings, "seconds": seconds}, indent=2) + "\n"
    )
    return source, seconds, False


def explain(
    transfer: detl.DomainExtensionTransfer, result: detl.CrossValidationResult, target: Part
) -> Explanation:
    """Explain the first fold's model on that fold's test images, each for its true class."""
    train, test = result.indices[0]
    transfer = transfer.set_params(random_state=result.fold_seeds[0])
    transfer.fit(target.images[train], target.labels[train])
    cam = detl.GradCAM(transfer.model_)
    heatmaps = np.zeros((len(test), *target.images.shape[1:3]), np.float32)
    for index, name in enumerate(transfer.classes_):
        rows = np.flatnonzero(target.labels[test] == name)
        heatmaps[rows] = cam(target.images[test[rows]], class_index=index)
    return Explanation(
        rows=test, heatmaps=heatmaps, predictions=transfer.predict(target.images[test])
    )


def attention(
    explanation: Explanation, labels: Array, masks: Array | None
) -> dict[str, dict[str, float]] | None:
    """Compare the share of heatmap energy in the lesion with the lesion's share of the area.

    Parameters
    ----------
    explanation : Explanation
        Heatmaps.
    labels : ndarray of str, shape (n_target,)
        Classes of the target images.
    masks : ndarray of bool, shape (n_target, height, width), or None
        Lesions of the target images.

    Returns
    -------
    dict or None
        Per class with a lesion, and for all of them: ``energy_in_lesion`` and ``lesion_area``,
        means over images, their ``ratio``, and ``images``; ``empty_heatmaps`` were left out,
        since nothing spoke for the class there, and if all are empty there are no means.
        None without masks.
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


def both_sides(indices: Sequence[tuple[Array, Array]], patients: Array) -> dict[str, Any]:
    """Count the patients that some fold both trains and tests on, and the images it concerns."""
    shared: set[str] = set()
    n_images = 0
    for train, test in indices:
        known = np.isin(patients[test], patients[train])
        shared.update(patients[test][known].tolist())
        n_images += int(known.sum())
    return {
        "patients_on_both_sides": len(shared),
        "patients": len(set(patients.tolist())),
        "test_images_of_known_patients": n_images,
        "share_of_test_images": n_images / sum(len(test) for _, test in indices),
    }


@contextmanager
def _timed(title: str, stage: str, seconds: dict[str, float]) -> Iterator[None]:
    print(f"\n== {title}", flush=True)
    started = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - started
    print(f"-- {seconds[stage]:.0f} s", flush=True)


def _scores(result: detl.CrossValidationResult, patients: Array) -> dict[str, Any]:
    table = detl.metrics.class_table(result.confusion_matrix)
    return {
        "classes": result.classes.tolist(),
        "accuracy": result.accuracy,
        "accuracy_std": result.accuracy_std,
        "accuracies": result.accuracies.tolist(),
        "interval": asdict(result.interval),
        "confusion_matrix": result.confusion_matrix.tolist(),
        # JSON has no NaN, the precision of a class that was never predicted.
        "per_class": {
            score: [None if np.isnan(value) else value for value in values.tolist()]
            for score, values in table.items()
        },
        **both_sides(result.indices, patients),
    }


def _both_sides_text(found: dict[str, Any]) -> str:
    return (
        f"{found['patients_on_both_sides']} of {found['patients']} patients are trained and tested "
        f"on by one fold: {found['share_of_test_images']:.0%} of the test images are of a patient "
        "that the fold's model has seen"
    )


def _attention_text(found: dict[str, dict[str, float]]) -> str:
    lines = ["Grad-CAM: share of the heatmap inside the lesion, and the lesion's share of the area"]
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
