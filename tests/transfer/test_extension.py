import numpy as np
import pytest

from detl import DomainExtensionTransfer, backbones
from detl.networks.folding import Folded
from detl.transfer.extension import extend

SHAPE = (32, 32, 1)
CLASSES = np.array(["covid", "normal", "pneumonia"])


@pytest.fixture(scope="module")
def source():
    return backbones.vgg16(SHAPE, width=0.0625)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (4, *SHAPE), dtype="uint8")


@pytest.mark.parametrize("trainable_from", ["last_block", "block2", "logits", "input"])
def test_trunk_and_tail_compute_what_the_network_does(source, images, trainable_from):
    transfer = DomainExtensionTransfer(source, trainable_from=trainable_from, random_state=0)
    extension = extend(transfer, CLASSES)
    logits = extension.network.predict(images, verbose=0)
    assert logits.shape == (4, 3)
    features = extension.trunk(images)
    found = extension.tail.model.predict(features, verbose=0)
    np.testing.assert_allclose(found, logits, rtol=1e-4, atol=1e-6)


def test_the_trunk_runs_with_its_normalisations_folded(images, monkeypatch):
    ran = []
    monkeypatch.setattr(
        "detl.transfer.extension.features_of", lambda trunk, *_, **__: ran.append(trunk)
    )
    source = backbones.resnet50(SHAPE, width=0.0625)
    extend(DomainExtensionTransfer(source), CLASSES).trunk(images)
    assert isinstance(ran[0], Folded)


def test_weights_of_classes_are_in_the_order_of_the_classes(source):
    weights = {"pneumonia": 3, "covid": 1, "normal": 2}
    extension = extend(DomainExtensionTransfer(source, class_weight=weights), CLASSES)
    np.testing.assert_array_equal(extension.training["class_weight"], [1, 2, 3])


def test_a_wrong_parameter_is_refused_before_anything_is_copied():
    transfer = DomainExtensionTransfer("nowhere.keras", learning_rate=0)
    with pytest.raises(ValueError, match="learning_rate=0; expected a number above 0"):
        extend(transfer, CLASSES)
