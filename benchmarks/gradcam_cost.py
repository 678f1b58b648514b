"""What does a heatmap cost on top of the prediction? Time and memory, here and in other libraries.

A library is measured against a plain forward pass of the same network in its own framework, in one
process, calls of the two in turn; memory in a fresh process each. On TensorFlow the forward pass is
a compiled ``tf.function`` (``predict_on_batch`` takes the same time), in PyTorch the call of the
module under ``inference_mode``. Both begin and end with a NumPy array. Weights and images are
random, the class is fixed, and every library is called as its own documentation shows.

One library per call, as they want different environments; ``detl`` needs none but its own:

    python -m benchmarks.gradcam_cost --library detl
    pip install grad-cam && python -m benchmarks.gradcam_cost --library pytorch-grad-cam

Rows are added to ``benchmarks/results/gradcam_cost.csv``; what is there already is not measured
again.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import gc
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import write_rows

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RESULTS = Path(__file__).parent / "results/gradcam_cost.csv"
SEED, SIZE, CLASS = 0, 224, 7
ROUNDS = {1: 15, 8: 7, 32: 3}  # by batch size
LAYERS = {"vgg16": "block5_conv3", "resnet50": "conv5_block3_out"}
PACKAGES = {
    "detl": ("detl", "keras", "tensorflow"),
    "tf-keras-vis": ("tf-keras-vis", "keras", "tensorflow"),
    "xplique": ("xplique", "keras", "tensorflow"),
    "tf-explain": ("tf-explain", "keras", "tensorflow"),
    "pytorch-grad-cam": ("grad-cam", "torch"),
    "captum": ("captum", "torch"),
    "torchcam": ("torchcam", "torch"),
}

Call = Callable[[np.ndarray], Any]


# ---------------------------------------------------------------------------------- the libraries


def keras_calls(library: str, network: str, batch: int) -> tuple[Call, Call]:
    """Return the forward pass and the heatmaps of a library on TensorFlow."""
    import keras
    import tensorflow as tf

    keras.initializers.GlorotUniform.__call__ = uniform_weights
    build = {"vgg16": keras.applications.VGG16, "resnet50": keras.applications.ResNet50}[network]
    # detl and tf-keras-vis pass over the softmax themselves, the others are given logits.
    ending = "softmax" if library in ("detl", "tf-keras-vis") else None
    model, layer = build(weights=None, classifier_activation=ending), LAYERS[network]

    signature = [tf.TensorSpec((None, SIZE, SIZE, 3), "float32")]
    compiled = tf.function(lambda x: model(x, training=False), input_signature=signature)

    def forward(images: np.ndarray) -> Any:
        return compiled(tf.convert_to_tensor(images)).numpy()

    if library == "detl":
        from detl import GradCAM

        cam = GradCAM(model)
        if cam.layer != layer:
            raise RuntimeError(f"detl chose {cam.layer!r}; the others are measured at {layer!r}.")
        return forward, lambda images: cam(images, CLASS)
    if library == "tf-keras-vis":
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
        from tf_keras_vis.utils.scores import CategoricalScore

        gradcam = Gradcam(model, model_modifier=ReplaceToLinear(), clone=False)
        score = CategoricalScore([CLASS] * batch)
        return forward, lambda images: gradcam(score, images, penultimate_layer=layer)
    if library == "xplique":
        from xplique.attributions import GradCAM as Explainer

        explainer = Explainer(model, conv_layer=layer)
        targets = np.eye(1000, dtype="float32")[[CLASS] * batch]
        return forward, lambda images: explainer.explain(images, targets).numpy()
    from tf_explain.core.grad_cam import GradCAM as Explanation

    explanation = Explanation()
    return forward, lambda images: explanation.explain(
        (images, None), model, class_index=CLASS, layer_name=layer
    )


def uniform_weights(_: Any, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
    """Return initial weights drawn by NumPy.

    TensorFlow keeps the memory of what it drew, and takes the activations from it later: 1.2 GB of
    VGG16's, which would hide what heatmaps need.
    """
    values = np.random.default_rng(SEED).random(shape, "float32")
    values -= 0.5
    values *= np.sqrt(12 / np.prod(shape[:-1]))
    return values


def torch_calls(library: str, network: str, batch: int) -> tuple[Call, Call]:
    """Return the forward pass and the heatmaps of a library in PyTorch."""
    import torch
    from torch.nn.functional import interpolate

    torch.manual_seed(SEED)
    model, layer = {"vgg16": torch_vgg16, "resnet50": torch_resnet50}[network]()
    model.eval()

    def tensor_of(images: np.ndarray) -> Any:
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    def forward(images: np.ndarray) -> Any:
        with torch.inference_mode():
            return model(tensor_of(images)).numpy()

    if library == "pytorch-grad-cam":
        from pytorch_grad_cam import GradCAM
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        targets = [ClassifierOutputTarget(CLASS)] * batch
        cam = None

        def heatmaps(images: np.ndarray) -> Any:
            nonlocal cam  # the object hooks itself into the model, so not before the forward pass
            cam = cam or GradCAM(model=model, target_layers=[layer])
            return cam(input_tensor=tensor_of(images), targets=targets)
    elif library == "captum":
        from captum.attr import LayerAttribution, LayerGradCam

        explainer = LayerGradCam(model, layer)

        def heatmaps(images: np.ndarray) -> Any:
            maps = explainer.attribute(tensor_of(images), target=CLASS, relu_attributions=True)
            return LayerAttribution.interpolate(maps, (SIZE, SIZE), "bilinear").detach().numpy()
    else:
        from torchcam.methods import GradCAM as Extractor

        def heatmaps(images: np.ndarray) -> Any:
            with Extractor(model, layer) as extractor:
                scores = model(tensor_of(images))
                (maps,) = extractor(CLASS, scores)
            return interpolate(maps[:, None], (SIZE, SIZE), mode="bilinear").numpy()

    return forward, heatmaps


def torch_vgg16() -> tuple[Any, Any]:
    """Return VGG16 in PyTorch, configuration D, and its last convolution's activation."""
    from torch import nn

    blocks, channels = [], 3
    for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(depth):
            blocks += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
        blocks.append(nn.MaxPool2d(2))
    head = [nn.Flatten(), nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Linear(4096, 4096)]
    model = nn.Sequential(*blocks, *head, nn.ReLU(), nn.Linear(4096, 1000))
    return model, blocks[-2]


def torch_resnet50() -> tuple[Any, Any]:
    """Return ResNet50 in PyTorch, strides in the first convolution as in Keras, and its end."""
    from torch import nn

    def convolution(inputs: int, width: int, kernel: int, stride: int = 1) -> list[Any]:
        padding = kernel // 2
        return [
            nn.Conv2d(inputs, width, kernel, stride=stride, padding=padding),
            nn.BatchNorm2d(width, eps=1.001e-5),
        ]

    class Unit(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            self.residual = nn.Sequential(
                *convolution(inputs, width, 1, stride),
                nn.ReLU(),
                *convolution(width, width, 3),
                nn.ReLU(),
                *convolution(width, 4 * width, 1),
            )
            same = inputs == 4 * width
            self.skip = (
                nn.Identity() if same else nn.Sequential(*convolution(inputs, 4 * width, 1, stride))
            )
            self.activation = nn.ReLU()

        def forward(self, x: Any) -> Any:
            return self.activation(self.skip(x) + self.residual(x))

    units, channels = [], 64
    for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(depth):
            units.append(Unit(channels, width, stride if index == 0 else 1))
            channels = 4 * width
    model = nn.Sequential(
        *convolution(3, 64, 7, 2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        *units,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2048, 1000),
    )
    return model, units[-1]


def calls(library: str, network: str, batch: int) -> tuple[Call, Call]:
    """Return the forward pass and the heatmaps of a library."""
    build = torch_calls if "torch" in PACKAGES[library] else keras_calls
    return build(library, network, batch)


def random_images(batch: int) -> np.ndarray:
    """Return the images that all libraries get."""
    generator = np.random.default_rng(SEED)
    return generator.uniform(0, 255, (batch, SIZE, SIZE, 3)).astype("float32")


# ------------------------------------------------------------------------------------ measuring


def measure_time(library: str, network: str, batch: int) -> dict[str, Any]:
    """Return the times of both, whose calls take turns."""
    forward, heatmaps = calls(library, network, batch)
    images = random_images(batch)
    for call in (forward, heatmaps):  # compiled before they are timed
        call(images)
    times: dict[Call, list[float]] = {forward: [], heatmaps: []}
    for turn in range(ROUNDS[batch]):
        for call in (forward, heatmaps) if turn % 2 else (heatmaps, forward):
            started = time.perf_counter()
            call(images)
            times[call].append(time.perf_counter() - started)
    ratios = [slow / fast for fast, slow in zip(times[forward], times[heatmaps])]
    return {
        "forward ms": f"{statistics.median(times[forward]) * 1000:.0f}",
        "heatmaps ms": f"{statistics.median(times[heatmaps]) * 1000:.0f}",
        "time over forward": f"{statistics.median(ratios):.2f}",
        "range": f"{min(ratios):.2f} to {max(ratios):.2f}",
        "rounds": len(ratios),
    }


def measure_memory(library: str, network: str, batch: int) -> dict[str, Any]:
    """Return the peak memory of both, in a process of its own each."""
    peaks = {}
    for what in ("forward", "heatmaps"):
        command = [sys.executable, __file__, "--library", library]
        command += ["--peak", what, network, str(batch)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks[what] = [int(word) for word in found.stdout.split()[-2:]]
    (_, forward), (_, heatmaps) = peaks.values()
    added = [peak - before for before, peak in peaks.values()]
    return {
        "forward MB": forward,
        "heatmaps MB": heatmaps,
        "memory over forward": f"{heatmaps / forward:.2f}",
        "forward MB added": added[0],
        "heatmaps MB added": added[1],
    }


def print_peak(library: str, what: str, network: str, batch: int) -> None:
    """Print the MB that this process holds before two calls, and the most during them."""
    forward, heatmaps = calls(library, network, batch)
    images = random_images(batch)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what building the network left
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak starts anew
    before = status_mb("VmRSS")
    for _ in range(2):
        (forward if what == "forward" else heatmaps)(images)
    print(before, status_mb("VmHWM"))


def status_mb(field: str) -> int:
    """Return one of the sizes that Linux keeps of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) // 1024


def main() -> None:
    """Measure what is missing, and add it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", choices=list(PACKAGES), required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--batches", type=int, nargs="+", default=list(ROUNDS))
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.peak:
        what, network, batch = parsed.peak
        print_peak(parsed.library, what, network, int(batch))
        return
    versions = " ".join(f"{name} {version(name)}" for name in PACKAGES[parsed.library])
    for network in LAYERS:
        for batch in parsed.batches:
            key = {"library": parsed.library, "network": network, "batch": str(batch)}
            rows = []
            if parsed.output.exists():
                with parsed.output.open(newline="") as file:
                    rows = list(csv.DictReader(file))
            if any(key.items() <= row.items() for row in rows):
                continue
            found = measure_time(parsed.library, network, batch)
            found |= measure_memory(parsed.library, network, batch)
            machine = f"{platform.machine()}, {os.cpu_count()} cores"
            row = {**key, **found, "versions": versions, "machine": machine, "seed": SEED}
            print(*row.values(), flush=True)
            write_rows(parsed.output, [*rows, row])


if __name__ == "__main__":
    main()
