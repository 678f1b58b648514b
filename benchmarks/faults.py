"""Flip bits of files and kill runs, again and again, and count what holds.

A case holds if what was damaged is refused by its name, or computed again with a warning, and
if all that comes out is what a run gives that nothing disturbs, to the last bit.

Run: ``python -m benchmarks.faults`` (on two cores, five minutes)
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# The number of threads decides the order of sums, and so the last bits.
os.environ |= dict.fromkeys(
    ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from PIL import Image
from sklearn.dummy import DummyClassifier

from benchmarks.rows import measured_with, write_rows
from detl import (
    CrossValidationResult,
    DomainExtensionTransfer,
    FeatureExtractor,
    SourceModel,
    backbones,
    cross_validate,
    features,
    images,
    load_source,
)

PROCESSES = multiprocessing.get_context("spawn")
LABELS = np.array(["dim", "bright"] * 15)
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 1)).astype("uint8")
Cases = Iterator[bool]


def source() -> SourceModel:
    """Return a small one, the same in every process."""
    model = backbones.vgg16((32, 32, 1), width=0.0625)
    generator = np.random.default_rng(0)
    model.set_weights([generator.uniform(0.01, 0.1, w.shape) for w in model.get_weights()])
    head = keras.layers.Dense(2, activation="softmax", kernel_initializer="ones", name="head")
    model = keras.Model(model.input, head(model.output))
    return SourceModel(model=model, classes=np.unique(LABELS), history={}, best_epoch=0)


def validated(classifier: Any, folder: Path | None = None) -> CrossValidationResult:
    """Cross-validate with three folds, which are the same every time."""
    return cross_validate(
        classifier, PIXELS, LABELS, n_splits=3, random_state=0, checkpoint_dir=folder
    )


def is_refused(read: Callable[[], object], *parts: str) -> bool:
    """Whether a file is refused with these parts in the message."""
    try:
        read()
    except ValueError as error:
        return all(part in str(error) for part in parts)
    return False


def is_replaced(compute: Callable[[], np.ndarray], expected: np.ndarray, name: str) -> bool:
    """Whether it is computed again, to the last bit, with a warning that names the file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = compute()
    return np.array_equal(found, expected) and any(name in str(w.message) for w in caught)


# ---------------------------------------------------------------------------------------- bit flips


def flipped(path: Path, times: int) -> Iterator[None]:
    """Flip one bit after the other, alone in the file's folder, and put the file back at last."""
    content = path.read_bytes()
    for position in np.linspace(0, len(content) - 1, times).astype(int):
        broken = bytearray(content)
        broken[position] ^= 1 << position % 8
        path.write_bytes(broken)
        yield
    path.write_bytes(content)


def flips_in_results(folder: Path, times: int) -> Cases:
    """Flip bits of a saved result."""
    path = validated(DummyClassifier()).save(folder / "result.json")
    for _ in flipped(path, times):
        yield is_refused(lambda: CrossValidationResult.load(path), path.name)


def flips_in_sources(folder: Path, times: int) -> Cases:
    """Flip bits of a saved source model."""
    path = source().save(folder / "source.keras")
    for _ in flipped(path, times):
        yield is_refused(lambda: load_source(path), path.name)


def flips_in_folds(folder: Path, times: int) -> Cases:
    """Flip bits of a finished fold in ``checkpoint_dir``."""
    expected = validated(DummyClassifier(), folder).probabilities
    path = folder / "fold_001.npz"
    for _ in flipped(path, times):
        yield is_replaced(
            lambda: validated(DummyClassifier(), folder).probabilities, expected, path.name
        )


def flips_in_features(folder: Path, times: int) -> Cases:
    """Flip bits of features in ``cache_dir``."""
    extractor = FeatureExtractor(source(), cache_dir=folder)
    expected = extractor.fit_transform(PIXELS)
    (path,) = folder.glob("*.features.npy")
    for _ in flipped(path, times):
        for other in folder.glob("*.features.npy"):  # computed again in the case before
            if other != path:
                other.unlink()
        features.clear_cache()
        yield is_replaced(lambda: extractor.transform(PIXELS), expected, path.name)


def flips_in_memory_maps(folder: Path, times: int) -> Cases:
    """Flip bits of a memory map of images, and of the list beside it."""
    files = [folder / f"{row}.png" for row in range(len(PIXELS))]
    for file, pixels in zip(files, PIXELS, strict=True):
        Image.fromarray(pixels[..., 0]).save(file)

    def read() -> np.ndarray:
        return images.load(files, size=(32, 32), memory_map=folder / "images.npy").images[:]

    read()
    for name in ("images.npy", "images.npy.files"):
        for _ in flipped(folder / name, times // 2):
            yield is_refused(read, "images.npy")


# -------------------------------------------------------------------------------- several processes


def train(folder: Path, answer: Path) -> None:
    """Cross-validate a transfer, and write down what it says."""
    transfer = DomainExtensionTransfer(source(), epochs=3, learning_rate=0.01)
    np.save(answer, validated(transfer, folder).probabilities)


def kills(folder: Path, times: int) -> Cases:
    """Kill a run at a random moment, and let another go on."""
    run(train, folder / "undisturbed", folder / "expected.npy")
    expected = np.load(folder / "expected.npy")
    generator = np.random.default_rng(0)
    for number in range(times):
        into, answer = folder / f"run{number}", folder / f"{number}.npy"
        process = PROCESSES.Process(target=train, args=(into, answer))
        process.start()
        while not (into / "run.json").exists() and process.is_alive():
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 4))
        process.kill()
        process.join()
        run(train, into, answer)
        yield np.array_equal(np.load(answer), expected)


def run(target: Callable[..., None], *arguments: Any) -> bool:
    """Run a function in a process of its own, and say whether it went well."""
    process = PROCESSES.Process(target=target, args=arguments)
    process.start()
    process.join()
    return process.exitcode == 0


FAULTS = (
    (flips_in_results, 200),
    (flips_in_sources, 200),
    (flips_in_folds, 200),
    (flips_in_features, 20),
    (flips_in_memory_maps, 400),
    (kills, 4),
)


def main() -> None:
    """Try each fault, and write a row for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the cases, to be quick")
    parser.add_argument("--only", help="name of one fault, such as kills")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/faults.csv"))
    parsed = parser.parse_args()
    rows = []
    for fault, times in FAULTS:
        if parsed.only not in (None, fault.__name__):
            continue
        folder = Path(tempfile.mkdtemp(prefix="faults-"))
        started = time.perf_counter()
        held = list(fault(folder, max(2, round(parsed.share * times))))
        shutil.rmtree(folder)
        rows.append(
            {
                "fault": fault.__doc__.splitlines()[0].rstrip("."),
                "tried": len(held),
                "held": sum(held),
                "seconds": f"{time.perf_counter() - started:.0f}",
                **measured_with("keras", "tensorflow", "numpy"),
            }
        )
        print(*rows[-1].values(), flush=True)
        write_rows(parsed.output, rows)


if __name__ == "__main__":
    main()
