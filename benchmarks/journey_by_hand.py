"""The journey of ``journey.py`` without detl: Keras, scikit-learn and matplotlib by their guides.

Frozen layers stay in ``fit`` and every fold builds its model anew, as Keras's guide to transfer
learning does; heatmaps are Keras's example of Grad-CAM, one image at a time.
"""

from __future__ import annotations

import base64
import html
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from benchmarks.journey import Case, Clock


def by_hand(case: Case, folder: Path, clock: Clock) -> dict[str, float]:
    """Take the journey by hand."""
    with clock.stage("start"):
        import tensorflow as tf  # noqa: F401
        from matplotlib.figure import Figure  # noqa: F401
        from sklearn.metrics import accuracy_score, classification_report, confusion_matrix
        from sklearn.model_selection import StratifiedKFold  # noqa: F401

        from detl import backbones  # the same networks
    with clock.stage("load"):
        source_images, source_labels, _ = read(folder / "source", case.size)
        images, labels, names = read(folder / "target", case.size)
    with clock.stage("pretrain"):
        base = getattr(backbones, case.network)((case.size, case.size, 1), width=case.width)
        pretrain(base, source_images, source_labels, case, clock)
        weights = base.get_weights()
    with clock.stage("cross-validate"):
        predicted = folds(case, images, labels, len(names), weights, clock)
    with clock.stage("heatmaps"):
        model = extended(case, len(names), weights)
        fit(model, images, labels, case, clock)
        maps = heatmaps(model, images)
    with clock.stage("shortcuts"):
        hidden = hide(images, case.size // 4)
        border = hide(images, case.size // 10)
        without, alone = (
            accuracy_score(labels, folds(case, changed, labels, len(names), weights, clock))
            for changed in (hidden, border)
        )
    with clock.stage("page"):
        accuracy = accuracy_score(labels, predicted)
        said = classification_report(labels, predicted, target_names=names)
        matrix = confusion_matrix(labels, predicted)
        said += f"\nwithout the middle {without:.3f}, the border alone {alone:.3f}"
        page(folder / "by_hand.html", said, matrix, names, images[:12], maps[:12])
    return {"accuracy": float(accuracy)}


def read(folder: Path, size: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read the images of a folder per class."""
    import keras

    data = keras.utils.image_dataset_from_directory(
        folder,
        color_mode="grayscale",
        image_size=(size, size),
        batch_size=32,
        shuffle=False,
        verbose=False,
    )
    images, labels = zip(*data, strict=True)
    return np.concatenate(images), np.concatenate(labels), data.class_names


def pretrain(
    base: keras.Model, images: np.ndarray, labels: np.ndarray, case: Case, clock: Clock
) -> None:
    """Train from scratch on augmented images, a fifth held out."""
    import keras

    augmentation = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(10 / 360),
            keras.layers.RandomZoom(0.1),
        ]
    )
    inputs = keras.Input(images.shape[1:])
    outputs = keras.layers.Dense(2, activation="softmax")(base(augmentation(inputs)))
    model = keras.Model(inputs, outputs)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-3, case.source_epochs * -(-len(images) * 4 // 5 // 32)
    )
    model.compile(
        keras.optimizers.Adam(rate, global_clipnorm=1.0),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    order = np.random.default_rng(0).permutation(len(images))
    best = keras.callbacks.EarlyStopping(
        "val_accuracy", patience=case.source_epochs, restore_best_weights=True
    )
    model.fit(
        images[order],
        labels[order],
        validation_split=0.2,
        epochs=case.source_epochs,
        batch_size=32,
        callbacks=[best, *clock.callbacks()],
        verbose=0,
    )


def extended(case: Case, n_classes: int, weights: list[np.ndarray]) -> keras.Model:
    """Return the source with a new head, and all but its last block frozen."""
    import keras

    from detl import backbones

    base = getattr(backbones, case.network)((case.size, case.size, 1), width=case.width)
    base.set_weights(weights)
    first = backbones.block_names(base)[-1]
    names = [layer.name for layer in base.layers]
    cut = next(index for index, name in enumerate(names) if name.startswith(first))
    for layer in base.layers[:cut]:
        layer.trainable = False
    outputs = keras.layers.Dense(n_classes, activation="softmax")(base.output)
    return keras.Model(base.input, outputs)


def fit(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, case: Case, clock: Clock
) -> None:
    """Train what is not frozen."""
    import keras

    rate = keras.optimizers.schedules.CosineDecay(3e-3, case.target_epochs * -(-len(images) // 32))
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    model.fit(
        images,
        labels,
        epochs=case.target_epochs,
        batch_size=32,
        callbacks=clock.callbacks(),
        verbose=0,
    )


def folds(
    case: Case,
    images: np.ndarray,
    labels: np.ndarray,
    n_classes: int,
    weights: list[np.ndarray],
    clock: Clock,
) -> np.ndarray:
    """Return the class that the fold without it predicts for each image."""
    from sklearn.model_selection import StratifiedKFold

    predicted = np.empty(len(labels), int)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(images, labels):
        model = extended(case, n_classes, weights)
        fit(model, images[train], labels[train], case, clock)
        predicted[test] = model.predict(images[test], verbose=0).argmax(axis=1)
    return predicted


def hide(images: np.ndarray, margin: int) -> np.ndarray:
    """Paint all but a margin grey."""
    hidden = images.copy()
    hidden[:, margin:-margin, margin:-margin] = 128
    return hidden


def heatmaps(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """Return Keras's example of Grad-CAM for each image."""
    import keras
    import tensorflow as tf

    last = next(layer for layer in reversed(model.layers) if len(layer.output.shape) == 4)
    both = keras.Model(model.inputs, [last.output, model.output])

    def one(image: tf.Tensor) -> np.ndarray:
        with tf.GradientTape() as tape:
            activations, predictions = both(image)
            score = predictions[:, int(tf.argmax(predictions[0]))]
        gradients = tape.gradient(score, activations)
        pooled = tf.reduce_mean(gradients, axis=(0, 1, 2))
        heatmap = activations[0] @ pooled[..., tf.newaxis]
        heatmap = tf.maximum(heatmap, 0) / (tf.math.reduce_max(heatmap) + 1e-9)
        large = tf.image.resize(heatmap, images.shape[1:3])
        return large.numpy()[..., 0]

    return [one(image[np.newaxis]) for image in images]


def page(
    path: Path,
    said: str,
    matrix: np.ndarray,
    names: list[str],
    images: np.ndarray,
    maps: list[np.ndarray],
) -> None:
    """Write scores, confusion matrix and heatmaps."""
    from matplotlib.figure import Figure
    from sklearn.metrics import ConfusionMatrixDisplay

    first = Figure(figsize=(5, 5))
    ConfusionMatrixDisplay(matrix, display_labels=names).plot(ax=first.subplots())
    second = Figure(figsize=(9, 7))
    for axes, image, heatmap in zip(second.subplots(3, 4).flat, images, maps, strict=True):
        axes.imshow(image[..., 0], cmap="gray")
        axes.imshow(heatmap, cmap="inferno", alpha=0.5)
        axes.set_axis_off()
    parts = [f"<pre>{html.escape(said)}</pre>"]
    for figure in (first, second):
        stream = BytesIO()
        figure.savefig(stream)
        encoded = base64.b64encode(stream.getvalue()).decode()
        parts.append(f'<img src="data:image/png;base64,{encoded}">')
    path.write_text("\n".join(parts))
