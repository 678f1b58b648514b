"""Time the target stage fed by detl's pipeline and by the one Keras makes of a generator.

Each pipeline has processes of its own, since a generator changes how the whole process gets its
memory; the processes take turns.

Run: ``python -m benchmarks.input_pipeline``
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np

from benchmarks.rows import write_rows
from detl import DomainExtensionTransfer, backbones
from detl.pretraining.batches import BatchStream, training_batches

BATCH, N_CLASSES, ROUNDS, FITS, EPOCHS = 32, 4, 3, 2, 2
GENERATOR, OURS = "Keras's, of a generator", "detl's"
# Network, pixels, width, where training begins, images.
CASES: dict[str, tuple[str, int, float, str | None, int]] = {
    "alexnet, 128 px, a quarter of the width, everything": ("alexnet", 128, 0.25, "input", 512),
    "resnet50, 128 px, a quarter of the width, last block": ("resnet50", 128, 0.25, None, 512),
    "vgg16, 128 px, a quarter of the width, last block": ("vgg16", 128, 0.25, None, 512),
    "resnet50, 224 px, full width, last block": ("resnet50", 224, 1.0, None, 64),
}


class Steps(keras.callbacks.Callback):
    """Write down the seconds of every step, and when training was over."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begin anew."""
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Stop it."""
        self.seconds.append(time.perf_counter() - self.started)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Note when the last step was done; what follows closes the pipeline."""
        self.ended = time.perf_counter()


def fits(case: str, pipeline: str) -> list[dict[str, float]]:
    """Fit a few times, the first time to compile, and return the numbers of the others."""
    name, pixels, width, trainable_from, n_images = CASES[case]
    source = getattr(backbones, name)((pixels, pixels, 1), width=width)
    options = {} if trainable_from is None else {"trainable_from": trainable_from}
    extension = DomainExtensionTransfer.as_published(source, random_state=0, **options)._extend(
        np.arange(N_CLASSES)
    )
    model = extension.tail.model
    generator = np.random.default_rng(0)
    # Noise in the place of the trunk's output.
    features = generator.random((n_images, *model.input_shape[1:]), dtype="float32")
    targets = generator.integers(0, N_CLASSES, n_images)
    stream, steps, found = BatchStream(), Steps(), []
    for _ in range(1 + FITS):
        batches = training_batches(
            features, targets, batch_size=BATCH, generator=np.random.default_rng(0)
        )
        pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        model.fit(
            batches if pipeline == GENERATOR else stream.of(batches),
            steps_per_epoch=n_images // BATCH,
            epochs=EPOCHS,
            callbacks=[steps],
            shuffle=False,
            verbose=0,
        )
        found.append(
            {
                "step": 1000 * statistics.median(steps.seconds) / BATCH,
                "closing": time.perf_counter() - steps.ended,
                "training": sum(steps.seconds),
                "pages": (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - pages)
                / len(steps.seconds),
            }
        )
    return found[1:]


def main() -> None:
    """Let the processes take turns and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/input_pipeline.csv")
    )
    parser.add_argument("--one", nargs=2, help="fit in this process: a case and a pipeline")
    parsed = parser.parse_args()
    if parsed.one:
        print(json.dumps(fits(*parsed.one)))
        return

    rows = []
    for case in CASES:
        found: dict[str, list[dict[str, float]]] = {GENERATOR: [], OURS: []}
        for _ in range(ROUNDS):
            for pipeline, all_fits in found.items():
                command = [sys.executable, "-m", "benchmarks.input_pipeline"]
                printed = subprocess.run(
                    [*command, "--one", case, pipeline], check=True, stdout=subprocess.PIPE
                )
                all_fits += json.loads(printed.stdout.splitlines()[-1])
        medians = {
            pipeline: statistics.median(fit["step"] for fit in all_fits)
            for pipeline, all_fits in found.items()
        }
        for pipeline, all_fits in found.items():
            steps, closing, training, pages = (
                [fit[key] for fit in all_fits] for key in ("step", "closing", "training", "pages")
            )
            rows.append(
                {
                    "target stage": case,
                    "pipeline": pipeline,
                    "fits": len(all_fits),
                    "step, ms per image": f"{medians[pipeline]:.2f}",
                    "fastest": f"{min(steps):.2f}",
                    "slowest": f"{max(steps):.2f}",
                    "ratio": f"{medians[GENERATOR] / medians[pipeline]:.2f}",
                    "new pages a step": f"{statistics.median(pages):.0f}",
                    "training, s": f"{statistics.median(training):.1f}",
                    "closing, s": f"{statistics.median(closing):.2f}",
                    "longest closing, s": f"{max(closing):.2f}",
                    "cores": len(os.sched_getaffinity(0)),
                    "keras": keras.__version__,
                }
            )
            print(*rows[-1].values(), flush=True)
        write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
