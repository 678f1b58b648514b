"""Plant a shortcut of known strength, and see whether the shortcut tests find it.

On chest phantoms of four classes: a white square of three by three pixels in the upper left corner
of 0, 20, 50, 80 or 100 % of the images of one class, and of no other image. Nothing else outside
the lungs tells the classes apart, so that every "shortcut likely" at 0 % is a false alarm.

Run: ``python -m studies.are_planted_shortcuts_found.run``
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import detl
from detl.datasets import ImageSet, make_phantoms
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

SIZE = 64
SHARES = (0.0, 0.2, 0.5, 0.8, 1.0)
MARKED = "covid-19"
CLASSES = ("normal", "pneumonia", "other", MARKED)
IMAGES_PER_CLASS = 75
# Of the pixels of a thousand phantoms' lesions, 3 in 10,000 lie outside this box.
LUNGS = (0.10, 0.05, 0.92, 0.95)
BORDER = 0.08
SETTINGS = {"epochs": 15, "learning_rate": 1e-2, "batch_size": 32}
N_SPLITS = 3
SOURCE_EPOCHS = 20
# Verdicts of all are printed; these are drawn.
DRAWN = ("background", "border", "region blanked", "border kept", "heatmaps")


def main() -> None:
    """Examine phantoms for every share and seed, and write a row for each test."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6, help="number of seeds")
    parser.add_argument("--source", type=Path, default=Path("runs/shortcut_detection/source.keras"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    parsed = parser.parse_args()
    source = trained_source(parsed.source)
    table = parsed.output / "detection.csv"
    rows = read(table)  # a run that broke off goes on
    known = {(row["seed"], row["share marked"]) for row in rows}
    for seed in range(parsed.seeds):
        for share in SHARES:
            if (str(seed), str(share)) in known:
                continue
            started = time.perf_counter()
            report = examined(source, share, seed)
            rows += rows_of(report, share, seed)
            write(table, rows)
            print(f"-- seed {seed}, share {share}, {time.perf_counter() - started:.0f} s")
            print(report, flush=True)
            if seed == 0 and share in (0.0, 1.0):
                picture = parsed.output / f"phantoms_{100 * share:.0f}.png"
                picture.parent.mkdir(parents=True, exist_ok=True)
                detl.plots.shortcut_report(report).savefig(picture, dpi=80)
    rows.sort(key=lambda row: (int(row["seed"]), float(row["share marked"])))
    write(table, rows)
    uses = [use_of_the_marker(source, seed) for seed in range(parsed.seeds)]
    write(parsed.output / "marker_use.csv", uses)
    write(parsed.output / "rates.csv", rates(rows))
    draw(parsed.output / "detection.png", rows)


def trained_source(path: Path) -> detl.SourceModel:
    """Train normal against diseased on clean phantoms, or read what was trained before."""
    if path.exists():
        return detl.load_source(path)
    train, validation = (
        make_phantoms({"normal": n, "diseased": n}, size=SIZE, name=name, random_state=random_state)
        for n, name, random_state in ((600, "train", 100), (100, "validation", 101))
    )
    source = detl.pretrain(
        detl.backbones.alexnet((SIZE, SIZE, 1), width=0.125),
        train.images,
        train.labels,
        validation_data=(validation.images, validation.labels),
        epochs=SOURCE_EPOCHS,
        batch_size=16,
        random_state=0,
        verbose=0,
    )
    print("source, validation accuracy", max(source.history["val_accuracy"]), flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    source.save(path)
    return source


def planted(share: float, seed: int) -> tuple[ImageSet, np.ndarray]:
    """Draw phantoms; return them, and their images with the marker in a share of one class."""
    drawn = make_phantoms(
        dict.fromkeys(CLASSES, IMAGES_PER_CLASS),
        size=SIZE,
        name="target",
        random_state=1000 + seed,
    )
    images = drawn.images.copy()
    of_class = np.random.default_rng(seed).permutation(np.flatnonzero(drawn.labels == MARKED))
    images[of_class[: round(share * len(of_class))], 1:4, 1:4] = 255
    return drawn, images


def examined(source: detl.SourceModel, share: float, seed: int) -> detl.shortcuts.ShortcutReport:
    """Cross-validate on planted phantoms, and examine."""
    drawn, images = planted(share, seed)
    transfer = detl.DomainExtensionTransfer.as_published(source, **SETTINGS)
    result = detl.cross_validate(
        transfer,
        images,
        drawn.labels,
        groups=drawn.groups,
        n_splits=N_SPLITS,
        on_leak="ignore",
        random_state=seed,
    )
    return detl.shortcuts.examine(result, transfer, images, region=LUNGS, border=BORDER)


def use_of_the_marker(source: detl.SourceModel, seed: int) -> dict[str, str]:
    """Take the marker away from test images of a network that was trained with it in all."""
    drawn, images = planted(1.0, seed)
    (train, test), *_ = detl.folds.stratified_folds(
        drawn.labels, groups=drawn.groups, n_splits=N_SPLITS, random_state=seed
    )
    transfer = detl.DomainExtensionTransfer.as_published(source, random_state=seed, **SETTINGS)
    transfer.fit(images[train], drawn.labels[train])
    of_class = test[drawn.labels[test] == MARKED]
    heatmaps = detl.GradCAM(transfer)(images[of_class], MARKED)
    top, left, bottom, right = (round(SIZE * share) for share in LUNGS)
    lungs = np.zeros((SIZE, SIZE), dtype=bool)
    lungs[top:bottom, left:right] = True
    with_it, without = (
        np.mean(transfer.predict(pictures[of_class]) == MARKED)
        for pictures in (images, drawn.images)
    )
    return {
        "seed": str(seed),
        "recognised with the marker": f"{with_it:.2f}",
        "recognised without it": f"{without:.2f}",
        "heatmap on the lungs": f"{heatmaps[:, lungs].sum() / heatmaps.sum():.2f}",
        "area of the lungs": f"{lungs.mean():.2f}",
    }


def rows_of(
    report: detl.shortcuts.ShortcutReport, share: float, seed: int
) -> Iterable[dict[str, str]]:
    """Return a row for each test: its verdict, and the estimate of its worst class."""
    accuracy = report.results["network"].accuracy
    for name, test in report.tests.items():
        worst = test.worst
        estimate = test.estimates.get(worst)
        yield {
            "seed": str(seed),
            "share marked": str(share),
            "network's accuracy": f"{accuracy:.3f}",
            "test": name,
            "verdict": test.verdict,
            "worst class": str(worst),
            **{
                end: "" if estimate is None else f"{getattr(estimate, end):.3f}"
                for end in ("value", "low", "high")
            },
            "threshold": "" if test.threshold is None else str(test.threshold),
        }


def rates(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return, for each test, how many seeds have each verdict at each share."""
    found = []
    for name in dict.fromkeys(row["test"] for row in rows if row["threshold"] != ""):
        row: dict[str, str] = {"test": name}
        for share in SHARES:
            verdicts = [
                row["verdict"]
                for row in rows
                if row["test"] == name and row["share marked"] == str(share)
            ]
            counts = [
                verdicts.count(verdict)
                for verdict in ("shortcut likely", "inconclusive", "no shortcut found")
            ]
            row[f"{share:.0%} marked"] = " / ".join(map(str, counts))
        found.append(row)
    return found


def detected(rows: list[dict[str, str]], name: str, share: float) -> float:
    """Return the share of seeds in which a test, or any, says that a shortcut is likely."""
    by_seed: dict[str, list[str]] = {}
    for row in rows:
        if row["share marked"] == str(share) and name in (row["test"], "any test"):
            by_seed.setdefault(row["seed"], []).append(row["verdict"])
    return float(np.mean(["shortcut likely" in verdicts for verdicts in by_seed.values()]))


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, none where there is none yet."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """Write rows to a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_csv(path, rows)


def draw(path: Path, rows: list[dict[str, str]]) -> None:
    """Draw the share of seeds in which each test finds the marker, over the share marked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, marker in zip((*DRAWN, "any test"), "svo^D*", strict=True):
        curve = [detected(rows, name, share) for share in SHARES]
        axis.plot(100 * np.array(SHARES), curve, marker=marker, label=name, alpha=0.8)
    n_seeds = len({row["seed"] for row in rows})
    axis.set(
        xlabel="images of one class that carry the marker, %",
        ylabel=f"share of {n_seeds} sets that are suspected",
        ylim=(-0.05, 1.05),
    )
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
