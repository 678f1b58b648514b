"""Compare the maps with those of other libraries, and of other backends.

Four small networks, in Keras and in PyTorch, with the same weights and images: a plain one and a
residual one, each with averaged and with flattened maps under its dense layers. Compared are the
maps of the last convolution, before resizing. Each library writes its maps in its own environment;
the last call compares them with detl's:

    python -m benchmarks.gradcam_parity --maps runs/maps --library captum
    KERAS_BACKEND=jax python -m benchmarks.gradcam_parity --maps runs/maps --library detl
    python -m benchmarks.gradcam_parity --maps runs/maps \
        --output benchmarks/results/gradcam_parity.csv \
        --write-fixture tests/data/gradcam_parity.npz

Where a library departs from the paper, its formula is written here once more, in NumPy, and
compared with what it computes: the reason given for a difference is then the whole reason.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rows import write_rows

Maps = dict[str, np.ndarray]  # by method: (n, map_height, map_width)

NETWORKS = tuple(f"{kind} {head}" for kind in ("plain", "residual") for head in ("mean", "flat"))
SHAPE, N_CLASSES = (16, 20, 3), 5  # not square, lest a swap of the axes pass
CLASSES = np.array([0, 1, 4])  # one per image
TOLERANCE = 2e-5
TORCH = ("pytorch-grad-cam", "captum", "torchcam")
PACKAGES = {"pytorch-grad-cam": "grad-cam"}  # where the package is not named as the library


# ---------------------------------------------------------------------------- networks and images


def draw(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers in [0, 1): from raw bits, as NumPy may change its distributions."""
    bits = np.random.PCG64(seed).random_raw(int(np.prod(shape)))
    return ((bits >> np.uint64(40)) / 2.0**24).astype("float32").reshape(shape)


def images() -> np.ndarray:
    """Return the images, in [0, 1)."""
    return draw(1, (len(CLASSES), *SHAPE))


def weights(network: str) -> dict[str, list[np.ndarray]]:
    """Return the weights by layer, in Keras's shapes and order."""
    kind, head = network.split()
    pixels = SHAPE[0] * SHAPE[1] // 4
    if kind == "plain":
        shapes = {"conv1": (3, 3, 3, 8), "conv2": (3, 3, 8, 12)}
    else:
        shapes = {"conv1": (3, 3, 3, 12), "conv2": (3, 3, 12, 12), "conv3": (3, 3, 12, 12)}
        shapes |= {"norm1": (12,), "norm2": (12,), "norm3": (12,)}
    if head == "mean":
        shapes |= {"dense2": (12, N_CLASSES)}
    else:
        shapes |= {"dense1": (pixels * 12, 10), "dense2": (10, N_CLASSES)}
    seeds = iter(range(100, 200))
    arrays = {}
    for name, shape in shapes.items():
        if name.startswith("norm"):
            gamma, beta, mean, variance = (draw(next(seeds), shape) for _ in range(4))
            arrays[name] = [gamma + 0.5, beta - 0.5, mean - 0.5, variance + 0.5]
        else:
            kernel = (draw(next(seeds), shape) - 0.5) * np.sqrt(24 / np.prod(shape[:-1]))
            arrays[name] = [kernel.astype("float32"), draw(next(seeds), shape[-1:]) - 0.5]
    return arrays


def keras_network(network: str) -> Any:
    """Build a network in Keras; its logits come from the layer "dense2"."""
    from keras import Input, Model, layers

    kind, head = network.split()
    arrays = weights(network)

    def convolved(x: Any, name: str) -> Any:
        return layers.Conv2D(arrays[name][1].size, 3, padding="same", name=name)(x)

    def normalised(x: Any, name: str) -> Any:
        return layers.BatchNormalization(epsilon=1e-3, name=name)(x)

    inputs = Input(SHAPE)
    if kind == "plain":
        x = layers.MaxPooling2D()(layers.ReLU()(convolved(inputs, "conv1")))
        x = convolved(x, "conv2")
    else:
        x = layers.ReLU()(normalised(convolved(inputs, "conv1"), "norm1"))
        skip = layers.MaxPooling2D()(x)
        x = layers.ReLU()(normalised(convolved(skip, "conv2"), "norm2"))
        x = layers.Add()([skip, normalised(convolved(x, "conv3"), "norm3")])
    x = layers.ReLU(name="maps")(x)
    if head == "mean":
        x = layers.GlobalAveragePooling2D()(x)
    else:
        x = layers.Dense(10, activation="relu", name="dense1")(layers.Flatten()(x))
    model = Model(inputs, layers.Dense(N_CLASSES, name="dense2")(x))
    for name, found in arrays.items():
        model.get_layer(name).set_weights(found)
    return model


def torch_network(network: str) -> Any:
    """Build the same network in PyTorch; ``maps`` is its module before the head."""
    import torch
    from torch import nn

    kind, head = network.split()
    arrays = weights(network)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, found in arrays.items():
                setattr(self, name, torch_layer(found))
            self.maps = nn.ReLU()

        def forward(self, x: Any) -> Any:
            if kind == "plain":
                x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
                x = self.conv2(x)
            else:
                skip = torch.max_pool2d(torch.relu(self.norm1(self.conv1(x))), 2)
                x = torch.relu(self.norm2(self.conv2(skip)))
                x = skip + self.norm3(self.conv3(x))
            x = self.maps(x)
            if head == "mean":
                return self.dense2(x.mean((2, 3)))
            pixels = x.permute(0, 2, 3, 1).flatten(1)  # in Keras's order
            return self.dense2(torch.relu(self.dense1(pixels)))

    return Network().eval()


def torch_layer(arrays: list[np.ndarray]) -> Any:
    """Return the PyTorch layer of a Keras layer's weights."""
    import torch
    from torch import nn

    if len(arrays) == 4:
        layer: Any = nn.BatchNorm2d(arrays[0].size, eps=1e-3)
        names = ("weight", "bias", "running_mean", "running_var")
    else:
        kernel, bias = arrays
        if kernel.ndim == 4:
            layer = nn.Conv2d(kernel.shape[2], bias.size, 3, padding=1)
            arrays = [kernel.transpose(3, 2, 0, 1), bias]
        else:
            layer = nn.Linear(*kernel.shape)
            arrays = [kernel.T, bias]
        names = ("weight", "bias")
    state = {name: torch.from_numpy(found.copy()) for name, found in zip(names, arrays)}
    layer.load_state_dict(state, strict=False)  # batches are not counted
    return layer


# ---------------------------------------------------------------------------------- the libraries


def maps_of(library: str, network: str) -> Maps:
    """Return a library's maps by method, before its ReLU where it lets them be seen."""
    if library in TORCH:
        import torch

        compute = {
            "pytorch-grad-cam": _pytorch_grad_cam,
            "captum": _captum,
            "torchcam": _torchcam,
        }[library]
        tensor = torch.from_numpy(images().transpose(0, 3, 1, 2).copy())
        return compute(torch_network(network), tensor)
    compute = {
        "detl": detl_maps,
        "tf-keras-vis": _tf_keras_vis,
        "xplique": _xplique,
        "tf-explain": _tf_explain,
    }[library]
    return compute(keras_network(network))


def detl_maps(model: Any) -> Maps:
    """Return detl's maps, and its finished heatmap of Grad-CAM."""
    from detl import GradCAM
    from detl.gradcam.methods import METHODS

    found = {
        method: GradCAM(model, method=method).explain(images(), CLASSES).raw for method in METHODS
    }
    return found | {"gradcam, resized": GradCAM(model)(images(), CLASSES)}


def _pytorch_grad_cam(model: Any, tensor: Any) -> Maps:
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classes = {
        "gradcam": pytorch_grad_cam.GradCAM,
        "gradcam++": pytorch_grad_cam.GradCAMPlusPlus,
        "hirescam": pytorch_grad_cam.HiResCAM,
        "layercam": pytorch_grad_cam.LayerCAM,
        "xgradcam": pytorch_grad_cam.XGradCAM,
        "eigencam": pytorch_grad_cam.EigenCAM,
        "scorecam": pytorch_grad_cam.ScoreCAM,
    }
    found = {}
    for method, kind in classes.items():
        with kind(model=model, target_layers=[model.maps]) as cam:
            combine = cam.get_cam_image

            def kept(*args: Any, combine: Any = combine, method: str = method) -> Any:
                found[method] = np.asarray(combine(*args))
                return found[method]

            cam.get_cam_image = kept
            resized = cam(tensor, [ClassifierOutputTarget(index) for index in CLASSES])
        if method == "gradcam":
            found["gradcam, resized"] = resized
    return found


def _captum(model: Any, tensor: Any) -> Maps:
    from captum.attr import LayerGradCam

    found = LayerGradCam(model, model.maps).attribute(tensor, CLASSES.tolist())
    return {"gradcam": found[:, 0].detach().numpy()}


def _torchcam(model: Any, tensor: Any) -> Maps:
    from torchcam import methods

    kinds = {
        "gradcam": methods.GradCAM,
        "gradcam++": methods.GradCAMpp,
        "layercam": methods.LayerCAM,
        "xgradcam": methods.XGradCAM,
        "scorecam": methods.ScoreCAM,
    }
    found = {}
    for method, kind in kinds.items():
        with kind(model, "maps") as extractor:
            extractor._relu = False
            scores = model(tensor)
            (maps,) = extractor(CLASSES.tolist(), scores, normalized=False)
        found[method] = maps.detach().numpy()
    return found


def _tf_keras_vis(model: Any) -> Maps:
    from tf_keras_vis.gradcam import Gradcam
    from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
    from tf_keras_vis.layercam import Layercam
    from tf_keras_vis.utils.scores import CategoricalScore

    score = CategoricalScore(CLASSES.tolist())
    options = {"penultimate_layer": "maps", "seek_penultimate_conv_layer": False}
    options |= {"expand_cam": False, "normalize_cam": False}
    kinds = {"gradcam": Gradcam, "gradcam++": GradcamPlusPlus, "layercam": Layercam}
    return {
        method: np.asarray(kind(model)(score, images(), **options))
        for method, kind in kinds.items()
    }


def _xplique(model: Any) -> Maps:
    import tensorflow as tf
    from xplique.attributions import GradCAM, GradCAMPP

    targets = tf.constant(np.eye(N_CLASSES, dtype="float32")[CLASSES])
    found = {}
    for method, kind in {"gradcam": GradCAM, "gradcam++": GradCAMPP}.items():
        explainer = kind(model, conv_layer="maps")
        maps, gradients = explainer._gradient(tf.constant(images()), targets)
        channel_weights = explainer._compute_weights(gradients, maps)
        found[method] = np.asarray(explainer._apply_weights(channel_weights, maps))
    return found


def _tf_explain(model: Any) -> Maps:
    from tf_explain.core.grad_cam import GradCAM

    found = []
    for index, class_index in enumerate(CLASSES):
        seen = GradCAM.get_gradients_and_filters(
            model, images()[index : index + 1], "maps", class_index, use_guided_grads=True
        )
        found += [np.asarray(part) for part in GradCAM.generate_ponderated_output(*seen)]
    return {"gradcam": np.stack(found)}


# ------------------------------------------------------------------ how others depart, and why


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a formula may use; pixels in one axis, float64."""

    maps: np.ndarray  # A, (n, pixels, channels)
    gradients: np.ndarray  # G
    shape: tuple[int, int]
    scores: Callable[
        [np.ndarray], np.ndarray
    ]  # masks (n, channels, height, width) -> (n, channels)


def _weighted(seen: Seen, channel_weights: np.ndarray) -> np.ndarray:
    return np.einsum("npk,nk->np", seen.maps, channel_weights)


def _alphas_with_epsilon(seen: Seen) -> np.ndarray:
    maps, gradients = seen.maps, seen.gradients
    sums = maps.sum(axis=1, keepdims=True)
    shares = gradients**2 / (2 * gradients**2 + sums * gradients**3 + 1e-6)
    return _weighted(seen, (shares * np.maximum(gradients, 0)).sum(axis=1))


def _alphas_undivided(seen: Seen) -> np.ndarray:
    return _weighted(seen, (seen.gradients**2 * np.maximum(seen.gradients, 0)).sum(axis=1))


def _alphas_that_sum_to_one(seen: Seen) -> np.ndarray:
    maps, gradients = seen.maps, seen.gradients
    shares = _shares(gradients, maps.sum(axis=1, keepdims=True))
    totals = shares.sum(axis=1, keepdims=True)
    shares = shares / np.where(totals == 0, 1, totals)
    return _weighted(seen, (shares * np.maximum(gradients, 0)).sum(axis=1))


def _alphas_with_means(seen: Seen) -> np.ndarray:
    maps, gradients = seen.maps, seen.gradients
    shares = _shares(gradients, maps.mean(axis=1, keepdims=True))
    return _weighted(seen, (shares * np.maximum(gradients, 0)).mean(axis=1))


def _shares(gradients: np.ndarray, sums: np.ndarray) -> np.ndarray:
    below = 2 * gradients**2 + sums * gradients**3
    return np.divide(gradients**2, below, out=np.zeros_like(below), where=below != 0)


def _centred(seen: Seen) -> np.ndarray:
    maps = seen.maps - seen.maps.mean(axis=1, keepdims=True)
    left, strengths, _ = np.linalg.svd(maps, full_matrices=False)
    return left[:, :, 0] * strengths[:, :1]


def _masks_from_corner_to_corner(seen: Seen) -> np.ndarray:
    masks = _resized(_as_channels(seen), SHAPE[:2], corners=True)
    return _weighted(seen, _softmax(seen.scores(_stretched(masks))))


def _masks_stretched_first(seen: Seen) -> np.ndarray:
    masks = _resized(_stretched(_as_channels(seen)), SHAPE[:2], corners=False)
    return _weighted(seen, _softmax(seen.scores(masks)))


def _guided(seen: Seen) -> np.ndarray:
    positive = np.maximum(seen.gradients, 0) * (seen.maps > 0)
    return _weighted(seen, positive.mean(axis=1))


def _stretched_heatmaps(seen: Seen) -> np.ndarray:
    raw = np.maximum(_weighted(seen, seen.gradients.mean(axis=1)), 0)
    masks = _stretched(raw.reshape(len(raw), 1, *seen.shape))
    return _stretched(_resized(masks, SHAPE[:2], corners=False))[:, 0]


def _as_channels(seen: Seen) -> np.ndarray:
    return np.moveaxis(seen.maps.reshape(len(seen.maps), *seen.shape, -1), -1, 1)


def _stretched(masks: np.ndarray) -> np.ndarray:
    masks = masks - masks.min(axis=(2, 3), keepdims=True)
    return masks / (masks.max(axis=(2, 3), keepdims=True) + 1e-8)


def _resized(masks: np.ndarray, size: tuple[int, int], *, corners: bool) -> np.ndarray:
    for axis, length in zip((2, 3), size):
        n = masks.shape[axis]
        if corners:
            places = np.linspace(0, n - 1, length)
        else:
            places = np.clip((np.arange(length) + 0.5) * n / length - 0.5, 0, n - 1)
        matrix = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(n)))
        masks = np.moveaxis(np.moveaxis(masks, axis, -1) @ matrix.T, -1, axis)
    return masks


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


Departure = tuple[Callable[[Seen], np.ndarray], str]

DEPARTURES: Mapping[tuple[str, str], Departure] = {
    ("pytorch-grad-cam", "gradcam, resized"): (
        _stretched_heatmaps,
        "stretches each map so that its minimum becomes 0, here where all of a map is positive",
    ),
    ("pytorch-grad-cam", "gradcam++"): (
        _alphas_with_epsilon,
        "adds 1e-6 to the denominator of alpha, where squared gradients may be less",
    ),
    ("torchcam", "gradcam++"): (
        _alphas_undivided,
        "divides a copy, so that alpha stays G^2: alpha[mask].div_(...) changes nothing",
    ),
    ("tf-keras-vis", "gradcam++"): (
        _alphas_that_sum_to_one,
        "divides the alphas of a channel by their sum, those of negative gradients included",
    ),
    ("xplique", "gradcam++"): (
        _alphas_with_means,
        "takes the mean of A for its sum in alpha",
    ),
    ("pytorch-grad-cam", "eigencam"): (
        _centred,
        "centres the maps, which eq. 5 does not; sign left to chance, here turned to detl's",
    ),
    ("pytorch-grad-cam", "scorecam"): (
        _masks_from_corner_to_corner,
        "enlarges the masks with the pixels aligned at the corners",
    ),
    ("torchcam", "scorecam"): (
        _masks_stretched_first,
        "stretches the masks to [0, 1] before they are enlarged; in algorithm 1 after it",
    ),
    ("tf-explain", "gradcam"): (
        _guided,
        "by default averages positive gradients at positive maps only (guided)",
    ),
}


def seen_by(model: Any) -> Seen:
    """Return maps and gradients of a Keras network on TensorFlow, without detl."""
    import keras
    import tensorflow as tf

    taps = keras.Model(model.input, [model.get_layer("maps").output, model.output])
    with tf.GradientTape() as tape:
        maps, logits = taps(images())
        score = tf.gather(logits, CLASSES, axis=1, batch_dims=1)
    gradients = np.asarray(tape.gradient(score, maps), "float64")
    maps = np.asarray(maps, "float64")
    n, height, width, channels = maps.shape

    def scores(masks: np.ndarray) -> np.ndarray:
        masked = (images()[:, None] * masks[..., None]).reshape(-1, *SHAPE)
        logits = np.asarray(model(masked.astype("float32")), "float64").reshape(n, channels, -1)
        return np.take_along_axis(logits, CLASSES[:, None, None], axis=2)[..., 0]

    return Seen(
        maps=maps.reshape(n, -1, channels),
        gradients=gradients.reshape(n, -1, channels),
        shape=(height, width),
        scores=scores,
    )


# ---------------------------------------------------------------------------------- the comparison


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of two maps over the largest absolute value, of all images.

    A library that shows its maps after the ReLU is compared there.
    """
    compared = np.maximum(expected, 0) if (found >= 0).all() else expected
    gaps = np.abs(found - compared).max(axis=(1, 2))
    return float((gaps / np.abs(expected).max(axis=(1, 2))).max())


def heatmap_difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference after ReLU, each map divided by its maximum."""
    return float(np.abs(_heatmap(found) - _heatmap(expected)).max())


def _heatmap(maps: np.ndarray) -> np.ndarray:
    maps = np.maximum(maps, 0)
    maxima = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(maxima > 0, maxima, 1)


def _turned(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return found * np.where((found * expected).sum(axis=(1, 2), keepdims=True) < 0, -1, 1)


def compare(maps: Path) -> list[dict[str, str]]:
    """Return a row for every library and method; the largest difference of all networks."""
    models = {network: keras_network(network) for network in NETWORKS}
    ours = {network: detl_maps(model) for network, model in models.items()}
    seen = {network: seen_by(model) for network, model in models.items()}
    rows = []
    for file in sorted(maps.glob("*.npz")):
        with np.load(file) as archive:
            theirs = dict(archive)
        library = str(theirs.pop("library"))
        release = str(theirs.pop("version"))
        for method in dict.fromkeys(key.split("|")[1] for key in theirs):
            formula, note = DEPARTURES.get((library, method), (None, ""))
            raw, heatmap, explained = [], [], []
            for network in NETWORKS:
                expected, found = ours[network][method], theirs[f"{network}|{method}"]
                if method == "eigencam":
                    found = _turned(found, expected)
                raw.append(difference(found, expected))
                heatmap.append(heatmap_difference(found, expected))
                if formula is not None:
                    again = formula(seen[network]).reshape(found.shape)
                    again = _turned(again, found) if method == "eigencam" else again
                    explained.append(heatmap_difference(again, found))
            rows.append(
                {
                    "method": method,
                    "library": library,
                    "version": release,
                    "map": "" if formula else f"{max(raw):.1e}",
                    "heatmap": f"{max(heatmap):.1e}",
                    "their formula": f"{max(explained):.1e}" if formula else "",
                    "why": note,
                }
            )
    return sorted(rows, key=lambda row: list(_order()).index(row["method"]))


def _order() -> list[str]:
    from detl.gradcam.methods import METHODS

    return ["gradcam", "gradcam, resized", *list(METHODS)[1:]]


def save_maps(library: str, folder: Path) -> None:
    """Write a library's maps of all networks."""
    name, package = library, PACKAGES.get(library, library)
    if library == "detl":
        import keras

        package = keras.backend.backend()
        name = f"detl on {package}"
    release = version(package)
    found = {
        f"{network}|{method}": maps.astype("float32")
        for network in NETWORKS
        for method, maps in maps_of(library, network).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name.replace(' ', '_')}.npz"
    np.savez_compressed(file, library=np.array(name), version=np.array(release), **found)


def save_fixture(maps: Path, fixture: Path) -> None:
    """Write the maps that detl's have to equal: those of libraries that follow the paper."""
    kept = {}
    for library in ("captum", "pytorch-grad-cam"):
        with np.load(maps / f"{library}.npz") as archive:
            kept[f"{library} version"] = archive["version"]
            for key in archive:
                method = key.rpartition("|")[2]
                if "|" in key and (library, method) not in DEPARTURES and "resized" not in method:
                    kept[f"{library}|{key}"] = archive[key]
    fixture.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(fixture, **kept)


def main() -> None:
    """Write the maps of one library, or compare those written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    libraries = ("detl", *TORCH, "tf-keras-vis", "xplique", "tf-explain")
    parser.add_argument("--maps", type=Path, required=True, help="folder of the maps")
    parser.add_argument("--library", choices=libraries)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--write-fixture", type=Path)
    parsed = parser.parse_args()
    if parsed.library:
        save_maps(parsed.library, parsed.maps)
    if parsed.output:
        rows = compare(parsed.maps)
        write_rows(parsed.output, rows)
        for row in rows:
            print(*row.values(), sep="  ")
    if parsed.write_fixture:
        save_fixture(parsed.maps, parsed.write_fixture)


if __name__ == "__main__":
    main()
