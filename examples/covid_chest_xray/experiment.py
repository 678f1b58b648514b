"""The paper's experiment, stage by stage, through detl's public names alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import detl
from examples.covid_chest_xray import report, tables
from examples.covid_chest_xray.differences import paired
from examples.covid_chest_xray.material import Array, Material, Part
from examples.covid_chest_xray.profiles import Profile
from examples.covid_chest_xray.protocols import (
    FOR_PHANTOMS,
    HONEST,
    LEAKS,
    PROTOCOLS,
    Exclude,
    Protocol,
)

Backbone = Literal["alexnet", "vgg16", "resnet50"]
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


def run(
    materials: Mapping[Exclude, Material],
    *,
    profile: Profile,
    backbone: Backbone,
    protocols: Sequence[str] = FOR_PHANTOMS,
    output: str | Path,
    n_jobs: int | None = None,
    random_state: int = 0,
) -> dict[str, Any]:
    """Run all stages for one backbone, and write what they find.

    What an earlier run with the same settings and images has finished is used again: source
    models, the choice of epochs, and every fold.

    Parameters
    ----------
    materials : dict of {"nothing", "images", "patients"} to Material
        Source and target images, by what of the target's stays out of the source's. The target
        images are the same in all.
    profile : Profile
        Settings.
    backbone : {"alexnet", "vgg16", "resnet50"}
        The network to train.
    protocols : sequence of str
        Names in :data:`examples.covid_chest_xray.protocols.PROTOCOLS`. Heatmaps are of the most
        honest one, or else of the last.
    output : path
        Folder for the results; a subfolder is made for the backbone.
    n_jobs : int, optional
        Folds trained side by side, as for :func:`detl.cross_validate`.
    random_state : int
        Seed of everything that is random.

    Returns
    -------
    dict
        What ``numbers/results.json`` holds.
    """
    folder = Path(output) / backbone
    seconds: dict[str, float] = {}
    asked = {name: PROTOCOLS[name] for name in protocols}
    target = next(iter(materials.values())).target
    sources = {}
    for protocol in {protocol.source: protocol for protocol in asked.values()}.values():
        with _timed(f"{backbone}: source stage, {protocol.source}"):
            source, trained_in, reused = source_stage(
                materials[protocol.exclude],
                profile=profile,
                backbone=backbone,
                by_heart=protocol.by_heart,
                path=folder / f"source_{protocol.source}.keras",
                random_state=random_state,
            )
        seconds[f"source {protocol.source}"] = trained_in
        sources[protocol.source] = source
        print(_source_text(source, by_heart=protocol.by_heart, reused=reused))

    def transfer_from(source: detl.SourceModel, epochs: int) -> detl.DomainExtensionTransfer:
        return detl.DomainExtensionTransfer(
            source,
            epochs=epochs,
            batch_size=profile.batch_size,
            learning_rate=profile.target_learning_rate,
            class_weight=profile.class_weight,
            precision=profile.precision,
        )

    honest = HONEST if HONEST in asked else list(asked)[-1]
    with _timed(f"{backbone}: epochs of the target stage"):
        choice = _chosen_epochs(
            transfer_from(sources[asked[honest].source], 1),
            target,
            profile=profile,
            folder=folder / "folds",
            random_state=random_state,
        )
    seconds["choice of epochs"] = choice["seconds"]
    print(f"{choice['epochs']} epochs; accuracy of the inner split: {choice['tried']}")

    results, rivals = {}, {}
    for name, protocol in asked.items():
        transfer = transfer_from(sources[protocol.source], choice["epochs"])
        with _timed(f"{backbone}: target stage, {name}: {protocol.said}"):
            results[name] = detl.cross_validate(
                transfer,
                target.images,
                target.labels,
                groups=target.patients,  # with folds of images, for honest intervals
                **_folds(protocol, profile.n_splits, random_state),
                on_leak="ignore",  # the table below names every leak
                checkpoint_dir=folder / "folds" / f"{name}-{_fingerprint(transfer, target)}",
                n_jobs=n_jobs,
                random_state=random_state,
            )
        seconds[f"target {name}"] = sum(fold.seconds for fold in results[name].folds)
        print(results[name])
        print(_both_sides_text(both_sides(results[name].indices, target.patients)))
        if protocol.folds not in rivals:
            with _timed(f"rivals, folds of {protocol.folds}s"):
                rivals[protocol.folds] = trivial_rivals(results[name], target)

    with _timed(f"{backbone}: Grad-CAM", "gradcam", seconds):
        transfer = transfer_from(sources[asked[honest].source], choice["epochs"])
        explanations = explain(transfer, results[honest], target)

    first = next(iter(materials.values()))
    numbers = {
        "data": {
            exclude: {"kind": material.kind, "counts": material.counts, **material.facts}
            for exclude, material in materials.items()
        },
        "settings": {
            "backbone": backbone,
            "profile": {k: v for k, v in asdict(profile).items() if k != "phantoms"}
            | {"target_epochs": list(profile.target_epochs)},
            "protocols": list(asked),
            "random_state": random_state,
        },
        "source": {
            name: {
                **_source_scores(source),
                **known_beforehand(source, target),
            }
            for name, source in sources.items()
        },
        "epochs": choice,
        "target": {
            name: {"protocol": asdict(asked[name]), **_scores(result, target.patients)}
            for name, result in results.items()
        },
        "rivals": {
            folds: {name: _interval_of(result) for name, result in found.items()}
            for folds, found in rivals.items()
        },
        "better_than_rivals": {
            "protocol": honest,
            **{
                name: worth(results[honest], rival, target.patients)
                for name, rival in rivals[asked[honest].folds].items()
            },
        },
        "leaks": [
            {"from": a, "to": b, **worth(results[a], results[b], target.patients)}
            for a, b in LEAKS
            if a in results and b in results
        ],
        **{
            name: {
                "protocol": honest,
                "images": len(explanation.rows),
                "attention": attention(explanation, target.labels, first.masks),
            }
            for name, explanation in explanations.items()
        },
        "seconds": {stage: round(spent, 1) for stage, spent in seconds.items()},
        **report.surroundings(),
    }
    report.write_numbers(
        folder / "numbers",
        numbers,
        sources=sources,
        results=results,
        target=target,
        explanation=explanations["gradcam"],
    )
    report.draw_pictures(
        folder / "pictures", explanations=explanations, target=target, masks=first.masks
    )
    if numbers["leaks"]:
        print(_leaks_text(numbers["leaks"]))
    for name, title in HEATMAPS.items():
        if numbers[name]["attention"]:
            print(_attention_text(title, numbers[name]["attention"]))
    return numbers


def source_stage(
    material: Material,
    *,
    profile: Profile,
    backbone: Backbone,
    by_heart: bool = False,
    path: Path,
    random_state: int,
) -> tuple[detl.SourceModel, float, bool]:
    """Pretrain on Data-A, or load what an earlier run trained with the same settings and images.

    Parameters
    ----------
    material, profile, backbone, random_state
        As for :func:`run`.
    by_heart : bool
        Train without augmentation and keep the epoch that is best on the *training* images: to
        see what it is worth to a source model to have seen the target's images.
    path : Path
        Where the model is saved; its settings are written beside it.

    Returns
    -------
    source : SourceModel
    seconds : float
        Wall time of its training, now or then.
    reused : bool
        Whether it was loaded.
    """
    settings_path = path.with_suffix(".json")
    epochs = profile.by_heart_epochs if by_heart else profile.source_epochs
    judge = material.train if by_heart else material.validation
    settings = {
        "backbone": backbone,
        "size": profile.size,
        "width": profile.width,
        "epochs": epochs,
        "batch_size": profile.batch_size,
        "learning_rate": profile.source_learning_rate,
        "by_heart": by_heart,
        "mirroring": profile.mirroring,
        "class_weight": profile.class_weight,
        "precision": profile.precision,
        "random_state": random_state,
        "train": material.train.digest(),
        "validation": judge.digest(),
        "versions": report.surroundings()["versions"],
    }
    if path.is_file() and settings_path.is_file():
        earlier = json.loads(settings_path.read_text())
        if earlier["settings"] == settings:
            return detl.load_source(path), earlier["seconds"], True

    # Of other settings it is another folder: what they left is not theirs to go on from.
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    epochs_folder = path.with_name(f"{path.stem}_epochs_{digest}")
    clock = _Clock(epochs_folder / "seconds.json")
    build = getattr(detl.backbones, backbone)
    source = detl.pretrain(
        build((profile.size, profile.size, 1), width=profile.width),
        material.train.images,
        material.train.labels,
        validation_data=(judge.images, judge.labels),
        epochs=epochs,
        batch_size=profile.batch_size,
        learning_rate=profile.source_learning_rate,
        augmentation=None if by_heart else detl.Augmentation(mirroring=profile.mirroring),
        class_weight=profile.class_weight,
        precision=profile.precision,
        callbacks=[clock],
        checkpoint_dir=epochs_folder,
        random_state=random_state,
        verbose=2,
    )
    # The settings come last: without them a model of a run that was cut short is not reused.
    settings_path.unlink(missing_ok=True)
    source.save(path)
    settings_path.write_text(
        json.dumps({"settings": settings, "seconds": clock.seconds}, indent=2) + "\n"
    )
    shutil.rmtree(epochs_folder)
    return source, clock.seconds, False


class _Clock(keras.callbacks.Callback):
    """Wall time of all epochs, those that an earlier process trained included."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.seconds = 0.0
        with suppress(OSError, ValueError):  # none there, or of a process that was killed
            self.seconds = float(path.read_text())
        self._now = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add what went by since the last epoch, or since this process began."""
        before, self._now = self._now, time.perf_counter()
        self.seconds += self._now - before
        with suppress(OSError):  # a full disk is no reason to stop
            self.path.write_text(repr(self.seconds))


def choose_epochs(
    transfer: detl.DomainExtensionTransfer,
    target: Part,
    *,
    candidates: Sequence[int],
    n_splits: int,
    random_state: int,
) -> dict[str, Any]:
    """Choose the length of the target stage on an inner split, which the paper does not give.

    The rule was fixed before any result was seen: of the images that the first fold by patient
    trains on, a fifth of the patients is held out, and the number of epochs with the best accuracy
    there is taken, the smaller one if two are alike; for all protocols and folds.

    Returns
    -------
    dict
        ``epochs``, and what was ``tried``, a list of epochs and accuracies. With a single candidate
        nothing is tried.
    """
    if len(candidates) == 1:
        return {"epochs": candidates[0], "tried": []}
    outer = detl.folds.stratified_folds(
        target.labels, groups=target.patients, n_splits=n_splits, random_state=random_state
    )[0][0]
    train, test = (
        outer[rows]
        for rows in detl.folds.stratified_folds(
            target.labels[outer],
            groups=target.patients[outer],
            n_splits=5,
            random_state=random_state,
        )[0]
    )
    transfer.set_params(random_state=random_state)
    tried = []
    for epochs in sorted(candidates):
        transfer.set_params(epochs=epochs).fit(target.images[train], target.labels[train])
        accuracy = float(transfer.score(target.images[test], target.labels[test]))
        tried.append({"epochs": epochs, "accuracy": accuracy})
    best = max(tried, key=lambda trial: trial["accuracy"])
    return {"epochs": best["epochs"], "tried": tried}


def trivial_rivals(
    result: detl.CrossValidationResult, target: Part
) -> dict[str, detl.CrossValidationResult]:
    """Return what classifiers that know no chest say on the same folds."""
    found = detl.shortcuts.rivals(
        result, target.images, classifiers={"SVM": make_pipeline(StandardScaler(), SVC(C=10))}
    ).results
    return {name: found[name] for name in found if name != "network"}


def known_beforehand(source: detl.SourceModel, target: Part) -> dict[str, float]:
    """Ask the source model whether the target's normal and other-disease images are diseased.

    A source model that was trained on these very images knows the answer by heart; then the new
    last layer has little left to learn.
    """
    rows = np.flatnonzero(np.isin(target.labels, (tables.NORMAL, tables.OTHER)))
    said = source.classes[source.model.predict(target.images[rows], verbose=0).argmax(axis=1)]
    right = (said == tables.NORMAL) == (target.labels[rows] == tables.NORMAL)
    return {"accuracy_on_normal_and_other_of_the_target": float(right.mean())}


def worth(
    leaky: detl.CrossValidationResult, sound: detl.CrossValidationResult, patients: Array
) -> dict[str, float]:
    """Return by how much a protocol flatters another, in accuracy over the same images.

    The folds of the two need not be the same, so the difference is taken image by image.
    """
    return paired(right(leaky) - right(sound), patients)


def right(result: detl.CrossValidationResult) -> Array:
    """Return 1 for each image that is classified as it should be, else 0, ``(n,)``."""
    return (result.predictions == result.labels).astype(float)


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
            heatmaps[name][rows] = cam(target.images[test[rows]], class_index=scores[name])
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
def _timed(
    title: str, stage: str | None = None, seconds: dict[str, float] | None = None
) -> Iterator[None]:
    print(f"\n== {title}", flush=True)
    started = time.perf_counter()
    yield
    spent = time.perf_counter() - started
    if seconds is not None and stage is not None:
        seconds[stage] = spent
    print(f"-- {spent:.0f} s", flush=True)


def _chosen_epochs(
    transfer: detl.DomainExtensionTransfer,
    target: Part,
    *,
    profile: Profile,
    folder: Path,
    random_state: int,
) -> dict[str, Any]:
    """Choose the epochs, or find what an earlier run chose, with the seconds that it took."""
    wanted = "-".join(map(str, profile.target_epochs))
    path = folder / f"epochs-{wanted}-{_fingerprint(transfer, target)}.json"
    if path.exists():
        earlier: dict[str, Any] = json.loads(path.read_text())
        return earlier
    started = time.perf_counter()
    choice = choose_epochs(
        transfer,
        target,
        candidates=profile.target_epochs,
        n_splits=profile.n_splits,
        random_state=random_state,
    )
    choice["seconds"] = time.perf_counter() - started
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(choice))
    return choice


def _folds(protocol: Protocol, n_splits: int, random_state: int) -> dict[str, Any]:
    if protocol.folds == "patient":
        return {"n_splits": n_splits}
    return {"cv": StratifiedKFold(n_splits, shuffle=True, random_state=random_state)}


def _fingerprint(transfer: detl.DomainExtensionTransfer, target: Part) -> str:
    """Name what a finished fold depends on: other settings or images get another folder."""
    settings = {name: value for name, value in transfer.get_params().items() if name != "source"}
    digest = hashlib.blake2b(digest_size=4)
    digest.update(json.dumps([settings, target.digest()], default=str).encode())
    for weight in transfer.source.model.get_weights():
        digest.update(np.ascontiguousarray(weight))
    return digest.hexdigest()


def _source_scores(source: detl.SourceModel) -> dict[str, Any]:
    best = source.best_epoch
    return {
        "best_epoch": best + 1,
        "epochs": len(source.history["loss"]),
        "judged_accuracy": source.history["val_accuracy"][best],
        "training_accuracy": source.history["accuracy"][best],
    }


def _source_text(source: detl.SourceModel, *, by_heart: bool, reused: bool) -> str:
    scores = _source_scores(source)
    judged = "training images as they are" if by_heart else "validation"
    return (
        f"best accuracy ({judged}) {scores['judged_accuracy']:.3f} in epoch "
        f"{scores['best_epoch']} of {scores['epochs']}"
        + (" (trained earlier, with the same settings and images)" if reused else "")
    )


def _interval_of(result: detl.CrossValidationResult) -> dict[str, float]:
    return {
        "accuracy": result.accuracy,
        "low": result.interval.low,
        "high": result.interval.high,
    }


def _leaks_text(found: Sequence[Mapping[str, Any]]) -> str:
    lines = ["What the leaks are worth, in points of accuracy (95 % interval over patients)"]
    for row in found:
        lines.append(
            f"{row['from']} less {row['to']:<24} {100 * row['accuracy']:+5.1f}  "
            f"{100 * row['low']:+5.1f} to {100 * row['high']:+5.1f}"
        )
    return "\n".join(lines)


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


def _attention_text(title: str, found: dict[str, dict[str, float]]) -> str:
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
