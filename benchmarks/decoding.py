"""Time reading 1024-pixel PNG and JPEG as 224-pixel arrays: one Pillow loop, images.load, others.

The images are drawn: smooth shadows, bars like ribs and noise, so that a PNG takes about as many
bytes as a radiograph's (0.4 to 0.6 MB); every tenth file is drawn, the others are links to it.
All recipes run in one process, in turn, with the files in the system's cache; each timing stands
beside the Pillow loop's of the same round. How far each is from Pillow's pixels is measured on the
same images.

Run, where OpenCV, pyvips and TensorFlow are installed too: ``python -m benchmarks.decoding``
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.rows import measured_with, write_rows
from detl import images

SIDE, SIZE, SEED = 1024, 224, 0
LINKS = 10
REFERENCE = "Pillow, one loop"
Recipe = Callable[[Sequence[Path]], np.ndarray]


def draw(path: Path, seed: int) -> None:
    """Draw one picture, as PNG and as JPEG."""
    generator = np.random.default_rng([SEED, seed])
    shadows = Image.fromarray(generator.uniform(0, 200, (12, 12)).astype("float32"))
    pixels = np.asarray(shadows.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) + 0
    rows, columns = np.indices((SIDE, SIDE), dtype="float32")
    ribs = np.sin((rows + 0.3 * np.abs(columns - SIDE / 2)) / generator.uniform(14, 20))
    pixels += 25 * (ribs > 0.4) + generator.normal(0, 2.5, pixels.shape)
    picture = Image.fromarray(pixels.clip(0, 255).astype("uint8"))
    picture.save(path.with_suffix(".png"))
    picture.save(path.with_suffix(".jpg"), quality=95)


def prepare(paths: list[Path]) -> None:
    """Draw every tenth picture that is not there, and link the others to it."""
    drawn = [(row, path) for row, path in enumerate(paths) if row % LINKS == 0]
    missing = [(path, row) for row, path in drawn if not path.with_suffix(".jpg").exists()]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda arguments: draw(*arguments), missing))
    for row, path in enumerate(paths):
        for suffix in (".png", ".jpg"):
            if not path.with_suffix(suffix).exists():
                original = paths[row - row % LINKS].with_suffix(suffix)
                os.link(original, path.with_suffix(suffix))


def pillow(path: Path) -> np.ndarray:
    """Decode and resize as most people do, with images.load's filter."""
    with Image.open(path) as file:
        return np.asarray(file.convert("L").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def opencv(path: Path) -> np.ndarray:
    """Decode by OpenCV, with the one of its filters that averages."""
    import cv2

    cv2.setNumThreads(1)  # the pool below has the cores
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def vips(path: Path) -> np.ndarray:
    """Decode by libvips; a JPEG as a small version of itself, which is its way."""
    import pyvips

    return pyvips.Image.thumbnail(str(path), SIZE, height=SIZE, size="force").numpy()


def tensorflow(paths: Sequence[Path]) -> np.ndarray:
    """Decode by TensorFlow, in a pipeline that takes all cores."""
    import tensorflow as tf

    def read(path: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_image(tf.io.read_file(path), channels=1, expand_animations=False)
        small = tf.image.resize(pixels, (SIZE, SIZE), antialias=True)
        return tf.cast(tf.round(small), "uint8")

    files = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    return np.stack(list(files.map(read, num_parallel_calls=tf.data.AUTOTUNE).as_numpy_iterator()))


def in_a_loop(read: Callable[[Path], np.ndarray]) -> Recipe:
    """Read one file after the other."""
    return lambda paths: np.stack([read(path) for path in paths])


def in_threads(read: Callable[[Path], np.ndarray]) -> Recipe:
    """Read as many files at once as there are cores."""

    def recipe(paths: Sequence[Path]) -> np.ndarray:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.stack(list(pool.map(read, paths)))

    return recipe


def by_detl(paths: Sequence[Path]) -> np.ndarray:
    """Read into an array."""
    return images.load(paths, size=(SIZE, SIZE)).images


def by_detl_into_a_file(paths: Sequence[Path]) -> np.ndarray:
    """Read into a memory map."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "images.npy")
        return images.load(paths, size=(SIZE, SIZE), memory_map=target).images


# How many of the files each recipe reads: the slow ones fewer. Times are per image.
RECIPES: dict[str, tuple[Recipe, float]] = {
    REFERENCE: (in_a_loop(pillow), 1),
    "images.load": (by_detl, 1),
    "images.load, memory map": (by_detl_into_a_file, 1),
    "Pillow, threads": (in_threads(pillow), 0.1),
    "OpenCV, one loop": (in_a_loop(opencv), 0.1),
    "OpenCV, threads": (in_threads(opencv), 0.1),
    "pyvips, threads": (in_threads(vips), 0.1),
    "TensorFlow, tf.data": (tensorflow, 0.1),
}


def measure(paths: list[Path], names: Sequence[str], rounds: int) -> list[dict[str, object]]:
    """Return a row per recipe."""
    expected = in_a_loop(pillow)(paths[:50]).astype(int)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    busy: dict[str, list[float]] = {name: [] for name in names}
    apart = {}
    for name in names:  # untimed: modules are loaded, files cached
        found = RECIPES[name][0](paths[:50]).reshape(expected.shape)
        apart[name] = np.abs(found.astype(int) - expected)
    for _ in range(rounds):
        for name in names:
            recipe, share = RECIPES[name]
            some = paths[: max(1, round(share * len(paths)))]
            started, computed = time.perf_counter(), time.process_time()
            recipe(some)
            seconds[name].append((time.perf_counter() - started) / len(some))
            busy[name].append((time.process_time() - computed) / len(some))
            print(f"{paths[0].suffix} {name}: {1000 * seconds[name][-1]:.2f} ms", flush=True)
    rows = []
    for name in names:
        ratios = [first / own for first, own in zip(seconds[REFERENCE], seconds[name])]
        rows.append(
            {
                "files": f"{len(paths)} {paths[0].suffix[1:].upper()}",
                "recipe": name,
                "ms an image, median": round(1000 * statistics.median(seconds[name]), 2),
                "times faster than the loop, median": round(statistics.median(ratios), 2),
                "lowest to highest": f"{min(ratios):.2f} to {max(ratios):.2f}",
                "ms of processor": round(1000 * statistics.median(busy[name]), 2),
                "levels from Pillow, mean": round(float(apart[name].mean()), 3),
                "greatest": int(apart[name].max()),
                "rounds": rounds,
            }
        )
    return rows


def main() -> None:
    """Draw the images once, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/decoding.csv"))
    parser.add_argument("--folder", type=Path, help="where images are kept for another run")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--suffixes", nargs="+", default=["png", "jpg"])
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--draw-only", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{row:04}.png" for row in range(arguments.images)]
        prepare(paths)
        if arguments.draw_only:
            return
        rows = []
        for suffix in arguments.suffixes:
            files = [path.with_suffix(f".{suffix}") for path in paths]
            rows += measure(files, arguments.recipes, arguments.rounds)
    packages = ("numpy", "pillow", "opencv-python-headless", "pyvips-binary", "tensorflow")
    last = {"seed": SEED, **measured_with(*packages)}
    write_rows(arguments.output, [{**row, **last} for row in rows])


if __name__ == "__main__":
    main()
