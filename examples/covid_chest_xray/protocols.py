"""Ways to split that leak less and less, from the paper's to one that knows no patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Exclude = Literal["nothing", "images", "patients"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What the source model, and a fold's training images, share with the images tested.

    Attributes
    ----------
    said : str
        In words.
    exclude : {"nothing", "images", "patients"}
        What of Data-B stays out of Data-A.
    folds : {"image", "patient"}
        Whether a patient may be on both sides of a fold.
    by_heart : bool
        Whether the source model was trained to know its training images by heart: no augmentation,
        and the epoch that is best on the training images themselves.
    """

    said: str
    exclude: Exclude
    folds: Literal["image", "patient"]
    by_heart: bool = False

    @property
    def source(self) -> str:
        """Name of the source model that it needs."""
        return self.exclude + ("-by-heart" if self.by_heart else "")


HONEST = "strict"
_FOUR = {
    "paper": Protocol(
        said="Data-A holds images of Data-B; folds of images (the paper)",
        exclude="nothing",
        folds="image",
    ),
    "new-images": Protocol(
        said="no image of Data-B in Data-A; folds of images", exclude="images", folds="image"
    ),
    "new-patients": Protocol(
        said="no patient of Data-B in Data-A; folds of images", exclude="patients", folds="image"
    ),
    HONEST: Protocol(
        said="no patient of Data-B in Data-A; folds of patients",
        exclude="patients",
        folds="patient",
    ),
}
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    _FOUR
    | {
        f"{name}-by-heart": Protocol(
            said=f"{protocol.said}; source learned by heart",
            exclude=protocol.exclude,
            folds=protocol.folds,
            by_heart=True,
        )
        for name, protocol in _FOUR.items()
    }
)
FOR_RADIOGRAPHS = tuple(_FOUR)
# Drawn patients are of one set only, so that nothing leaks from Data-A.
FOR_PHANTOMS = ("new-patients", HONEST)
# What each leak is worth: the first less the second.
LEAKS = (
    *(
        (f"{first}{heart}", f"{second}{heart}")
        for heart in ("", "-by-heart")
        for first, second in (
            ("paper", "new-images"),
            ("new-images", "new-patients"),
            ("new-patients", HONEST),
            ("paper", HONEST),
        )
    ),
    ("paper-by-heart", "paper"),
    ("paper-by-heart", HONEST),
)
