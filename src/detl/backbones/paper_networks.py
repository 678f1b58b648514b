"""The three networks of the paper: AlexNet, VGG-16 and ResNet-50, with 3x3 kernels."""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import layers

from detl.checks import check_choice, check_input_shape, check_number, check_positive

Normalization = Literal["batch"] | None

# He et al. 2015 for ReLU: without it the deep networks start with vanishing activations.
_HE = "he_normal"
_LAST = "channels_last"  # whatever keras.json says: images are (height, width, channels)


def alexnet(
    input_shape: tuple[int, int, int],
    *,
    width: float = 1.0,
    normalization: Normalization = "batch",
    dropout: float = 0.5,
) -> keras.Model:
    """Build AlexNet with 3x3 kernels: five convolutions and two fully connected layers.

    Parameters
    ----------
    input_shape : tuple of int
        ``(height, width, channels)``; 1 or 3 channels, at least 57 x 57 pixels.
    width, normalization, dropout
        As for :func:`vgg16`; here 96 to 384 channels times ``width``.

    Returns
    -------
    keras.Model
        From ``(n, height, width, channels)`` pixels in [0, 255] to ``(n, 4096 * width)`` features.

    References
    ----------
    Basu et al. 2020, sec. III-B; Krizhevsky et al. 2012, without its local response normalisation
    and its split over two GPUs.
    """
    images, x = _pixels(input_shape, 57, width, normalization, dropout)
    plan = ((96, 4, True), (256, 1, True), (384, 1, False), (384, 1, False), (256, 1, True))
    for block, (channels, strides, pooled) in enumerate(plan, start=1):
        name = f"block{block}_conv"
        x = _convolution(x, _scaled(channels, width), 3, strides, normalization, name)
        x = layers.ReLU(name=f"{name}_relu")(x)
        if pooled:
            x = layers.MaxPooling2D(3, strides=2, data_format=_LAST, name=f"block{block}_pool")(x)
    return keras.Model(images, _fully_connected(x, width, normalization, dropout), name="alexnet")


def vgg16(
    input_shape: tuple[int, int, int],
    *,
    width: float = 1.0,
    normalization: Normalization = "batch",
    dropout: float = 0.5,
) -> keras.Model:
    """Build VGG-16: thirteen 3x3 convolutions in five blocks and two fully connected layers.

    Parameters
    ----------
    input_shape : tuple of int
        ``(height, width, channels)``; 1 or 3 channels, at least 32 x 32 pixels.
    width : float, default=1.0
        Factor on the channels and the fully connected units (64 to 512 channels, 4096 units).
    normalization : {"batch", None}, default="batch"
        ``None`` is the literal network, which does not learn from scratch at the paper's rate
        (Adam, 1e-3). Batch normalisation after every convolution and fully connected layer makes
        it; the measurement is in the documentation, "Train a source".
    dropout : float, default=0.5
        Share of units dropped after each fully connected layer.

    Returns
    -------
    keras.Model
        From ``(n, height, width, channels)`` pixels in [0, 255] to ``(n, 4096 * width)`` features.

    References
    ----------
    Basu et al. 2020, sec. III-B; Simonyan & Zisserman 2015, configuration D.
    """
    images, x = _pixels(input_shape, 32, width, normalization, dropout)
    plan = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    for block, (channels, depth) in enumerate(plan, start=1):
        for index in range(1, depth + 1):
            name = f"block{block}_conv{index}"
            x = _convolution(x, _scaled(channels, width), 3, 1, normalization, name)
            x = layers.ReLU(name=f"{name}_relu")(x)
        x = layers.MaxPooling2D(2, data_format=_LAST, name=f"block{block}_pool")(x)
    return keras.Model(images, _fully_connected(x, width, normalization, dropout), name="vgg16")


def resnet50(
    input_shape: tuple[int, int, int],
    *,
    width: float = 1.0,
    normalization: Normalization = "batch",
) -> keras.Model:
    """Build ResNet-50 with a 3x3 first layer: sixteen bottleneck units in four blocks.

    Blocks are named ``block1`` (the first layer) to ``block5``, the units in them
    ``block5_unit1`` to ``block5_unit3``.

    Parameters
    ----------
    input_shape : tuple of int
        ``(height, width, channels)``; 1 or 3 channels, at least 32 x 32 pixels.
    width, normalization
        As for :func:`vgg16`; here 64 to 2048 channels times ``width``, and batch normalisation is
        part of the published network.

    Returns
    -------
    keras.Model
        From ``(n, height, width, channels)`` pixels in [0, 255] to ``(n, 2048 * width)`` features,
        by global average pooling.

    References
    ----------
    Basu et al. 2020, sec. III-B; He et al. 2016, table 1. The 1x1 convolutions of the bottleneck
    are kept: they define the network, and without them it would have four times the weights.
    """
    images, x = _pixels(input_shape, 32, width, normalization)

    def convolution(x: Any, channels: int, kernel: int, strides: int, name: str) -> Any:
        return _convolution(x, _scaled(channels, width), kernel, strides, normalization, name)

    def unit(x: Any, channels: int, strides: int, name: str, *, projected: bool) -> Any:
        y = convolution(x, channels, 1, 1, f"{name}_conv1")
        y = layers.ReLU(name=f"{name}_relu1")(y)
        y = convolution(y, channels, 3, strides, f"{name}_conv2")
        y = layers.ReLU(name=f"{name}_relu2")(y)
        y = convolution(y, 4 * channels, 1, 1, f"{name}_conv3")
        if projected:
            x = convolution(x, 4 * channels, 1, strides, f"{name}_projection")
        return layers.ReLU(name=f"{name}_relu3")(layers.Add(name=f"{name}_add")([x, y]))

    x = convolution(x, 64, 3, 2, "block1_conv")
    x = layers.ReLU(name="block1_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", data_format=_LAST, name="block1_pool")(x)
    plan = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
    for block, (channels, depth, strides) in enumerate(plan, start=2):
        x = unit(x, channels, strides, f"block{block}_unit1", projected=True)
        for index in range(2, depth + 1):
            x = unit(x, channels, 1, f"block{block}_unit{index}", projected=False)
    x = layers.GlobalAveragePooling2D(data_format=_LAST, name="pool")(x)
    return keras.Model(images, x, name="resnet50")


def _pixels(
    input_shape: tuple[int, int, int],
    smallest: int,
    width: float,
    normalization: Normalization,
    dropout: float = 0.0,
) -> tuple[Any, Any]:
    """Check what a backbone is built with; return its input, plain and in [-1, 1]."""
    check_input_shape(input_shape, smallest=smallest)
    check_positive("width", width)
    check_choice("normalization", normalization, ("batch", None))
    check_number("dropout", dropout, at_least=0, below=1)
    images = keras.Input(input_shape, name="images")
    return images, layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(images)


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _convolution(
    x: Any, channels: int, kernel: int, strides: int, normalization: Normalization, name: str
) -> Any:
    x = layers.Conv2D(
        channels,
        kernel,
        strides=strides,
        padding="same",
        data_format=_LAST,
        use_bias=normalization is None,
        kernel_initializer=_HE,
        name=name,
    )(x)
    return _normalized(x, normalization, name)


def _fully_connected(x: Any, width: float, normalization: Normalization, dropout: float) -> Any:
    x = layers.Flatten(data_format=_LAST, name="flatten")(x)
    for name in ("fc1", "fc2"):
        x = layers.Dense(
            _scaled(4096, width),
            use_bias=normalization is None,
            kernel_initializer=_HE,
            name=name,
        )(x)
        x = layers.ReLU(name=f"{name}_relu")(_normalized(x, normalization, name))
        x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
    return x


def _normalized(x: Any, normalization: Normalization, name: str) -> Any:
    if normalization is None:
        return x
    # With Keras's momentum of 0.99 the statistics of a few hundred steps would still be those of
    # the start, and validation would look at another network than training.
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
