"""Ask whether memory grows with the number of images: 10,000 and 100,000 of 224 pixels.

The images are a memory-mapped file of noise. Each number has a process of its own that pretrains a
small AlexNet for one epoch, runs the trunk into ``cache_dir``, fits the tail for one epoch and
predicts, all on every image. What counts is the memory that the process has for itself
(``RssAnon``), not the pages of files, which the system takes back when it needs them.

Run, with 9 GB free on the disk of ``--folder``: ``python -m benchmarks.scale``
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import measured_with, write_rows

PIXELS, WIDTH, BATCH = (224, 224, 1), 1 / 16, 64
NUMBERS = (10_000, 100_000)


class Memory:
    """The most memory that this process had for itself since the last question, MiB."""

    def __init__(self) -> None:
        self._most = 0.0
        self._lock = threading.Lock()  # a look that began before a question must not outlast it
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            with self._lock:
                self._most = max(self._most, self.now())
            time.sleep(0.05)

    def now(self) -> float:
        """Return what it has at this moment."""
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) / 1024

    def most(self) -> float:
        """Return the most since the last call."""
        with self._lock:
            most, self._most = max(self._most, self.now()), 0.0
        return most


def write_images(path: Path, n: int) -> None:
    """Write noise, a part at a time."""
    generator = np.random.default_rng(0)
    images = np.lib.format.open_memmap(path, "w+", "uint8", (n, *PIXELS))
    part = generator.integers(0, 256, (1000, *PIXELS), dtype="uint8")
    for start in range(0, n, len(part)):
        # Another level for every thousand: no two images are the same.
        images[start : start + len(part)] = part + np.uint8(start // len(part))
    images.flush()


def stages(n: int, folder: str, pipe: Any) -> None:
    """Run all stages on all images, and send what each took."""
    import detl

    images = np.load(f"{folder}/{n}.npy", mmap_mode="r")
    labels = np.arange(n) % 2
    memory = Memory()

    def measured(call: Callable[[], Any]) -> Any:
        memory.most()
        started = time.perf_counter()
        found = call()
        pipe.send((time.perf_counter() - started, memory.most()))
        return found

    source = measured(
        lambda: detl.pretrain(
            detl.backbones.alexnet(PIXELS, width=WIDTH),
            images,
            labels,
            epochs=1,
            batch_size=BATCH,
            random_state=0,
            verbose=0,
        )
    )
    transfer = detl.DomainExtensionTransfer.as_published(
        source, epochs=1, batch_size=BATCH, cache_dir=f"{folder}/features_{n}", random_state=0
    )
    measured(lambda: transfer._extend(np.arange(2)).trunk(images))
    measured(lambda: transfer.fit(images, labels))  # the trunk's features are found again
    measured(lambda: transfer.predict_proba(images))


def main() -> None:
    """Measure both numbers, and write a row for each stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where images and features are written")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scale.csv"))
    parsed = parser.parse_args()
    names = ("pretrain, one epoch", "trunk", "fit, one epoch of the tail", "predict")
    found: dict[int, list[tuple[float, float]]] = {}
    context = multiprocessing.get_context("spawn")
    for n in NUMBERS:
        with tempfile.TemporaryDirectory(dir=parsed.folder) as folder:
            write_images(Path(folder, f"{n}.npy"), n)
            here, there = context.Pipe()
            process = context.Process(target=stages, args=(n, folder, there))
            process.start()
            there.close()  # so that a process that dies is noticed
            found[n] = []
            for name in names:
                found[n].append(here.recv())
                print(n, name, *(f"{value:.0f}" for value in found[n][-1]), flush=True)
            process.join()
    few, many = NUMBERS
    rows = [
        {
            "stage": name,
            **{f"MiB, {n:,} images": f"{found[n][k][1]:.0f}" for n in NUMBERS},
            "memory, ratio": f"{found[many][k][1] / found[few][k][1]:.2f}",
            **{f"ms an image, {n:,} images": f"{1e3 * found[n][k][0] / n:.2f}" for n in NUMBERS},
            **measured_with("keras", "tensorflow"),
        }
        for k, name in enumerate(names)
    ]
    write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
