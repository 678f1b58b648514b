"""The target stage: extend a source network to the classes of a small target set."""

from detl.transfer.classifier import DomainExtensionTransfer
from detl.transfer.loading import load
from detl.transfer.training_record import TrainingRecord

__all__ = [
    "DomainExtensionTransfer",
    "TrainingRecord",
    "load",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
