"""The whole journey on the other backends of Keras, where they are installed.

Most of the suite runs on another one too: ``KERAS_BACKEND=jax make test``.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

JOURNEY = """
import warnings
import keras
import numpy as np
from keras import layers
from sklearn.exceptions import ConvergenceWarning
import detl
from detl import recipes

assert keras.backend.backend() == {backend!r}
warnings.simplefilter("error", UserWarning)
warnings.simplefilter("ignore", ConvergenceWarning)  # two epochs teach nothing

n = 24
labels = np.array(["lung", "heart", "bone"] * (n // 3))
images = np.random.default_rng(0).integers(0, 120, (n, 16, 16, 1))
images[labels == "lung", :, 8:] += 100
images[labels == "bone", ::2] += 100
images = images.astype(">u2")  # the byte order of many scanners

pixels = keras.Input((16, 16, 1))
x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
for block in ("block1", "block2"):
    x = layers.Conv2D(6, 3, 2, padding="same", name=block + "_conv")(x)
    x = layers.ReLU(name=block + "_relu")(layers.BatchNormalization(name=block + "_norm")(x))
network = keras.Model(pixels, layers.GlobalAveragePooling2D()(x))

quiet = dict(random_state=0, verbose=0)
source = detl.pretrain(
    network, images, labels == "lung", validation_data=(images, labels == "lung"), epochs=2, **quiet
)
source.save("source.keras")
source = detl.load_source("source.keras")
transfer = detl.DomainExtensionTransfer(source, epochs=2, **quiet)
probabilities = transfer.fit(images, labels).predict_proba(images)
result = detl.cross_validate(transfer, images, labels, n_splits=3, on_leak="ignore", **quiet)
assert len(result.labels) == n
np.testing.assert_array_equal(transfer.fit(images, labels).predict_proba(images), probabilities)
transfer.save("transfer.keras")
loaded = detl.load("transfer.keras")
np.testing.assert_allclose(loaded.predict_proba(images), probabilities, atol=1e-6)
heatmaps = detl.GradCAM(loaded, method="hirescam")(images, "lung")
assert heatmaps.shape == (n, 16, 16) and np.isfinite(heatmaps).all() and heatmaps.any()
features = detl.FeatureExtractor(source, layers="block1").fit_transform(images)
whole = recipes.fine_tuning(source, random_state=0).set_params(epochs=2, verbose=0)
probe = recipes.linear_probe(source, random_state=0)
np.savez(
    "found.npz",
    features=features,
    probe=probe.fit(images, labels).predict_proba(images),
    whole=whole.fit(images, labels).predict_proba(images),
    transfer=probabilities,
)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_journey_runs_without_a_warning(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    root = Path(__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", JOURNEY.format(backend=backend)],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(root / "src")},
        cwd=tmp_path,
        check=True,
    )
    with np.load(tmp_path / "found.npz") as found:
        for name in ("probe", "whole", "transfer"):
            assert found[name].shape == (24, 3), name
            np.testing.assert_allclose(found[name].sum(axis=1), 1, atol=1e-5)
        assert len(found["features"]) == 24
