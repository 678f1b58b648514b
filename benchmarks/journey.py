"""Time the whole journey, from folders of PNG to a page: detl, and the same written by hand.

Five stages: read the files; train a source from scratch; extend it in five folds; a heatmap of
every image; train the folds again without the middle of the images, and then with their border
alone, as shortcut tests do; write a page. By hand means Keras, scikit-learn and matplotlib as their
guides use them (``journey_by_hand.py``). Both train for the same epochs.

A journey is a process of its own, from ``import`` on; the two take turns. What goes by before the
second step of each training (building, tracing, copying) is shown apart. Memory is the process's
peak so far.

With ``--routes "detl before" detl --before SRC`` the ``src`` of an earlier checkout takes turns
with this one.

Run: ``python -m benchmarks.journey``
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import measured_with, spread, write_rows

STAGES = ("start", "load", "pretrain", "cross-validate", "heatmaps", "shortcuts", "page")
ROUTES = ("by hand", "detl", "detl in bfloat16", "detl before")
N_FOLDS = 5
MEDIAN = ", s, median"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained on what."""

    size: int
    source: int
    target: int
    network: str
    width: float
    source_epochs: int
    target_epochs: int


MIDDLE = Case(
    size=128,
    source=2000,
    target=1277,
    network="vgg16",
    width=0.25,
    source_epochs=3,
    target_epochs=10,
)
CASES = {
    "small": replace(
        MIDDLE, size=64, source=1000, target=240, width=0.125, source_epochs=10, target_epochs=30
    ),
    "middle": MIDDLE,
    "large": Case(  # few images: 5,000 and 5 epochs would take hours by hand
        size=224,
        source=250,
        target=250,
        network="resnet50",
        width=1.0,
        source_epochs=1,
        target_epochs=2,
    ),
}


class Clock:
    """Seconds of each stage of a journey, and what of them went by before second steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.overhead: dict[str, float] = {}
        self.memory: dict[str, float] = {}
        self._stage = ""
        self._last = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage."""
        self._stage, started = name, time.perf_counter()
        self._last = started
        self.overhead[name] = 0.0
        yield
        self.seconds[name] = time.perf_counter() - started
        kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.memory[name] = kibibytes / 2**20

    def callbacks(self) -> list[Any]:
        """Return callbacks for one training."""
        import keras

        def first_step_ended(batch: int, logs: Any = None) -> None:
            nonlocal waiting
            if waiting:
                self.overhead[self._stage] += time.perf_counter() - self._last
                waiting = False

        def ended(logs: Any = None) -> None:
            self._last = time.perf_counter()

        waiting = True
        return [
            keras.callbacks.LambdaCallback(on_train_batch_end=first_step_ended, on_train_end=ended)
        ]


_running: list[Clock] = []


def of_running_clock() -> list[Any]:
    """Return callbacks of the clock of this process, by a function that is always the same."""
    return _running[-1].callbacks()


def by_detl(case: Case, folder: Path, clock: Clock, precision: str) -> dict[str, float]:
    """Take the journey with detl, in float32 or another number format."""
    _running.append(clock)
    with clock.stage("start"):
        import detl
        from detl import DomainExtensionTransfer  # detl imports Keras when it is first needed
    size = (case.size, case.size)
    with clock.stage("load"):
        source_set = detl.images.load_folders(folder / "source", size=size, verbose=0)
        target = detl.images.load_folders(folder / "target", size=size, verbose=0)
    with clock.stage("pretrain"):
        build = getattr(detl.backbones, case.network)
        source = detl.pretrain(
            build((*size, 1), width=case.width),
            source_set.images,
            source_set.labels,
            epochs=case.source_epochs,
            precision=precision,
            callbacks=clock.callbacks(),
            random_state=0,
            verbose=0,
        )
    with clock.stage("cross-validate"):
        transfer = DomainExtensionTransfer(
            source,
            epochs=case.target_epochs,
            precision=precision,
            callbacks=of_running_clock,
            verbose=0,
        )
        result = detl.cross_validate(
            transfer, target.images, target.labels, n_splits=N_FOLDS, random_state=0, verbose=0
        )
    with clock.stage("heatmaps"):
        transfer.fit(target.images, target.labels)
        heatmaps = detl.GradCAM(transfer)(target.images)
    with clock.stage("shortcuts"):
        region = middle(case.size)
        report = detl.shortcuts.region_test(
            result, transfer, target.images, region=region, verbose=0
        )
    with clock.stage("page"):
        detl.report(
            result,
            folder / "detl.html",
            images=target.images,
            heatmaps=heatmaps,
            shortcuts=report,
            verbose=0,
        )
    return {"accuracy": result.accuracy}


def middle(size: int) -> np.ndarray:
    """Return a mask of the middle of an image."""
    inside = np.zeros((size, size), bool)
    inside[size // 4 : 3 * size // 4, size // 4 : 3 * size // 4] = True
    return inside


def write_folders(case: Case, folder: Path) -> None:
    """Write phantoms as PNG into a folder for each class."""
    from PIL import Image

    from detl.datasets import make_phantoms

    parts = {
        "source": ({"normal": 0.5, "diseased": 0.5}, case.source),
        "target": (dict.fromkeys(("normal", "pneumonia", "covid-19", "other"), 0.25), case.target),
    }
    for place, (name, (shares, n)) in enumerate(parts.items()):
        per_class = {label: round(share * n) for label, share in shares.items()}
        drawn = make_phantoms(per_class, size=case.size, name=name, random_state=place)
        for label in per_class:
            (folder / name / label).mkdir(parents=True)
        for row, (image, label) in enumerate(zip(drawn.images, drawn.labels, strict=True)):
            Image.fromarray(image[..., 0]).save(folder / name / label / f"{row:05d}.png")


def journey(route: str, case: Case, folder: Path) -> None:
    """Take one journey and print what it took."""
    clock = Clock()
    if route == "by hand":
        from benchmarks.journey_by_hand import by_hand

        found = by_hand(case, folder, clock)
    else:
        precision = "mixed_bfloat16" if route == "detl in bfloat16" else "float32"
        found = by_detl(case, folder, clock, precision)
    told = {"seconds": clock.seconds, "overhead": clock.overhead, "memory": clock.memory}
    print("\n" + json.dumps(told | found))


def main() -> None:
    """Let both take turns and write a row for each stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=["small", "middle"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--routes", nargs="+", choices=ROUTES, default=list(ROUTES[:2]))
    parser.add_argument("--before", type=Path, help="folder with an earlier version of detl")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/journey.csv"))
    parser.add_argument("--journey", nargs=3, help="route, case and folder, of a process here")
    parsed = parser.parse_args()
    if parsed.journey:
        route, name, folder = parsed.journey
        journey(route, CASES[name], Path(folder))
        return
    if "detl before" in parsed.routes and parsed.before is None:
        parser.error('the route "detl before" needs --before, the src of an earlier checkout')
    rows: list[dict[str, Any]] = []
    for name in parsed.case:
        took: dict[str, list[dict[str, Any]]] = {route: [] for route in parsed.routes}
        with tempfile.TemporaryDirectory() as folder:
            write_folders(CASES[name], Path(folder))
            for _ in range(parsed.rounds):
                for route in parsed.routes:
                    took[route].append(in_a_process(route, name, folder, parsed.before))
        rows += rows_of(name, took)
        write_rows(parsed.output, rows)
        draw(rows, parsed.output.with_suffix(".png"))


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the seconds of each stage as the parts of a bar, for each case and route."""
    from matplotlib.figure import Figure

    from detl.plots.theme import colours

    cases = list(dict.fromkeys(row["case"] for row in rows))
    routes = [column.removesuffix(MEDIAN) for column in rows[0] if column.endswith(MEDIAN)]
    names = [f"{case}, {route}" for case in cases for route in routes]
    figure = Figure(figsize=(7.5, 1.1 + 0.4 * len(names)), layout="constrained")
    axis = figure.subplots()
    start = np.zeros(len(names))
    for stage, colour in zip(STAGES, colours(len(STAGES)), strict=True):
        took = {row["case"]: row for row in rows if row["stage"] == stage}
        length = [float(took[case][route + MEDIAN]) for case in cases for route in routes]
        axis.barh(names, length, left=start, color=colour, label=stage)
        start += length
    axis.invert_yaxis()
    axis.set_xlabel("seconds")
    axis.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=len(STAGES), frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)


def in_a_process(route: str, case: str, folder: str, before: Path | None) -> dict[str, Any]:
    """Take one journey in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.journey", "--journey", route, case, folder]
    variables = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    if route == "detl before":
        variables["PYTHONPATH"] = str(before)
    done = subprocess.run(
        command, env=os.environ | variables, check=True, stdout=subprocess.PIPE, text=True
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(route, case, {k: round(v, 1) for k, v in told["seconds"].items()}, flush=True)
    return told


def rows_of(case: str, took: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return a row for each stage, and one for the whole."""

    def seconds(route: str, stage: str) -> np.ndarray:
        stages = STAGES if stage == "whole" else (stage,)
        return np.array([sum(one["seconds"][each] for each in stages) for one in took[route]])

    def least(route: str, measure: str, stage: str) -> str:
        stages = STAGES if stage == "whole" else (stage,)
        combine = max if measure == "memory" else sum
        return f"{min(combine(one[measure][each] for each in stages) for one in took[route]):.1f}"

    rows = []
    for stage in (*STAGES, "whole"):
        row: dict[str, Any] = {"case": case, "stage": stage}
        for route in took:
            row[route + MEDIAN] = f"{np.median(seconds(route, stage)):.1f}"
            row[f"{route}, before second steps, s"] = least(route, "overhead", stage)
            row[f"{route}, GiB"] = least(route, "memory", stage)
        first, *others = took
        for route in others:
            ratios = seconds(first, stage) / seconds(route, stage)
            found = f"{np.median(ratios):.1f}"
            if len(ratios) > 1:
                found += f" ({spread(ratios, '.1f')})"
            row[f"{route}, times as fast"] = found
        row["rounds"] = len(took[first])
        rows.append(row | measured_with("keras", "tensorflow", "scikit-learn", "numpy"))
    return rows


if __name__ == "__main__":
    main()
