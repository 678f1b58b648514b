"""What a network sees in an image: ``FeatureExtractor``, ``precomputed``, and what they keep."""

from detl.features.extraction import FeatureExtractor
from detl.features.lookup import PrecomputedFeatures, precomputed
from detl.features.trunk import clear_cache, extract

__all__ = [
    "FeatureExtractor",
    "PrecomputedFeatures",
    "clear_cache",
    "extract",
    "precomputed",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
