"""How large an experiment is: the paper's, one for a laptop, one without any data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Precision = Literal["float32", "mixed_bfloat16", "auto"]


@dataclass(frozen=True, kw_only=True)
class Phantoms:
    """How many phantoms of each class are drawn."""

    train: Mapping[str, int]
    validation: Mapping[str, int]
    target: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Settings of a run.

    Attributes
    ----------
    size : int
        Height and width of the images, pixels.
    width : float
        Factor on the backbone's channels.
    source_epochs : int
        Passes over the source images.
    target_epochs : tuple of int
        Passes over the target images; of several numbers one is chosen on an inner split.
    by_heart_epochs : int
        Passes of a source model that is to know its training images by heart.
    source_learning_rate : float
        Basu et al. 2020, sec. IV: Adam at 1e-3.
    target_learning_rate : float or None
        Basu et al. 2020, sec. IV: SGD at 1e-4 with momentum 0.9, and all else of the target stage
        as published. None is the target stage of :class:`detl.DomainExtensionTransfer`.
    batch_size : int
        Images per step, in both stages. The paper does not give one.
    mirroring : bool
        Whether the source images are also shown mirrored, as the paper does, although that puts
        the heart on the wrong side.
    class_weight : {"balanced", None}
        Whether every class has the same weight in the loss, in both stages.
    precision : str
        Number format of the computation.
    n_splits : int
        Folds of the target stage.
    phantoms : Phantoms or None
        What to draw; None reads radiographs.
    """

    size: int
    width: float
    source_epochs: int
    target_epochs: tuple[int, ...]
    by_heart_epochs: int = 20
    source_learning_rate: float = 1e-3
    target_learning_rate: float | None = 1e-4
    batch_size: int = 32
    mirroring: bool = True
    class_weight: Literal["balanced"] | None = None
    precision: Precision = "float32"
    n_splits: int = 5
    phantoms: Phantoms | None = None


PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        "paper": Profile(size=224, width=1.0, source_epochs=100, target_epochs=(50, 100, 200)),
        "laptop": Profile(
            size=128,
            width=0.25,
            source_epochs=15,
            target_epochs=(50, 100, 200),
            # The paper's classes are of nearly equal size; those of a partial copy may not be.
            class_weight="balanced",
            precision="auto",
        ),
        "phantoms": Profile(
            size=72,
            width=0.125,
            source_epochs=16,  # with 8, heatmaps hardly find the lesions
            target_epochs=(30,),
            target_learning_rate=None,
            phantoms=Phantoms(
                train={"normal": 600, "diseased": 600},
                validation={"normal": 100, "diseased": 100},
                target={"normal": 60, "pneumonia": 60, "other": 60, "covid-19": 60},
            ),
        ),
    }
)
