"""Do heatmaps of a source model lie where the radiologist drew a box? NIH ChestX-ray14, 128 pixels.

The class "diseased" is explained on every image that has boxes, and judged by
:mod:`detl.faithfulness` beside random maps and the centre of the image. The model may have been
trained on some of these images: they are counted, and all numbers are given for the others too.

Run: ``python -m studies.do_heatmaps_find_the_boxes.run --data FOLDER --source NAME=SOURCE.keras``
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

import detl
from detl import faithfulness
from examples.covid_chest_xray import paper_sets, tables
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

SIZE = 128
ORIGINAL = 1024  # pixels of the images that the boxes were drawn on
EXPLAINED = "diseased"
SEED = 0
Array = np.ndarray[Any, Any]


def main() -> None:
    """Read images and boxes, explain them, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--source", nargs="+", required=True, help="NAME=SOURCE.keras")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()

    nih = arguments.data / "nih"
    of_nih = tables.read_nih(nih / "Data_Entry_2017.csv", nih / "images_128", on_missing="skip")
    boxed, boxes, findings = with_boxes(of_nih, nih / "BBox_List_2017.csv")
    part = part_of_source(of_nih, boxed, arguments.data / "covid")
    images = detl.images.load(list(boxed.paths), size=(SIZE, SIZE), channels=1).images
    masks = faithfulness.box_masks(boxes, (SIZE, SIZE))
    facts: dict[str, Any] = {
        "images": len(images),
        "boxes": sum(map(len, boxes)),
        "patients": len(set(boxed.patients)),
        "images_per_part_of_the_source_stage": count(part),
        "boxes_per_finding": count(findings),
        "area_of_the_boxes": {
            "mean": float(masks.mean()),
            "median": float(np.median(masks.mean(axis=(1, 2)))),
        },
        "seed": SEED,
    }
    rows = []
    for entry in arguments.source:
        name, _, path = entry.partition("=")
        source = detl.load_source(path)
        facts[name], of_model = judge(name, source, images, masks, boxed.patients, part)
        rows += of_model
        write(arguments.results, facts, rows)


def write(folder: Path, facts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write the table and the facts, after each model: the next may take long."""
    write_csv(folder / "boxes.csv", rows)
    text = json.dumps(facts, indent=2, sort_keys=True)
    (folder / "boxes.json").write_text(f"{text}\n")


def with_boxes(of_nih: tables.Records, table: Path) -> tuple[tables.Records, list[Array], Array]:
    """Return the images that have boxes, the boxes of each at ``SIZE``, and each box's finding."""
    boxes: dict[str, list[list[float]]] = {}
    findings: dict[str, list[str]] = {}
    with table.open(newline="") as file:
        for line in list(csv.reader(file))[1:]:  # the header has one name for four columns
            stem = Path(line[0]).stem
            boxes.setdefault(stem, []).append([float(value) for value in line[2:6]])
            findings.setdefault(stem, []).append(line[1])
    here = np.array([path.stem in boxes for path in of_nih.paths])
    records = of_nih.take(here)
    stems = [path.stem for path in records.paths]
    scaled = [np.array(boxes[stem]) * SIZE / ORIGINAL for stem in stems]
    return records, scaled, np.array([finding for stem in stems for finding in findings[stem]])


def part_of_source(of_nih: tables.Records, boxed: tables.Records, covid: Path) -> Array:
    """Return what each image was to a source model of the chest X-ray example."""
    of_covid = tables.read_covid(covid / "metadata.csv", covid / "images_128", on_missing="skip")
    target = paper_sets.data_b(of_nih, of_covid, random_state=SEED)
    data_a = paper_sets.data_a(of_nih, target=target, exclude="patients", random_state=SEED)
    train = set(data_a.train.paths)
    parts = np.where([path in train for path in boxed.paths], "trained on", "not seen")
    return np.where(np.isin(boxed.paths, data_a.validation.paths), "validated on", parts)


def judge(
    name: str, source: detl.SourceModel, images: Array, masks: Array, patients: Array, part: Array
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return facts about a model, and its rows of the table."""
    column = source.classes.tolist().index(EXPLAINED)
    cam = detl.GradCAM(source)
    found = cam.explain(images, target_class=column)
    said = source.model.predict(images, verbose=0)[:, column]
    settings = {"groups": patients, "random_state": SEED}
    of_model = {"target_class": column, **settings}
    rows = []
    for which, chosen in (("all", part != ""), ("not trained on", part != "trained on")):
        maps, where, pixels = found.heatmaps[chosen], masks[chosen], images[chosen]
        settings["groups"] = of_model["groups"] = patients[chosen]
        results = [
            faithfulness.pointing_game(maps, where, **settings),
            faithfulness.pointing_game(maps, where, tolerance=SIZE * 15 / 224, **settings),
            faithfulness.energy(maps, where, **settings),
            faithfulness.intersection_over_union(maps, where, **settings),
            faithfulness.deletion(source, pixels, maps, **of_model),
            faithfulness.insertion(source, pixels, maps, **of_model),
            faithfulness.road(source, pixels, maps, **of_model),
        ]
        titles = [result.metric for result in results]
        titles[1] += ", 15/224 tolerance"
        for title, result in zip(titles, results, strict=True):
            print(name, which, title, result, sep="\n", flush=True)
            rows.append(
                {
                    "model": name,
                    "images": f"{which} ({chosen.sum()})",
                    "measure": title,
                    "heatmaps": result.heatmaps,
                    "random map": result.random,
                    "centre": result.centre,
                }
            )
    randomized = faithfulness.randomization(
        source, images, cam, target_class=column, groups=patients, random_state=SEED
    )
    print(randomized, flush=True)
    facts = {
        "layer": found.layer,
        "map_size": list(found.raw.shape[1:]),
        "blank": int(found.blank.sum()),
        "called_diseased": int((said > 0.5).sum()),
        "mean_probability_of_diseased": float(said.mean()),
        "validation_accuracy": source.history["val_accuracy"][source.best_epoch],
        "interval": randomized.random.interval.method,
        "randomization": {
            **{names[-1]: str(step) for names, step in zip(randomized.layers, randomized.steps)},
            "random map": str(randomized.random),
            "centre": str(randomized.centre),
        },
    }
    return facts, rows


def count(values: Array) -> dict[str, int]:
    """Return how often each value occurs."""
    return dict(zip(*(found.tolist() for found in np.unique(values, return_counts=True))))


if __name__ == "__main__":
    main()
