"""Find out whether a classifier looks at what it should, or something else gives the class away.

Each test takes what :func:`detl.cross_validate` found and asks a question on the same folds, with
the same seeds: can the classes be told with the object blanked out (:func:`region_test`)? By
classifiers that know next to nothing (:func:`rivals`)? By where an image comes from
(:func:`collection_test`)? Where does the network look (:func:`attention`)? :func:`examine` asks
all of them. ``print`` the report, draw it with :func:`detl.plots.shortcut_report`.

What decides is a share: of what the network knows of a class (how far the area under its ROC curve
is above 1/2), how much is known without the object as well? Its interval is held against a
threshold that is yours to set.

Examples
--------
>>> import numpy as np
>>> from detl import DomainExtensionTransfer, backbones, cross_validate, shortcuts
>>> images = np.random.default_rng(0).integers(0, 200, (40, 64, 64, 1), dtype="uint8")
>>> labels = np.array(["healthy", "ill"] * 20)
>>> images[labels == "ill", :6, :6] = 255  # a mark in the corner gives the class away
>>> source = backbones.alexnet((64, 64, 1), width=0.125)  # for real: what pretrain returned
>>> transfer = DomainExtensionTransfer(source, trainable_from="input", epochs=2)
>>> result = cross_validate(transfer, images, labels, n_splits=2, random_state=0)
>>> report = shortcuts.rivals(result, images)
>>> report.results["border"].scores["roc_auc"].mean > 0.95  # of the border alone
True
"""

from detl.shortcuts.site_tests import collection_test
from detl.shortcuts.examining import examine
from detl.shortcuts.heatmap_tests import attention
from detl.shortcuts.region_tests import region_test
from detl.shortcuts.baseline_tests import rivals
from detl.shortcuts.verdicts import Figure, ShortcutReport, ShortcutTest

__all__ = [
    "Figure",
    "ShortcutReport",
    "ShortcutTest",
    "attention",
    "collection_test",
    "examine",
    "region_test",
    "rivals",
]


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
