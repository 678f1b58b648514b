"""A script that other processes run, and what it finds where nothing disturbs it."""

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
from detl import DomainExtensionTransfer, backbones, cross_validate

def run(**settings):
    rng = np.random.default_rng(0)
    labels = np.array(["a", "b", "c", "a"] * 15)
    images = rng.integers(0, 200, (60, 32, 32, 1)) + 50 * (labels == "a")[:, None, None, None]
    keras.utils.set_random_seed(0)
    source = backbones.vgg16((32, 32, 1), width=0.125)
    transfer = DomainExtensionTransfer(
        source, epochs=3, learning_rate=0.01, class_weight="balanced"
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
