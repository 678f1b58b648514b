"""The source stage: pretrain on Data-A, or use what an earlier run trained."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

import detl
from examples.covid_chest_xray import report, tables
from examples.covid_chest_xray.material import Material, Part
from examples.covid_chest_xray.profiles import Profile

Backbone = Literal["alexnet", "vgg16", "resnet50"]


def pretrained(
    material: Material,
    *,
    profile: Profile,
    backbone: Backbone,
    by_heart: bool = False,
    path: Path,
    random_state: int,
) -> tuple[detl.SourceModel, float, bool]:
    """Pretrain on Data-A, or load what an earlier run trained with the same settings and images.

    ``by_heart`` trains without augmentation and keeps the epoch that is best on the *training*
    images: to see what it is worth to a source model to have seen the target's images. The settings
    are written beside ``path``. Returns the model, the wall time of its training, now or then, and
    whether it was loaded.
    """
    settings_path = path.with_suffix(".json")
    epochs = profile.by_heart_epochs if by_heart else profile.source_epochs
    judge = material.train if by_heart else material.validation
    settings = {
        "backbone": backbone,
        "size": profile.size,
        "width": profile.width,
        "epochs": epochs,
        "batch_size": profile.batch_size,
        "learning_rate": profile.source_learning_rate,
        "by_heart": by_heart,
        "mirroring": profile.mirroring,
        "class_weight": profile.class_weight,
        "precision": profile.precision,
        "random_state": random_state,
        "train": material.train.digest(),
        "validation": judge.digest(),
        "versions": report.surroundings()["versions"],
    }
    if path.is_file() and settings_path.is_file():
        earlier = json.loads(settings_path.read_text())
        if earlier["settings"] == settings:
            return detl.load_source(path), earlier["seconds"], True

    # Of other settings it is another folder: what they left is not theirs to go on from.
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    epochs_folder = path.with_name(f"{path.stem}_epochs_{digest}")
    clock = _Clock(epochs_folder / "seconds.json")
    build = getattr(detl.backbones, backbone)
    source = detl.pretrain(
        build((profile.size, profile.size, 1), width=profile.width),
        material.train.images,
        material.train.labels,
        validation_data=(judge.images, judge.labels),
        epochs=epochs,
        batch_size=profile.batch_size,
        learning_rate=profile.source_learning_rate,
        augmentation=None if by_heart else detl.Augmentation(mirroring=profile.mirroring),
        class_weight=profile.class_weight,
        precision=profile.precision,
        callbacks=[clock],
        checkpoint_dir=epochs_folder,
        random_state=random_state,
        verbose=2,
    )
    # The settings come last: without them a model of a run that was cut short is not reused.
    settings_path.unlink(missing_ok=True)
    source.save(path)
    settings_path.write_text(
        json.dumps({"settings": settings, "seconds": clock.seconds}, indent=2) + "\n"
    )
    shutil.rmtree(epochs_folder)
    return source, clock.seconds, False


class _Clock(keras.callbacks.Callback):
    """Wall time of all epochs, those that an earlier process trained included."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.seconds = 0.0
        with suppress(OSError, ValueError):  # none there, or of a process that was killed
            self.seconds = float(path.read_text())
        self._now = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Add what went by since the last epoch, or since this process began."""
        before, self._now = self._now, time.perf_counter()
        self.seconds += self._now - before
        with suppress(OSError):  # a full disk is no reason to stop
            self.path.write_text(repr(self.seconds))


def known_beforehand(source: detl.SourceModel, target: Part) -> dict[str, float]:
    """Ask the source model whether the target's normal and other-disease images are diseased.

    A source model that was trained on these very images knows the answer by heart; then the new
    last layer has little left to learn.
    """
    rows = np.flatnonzero(np.isin(target.labels, (tables.NORMAL, tables.OTHER)))
    said = source.classes[source.model.predict(target.images[rows], verbose=0).argmax(axis=1)]
    right = (said == tables.NORMAL) == (target.labels[rows] == tables.NORMAL)
    return {"accuracy_on_normal_and_other_of_the_target": float(right.mean())}


def source_scores(source: detl.SourceModel) -> dict[str, Any]:
    """Return which epoch was kept and how good it is."""
    best = source.best_epoch
    return {
        "best_epoch": best + 1,
        "epochs": len(source.history["loss"]),
        "judged_accuracy": source.history["val_accuracy"][best],
        "training_accuracy": source.history["accuracy"][best],
    }


def source_text(source: detl.SourceModel, *, by_heart: bool, reused: bool) -> str:
    """Say it in a line."""
    scores = source_scores(source)
    judged = "training images as they are" if by_heart else "validation"
    return (
        f"best accuracy ({judged}) {scores['judged_accuracy']:.3f} in epoch "
        f"{scores['best_epoch']} of {scores['epochs']}"
        + (" (trained earlier, with the same settings and images)" if reused else "")
    )
