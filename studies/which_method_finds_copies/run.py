r"""Find planted copies among radiographs: perceptual hashes, features of networks, fine detail.

Copies of several kinds are planted among NIH and COVID-19 radiographs. Every method scores pairs of
images, one of them also mirrored. Its threshold is the lowest at which fewer than 1 in 1,000 images
is called a copy of another patient's image, on one half of the patients; recall and false alarms
are of the other half. Images of one patient that are called copies are counted apart.

    pip install imagehash
    python -m studies.which_method_finds_copies.run --nih FOLDER --covid FOLDER \
        --source source.keras

Expects ``Data_Entry_2017.csv``, ``images_128`` and, sharper copies of some of these, ``images_224``
in the first folder, ``metadata.csv`` and ``images_128`` in the second.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import imagehash
import keras
import numpy as np
from PIL import Image

from detl import backbones, images, load_source
from detl.folds.copies import THRESHOLD, copies_within, sketch
from examples.covid_chest_xray.tables import Records, read_covid, read_nih
from studies.shared.tables import write_csv

RESULTS = Path(__file__).parent / "results"

SEED = 0
SIZE = 128
N_COPIES = 200
Describe = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Copies of one kind; ``pixels[i]`` is one of image ``originals[i]``."""

    pixels: np.ndarray
    originals: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of each image the best score with another patient's and with the same patient's image.

    ``copies`` has, for each kind, the score of each copy with its original.
    """

    other_patient: np.ndarray
    same_patient: np.ndarray
    copies: dict[str, np.ndarray]
    seconds: float


# ---------------------------------------------------------------------------------------- copies


def saved(image: np.ndarray, quality: int) -> np.ndarray:
    """Return the image as a JPEG file gives it back."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """Return the image reduced to ``size`` and enlarged again."""
    small = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(small.resize(image.shape[::-1], Image.Resampling.BICUBIC))


def cropped(image: np.ndarray, generator: np.random.Generator, share: float) -> np.ndarray:
    """Return the image without ``share`` of height and width, cut off anywhere, at its old size."""
    side = round(len(image) * (1 - share))
    top, left = generator.integers(0, len(image) - side + 1, 2)
    part = Image.fromarray(image[top : top + side, left : left + side])
    return np.asarray(part.resize(image.shape[::-1], Image.Resampling.BILINEAR))


def brightened(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the image with other brightness and contrast, cut off at black and white."""
    contrast, brightness = generator.uniform(0.8, 1.2), generator.uniform(-25, 25)
    return np.clip(image * contrast + brightness, 0, 255).astype("uint8")


def rotated(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the image turned by up to five degrees."""
    angle = generator.uniform(-5, 5)
    return np.asarray(Image.fromarray(image).rotate(angle, Image.Resampling.BILINEAR))


def plant(pixels: np.ndarray, generator: np.random.Generator) -> dict[str, Planted]:
    """Return copies of the same images, drawn at random, in every kind."""
    kinds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "JPEG": lambda image: saved(image, int(generator.integers(30, 80))),
        "resized": lambda image: resized(image, 64),
        "cropped 5 %": lambda image: cropped(image, generator, 0.05),
        "brightened": lambda image: brightened(image, generator),
        "mirrored": lambda image: image[:, ::-1],
        "all of these": lambda image: saved(
            brightened(resized(cropped(image, generator, 0.05), 96), generator), 60
        )[:, ::-1],
        "cropped 10 %": lambda image: cropped(image, generator, 0.1),
        "rotated 5°": lambda image: rotated(image, generator),
    }
    originals = generator.choice(len(pixels), N_COPIES, replace=False)
    return {
        kind: Planted(pixels=np.stack([copy(pixels[i]) for i in originals]), originals=originals)
        for kind, copy in kinds.items()
    }


# --------------------------------------------------------------------------------------- methods


def hashes(pixels: np.ndarray, function: Callable, **options: int) -> np.ndarray:
    """Return bits of a perceptual hash as -1 and 1, so that a product counts equal ones."""
    bits = [function(Image.fromarray(image), **options).hash.reshape(-1) for image in pixels]
    return np.array(bits, dtype="float32") * 2 - 1


def features(pixels: np.ndarray, network: keras.Model) -> np.ndarray:
    """Return the output of a network, averaged over places where it has any."""
    output = network.predict(pixels[..., np.newaxis], batch_size=64, verbose=0)
    return output.mean(axis=(1, 2)) if output.ndim == 4 else output


def centred_features(pixels: np.ndarray, network: keras.Model, mean: np.ndarray) -> np.ndarray:
    """Return features without their mean, which all radiographs share."""
    return features(pixels, network) - mean


def thumbnails(pixels: np.ndarray) -> np.ndarray:
    """Return the first step of detl alone: 8 x 8 cells."""
    return sketch(pixels[..., np.newaxis]).coarse[0].reshape(len(pixels), -1)


def details(pixels: np.ndarray) -> np.ndarray:
    """Return the fine detail of detl's second step, to be compared without moving it."""
    sketches = sketch(pixels[..., np.newaxis])
    return sketches.fine[0].reshape(len(pixels), -1).astype("float32")


def compare(
    describe: Describe, pixels: np.ndarray, planted: dict[str, Planted], patients: np.ndarray
) -> Scores:
    """Return cosines of descriptions, the greater of the image and its mirror image."""

    def described(some: np.ndarray) -> np.ndarray:
        found = describe(some)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    started = time.perf_counter()
    plain, mirrored = described(pixels), described(pixels[:, :, ::-1])
    scores = np.maximum(plain @ plain.T, plain @ mirrored.T)
    seconds = time.perf_counter() - started
    np.fill_diagonal(scores, -1)
    same = patients[:, np.newaxis] == patients
    copies = {}
    for kind, of in planted.items():
        found = described(of.pixels)
        copies[kind] = np.maximum(
            (found * plain[of.originals]).sum(axis=1), (found * mirrored[of.originals]).sum(axis=1)
        )
    return Scores(
        other_patient=np.where(same, -1, scores).max(axis=1),
        same_patient=np.where(same, scores, -1).max(axis=1),
        copies=copies,
        seconds=seconds,
    )


def compare_in_detail(
    pixels: np.ndarray, planted: dict[str, Planted], patients: np.ndarray
) -> Scores:
    """Return the scores of detl's two steps; -1 for pairs that the first leaves out."""
    n = len(pixels)
    started = time.perf_counter()
    found = copies_within(sketch(pixels[..., np.newaxis]), np.zeros(n, int), threshold=-1)
    seconds = time.perf_counter() - started
    same = patients[found.pairs[:, 0]] == patients[found.pairs[:, 1]]
    best = {True: np.full(n, -1.0), False: np.full(n, -1.0)}
    for of_one_patient, scores in best.items():
        chosen = same == of_one_patient
        for side in (0, 1):
            np.maximum.at(scores, found.pairs[chosen, side], found.scores[chosen])
    copies = {}
    for kind, of in planted.items():
        together = np.concatenate([pixels, of.pixels])[..., np.newaxis]
        found = copies_within(sketch(together), np.zeros(len(together), int), threshold=-1)
        known = dict(zip(map(tuple, found.pairs.tolist()), found.scores))
        pairs = zip(of.originals.tolist(), range(n, len(together)))
        copies[kind] = np.array([known.get(pair, -1.0) for pair in pairs])
    return Scores(
        other_patient=best[False], same_patient=best[True], copies=copies, seconds=seconds
    )


# ---------------------------------------------------------------------------------------- report


def row(
    method: str,
    scores: Scores,
    planted: dict[str, Planted],
    counted: np.ndarray,
    threshold: float,
) -> dict[str, object]:
    """Return recall and false alarms among the counted images at a threshold."""
    recalls = {
        kind: round(float((values[counted[planted[kind].originals]] >= threshold).mean()), 3)
        for kind, values in scores.copies.items()
    }
    alarms = {
        name: round(1000 * float((values[counted] >= threshold).mean()), 1)
        for name, values in (
            ("other patients", scores.other_patient),
            ("same patient", scores.same_patient),
        )
    }
    return {
        "method": method,
        "images": int(counted.sum()),
        "threshold": round(threshold, 3),
        **recalls,
        **{f"per 1,000: {name}": value for name, value in alarms.items()},
        "seconds": round(scores.seconds, 1),
    }


def chosen_threshold(scores: Scores, counted: np.ndarray) -> float:
    """Return the lowest at which fewer than 1 in 1,000 is like another patient's image."""
    highest = np.sort(scores.other_patient[counted])[::-1]
    allowed = -(-len(highest) // 1000) - 1
    return float(np.nextafter(highest[allowed], 2))


def read(folder: Path, covid: Path) -> tuple[Records, Records]:
    """Return the records of both collections."""
    return (
        read_nih(folder / "Data_Entry_2017.csv", folder / "images_128", on_missing="skip"),
        read_covid(covid / "metadata.csv", covid / "images_128"),
    )


def load(paths: list[Path]) -> np.ndarray:
    """Return grey pixels."""
    return images.load(paths, size=(SIZE, SIZE)).images[..., 0]


def main() -> None:
    """Score every method and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nih", type=Path, required=True)
    parser.add_argument("--covid", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True, help="a source model, .keras")
    parser.add_argument("--n-images", type=int, default=3000)
    parser.add_argument("--output", type=Path, default=RESULTS / "copies.csv")
    arguments = parser.parse_args()
    generator = np.random.default_rng(SEED)
    nih, covid = read(arguments.nih, arguments.covid)
    paths = np.concatenate([nih.paths, covid.paths])
    patients = np.concatenate([nih.patients, covid.patients])
    every_pixel = load(list(paths))

    # All images of COVID-19, and NIH images to fill up, N_COPIES of them also at 224 px.
    sharper = np.array([(arguments.nih / "images_224" / path.name).is_file() for path in paths])
    is_nih = np.arange(len(paths)) < len(nih.paths)
    twice = generator.choice(np.flatnonzero(sharper), N_COPIES, replace=False)
    others = generator.permutation(np.setdiff1d(np.flatnonzero(is_nih), twice))
    n_others = arguments.n_images - len(covid.paths) - N_COPIES
    rows = np.concatenate([np.flatnonzero(~is_nih), twice, others[:n_others]])
    pixels, of_whom = every_pixel[rows], patients[rows]
    planted = plant(pixels, generator)
    planted["other reduction"] = Planted(
        pixels=load([arguments.nih / "images_224" / path.name for path in paths[twice]]),
        originals=len(covid.paths) + np.arange(N_COPIES),
    )
    names = np.unique(of_whom)
    first_half = np.isin(of_whom, generator.choice(names, len(names) // 2, replace=False))

    methods: dict[str, Describe] = {
        f"{function.__name__}, {size**2} bits": partial(hashes, function=function, hash_size=size)
        for function in (imagehash.phash, imagehash.dhash, imagehash.whash)
        for size in (8, 16)
    }
    keras.utils.set_random_seed(SEED)
    trained = load_source(arguments.source).model
    for title, network in (
        ("untrained network", backbones.vgg16((SIZE, SIZE, 1), width=0.25)),
        ("source model", trained),
    ):
        last_map = [layer for layer in network.layers if len(layer.output.shape) == 4][-1]
        pooled = keras.Model(network.inputs, last_map.output)
        methods[f"{title}, pooled maps"] = partial(features, network=pooled)
        methods[f"{title}, pooled maps less their mean"] = partial(
            centred_features, network=pooled, mean=features(pixels, pooled).mean(axis=0)
        )
    last_but_one = keras.Model(trained.inputs, trained.layers[-1].input)
    methods["source model, last layer but one"] = partial(features, network=last_but_one)
    methods["thumbnails of 8 x 8"] = thumbnails
    methods["fine detail, not moved"] = details

    table = []
    for method, describe in methods.items():
        scores = compare(describe, pixels, planted, of_whom)
        threshold = chosen_threshold(scores, first_half)
        table.append(row(method, scores, planted, ~first_half, threshold))
        print(table[-1], flush=True)
    scores = compare_in_detail(pixels, planted, of_whom)
    for title, threshold in (
        ("detl (thumbnails, then detail)", chosen_threshold(scores, first_half)),
        ("detl, its own threshold", THRESHOLD),
    ):
        table.append(row(title, scores, planted, ~first_half, threshold))
        print(table[-1], flush=True)

    order = np.concatenate([rows, np.setdiff1d(np.arange(len(paths)), rows)])
    scores = compare_in_detail(every_pixel[order], planted, patients[order])
    everything = np.ones(len(order), dtype=bool)
    title = "detl, its own threshold, all images"
    table.append(row(title, scores, planted, everything, THRESHOLD))
    print(table[-1], flush=True)

    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.output, table)


if __name__ == "__main__":
    main()
