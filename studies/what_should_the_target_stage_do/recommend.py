"""Print what ``detl.recommend`` says of a target set, with its defaults.

Run: ``python -m studies.what_should_the_target_stage_do.recommend --data FOLDER --cache FOLDER``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras

import detl
from studies.shared import tasks

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Write what is printed of each set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the radiographs")
    parser.add_argument("--cache", type=Path, required=True, help="folder of the sources")
    parser.add_argument("--tasks", nargs="+", default=["rsna", "digits", "data-b"])
    parser.add_argument("--imagenet", type=Path, help="EfficientNet-Lite0, for radiographs")
    parsed = parser.parse_args()
    for task in parsed.tasks:
        target = tasks.read(task, parsed.data)
        imagenet = None
        if parsed.imagenet is not None and task != "digits":
            imagenet = keras.saving.load_model(parsed.imagenet, compile=False)
        found = detl.recommend(
            tasks.source(task, "alexnet", parsed.data, parsed.cache),
            target.images,
            target.labels,
            groups=target.groups,
            imagenet=imagenet,
            random_state=0,
        )
        print(task, found, sep="\n\n", flush=True)
        (RESULTS / f"recommend_{task}.txt").write_text(f"{found}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
