"""The source stage: train a network from scratch on a large set of the domain."""

from detl.pretraining.augmentation import Augmentation
from detl.pretraining.source import SourceModel, load_source
from detl.pretraining.training import pretrain

__all__ = [
    "Augmentation",
    "SourceModel",
    "load_source",
    "pretrain",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
