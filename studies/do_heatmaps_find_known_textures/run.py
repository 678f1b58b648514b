"""Ask Grad-CAM where the truth is known: textures at random places that a small network knows.

`tests/faithfulness` asserts limits for the first of the seeds.

Run: ``python -m studies.do_heatmaps_find_known_textures.run``
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import keras
import numpy as np
from keras import layers

from detl import GradCAM, faithfulness

RESULTS = Path(__file__).parent / "results"

SIZE, PATCH, N_CLASSES = 48, 12, 4
ROWS, COLUMNS = np.indices((PATCH, PATCH))
TEXTURES = np.stack(
    [
        ROWS % 4 < 2,
        COLUMNS % 4 < 2,
        (ROWS // 2 + COLUMNS // 2) % 2 == 0,
        (ROWS + COLUMNS) % 6 < 3,
    ]
)


def draw(n: int, seed: int, n_objects: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw noise with textures at random places, side by side: images, labels, masks.

    A texture has about the noise's mean and variance: nothing but its pattern gives it away.
    """
    generator = np.random.default_rng(seed)
    images = generator.normal(128, 45, (n, SIZE, SIZE))
    labels = np.stack([generator.permutation(4)[:n_objects] for _ in range(n)])
    strip = SIZE // n_objects
    x = generator.integers(0, strip - PATCH + 1, (n, n_objects)) + strip * np.arange(n_objects)
    y = generator.integers(0, SIZE - PATCH + 1, (n, n_objects))
    for i, k in np.ndindex(n, n_objects):
        rows, columns = slice(y[i, k], y[i, k] + PATCH), slice(x[i, k], x[i, k] + PATCH)
        contrast = np.where(TEXTURES[labels[i, k]], 48, -48)
        images[i, rows, columns] = 128 + contrast + generator.normal(0, 14, (PATCH, PATCH))
    masks = [
        faithfulness.box_masks([(*corner, PATCH, PATCH) for corner in zip(*corners)], (SIZE, SIZE))
        for corners in zip(x.T, y.T)
    ]
    return np.clip(images, 0, 255).astype("uint8")[..., None], labels.T, np.stack(masks)


def train(seed: int) -> keras.Model:
    """Train a small network, in seconds, that tells the textures apart wherever they are."""
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 1)),
            layers.Rescaling(1 / 64, offset=-2),
            layers.Conv2D(8, 5, strides=2, padding="same", use_bias=False, name="conv1"),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv2"),
            layers.BatchNormalization(momentum=0.9),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    images, (labels,), _ = draw(1216, seed)
    epochs, steps = 8, 1216 // 32
    rate = keras.optimizers.schedules.CosineDecay(1e-2, epochs * steps)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    model.fit(images, labels, epochs=epochs, batch_size=32, verbose=0)
    return model


def measured(seed: int) -> dict[str, list[float]]:
    """Train on one seed, and answer each question on a hundred images of another."""
    model = train(seed)
    cam = GradCAM(model)
    images, (labels,), (masks,) = draw(100, 1000 + seed)
    heatmaps = cam(images, target_class=labels)
    pairs, (one, other), (of_one, of_other) = draw(100, 2000 + seed, n_objects=2)
    of_pairs = {1: cam(pairs, target_class=one), 2: cam(pairs, target_class=other)}
    wrong = [cam(images, target_class=(labels + shift) % N_CLASSES) for shift in (1, 2, 3)]
    scrambled = faithfulness.randomization(
        model, images[:40], cam, target_class=labels[:40], random_state=seed
    )
    names = [group[-1] for group in scrambled.layers]
    settings = {"target_class": labels, "random_state": seed}

    def points(maps: np.ndarray, where: np.ndarray) -> float:
        return float(faithfulness.pointing_game(maps, where, random_state=seed).mean)

    return {
        "pointing game": [points(heatmaps, masks)],
        "energy on the texture over its area, of at most 16": [
            float(faithfulness.energy(heatmaps, masks, random_state=seed).mean)
        ],
        "intersection over union, the highest tenth, of at most 0.625": [
            float(faithfulness.intersection_over_union(heatmaps, masks, random_state=seed).mean)
        ],
        "two textures in one image: points at the one asked for": [
            points(of_pairs[1], of_one),
            points(of_pairs[2], of_other),
        ],
        "two textures in one image: points at the other": [
            points(of_pairs[1], of_other),
            points(of_pairs[2], of_one),
        ],
        "a wrong class: points at the texture": [points(maps, masks) for maps in wrong],
        "weights scrambled, last convolution and below: rank correlation": [
            float(step.mean) for step in scrambled.steps[names.index("conv2") :]
        ],
        "deletion": [float(faithfulness.deletion(model, images, heatmaps, **settings).mean)],
        "insertion": [float(faithfulness.insertion(model, images, heatmaps, **settings).mean)],
    }


def main() -> None:
    """Write the least and the most of each answer over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument(
        "--output",
        type=Path,
        default=RESULTS / "textures.csv",
    )
    parsed = parser.parse_args()
    answers: dict[str, list[float]] = {}
    for seed in range(parsed.seeds):
        for question, values in measured(seed).items():
            answers.setdefault(question, []).extend(values)
        print(f"seed {seed}", {name: values[-1] for name, values in answers.items()}, flush=True)
    with parsed.output.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["question", "least", "most", "seeds"])
        for question, values in answers.items():
            writer.writerow(
                [question, f"{min(values):.2f}", f"{max(values):.2f}", f"0 to {parsed.seeds - 1}"]
            )


if __name__ == "__main__":
    main()
