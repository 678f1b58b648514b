"""What a network sees in an image: the frozen trunk, run once and kept; ``FeatureExtractor``."""

from detl.features.extraction import FeatureExtractor
from detl.features.trunk import clear_cache, extract

__all__ = [
    "FeatureExtractor",
    "clear_cache",
    "extract",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
