r"""Test the paper's claim that a network of the same domain is the better teacher.

The same target stage on the same folds from sources that differ in what they were trained on: as
many images, epochs and steps each, with everything random drawn anew by each seed. Then with fewer
target images per class. The intervals are over patients, for the seeds that were drawn.

    python -m studies.is_the_same_domain_the_better_teacher.run --data FOLDER \
        --imagenet LITE0.keras
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

import detl
from detl import compare_results
from examples.covid_chest_xray import experiment, material
from studies.shared import radiographs
from studies.shared.curves import draw
from studies.shared.tables import write_csv
from studies.shared.teachers import ALL, Taught, children, drawn, folds_by_patient, slug, trained

RESULTS = Path(__file__).parent / "results"

WIDTH, N_FOLDS, N_CLASSES = 0.25, 5, 4
SEEDS = (0, 1, 2)
# Decided beforehand, the same for all.
SOURCE = {"epochs": 20, "class_weight": "balanced", "precision": "auto"}
TARGET = {"epochs": 50, "learning_rate": 1e-3, "class_weight": "balanced", "precision": "auto"}
PER_CLASS = (ALL, 10, 25, 50, 100)  # training images

ADULTS = "adults, normal or diseased (NIH)"
CHILDREN = "children, normal or pneumonia (Kermany)"
DRAWN = "phantoms, normal or diseased"
SCRATCH = "none, everything trained"
FROZEN = "none, frozen all the same"
LITE_IMAGENET = "EfficientNet-Lite0: ImageNet"
LITE_ADULTS = f"EfficientNet-Lite0: {ADULTS}"
LITE_SCRATCH = f"EfficientNet-Lite0: {SCRATCH}"
NAMES = (
    *(ADULTS, CHILDREN, DRAWN, SCRATCH, FROZEN),
    *(LITE_IMAGENET, LITE_ADULTS, LITE_SCRATCH),
)
CURVES = (ADULTS, CHILDREN, SCRATCH, LITE_IMAGENET, LITE_ADULTS, LITE_SCRATCH)


def main() -> None:
    """Train the sources, cross-validate from each, write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with nih/, covid/ and kermany/"
    )
    parser.add_argument("--backbone", choices=("alexnet", "vgg16", "resnet50"), default="alexnet")
    parser.add_argument("--imagenet", type=Path, help="EfficientNet-Lite0")
    parser.add_argument("--size", type=int, default=radiographs.SIZE, help="pixels, also Lite0's")
    parser.add_argument("--target-epochs", type=int, default=TARGET["epochs"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--per-class", type=int, nargs="+", default=list(PER_CLASS), help="0: all images there are"
    )
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="sources")
    parser.add_argument("--n-jobs", type=int, default=1, help="folds trained at a time")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep the results beside the tables, and take those that are there",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs/claim"))
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS / "alexnet",
    )
    parsed = parser.parse_args()

    data = radiographs.read(parsed.data, size=parsed.size, pneumonia="any")
    n = len(data.train.labels)
    teachers = {
        ADULTS: lambda: (data.train.images, data.train.labels, data.train.patients),
        CHILDREN: lambda: children(parsed.data / "kermany", n, parsed.size),
        DRAWN: lambda: drawn(n, parsed.size),
    }
    found: dict[tuple[str, int, int], detl.CrossValidationResult] = {}
    for seed in parsed.seeds:
        sources = Sources(parsed, data, teachers, seed)
        for each, name in itertools.product(parsed.per_class, parsed.only):
            if not sources.known(name) or (each != ALL and name not in CURVES):
                continue
            settings = f"{parsed.size}_pixels_{parsed.target_epochs}_epochs"
            file = f"{slug(name)}_{each or 'all'}_{seed}.json"
            kept = parsed.output / settings / file
            if parsed.keep and kept.exists():
                found[name, each, seed] = detl.CrossValidationResult.load(kept)
            else:
                transfer = sources.transfer(name)
                result = cross_validated(transfer, data.target, each, seed, parsed, name)
                found[name, each, seed] = result
                if parsed.keep:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    result.save(kept)
            print(f"seed {seed}, {each or 'all'} per class, {name}", flush=True)
            print(found[name, each, seed].scores["accuracy"], flush=True)
        write(parsed.output, found, data.target, parsed)


class Sources:
    """The networks of one seed; each is trained when first asked for, unless a run before did."""

    def __init__(
        self,
        parsed: argparse.Namespace,
        data: material.Material,
        teachers: Mapping[str, Callable[[], Taught]],
        seed: int,
    ) -> None:
        self.parsed, self.teachers, self.seed = parsed, teachers, seed
        self.target = TARGET | {"epochs": parsed.target_epochs}
        keras.utils.set_random_seed(seed)
        build = getattr(detl.backbones, parsed.backbone)
        self.untrained = build((parsed.size, parsed.size, 1), width=WIDTH)
        if parsed.imagenet:
            self.lite = keras.saving.load_model(parsed.imagenet, compile=False)
            self.lite_untrained = keras.models.clone_model(self.lite)

    def known(self, name: str) -> bool:
        """Whether there is what this source needs."""
        return self.parsed.imagenet is not None or not name.startswith("EfficientNet")

    def transfer(self, name: str) -> detl.DomainExtensionTransfer:
        """Return a transfer from a source."""
        if name in (SCRATCH, LITE_SCRATCH):
            untrained = self.untrained if name == SCRATCH else self.lite_untrained
            return detl.DomainExtensionTransfer.as_published(
                untrained, trainable_from="input", **self.target
            )
        if name in (FROZEN, LITE_IMAGENET):
            source = self.untrained if name == FROZEN else self.lite
            return detl.DomainExtensionTransfer.as_published(source, **self.target)
        runs, seed = self.parsed.runs, self.seed
        if name == LITE_ADULTS:
            backbone = keras.Model(self.lite_untrained.inputs, self.lite_untrained.layers[-1].input)
            path, teacher = runs / f"lite0_0_{seed}.keras", self.teachers[ADULTS]
        else:
            i = list(self.teachers).index(name)
            path, teacher = runs / f"{self.parsed.backbone}_{i}_{seed}.keras", self.teachers[name]
            backbone = self.untrained
        source = trained(backbone, teacher, path, seed, **SOURCE)
        return detl.DomainExtensionTransfer.as_published(source, **self.target)


def cross_validated(
    transfer: detl.DomainExtensionTransfer,
    target: material.Part,
    n: int,
    seed: int,
    parsed: argparse.Namespace,
    name: str,
) -> detl.CrossValidationResult:
    """Cross-validate by patient, with at most n training images of each class."""
    folds = folds_by_patient(target.labels, target.patients, N_FOLDS, n, seed)
    return detl.cross_validate(
        transfer,
        target.images,
        target.labels,
        groups=target.patients,
        cv=folds,
        on_leak="ignore",  # of copies; no patient is on both sides
        checkpoint_dir=parsed.runs
        / "folds"
        / f"{parsed.backbone}_{slug(name)}_{n or 'all'}_{seed}",
        random_state=seed,
        n_jobs=parsed.n_jobs,
    )


def write(
    folder: Path,
    found: Mapping[tuple[str, int, int], detl.CrossValidationResult],
    target: material.Part,
    parsed: argparse.Namespace,
) -> None:
    """Write accuracy from each source, its difference to domain extension, and the curves."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = sorted({seed for _, _, seed in found})
    rows: list[dict[str, object]] = []
    curves: dict[str, dict[int, tuple[float, float, float]]] = {}
    for name, n in dict.fromkeys((name, n) for name, n, _ in found):
        mine = [found[name, n, seed] for seed in seeds if (name, n, seed) in found]
        reference = LITE_ADULTS if name.startswith("EfficientNet") else ADULTS
        theirs = [found[reference, n, seed] for seed in seeds if (reference, n, seed) in found]
        more, of_seeds = "", ""
        if name != reference and len(theirs) == len(mine):
            better = [experiment.right(a) - experiment.right(b) for a, b in zip(mine, theirs)]
            paired = experiment.paired(np.mean(better, axis=0), target.patients)
            more = "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * v for v in paired.values()))
            of_seeds = " ".join(f"{100 * np.mean(one):+.1f}" for one in better)
        of_all = experiment.paired(
            sum(experiment.right(result) for result in mine) / len(mine), target.patients
        )
        curves.setdefault(name, {})[n] = tuple(of_all.values())
        rows.append(
            {
                "network": "efficientnet_lite0"
                if name.startswith("EfficientNet")
                else parsed.backbone,
                "source": name.removeprefix("EfficientNet-Lite0: "),
                "images per class": n or "all",
                "accuracy": "{:.3f} ({:.3f} to {:.3f})".format(*of_all.values()),
                "of each seed": " ".join(f"{result.accuracy:.3f}" for result in mine),
                "ROC AUC": f"{np.mean([result.scores['roc_auc'].mean for result in mine]):.3f}",
                "points more than domain extension": more,
                "points of each seed": of_seeds,
            }
        )
    write_csv(folder / "claim.csv", rows)
    n_all = len(target.labels) * (N_FOLDS - 1) / N_FOLDS / N_CLASSES
    if figure := draw(curves, n_all=n_all, n_classes=N_CLASSES):
        figure.savefig(folder / "curves.png", dpi=110)
    for seed in seeds:
        same = {name: found[name, n, of] for name, n, of in found if (n, of) == (ALL, seed)}
        if len(same) > 1:
            compared = compare_results(same)
            (folder / f"comparison_{seed}.txt").write_text(f"{compared}\n")
    any_result = next(iter(found.values()))
    record = {
        "source": SOURCE,
        "target": TARGET | {"epochs": parsed.target_epochs},
        "pixels": parsed.size,
        "seeds": seeds,
        "images": len(target.labels),
        "patients": len(set(target.patients.tolist())),
        "per class": {
            name: int((target.labels == name).sum()) for name in np.unique(target.labels)
        },
        "versions": any_result.versions,
    }
    (folder / "settings.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
