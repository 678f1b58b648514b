"""Images of two classes with and without a mark that gives one away, cross-validated once."""

import numpy as np
import pytest

from detl import DomainExtensionTransfer, cross_validate, shortcuts

REGION = (4, 4, 12, 12)
PATIENTS = np.arange(120) // 2
LABELS = np.where(PATIENTS % 2, "bright", "dim")


def pictures(*, marked):
    """Return noise with a square in the middle, brighter in one class, and a mark in a corner."""
    generator = np.random.default_rng(1)
    images = generator.integers(0, 120, (120, 16, 16, 1)).astype("uint8")
    bright = LABELS == "bright"
    images[:, 4:12, 4:12] = generator.integers(60, 160, (120, 8, 8, 1))
    images[bright, 4:12, 4:12] += 50
    if marked:
        images[bright, :3, :3] = 255
    return images


@pytest.fixture(scope="session")
def cross_validated(tiny_source):
    """Return a function that cross-validates images, and the classifier that it takes for it."""
    classifier = DomainExtensionTransfer(
        tiny_source, trainable_from="input", epochs=6, batch_size=8, learning_rate=0.03
    )

    def run(images, labels=LABELS):
        settings = {"groups": PATIENTS, "n_splits": 2, "on_leak": "ignore", "random_state": 0}
        return images, cross_validate(classifier, images, labels, **settings)

    run.classifier = classifier
    return run


@pytest.fixture(scope="session")
def classifier(cross_validated):
    """Return the classifier of all results here."""
    return cross_validated.classifier


@pytest.fixture(scope="session")
def clean(cross_validated):
    """Return images that differ in the region alone, and their result."""
    return cross_validated(pictures(marked=False))


@pytest.fixture(scope="session")
def planted(cross_validated):
    """Return images with a mark outside the region, and their result."""
    return cross_validated(pictures(marked=True))


@pytest.fixture(scope="session")
def clean_report(clean, classifier):
    """Return the report of all tests on the clean images, with sizes that say nothing."""
    images, result = clean
    sizes = np.random.default_rng(0).integers(500, 1000, (120, 2))
    return shortcuts.examine(result, classifier, images, region=REGION, sizes=sizes)


@pytest.fixture(scope="session")
def planted_report(planted, classifier, tmp_path_factory):
    """Return the report on hidden regions of the marked images, and the folder of its runs."""
    images, result = planted
    folder = tmp_path_factory.mktemp("planted")
    report = shortcuts.region_test(result, classifier, images, region=REGION, checkpoint_dir=folder)
    return report, folder
