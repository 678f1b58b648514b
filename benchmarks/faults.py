"""Flip bits of files and put code into them, again and again, and count what holds.

A case holds if the file is refused by its name, or computed again with a warning, and if all that
comes out is what a run gives that nothing disturbs, to the last bit.

Run: ``python -m benchmarks.faults`` (on two cores, two minutes)
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from benchmarks.cases import LABELS, PIXELS, Cases, Fault, is_refused, report, source, validated
from detl import (
    CrossValidationResult,
    DomainExtensionTransfer,
    FeatureExtractor,
    features,
    images,
    load_source,
)


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
    path = validated().save(folder / "result.json")
    for _ in flipped(path, times):
        yield is_refused(lambda: CrossValidationResult.load(path), path.name)


def flips_in_sources(folder: Path, times: int) -> Cases:
    """Flip bits of a saved source model."""
    path = source().save(folder / "source.keras")
    for _ in flipped(path, times):
        yield is_refused(lambda: load_source(path), path.name)


def flips_in_folds(folder: Path, times: int) -> Cases:
    """Flip bits of a finished fold in ``checkpoint_dir``."""
    expected = validated(checkpoint_dir=folder).probabilities
    path = folder / "fold_001.npz"
    for _ in flipped(path, times):
        yield is_replaced(
            lambda: validated(checkpoint_dir=folder).probabilities, expected, path.name
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


# ------------------------------------------------------------------------------------ hostile files


def hostile_sources(folder: Path, times: int) -> Cases:
    """Name a function that acts in a source model, and read it or fit with it."""
    honest = source().save(folder / "honest.keras")
    path = folder / "hostile.keras"
    names = [
        (place.__name__.rpartition(".")[2], name)
        for place in (keras.config, keras.utils, keras.saving, keras.visualization, keras.models)
        for name in dir(place)
        if callable(getattr(place, name)) and not name.startswith("_")
    ]
    transfer = DomainExtensionTransfer(path, epochs=1)
    for position in np.linspace(0, len(names) - 1, min(times, len(names))).astype(int):
        module, name = names[position]
        act = {"class_name": "function", "module": f"keras.{module}", "config": name}
        write_hostile_source(honest, path, act | {"registered_name": name})
        yield is_refused(lambda: load_source(path), path.name, name, "not allowed")
        yield is_refused(lambda: transfer.fit(PIXELS, LABELS), path.name, name, "not allowed")


def write_hostile_source(honest: Path, path: Path, activation: dict[str, str]) -> None:
    """Write a copy of a file whose last layer has another activation."""
    with zipfile.ZipFile(honest) as before, zipfile.ZipFile(path, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name == "config.json":
                config = json.loads(content)
                (head,) = (x for x in config["config"]["layers"] if x["name"] == "head")
                head["config"]["activation"] = activation
                content = json.dumps(config).encode()
            after.writestr(name, content)


def hostile_folds(folder: Path, times: int) -> Cases:
    """Put a pickle that acts into a finished fold, and go on from it."""
    expected = validated(checkpoint_dir=folder).probabilities
    path = folder / "fold_001.npz"
    with np.load(path) as archive:
        honest = dict(archive)
    acted = folder / "acted"
    for name in list(honest)[:times]:
        hostile = honest | {name: np.array([Acts(acted)], dtype=object)}
        np.savez(path, allow_pickle=True, **hostile)  # no checksum, which would be refused first
        again = is_replaced(
            lambda: validated(checkpoint_dir=folder).probabilities, expected, path.name
        )
        yield again and not acted.exists()


class Acts:
    """Leave a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        """Return what is called."""
        return Path.touch, (self.path,)


FAULTS: dict[Fault, int] = {
    flips_in_results: 200,
    flips_in_sources: 200,
    flips_in_folds: 200,
    flips_in_features: 20,
    flips_in_memory_maps: 400,
    hostile_sources: 200,
    hostile_folds: 10,
}


def main() -> None:
    """Try each fault, and write a row for it."""
    report(FAULTS, description=str(__doc__).splitlines()[0], output="faults.csv")


if __name__ == "__main__":
    main()
