"""Tune the source stage, normal against diseased, on its own validation patients alone.

One variant differs from another in one lever. Every epoch is judged twice, as trained and with
weights averaged along the way; the run keeps the epoch of the best validation AUC. The check
images, of the target's patients but not of the target set, never choose anything.

Run: ``python -m studies.which_source_settings.run --data FOLDER [--only NAME ...]``
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

import detl
from detl.networks import copying
from detl.networks.heads import with_logits, with_probabilities
from detl.networks.normalization import fused_layers, with_plain_layers
from detl.networks.precision import dtype_policy
from detl.pretraining.batches import balanced_weights, training_batches
from detl.pretraining.optimizer import cosine_adam
from detl.seeds import integer_seed, seed_sequence
from examples.covid_chest_xray import material, tables
from studies.shared.auc import interval
from studies.shared.source_settings import (
    AUGMENTATION,
    RULES,
    VARIANTS,
    Variant,
    changes,
    equalised,
    is_diseased,
    joined,
    read,
    rows_of,
    standardised,
    stem,
)

RESULTS = Path(__file__).parent / "results"

SIZE = 128


class Epochs(keras.callbacks.Callback):
    """Validate the weights, and their running average, after each epoch; keep the best of each."""

    def __init__(self, validation: material.Part, steps: int, path: Path | None) -> None:
        super().__init__()
        self.path = path  # the best average so far is there while training goes on
        self.images = validation.images
        self.diseased = validation.labels == tables.DISEASED
        self.every = max(1, steps // 10)
        self.share = self.every / (2 * steps)  # the average remembers about two epochs
        self.average: list[np.ndarray] = []
        self.probabilities: dict[str, list[np.ndarray]] = {"epoch": [], "average": []}
        self.kept: dict[str, Kept] = {}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the average towards the weights, ten times an epoch."""
        if batch % self.every:
            return
        weights = self.model.get_weights()
        self.average = self.average or [weight.copy() for weight in weights]
        for mean, now in zip(self.average, weights):
            mean += self.share * (now - mean)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Judge both, and go on training from the weights."""
        weights = self.model.get_weights()
        for kind, tried in (("epoch", weights), ("average", self.average)):
            self.model.set_weights(tried)
            p = probability(self.model, self.images)
            self.probabilities[kind].append(p)
            auc = float(roc_auc_score(self.diseased, p))
            logs[f"{kind}_auc"] = auc
            if kind == "epoch":  # as detl.pretrain's history has it
                logs["val_loss"] = float(log_loss(self.diseased, p))
                logs["val_accuracy"] = self.accuracy(p)
            scores = {"last": float(epoch), "best AUC": auc, "best accuracy": self.accuracy(p)}
            for rule, score in scores.items():
                key = RULES.get((kind, rule))
                if key and (key not in self.kept or score > self.kept[key].score):
                    copies = [weight.copy() for weight in tried]
                    self.kept[key] = Kept(score=score, epoch=epoch, weights=copies, kind=kind)
                    if self.path and key == "average":
                        source_of(self.model, self.model.history.history, epoch).save(self.path)
        self.model.set_weights(weights)

    def accuracy(self, p: np.ndarray) -> float:
        """Return the share of validation images on the right side of one half."""
        return float(np.mean((p > 0.5) == self.diseased))


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The weights of one epoch, or the average there, and why they were kept."""

    score: float
    epoch: int
    weights: list[np.ndarray]
    kind: str


def probability(network: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return how sure a network with logits is that each image is diseased, ``(n,)``."""
    logits = np.concatenate(
        [
            np.asarray(network(images[i : i + 100], training=False), "float32")
            for i in range(0, len(images), 100)
        ]
    )
    # Classes are sorted: diseased comes first.
    return 1 / (1 + np.exp(logits[:, 1] - logits[:, 0]))


def train(
    variant: Variant, data: dict[str, material.Part], verbose: int, path: Path | None = None
) -> tuple[keras.Model, Epochs, dict[str, list[float]]]:
    """Do what ``detl.pretrain`` does, with what it lacks and may get."""
    part = data["train"]
    seeds = seed_sequence(variant.seed).spawn(5)  # the first four are those of detl.pretrain
    rows = rows_of(part, variant.share, seeds[4])
    classes, targets = np.unique(part.labels, return_inverse=True)
    options = {} if variant.backbone == "resnet50" else {"dropout": variant.dropout}
    backbone = getattr(detl.backbones, variant.backbone)(
        part.images.shape[1:], width=variant.width, **options
    )
    network = copying.copy_model(
        backbone,
        dtype_policy=dtype_policy(variant.precision),
        seeds=np.random.default_rng(seeds[1]),
        replacing=fused_layers(),
    )
    network = with_logits(network, len(classes), integer_seed(seeds[1]))
    copying.seed_noise(network, integer_seed(seeds[3]))
    steps = -(-len(rows) // variant.batch_size)
    amounts = {name: getattr(variant, name) for name in AUGMENTATION}
    augmentation = detl.Augmentation(**amounts)
    optimizer = cosine_adam(
        variant.learning_rate,
        steps=steps,
        epochs=variant.epochs,
        warmup_epochs=1.0,
        gradient_clip=1.0,
    )
    if variant.weight_decay:
        optimizer = keras.optimizers.AdamW(
            optimizer._learning_rate, weight_decay=variant.weight_decay, global_clipnorm=1.0
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=variant.label_smoothing
        ),
        metrics=["accuracy"],
        weighted_metrics=[],
        auto_scale_loss=False,
    )
    epochs = Epochs(data["validation"], steps, path)
    fitted = network.fit(
        training_batches(
            part.images,
            np.eye(len(classes), dtype="float32")[targets],
            batch_size=variant.batch_size,
            generator=np.random.default_rng(seeds[2]),
            rows=rows,
            weights=balanced_weights(targets, rows) if variant.class_weight else None,
            augment=lambda images, generator: augmentation(images.astype("float32"), generator),
        ),
        steps_per_epoch=steps,
        epochs=variant.epochs,
        callbacks=[epochs],
        shuffle=False,
        verbose=verbose,
    )
    return network, epochs, fitted.history


def prepared(variant: Variant, data: dict[str, material.Part]) -> dict[str, material.Part]:
    """Return the parts with the variant's pixels and further training images."""
    train = data["train"]
    if variant.further == "images_64":
        train = joined(train, data["images_64"])
    parts = {"train": train, "validation": data["validation"], "check": data["check"]}
    if variant.pixels == "as they are":
        return parts
    change = {"standardised": standardised, "equalised": equalised}[variant.pixels]
    return {
        name: dataclasses.replace(part, images=change(part.images)) for name, part in parts.items()
    }


def run(
    name: str, variant: Variant, data: dict[str, material.Part], folder: Path, verbose: int
) -> dict[str, Any]:
    """Train a variant, keep its network and its predictions, return its row."""
    started = time.perf_counter()
    data = prepared(variant, data)
    path = folder / f"{stem(name)}.keras"
    network, epochs, history = train(variant, data, verbose, path)
    seconds = time.perf_counter() - started
    predicted = {f"validation {kind}": np.array(p) for kind, p in epochs.probabilities.items()}
    for rule, kept in epochs.kept.items():
        network.set_weights(kept.weights)
        predicted[f"check {rule}"] = probability(network, data["check"].images)
    np.savez_compressed(path.with_suffix(".npz"), **predicted)
    network.set_weights(epochs.kept["average"].weights)
    source = source_of(network, history, epochs.kept["average"].epoch)
    source.save(path)
    return {
        "run": name,
        "backbone": variant.backbone,
        "width": variant.width,
        "epochs": variant.epochs,
        "changed": changes(variant),
        **counts(data["train"], variant),
        **scores(epochs, predicted, data),
        "training accuracy": round(history["accuracy"][-1], 3),
        "seconds": round(seconds),
        "seed": variant.seed,
    }


def source_of(
    network: keras.Model, history: dict[str, list[float]], epoch: int
) -> detl.SourceModel:
    """Return a network with logits as what ``detl.pretrain`` would return."""
    return detl.SourceModel(
        model=with_plain_layers(with_probabilities(network), dtype_policy="float32"),
        classes=np.array([tables.DISEASED, tables.NORMAL]),
        history={name: [float(value) for value in values] for name, values in history.items()},
        best_epoch=epoch,
    )


def counts(part: material.Part, variant: Variant) -> dict[str, int]:
    """Return how many images of how many patients a variant trains on."""
    rows = rows_of(part, variant.share, seed_sequence(variant.seed).spawn(5)[4])
    return {"images": len(rows), "patients": len(set(part.patients[rows]))}


def scores(
    epochs: Epochs, predicted: dict[str, np.ndarray], data: dict[str, material.Part]
) -> dict[str, Any]:
    """Return AUC on validation and check images by each rule of which weights to keep."""
    row: dict[str, Any] = {}
    for rule in RULES.values():  # in this order: rows of a file must agree
        kept = epochs.kept[rule]
        p = predicted[f"validation {kept.kind}"][kept.epoch]
        row[f"{rule}: epoch"] = kept.epoch + 1
        row[f"{rule}: validation AUC"] = f"{roc_auc_score(epochs.diseased, p):.3f}"
        row[f"{rule}: validation accuracy"] = f"{epochs.accuracy(p):.3f}"
        q = predicted[f"check {rule}"]
        row[f"{rule}: check AUC"] = f"{roc_auc_score(is_diseased(data['check']), q):.3f}"
        if rule == "average":
            for name, found in (("validation", p), ("check", q)):
                row[f"average: {name} interval"] = "{:.3f} to {:.3f}".format(
                    *interval(is_diseased(data[name]), found, data[name].patients)
                )
    return row


def main() -> None:
    """Run what has no row yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with nih/ and covid/")
    parser.add_argument("--only", nargs="+", default=None, help="names of runs")
    parser.add_argument("--models", type=Path, default=Path("runs/source_tuning"))
    parser.add_argument("--output", type=Path, default=RESULTS / "runs.csv")
    parser.add_argument("--verbose", type=int, default=2)
    parsed = parser.parse_args()
    parsed.models.mkdir(parents=True, exist_ok=True)
    data = None
    for name in parsed.only or VARIANTS:
        if name in finished(parsed.output):
            continue
        data = data or read(parsed.data)
        print(f"== {name}", flush=True)
        row = run(name, VARIANTS[name], data, parsed.models, parsed.verbose)
        print(row, flush=True)
        new = not parsed.output.exists()
        with parsed.output.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)


def finished(path: Path) -> set[str]:
    """Return the names of the runs that have a row."""
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {row["run"] for row in csv.DictReader(file)}


if __name__ == "__main__":
    main()
