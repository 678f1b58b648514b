"""The paper's experiment, stage by stage, through detl's public names alone."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import detl
from examples.covid_chest_xray import report
from examples.covid_chest_xray.differences import paired
from examples.covid_chest_xray.heatmaps import HEATMAPS, attention, attention_text, explain
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
from examples.covid_chest_xray.source_stage import (
    Backbone,
    known_beforehand,
    pretrained,
    source_scores,
    source_text,
)


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

    ``materials`` are source and target images by what of the target's stays out of the source's;
    the target images are the same in all. Results go to a subfolder of ``output`` for the
    backbone. Heatmaps are of the most honest of the ``protocols``, or else of the last. Returns
    what ``numbers/results.json`` holds.
    """
    folder = Path(output) / backbone
    seconds: dict[str, float] = {}
    asked = {name: PROTOCOLS[name] for name in protocols}
    target = next(iter(materials.values())).target
    sources = {}
    for protocol in {protocol.source: protocol for protocol in asked.values()}.values():
        with _timed(f"{backbone}: source stage, {protocol.source}"):
            source, trained_in, reused = pretrained(
                materials[protocol.exclude],
                profile=profile,
                backbone=backbone,
                by_heart=protocol.by_heart,
                path=folder / f"source_{protocol.source}.keras",
                random_state=random_state,
            )
        seconds[f"source {protocol.source}"] = trained_in
        sources[protocol.source] = source
        print(source_text(source, by_heart=protocol.by_heart, reused=reused))

    def transfer_from(source: detl.SourceModel, epochs: int) -> detl.DomainExtensionTransfer:
        settings = {
            "epochs": epochs,
            "batch_size": profile.batch_size,
            "class_weight": profile.class_weight,
            "precision": profile.precision,
        }
        rate = profile.target_learning_rate
        if rate is None:
            return detl.DomainExtensionTransfer(source, **settings)
        return detl.DomainExtensionTransfer.as_published(source, learning_rate=rate, **settings)

    honest = HONEST if HONEST in asked else list(asked)[-1]
    with _timed(f"{backbone}: length of the target stage"):
        choice = _chosen_epochs(
            transfer_from(sources[asked[honest].source], 1),
            target,
            profile=profile,
            folder=folder / "folds",
            random_state=random_state,
        )
    seconds["choice of epochs"] = choice["seconds"]
    print(_choice_text(choice))

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
            name: {**source_scores(source), **known_beforehand(source, target)}
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
    report.write_page(
        folder / "report.html", results[honest], explanations["gradcam"], target, kind=first.kind
    )
    if numbers["leaks"]:
        print(_leaks_text(numbers["leaks"]))
    for name, title in HEATMAPS.items():
        if numbers[name]["attention"]:
            print(attention_text(title, numbers[name]["attention"]))
    return numbers


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

    Returns ``epochs``, and what was ``tried``, a list of epochs and accuracies. With a single
    candidate nothing is tried.
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


def _choice_text(choice: dict[str, Any]) -> str:
    if not choice["tried"]:
        return f"{choice['epochs']} epochs, as the profile says"
    tried = (f"{each['accuracy']:.3f} with {each['epochs']}" for each in choice["tried"])
    return f"{choice['epochs']} epochs; accuracy on the inner split: {', '.join(tried)}"


def trivial_rivals(
    result: detl.CrossValidationResult, target: Part
) -> dict[str, detl.CrossValidationResult]:
    """Return what classifiers that know no chest say on the same folds."""
    found = detl.shortcuts.baseline_test(
        result, target.images, classifiers={"SVM": make_pipeline(StandardScaler(), SVC(C=10))}
    ).results
    return {name: found[name] for name in found if name != "network"}


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
    if not found["patients_on_both_sides"]:
        return "No patient is on both sides of a fold."
    return (
        f"{found['patients_on_both_sides']} of {found['patients']} patients are on both sides of a "
        f"fold. {found['share_of_test_images']:.0%} of the test images show a patient that the "
        "model has seen."
    )
