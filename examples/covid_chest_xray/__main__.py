"""Run the experiment: ``python -m examples.covid_chest_xray --help``."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from examples.covid_chest_xray.profiles import PROFILES
from examples.covid_chest_xray.protocols import FOR_PHANTOMS, FOR_RADIOGRAPHS, PROTOCOLS, Exclude

OUTPUT = Path("runs/covid_chest_xray")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the command line's settings."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.covid_chest_xray",
        description=(
            "COVID-19 on chest radiographs by domain extension transfer learning, after Basu, "
            "Mitra & Saha (2020). Not for clinical use."
        ),
    )
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default="phantoms",
        help="paper: 224 px, full width, 100 epochs; laptop: 128 px, a quarter of the width; "
        "phantoms (default): images drawn by code, no data needed, a few minutes",
    )
    parser.add_argument(
        "--backbone",
        nargs="+",
        choices=("alexnet", "vgg16", "resnet50"),
        default=["vgg16"],
        help="one or more (default: vgg16)",
    )
    parser.add_argument(
        "--protocol",
        nargs="+",
        choices=tuple(PROTOCOLS),
        help="ways to split, from the paper's to one that knows no patient (default: "
        f"{', '.join(FOR_RADIOGRAPHS)}); ...-by-heart: with a source model that has learned its "
        "training images by heart",
    )
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, help=f"folder for the results (default: {OUTPUT})"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")

    data = parser.add_argument_group("radiographs", "needed by all profiles but phantoms")
    data.add_argument("--nih", type=Path, metavar="FOLDER", help="with Data_Entry_2017.csv")
    data.add_argument(
        "--nih-images", type=Path, nargs="+", metavar="FOLDER", help="of the NIH images"
    )
    data.add_argument("--covid", type=Path, metavar="FOLDER", help="with metadata.csv (ieee8023)")
    data.add_argument(
        "--covid-images", type=Path, nargs="+", metavar="FOLDER", help="of the COVID-19 images"
    )
    data.add_argument(
        "--skip-missing",
        action="store_true",
        help="leave out images that a table names but no folder holds (default: an error)",
    )
    data.add_argument(
        "--pneumonia",
        choices=("only", "any"),
        default="only",
        help="images whose only finding is pneumonia (default, the paper's rule), or any with it",
    )
    parser.add_argument(
        "--n-jobs", type=int, help="folds trained side by side; -1 for as many as there are cores"
    )
    settings = parser.add_argument_group("settings in place of the profile's")
    settings.add_argument("--size", type=int, help="of the images, pixels")
    settings.add_argument("--width", type=float, help="factor on the backbone's channels")
    settings.add_argument("--source-epochs", type=int)
    settings.add_argument("--by-heart-epochs", type=int)
    settings.add_argument(
        "--target-epochs", type=int, nargs="+", help="of several, one is chosen on an inner split"
    )
    settings.add_argument("--target-learning-rate", type=float)
    settings.add_argument("--precision", choices=("float32", "mixed_bfloat16", "auto"))
    settings.add_argument(
        "--mirroring",
        action=argparse.BooleanOptionalAction,
        help="whether the source stage also shows mirrored chests, as the paper does",
    )
    parsed = parser.parse_args(arguments)
    drawn = parsed.profile == "phantoms"
    parsed.protocol = parsed.protocol or list(FOR_PHANTOMS if drawn else FOR_RADIOGRAPHS)
    if drawn and (leaky := {n for n in parsed.protocol if PROTOCOLS[n].exclude != "patients"}):
        parser.error(
            f"--protocol {', '.join(sorted(leaky))} shares images or patients between source and "
            "target; drawn patients are of one set only. Give --profile laptop or paper"
        )
    if not drawn:
        needed = ("nih", "nih_images", "covid", "covid_images")
        missing = [f"--{n.replace('_', '-')}" for n in needed if getattr(parsed, n) is None]
        if missing:
            parser.error(
                f"profile {parsed.profile} reads radiographs and needs {', '.join(missing)}; "
                "--profile phantoms needs no data"
            )
    return parsed


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the experiment for every backbone asked for."""
    parsed = parse(arguments)
    started = time.perf_counter()
    with _without_notices():
        from examples.covid_chest_xray import experiment, material, paper_sets

    overrides = {
        name: getattr(parsed, name)
        for name in (
            "size",
            "width",
            "source_epochs",
            "by_heart_epochs",
            "target_learning_rate",
            "precision",
            "mirroring",
        )
    }
    profile = replace(
        PROFILES[parsed.profile], **{k: v for k, v in overrides.items() if v is not None}
    )
    if parsed.target_epochs:
        profile = replace(profile, target_epochs=tuple(parsed.target_epochs))
    materials: dict[Exclude, material.Material] = {}
    for exclude in dict.fromkeys(PROTOCOLS[name].exclude for name in parsed.protocol):
        kept_out = "" if parsed.profile == "phantoms" else f"; not in Data-A: target {exclude}"
        print(f"== data: {parsed.profile}{kept_out}", flush=True)
        if profile.phantoms is not None:
            data = material.from_phantoms(
                profile.phantoms, size=profile.size, random_state=parsed.seed
            )
        else:
            data = material.from_radiographs(
                nih=parsed.nih,
                nih_images=parsed.nih_images,
                covid=parsed.covid,
                covid_images=parsed.covid_images,
                size=profile.size,
                on_missing="skip" if parsed.skip_missing else "raise",
                pneumonia=parsed.pneumonia,
                exclude=exclude,
                random_state=parsed.seed,
            )
        materials[exclude] = data
        print(paper_sets.counts_text(data.counts, beside_paper=data.kind != "phantoms"))
        for name, fact in data.facts.items():
            print(f"{name.replace('_', ' ')}: {fact}")
        print(f"-- {time.perf_counter() - started:.0f} s")

    for backbone in parsed.backbone:
        experiment.run(
            materials,
            profile=profile,
            backbone=backbone,
            protocols=parsed.protocol,
            output=parsed.output,
            n_jobs=parsed.n_jobs,
            random_state=parsed.seed,
        )

    print(f"\nDone in {(time.perf_counter() - started) / 60:.1f} minutes.")
    for backbone in parsed.backbone:
        folder = parsed.output / backbone
        print(f"Report, to open in a browser:    {folder / 'report.html'}")
        print(f"Heatmaps with the known lesions: {folder / 'pictures' / 'hirescam.png'}")
        print(f"Tables and curves:               {folder / 'numbers'}")
    if data.kind == "phantoms":
        print("Phantoms are drawn by a program: no number above says anything about disease.")
    else:
        print("Not for clinical use. Pictures show radiographs: mind their licences.")


@contextmanager
def _without_notices() -> Iterator[None]:
    """Hide what TensorFlow writes about the machine when it is loaded and looks for a GPU.

    Its first lines come before any setting is read, so standard error itself is put aside.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import keras

        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            tf.config.list_physical_devices()
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


if __name__ == "__main__":
    main()
