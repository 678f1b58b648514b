"""Run the experiment: ``python -m examples.covid_chest_xray --help``."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from examples.covid_chest_xray.profiles import PROFILES

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
        "--split",
        choices=("image", "patient", "both"),
        default="both",
        help="folds of images, as in the paper, of patients, or one after the other (default)",
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
    data.add_argument(
        "--exclude",
        choices=("patients", "images", "nothing"),
        default="patients",
        help="what of Data-B stays out of Data-A (default: its patients; the paper: nothing)",
    )

    settings = parser.add_argument_group("settings in place of the profile's")
    settings.add_argument("--size", type=int, help="of the images, pixels")
    settings.add_argument("--width", type=float, help="factor on the backbone's channels")
    settings.add_argument("--source-epochs", type=int)
    settings.add_argument("--target-epochs", type=int)
    settings.add_argument("--target-learning-rate", type=float)
    settings.add_argument("--precision", choices=("float32", "mixed_bfloat16", "auto"))
    settings.add_argument(
        "--mirroring",
        action=argparse.BooleanOptionalAction,
        help="whether the source stage also shows mirrored chests, as the paper does",
    )
    parsed = parser.parse_args(arguments)
    if parsed.profile != "phantoms":
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
    # TensorFlow greets with a page of notices about the machine; it reads this when first loaded.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from examples.covid_chest_xray import experiment, material, tables

    overrides = {
        name: getattr(parsed, name)
        for name in (
            "size",
            "width",
            "source_epochs",
            "target_epochs",
            "target_learning_rate",
            "precision",
            "mirroring",
        )
    }
    profile = replace(
        PROFILES[parsed.profile], **{k: v for k, v in overrides.items() if v is not None}
    )
    print(f"== data: {parsed.profile}", flush=True)
    if profile.phantoms is not None:
        data = material.from_phantoms(profile.phantoms, size=profile.size, random_state=parsed.seed)
    else:
        data = material.from_radiographs(
            nih=parsed.nih,
            nih_images=parsed.nih_images,
            covid=parsed.covid,
            covid_images=parsed.covid_images,
            size=profile.size,
            on_missing="skip" if parsed.skip_missing else "raise",
            pneumonia=parsed.pneumonia,
            exclude=parsed.exclude,
            random_state=parsed.seed,
        )
    print(tables.counts_text(data.counts))
    for name, fact in data.facts.items():
        print(f"{name.replace('_', ' ')}: {fact}")
    print(f"-- {time.perf_counter() - started:.0f} s")

    splits = ("image", "patient") if parsed.split == "both" else (parsed.split,)
    for backbone in parsed.backbone:
        experiment.run(
            data,
            profile=profile,
            backbone=backbone,
            splits=splits,
            output=parsed.output,
            random_state=parsed.seed,
        )

    print(f"\nDone in {(time.perf_counter() - started) / 60:.1f} minutes. Written to:")
    for backbone in parsed.backbone:
        for kind in ("numbers", "pictures"):
            for path in sorted((parsed.output / backbone / kind).iterdir()):
                print(f"  {path}")
    if data.kind == "phantoms":
        print(
            "\nPhantoms are not patients. These images were drawn by a program, and no number "
            "above says anything about disease."
        )
    else:
        print("\nNot for clinical use. Pictures show radiographs: mind their licences.")


if __name__ == "__main__":
    main()
