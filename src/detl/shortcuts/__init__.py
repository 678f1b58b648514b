"""Find out whether a classifier looks at what it should, or at something else in the images.

Each test takes the result of :func:`detl.cross_validate` and asks one question, most of them on the
same folds and with the same seeds. Can the class be predicted with the object hidden
(:func:`region_test`)? By simple classifiers that hardly see the object (:func:`baseline_test`)?
From the site that an image comes from (:func:`site_test`)? Do the heatmaps lie on the object
(:func:`heatmap_test`)? :func:`examine` asks all of them. ``print`` the report, or draw it with
``report.plot()``.

Most tests measure a share: how much of the network's skill remains without the object? 0 is none,
1 is all. Skill is how far the area under the ROC curve of a class lies above 1/2. The 95 % interval
of the share is compared with a threshold that you can set.

Examples
--------
>>> import numpy as np
>>> from detl import DomainExtensionTransfer, backbones, cross_validate, shortcuts
>>> images = np.random.default_rng(0).integers(0, 200, (40, 64, 64, 1), dtype="uint8")
>>> labels = np.array(["healthy", "ill"] * 20)
>>> images[labels == "ill", :6, :6] = 255  # a mark in the corner of one class
>>> source = backbones.alexnet((64, 64, 1), width=0.125)  # in practice: what pretrain returned
>>> classifier = DomainExtensionTransfer(source, trainable_from="input", epochs=2)
>>> result = cross_validate(classifier, images, labels, n_splits=2, random_state=0)
>>> report = shortcuts.baseline_test(result, images)
>>> report.results["border"].scores["roc_auc"].mean > 0.95  # from the border alone
True
"""

from detl.renaming import renamed_names
from detl.shortcuts.baseline_tests import baseline_test
from detl.shortcuts.examining import examine
from detl.shortcuts.heatmap_tests import heatmap_test
from detl.shortcuts.region_tests import region_test
from detl.shortcuts.site_tests import site_test
from detl.shortcuts.verdicts import Estimate, ShortcutReport, ShortcutTest

__all__ = [
    "Estimate",
    "ShortcutReport",
    "ShortcutTest",
    "baseline_test",
    "examine",
    "heatmap_test",
    "region_test",
    "site_test",
]

__getattr__ = renamed_names(
    __name__,
    {
        "Figure": "Estimate",
        "attention": "heatmap_test",
        "collection_test": "site_test",
        "rivals": "baseline_test",
    },
)


def __dir__() -> list[str]:
    """List the public names alone."""
    return __all__
