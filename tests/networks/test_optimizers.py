import subprocess
import sys

import keras
import numpy as np
import pytest

from detl.networks.optimizers import SGD, Adam

PAIRS = [
    (SGD, keras.optimizers.SGD, {"momentum": 0.9}),
    (Adam, keras.optimizers.Adam, {"global_clipnorm": 1.0, "use_ema": True, "ema_momentum": 0.5}),
]


def trained(optimizer):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, "relu", kernel_initializer=keras.initializers.HeNormal(1)),
            keras.layers.Dense(2, kernel_initializer=keras.initializers.HeNormal(2)),
        ]
    )
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images = np.random.default_rng(0).random((8, 6), dtype="float32")
    model.fit(images, np.arange(8) % 2, epochs=3, shuffle=False, verbose=0)
    return model.get_weights() + [np.asarray(variable) for variable in optimizer.variables]


@pytest.mark.parametrize(("ours", "keras_own", "settings"), PAIRS)
def test_the_updates_are_those_of_keras_to_the_bit(ours, keras_own, settings):
    elsewhere = 0 if keras.backend.backend() == "tensorflow" else 1e-8  # Keras's own has kernels
    for mine, theirs in zip(
        trained(ours(0.01, **settings)), trained(keras_own(0.01, **settings)), strict=True
    ):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=elsewhere)


# With Keras's own optimizers each training leaves weights and state behind: 100 MB of a transfer,
# 150 MB of a source.
MEMORY = """
import gc, keras, numpy as np
from pathlib import Path
from detl import DomainExtensionTransfer, pretrain
inputs = keras.Input((16, 16, 1))
maps = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inputs)
hidden = keras.layers.Dense(6000, "relu")(keras.layers.Flatten()(maps))
network = keras.Model(inputs, keras.layers.Dense(2)(hidden))
images, labels = np.zeros((8, 16, 16, 1), "uint8"), [0, 1] * 4
def train(rate):
    settings = dict(epochs=1, learning_rate=rate, random_state=0, verbose=0)
    {trains}
    gc.collect()  # what only waits to be collected is not left behind
def megabytes():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
train(1e-3), train(1e-4)
before = megabytes()
for rate in (1e-5, 2e-5, 3e-5, 4e-5):
    train(rate)
print(megabytes() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc")
@pytest.mark.parametrize(
    "trains",
    [
        "DomainExtensionTransfer(network, **settings).fit(images, labels)",
        "pretrain(network, images, labels, validation_data=(images, labels), **settings)",
    ],
    ids=["transfer", "source"],
)
def test_a_training_leaves_no_weights_behind(trains):
    code = MEMORY.replace("{trains}", trains)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(said.stdout.split()[-1]) < 120


def test_under_a_strategy_the_replicas_train_as_one():
    tensorflow = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("strategies are TensorFlow's")
    alone = trained(SGD(0.01, momentum=0.9))
    with tensorflow.distribute.MirroredStrategy(["/cpu:0"]).scope():
        together = trained(SGD(0.01, momentum=0.9))
    for mine, theirs in zip(alone, together, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-7)
