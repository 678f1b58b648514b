"""Grad-CAM: which parts of an image are evidence for a class.

References
----------
Basu, Mitra, Saha 2020, "Deep Learning for Screening COVID-19 using Chest X-Ray Images", SSCI,
eq. 1 and 2.
Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV.
"""

from detl.gradcam.explanation import Explanation, GradCAM

__all__ = [
    "Explanation",
    "GradCAM",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
