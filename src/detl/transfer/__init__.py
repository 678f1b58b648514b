"""The target stage: extend a source network to the classes of a small target set."""

from detl.transfer.classifier import DomainExtensionTransfer

__all__ = [
    "DomainExtensionTransfer",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
