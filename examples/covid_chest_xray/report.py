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
from examples.covid_chest_xray.differences import paired
from examples.covid_chest_xray.material import Array, Part
from examples.covid_chest_xray.protocols import HONEST, PROTOCOLS

if TYPE_CHECKING:
    from examples.covid_chest_xray.experiment import Explanation

IMAGES_PER_CLASS = 4
# As Basu et al. 2020 print them.
PAPER_ACCURACY = {
    "alexnet": "82.98 % ± 0.02",
    "vgg16": "90.13 % ± 0.14",
    "resnet50": "85.98 % ± 0.07",
}


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
    _write_csv(folder / "curves.csv", _curves(sources, results))
    for name, source in sources.items():
        _save(detl.plots.learning_curves(source.history), folder / f"curves_source_{name}.png")
    for name, result in results.items():
        classes = result.classes.tolist()
        _write_csv(
            folder / f"confusion_matrix_{name}.csv",
            (
                {"true": label, **dict(zip(classes, row))}
                for label, row in zip(classes, result.confusion_matrix.tolist())
            ),
        )
        _write_csv(folder / f"predictions_{name}.csv", _predictions(result, target))
        _save(detl.plots.confusion_matrix(result), folder / f"confusion_matrix_{name}.png")
    _save(mean_heatmaps(explanation, target), folder / "mean_heatmaps.png")


def mean_heatmaps(explanation: Explanation, target: Part) -> Figure:
    """Draw where each class's heatmaps lie on average: shows no image."""
    labels = target.labels[explanation.rows]
    names = np.unique(labels)
    figure = Figure(figsize=(2.2 * len(names), 2.6), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(names)), names, strict=True):
        here = explanation.heatmaps[labels == name]
        axis.imshow(here.mean(axis=0), cmap="jet", vmin=0, vmax=1)
        axis.set_title(f"{name}\n{len(here)} images", fontsize=9)
        axis.set_axis_off()
    return figure


def copy_numbers(output: str | Path, destination: str | Path) -> list[Path]:
    """Copy every backbone's numbers, and no picture of a radiograph, to where they are published.

    Tables over all backbones published there, by this copy or an earlier one, are written beside
    them: ``side_by_side.csv`` (with the paper's accuracies), ``protocols.csv``, ``leaks.csv``,
    ``rivals.csv``, ``sources.csv``, ``counts.csv`` and ``seconds.csv``. Single predictions stay
    behind: they are of patients.

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
    folders = _numbers_of(output)
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
    runs = [json.loads(path.read_text()) for path in sorted(destination.glob("*/results.json"))]
    tables = {  # all of them before the first is written
        "side_by_side": list(_side_by_side_rows(runs)),
        "protocols": list(_protocol_rows(runs)),
        "leaks": list(_leak_rows(runs)),
        "rivals": list(_rival_rows(runs)),
        "sources": list(_source_rows(runs)),
        "counts": list(_count_rows(runs)),
        "seconds": list(_second_rows(runs)),
    }
    for name, rows in tables.items():
        _write_csv(destination / f"{name}.csv", rows)
    return copies


def copy_other_seed(output: str | Path, destination: str | Path) -> list[Path]:
    """Put the numbers of the same run with another seed beside those that are published.

    ``seeds.csv`` and ``seeds_leaks.csv`` have a column for each seed, of every record that is
    published there. The number format may be another one: with "auto" the machine decides it.

    Parameters
    ----------
    output : path
        What ``--output`` was.
    destination : path
        Where :func:`copy_numbers` put the first seed's; gets ``seeds/BACKBONE_SEED.json``.

    Returns
    -------
    list of Path
        The records written.
    """
    records = [folder / "results.json" for folder in _numbers_of(output)]
    destination = Path(destination)
    first = [json.loads(path.read_text()) for path in sorted(destination.glob("*/results.json"))]
    copies = {}  # all are checked before the first is written
    for path in records:
        run = json.loads(path.read_text())
        copies[path] = destination / "seeds" / f"{_network(run)}_{_seed(run)}.json"
        for one in first:
            if _network(run) != _network(one):
                continue
            if _seed(run) == _seed(one):
                raise ValueError(
                    f"{path} has seed {_seed(run)}, which is published already; give the output of "
                    "a run with another."
                )
            theirs, published = (
                _without_machine(each["settings"]["profile"]) for each in (run, one)
            )
            if theirs != published:
                raise ValueError(
                    f"{path} has the settings {theirs}, published are {published}; runs may differ "
                    "in their seeds only."
                )
    (destination / "seeds").mkdir(parents=True, exist_ok=True)
    for path, copy in copies.items():
        shutil.copyfile(path, copy)
    others = [json.loads(path.read_text()) for path in sorted(destination.glob("seeds/*.json"))]
    networks = {_network(run) for run in others}
    runs = [run for run in first if _network(run) in networks] + others
    _write_csv(destination / "seeds.csv", _seed_rows(runs))
    _write_csv(destination / "seeds_leaks.csv", _seed_leak_rows(runs))
    return list(copies.values())


def copy_variants(outputs: Sequence[str | Path], destination: str | Path) -> list[Path]:
    """Publish runs that differ in their settings: a record each, and one table of all records.

    A protocol's accuracy is compared, over the same images, with ``strict`` of a run of the same
    network, width and seed among ``outputs``, if there is one.

    Parameters
    ----------
    outputs : list of paths
        What ``--output`` was, of each run.
    destination : path
        Gets ``OUTPUT_BACKBONE.json`` for each, and ``variants.csv``, which also has the records
        that were there before.

    Returns
    -------
    list of Path
        The records written.
    """
    folders = [folder for output in outputs for folder in _numbers_of(output)]
    runs = {folder: json.loads((folder / "results.json").read_text()) for folder in folders}
    honest = {_kind(run): folder for folder, run in runs.items() if HONEST in run["target"]}
    for folder, run in runs.items():
        sound = honest.get(_kind(run))
        run["more_than_strict"] = {
            name: _more(folder / f"predictions_{name}.csv", sound / f"predictions_{HONEST}.csv")
            for name in run["target"]
            if sound is not None and name != HONEST
        }
    destination = Path(destination)
    destination.mkdir(parents=True, exist_ok=True)
    copies = []
    for folder, run in runs.items():
        copies.append(destination / f"{folder.parents[1].name}_{_network(run)}.json")
        copies[-1].write_text(json.dumps(run, indent=2) + "\n")
    records = [json.loads(path.read_text()) for path in sorted(destination.glob("*.json"))]
    records.sort(key=_kind)
    _write_csv(destination / "variants.csv", _variant_rows(records))
    return copies


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
            alpha=0.4,
            colormap="jet",  # the paper's look
        )
        paths.append(_save(figure, folder / f"{kind}.png"))
    return paths


def _numbers_of(output: str | Path) -> list[Path]:
    """Return the folders of numbers, one per backbone, of what ``--output`` was."""
    folders = sorted(Path(output).glob("*/numbers"))
    if not folders:
        raise FileNotFoundError(f"{output} has no */numbers; expected the output of a run.")
    return folders


def _side_by_side_rows(runs: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield what the paper reports for a network beside what it reached by each protocol."""
    protocols = dict.fromkeys(name for run in runs for name in run["target"])
    for run in runs:
        yield {
            "network": _network(run),
            "the paper reports": PAPER_ACCURACY[_network(run)],
            **{
                name: f"{found['accuracy']:.3f} ({_between(found['interval'])})"
                if (found := run["target"].get(name))
                else ""
                for name in protocols
            },
        }


def _protocol_rows(runs: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for run in runs:
        for name, found in run["target"].items():
            yield {
                "network": _network(run),
                "protocol": name,
                "accuracy": f"{found['accuracy']:.3f} ± {found['accuracy_std']:.3f}",
                "95 % interval": _between(found["interval"]),
                **_sensitivities(found),
                "test images of patients also trained on": f"{found['share_of_test_images']:.0%}",
            }


def _leak_rows(runs: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for run in runs:
        for leak in run["leaks"]:
            yield {
                "network": _network(run),
                "protocol": leak["from"],
                "less": leak["to"],
                "points of accuracy": f"{100 * leak['accuracy']:+.1f}",
                "95 % interval": f"{100 * leak['low']:+.1f} to {100 * leak['high']:+.1f}",
            }


def _seed_rows(runs: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield a protocol's accuracy with each seed, and the mean of those that have it."""
    for network, protocol in dict.fromkeys(
        (_network(run), name) for run in runs for name in run["target"]
    ):
        found = {
            _seed(run): run["target"][protocol]
            for run in runs
            if _network(run) == network and protocol in run["target"]
        }
        accuracies = {
            seed: f"{one['accuracy']:.3f} ({_between(one['interval'])})"
            for seed, one in found.items()
        }
        yield {
            "network": network,
            "protocol": protocol,
            **{f"seed {seed}": accuracies.get(seed, "") for seed in _seeds(runs)},
            "mean": f"{np.mean([one['accuracy'] for one in found.values()]):.3f}",
            "seeds": len(found),
        }


def _seed_leak_rows(runs: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield what a leak is worth with each seed, in points, and the mean."""
    for network, protocol, less in dict.fromkeys(
        (_network(run), leak["from"], leak["to"]) for run in runs for leak in run["leaks"]
    ):
        found = {
            _seed(run): leak
            for run in runs
            for leak in run["leaks"]
            if (_network(run), leak["from"], leak["to"]) == (network, protocol, less)
        }
        points = {
            seed: _points({name: leak[name] for name in ("accuracy", "low", "high")})
            for seed, leak in found.items()
        }
        yield {
            "network": network,
            "protocol": protocol,
            "less": less,
            **{f"seed {seed}, points": points.get(seed, "") for seed in _seeds(runs)},
            "mean": f"{100 * np.mean([leak['accuracy'] for leak in found.values()]):+.1f}",
        }


def _variant_rows(runs: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield what decides a run beside what it reached."""
    known = "accuracy_on_normal_and_other_of_the_target"
    for run in runs:
        profile = run["settings"]["profile"]
        for name, found in run["target"].items():
            source = run["source"][PROTOCOLS[name].source]
            more = run.get("more_than_strict", {}).get(name)
            yield {
                "network": _network(run),
                "width": profile["width"],
                "protocol": name,
                "source's epochs": source["epochs"],
                "its training accuracy": f"{source['training_accuracy']:.3f}",
                "on the target's normal and other": f"{source[known]:.3f}",
                "target's rate": f"{profile['target_learning_rate']:g}",
                "epochs": run["epochs"]["epochs"],
                "accuracy": f"{found['accuracy']:.3f} ({_between(found['interval'])})",
                **_sensitivities(found),
                "points more than strict": _points(more) if more else "",
                "computed with": run["versions"]["backend"],
            }


def _more(leaky: Path, sound: Path) -> dict[str, float]:
    """Return by how much the predictions of one file are better than another's, images paired."""
    rows = [list(csv.DictReader(path.read_text().splitlines())) for path in (leaky, sound)]
    names, other_names = ([row["image"] for row in each] for each in rows)
    if names != other_names:
        raise ValueError(f"{leaky} and {sound} are not of the same images in the same order.")
    right = [np.array([row["prediction"] == row["label"] for row in each], float) for each in rows]
    return paired(right[0] - right[1], np.array([row["patient"] for row in rows[0]]))


def _rival_rows(runs: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield the rivals, the same for all networks, and by how much each network is better."""
    by_folds = _of_any(runs, "rivals")
    for name in next(iter(by_folds.values())):
        yield {
            "rival": name,
            **{
                f"folds of {folds}s": f"{found[name]['accuracy']:.3f} ({_between(found[name])})"
                for folds, found in by_folds.items()
            },
            **{
                f"{_network(run)}, {beaten['protocol']}: points better": _points(beaten[name])
                for run in runs
                # Records of before this was asked do without.
                if (beaten := run.get("better_than_rivals"))
            },
        }


def _source_rows(runs: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    known = "accuracy_on_normal_and_other_of_the_target"
    for run in runs:
        for name, found in run["source"].items():
            yield {
                "network": _network(run),
                "kept out of Data-A": name,
                "epoch kept": f"{found['best_epoch']} of {found['epochs']}",
                "accuracy it was chosen by": f"{found['judged_accuracy']:.3f}",
                "training accuracy": f"{found['training_accuracy']:.3f}",
                "accuracy on the target's normal and other": f"{found[known]:.3f}",
            }


def _count_rows(runs: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield the images of each set, the same for all networks."""
    for exclude, data in _of_any(runs, "data").items():
        for row in data["counts"]:
            yield {"kept out of Data-A": exclude, **row}


def _second_rows(runs: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    stages = dict.fromkeys(stage for run in runs for stage in run["seconds"])
    for run in runs:
        spent = {stage: run["seconds"].get(stage, "") for stage in stages}
        together = round(sum(run["seconds"].values()), 1)
        yield {"network": _network(run), **spent, "together": together}


def _of_any(runs: Iterable[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """Return what some run knows; runs that know the same agree."""
    return {key: value for run in runs for key, value in run[name].items()}


def _network(run: Mapping[str, Any]) -> str:
    return str(run["settings"]["backbone"])


def _sensitivities(found: Mapping[str, Any]) -> dict[str, str]:
    by_class = zip(found["classes"], found["per_class"]["sensitivity"], strict=True)
    return {f"sensitivity {label}": f"{value:.2f}" for label, value in by_class}


def _kind(run: Mapping[str, Any]) -> tuple[str, float, int]:
    """Return what two runs must have in common to be compared image by image."""
    return _network(run), float(run["settings"]["profile"]["width"]), _seed(run)


def _without_machine(profile: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in profile.items() if name != "precision"}


def _seed(run: Mapping[str, Any]) -> int:
    return int(run["settings"]["random_state"])


def _seeds(runs: Iterable[Mapping[str, Any]]) -> list[int]:
    return sorted({_seed(run) for run in runs})


def _between(interval: Mapping[str, Any]) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}"


def _points(found: Mapping[str, float]) -> str:
    """Return a difference of accuracies with its interval, in points."""
    return "{accuracy:+.1f} ({low:+.1f} to {high:+.1f})".format(
        **{name: 100 * value for name, value in found.items()}
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
