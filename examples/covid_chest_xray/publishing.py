"""Copy the numbers of runs, and no picture of a patient, to where they are published."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from examples.covid_chest_xray.differences import paired
from examples.covid_chest_xray.protocols import HONEST, PROTOCOLS
from examples.covid_chest_xray.report import write_csv

# As Basu et al. 2020 print them.
PAPER_ACCURACY = {
    "alexnet": "82.98 % ± 0.02",
    "vgg16": "90.13 % ± 0.14",
    "resnet50": "85.98 % ± 0.07",
}


KNOWN = "accuracy_on_normal_and_other_of_the_target"


def copy_numbers(output: str | Path, destination: str | Path) -> list[Path]:
    """Copy every backbone's numbers, and no picture of a radiograph, to where they are published.

    Tables over all backbones published there, by this copy or an earlier one, are written beside
    them: ``side_by_side.csv`` (with the paper's accuracies), ``protocols.csv``, ``leaks.csv``,
    ``rivals.csv``, ``sources.csv``, ``counts.csv`` and ``seconds.csv``. Single predictions stay
    behind: they are of patients. Returns the folders written.
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
    runs = _records(destination, "*/results.json")
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
        write_csv(destination / f"{name}.csv", rows)
    return copies


def copy_other_seed(output: str | Path, destination: str | Path) -> list[Path]:
    """Put the numbers of the same run with another seed beside those that are published.

    ``seeds.csv`` and ``seeds_leaks.csv`` have a column for each seed, of every record that is
    published there. The number format may be another one: with "auto" the machine decides it.
    Returns the records written, ``seeds/BACKBONE_SEED.json``.
    """
    records = [folder / "results.json" for folder in _numbers_of(output)]
    destination = Path(destination)
    first = _records(destination, "*/results.json")
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
    others = _records(destination, "seeds/*.json")
    networks = {_network(run) for run in others}
    runs = [run for run in first if _network(run) in networks] + others
    write_csv(destination / "seeds.csv", _seed_rows(runs))
    write_csv(destination / "seeds_leaks.csv", _seed_leak_rows(runs))
    return list(copies.values())


def copy_variants(outputs: Sequence[str | Path], destination: str | Path) -> list[Path]:
    """Publish runs that differ in their settings: a record each, and one table of all records.

    A protocol's accuracy is compared, over the same images, with ``strict`` of a run of the same
    network, width and seed among ``outputs``, if there is one. ``variants.csv`` also has the
    records that were there before. Returns the records written, ``OUTPUT_BACKBONE.json``.
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
    records = _records(destination, "*.json")
    records.sort(key=_kind)
    write_csv(destination / "variants.csv", _variant_rows(records))
    return copies


def _numbers_of(output: str | Path) -> list[Path]:
    """Return the folders of numbers, one per backbone, of what ``--output`` was."""
    folders = sorted(Path(output).glob("*/numbers"))
    if not folders:
        raise FileNotFoundError(f"{output} has no */numbers; expected the output of a run.")
    return folders


def _records(folder: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]


def _side_by_side_rows(runs: Sequence[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Yield what the paper reports for a network beside what it reached by each protocol."""
    protocols = dict.fromkeys(name for run in runs for name in run["target"])
    for run in runs:
        yield {
            "network": _network(run),
            "the paper reports": PAPER_ACCURACY[_network(run)],
            **{
                name: _accuracy(found) if (found := run["target"].get(name)) else ""
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
        accuracies = {seed: _accuracy(one) for seed, one in found.items()}
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
                "on the target's normal and other": f"{source[KNOWN]:.3f}",
                "target's rate": _rate(profile["target_learning_rate"]),
                "epochs": run["epochs"]["epochs"],
                "accuracy": _accuracy(found),
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
    for run in runs:
        for name, found in run["source"].items():
            yield {
                "network": _network(run),
                "kept out of Data-A": name,
                "epoch kept": f"{found['best_epoch']} of {found['epochs']}",
                "accuracy it was chosen by": f"{found['judged_accuracy']:.3f}",
                "training accuracy": f"{found['training_accuracy']:.3f}",
                "accuracy on the target's normal and other": f"{found[KNOWN]:.3f}",
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


def _rate(rate: float | None) -> str:
    return "detl's default" if rate is None else f"{rate:g}"


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


def _accuracy(found: Mapping[str, Any]) -> str:
    return f"{found['accuracy']:.3f} ({_between(found['interval'])})"


def _between(interval: Mapping[str, Any]) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}"


def _points(found: Mapping[str, float]) -> str:
    """Return a difference of accuracies with its interval, in points."""
    return "{accuracy:+.1f} ({low:+.1f} to {high:+.1f})".format(
        **{name: 100 * value for name, value in found.items()}
    )
