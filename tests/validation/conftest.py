"""Results that are made up, and a script that other processes run."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest

# Dropout, class weights and a shuffled order: whatever is random has its part in the result.
SCRIPT = """
import sys
import joblib
import keras
import numpy as np
from keras import layers
from detl import DomainExtensionTransfer, cross_validate

@keras.saving.register_keras_serializable("script")
class Halve(layers.Layer):  # workers do not run this script, and know it all the same
    def call(self, x):
        return x / 2

def network():
    pixels = keras.Input((16, 16, 1))
    x = layers.Conv2D(4, 3, strides=2, name="block1_conv")(layers.Rescaling(1 / 255)(pixels))
    x = layers.Conv2D(8, 3, name="block2_conv")(layers.ReLU(name="block1_relu")(x))
    x = layers.ReLU(name="block2_relu")(layers.BatchNormalization(name="block2_norm")(x))
    x = layers.GlobalAveragePooling2D()(Halve()(x))
    return keras.Model(pixels, layers.Dropout(0.3)(x))

def run(**settings):
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b", "c", "a"] * 15)
    images = rng.integers(0, 200, (60, 16, 16, 1)) + 50 * (labels == "a")[:, None, None, None]
    keras.utils.set_random_seed(0)
    transfer = DomainExtensionTransfer(
        network(), epochs=3, learning_rate=0.01, class_weight="balanced"
    )
    keras.utils.set_random_seed(int(sys.argv[1]))  # it must not matter
    return cross_validate(
        transfer, images.astype("uint8"), labels, groups=np.arange(60) // 2, random_state=0,
        **settings,
    ).probabilities

if __name__ == "__main__":
"""
# The number of threads decides the order of sums, and so the last bits.
ONE_THREAD = dict.fromkeys(
    ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"
)


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """Return a function that starts a process in which ``run`` cross-validates."""

    def start(body, *, global_seed=0, **environment):
        script = tmp_path_factory.mktemp("script") / "script.py"
        script.write_text(SCRIPT + body)
        return subprocess.Popen(
            [sys.executable, str(script), str(global_seed)],
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD, **environment},
        )

    return start


@pytest.fixture(scope="session")
def here(start):
    """Return the probabilities that a process of its own finds."""
    process = start("    np.save(sys.stdout.buffer, run())")
    return np.load(io.BytesIO(process.communicate()[0]))


@pytest.fixture
def result(make_result):
    """Five folds of sixty images of three classes, two images a group."""
    labels = np.array(["covid", "normal", "other"])[np.arange(60) % 3]
    return make_result(labels, groups=np.arange(60) // 2)


@pytest.fixture
def partly_repeated(make_result):
    """Three folds of ten images: rows 0 to 3 are tested twice, rows 8 and 9 never."""
    tests = [np.array([3, 0, 1, 2]), np.array([4, 5, 6, 7]), np.array([0, 1, 2, 3])]
    indices = [(np.setdiff1d(np.arange(10), test), test) for test in tests]
    probabilities = np.random.default_rng(0).dirichlet([1, 1], (3, 4)).astype("float32")
    labels = np.arange(10) % 2
    return make_result(labels, indices=indices, probabilities=list(probabilities))
