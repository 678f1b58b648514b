"""Convolutional backbones: untrained graphs with named blocks, and where to cut them."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import layers

from detl.checks import check_choice, check_input_shape, check_positive
from detl.networks import copying, graphs

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
    width : float, default=1.0
        Factor on the channels and the fully connected units (96 to 384 channels, 4096 units).
    normalization : {"batch", None}, default="batch"
        After every convolution and fully connected layer; ``None`` is the literal network. See
        :func:`vgg16`.
    dropout : float, default=0.5
        Share of units dropped after each fully connected layer.

    Returns
    -------
    keras.Model
        From ``(n, height, width, channels)`` pixels in [0, 255] to ``(n, 4096 * width)`` features.

    References
    ----------
    Basu et al. 2020, sec. III-B; Krizhevsky et al. 2012, without its local response normalisation
    and its split over two GPUs.
    """
    _check_backbone(input_shape, width, normalization, dropout, smallest=57)
    images, x = _pixels(input_shape)
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
        it; the measurement is in the documentation, "Backbones".
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
    _check_backbone(input_shape, width, normalization, dropout, smallest=32)
    images, x = _pixels(input_shape)
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
    width : float, default=1.0
        Factor on the channels (64 to 2048).
    normalization : {"batch", None}, default="batch"
        After every convolution, as published; ``None`` leaves it out.

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
    _check_backbone(input_shape, width, normalization, 0.0, smallest=32)

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

    images, x = _pixels(input_shape)
    x = convolution(x, 64, 3, 2, "block1_conv")
    x = layers.ReLU(name="block1_relu")(x)
    x = layers.MaxPooling2D(3, strides=2, padding="same", data_format=_LAST, name="block1_pool")(x)
    plan = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
    for block, (channels, depth, strides) in enumerate(plan, start=2):
        for index in range(1, depth + 1):
            first = index == 1
            name = f"block{block}_unit{index}"
            x = unit(x, channels, strides if first else 1, name, projected=first)
    x = layers.GlobalAveragePooling2D(data_format=_LAST, name="pool")(x)
    return keras.Model(images, x, name="resnet50")


# What the networks of keras.applications expect instead of pixels in [0, 255]: a rescaling (one
# for all channels, or one for each), or None where the network rescales by itself.
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_APPLICATIONS: dict[str, dict[str, Any] | None] = {
    r"(VGG|ResNet)\d+$": {"scale": 1.0, "offset": [-103.939, -116.779, -123.68]},
    r"(ResNet\d+V2|MobileNet|MobileNetV2|Inception.*|Xception|NASNet.*)$": {
        "scale": 1 / 127.5,
        "offset": -1.0,
    },
    r"DenseNet": {
        "scale": [1 / (255 * deviation) for deviation in _IMAGENET_DEVIATION],
        "offset": [
            -mean / deviation
            for mean, deviation in zip(_IMAGENET_MEAN, _IMAGENET_DEVIATION, strict=True)
        ],
    },
    r"EfficientNet|MobileNetV3|ConvNeXt": None,
}


def from_application(
    name: str,
    input_shape: tuple[int, int, int],
    *,
    weights: Literal["imagenet"] | str | os.PathLike[str] | None = None,
) -> keras.Model:
    """Build a network of ``keras.applications`` as a backbone.

    Parameters
    ----------
    name : str
        Its constructor in ``keras.applications``, such as ``"ResNet50"`` or
        ``"EfficientNetV2B0"``.
    input_shape : tuple of int
        ``(height, width, channels)``; 1 or 3 channels, of any size that the network takes. Grey
        images are repeated in red, green and blue: every network has three input channels, with
        weights or without.
    weights : {"imagenet", None} or path-like, default=None
        Weights trained on photographs, downloaded once by Keras; random ones; or the file of
        weights of the same network built with ``include_top=False``.

    Returns
    -------
    keras.Model
        From ``(n, height, width, channels)`` pixels in [0, 255] to ``(n, features)``, by global
        average pooling. It is flat, and its layers have the names that Keras gives them in a
        fresh session, whatever has been built before.

    Raises
    ------
    ValueError
        If there is no such network (the nearest names are offered), no such file, or if Keras
        refuses the input size or the weights; its reason is passed on.

    Notes
    -----
    The network's own preprocessing is inside. ConvNeXt normalises its layers once more after the
    pooling, as published.

    In NASNet every cell reads the outputs of two cells before it, so that nothing between its stem
    and its last layers can be cut: there, ``"last_block"`` trains all cells.

    Examples
    --------
    >>> from detl import backbones
    >>> mobile = backbones.from_application("MobileNetV2", (64, 64, 1))
    >>> mobile.output_shape
    (None, 1280)
    >>> backbones.block_names(mobile)[-1]
    'block_16'
    """
    check_input_shape(input_shape, smallest=1)
    network = _application(name, (*input_shape[:2], 3), weights)
    _renumber(network)
    images = keras.Input(input_shape, name="images")
    features = network(_preprocessed(images, name))
    return copying.copy_model(keras.Model(images, features, name=network.name))


def _application(name: str, input_shape: tuple[int, int, int], weights: Any) -> keras.Model:
    known = {
        entry.lower(): entry
        for entry in dir(keras.applications)
        if any(re.match(pattern, entry) for pattern in _APPLICATIONS)
    }
    if name not in known.values():
        near = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.4) or known
        raise ValueError(
            f"name={name!r} is no network of keras.applications; "
            f"the nearest are {', '.join(repr(known[key]) for key in near)}."
        )
    if weights not in (None, "imagenet"):
        weights = os.fspath(weights)
        if not os.path.exists(weights):
            raise ValueError(
                f"weights={weights!r}: there is no such file; expected None, 'imagenet' or the "
                f"file of weights of a {name} without its classifier."
            )
    try:
        return getattr(keras.applications, name)(
            include_top=False, weights=weights, input_shape=input_shape, pooling="avg"
        )
    except (ValueError, OSError) as error:
        raise ValueError(
            f"keras.applications.{name} cannot be built for images of {input_shape[0]} x "
            f"{input_shape[1]} pixels and weights={weights!r}: {error}"
        ) from error


def _preprocessed(images: Any, name: str) -> Any:
    x = images
    if x.shape[-1] == 1:
        x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
    elif re.match(r"(VGG|ResNet)\d+$", name):  # trained with Caffe, whose images are blue first
        x = keras.ops.flip(x, axis=-1)
        graphs.layer_of(x).name = "rgb_to_bgr"
    rescaling = next(value for key, value in _APPLICATIONS.items() if re.match(key, name))
    return x if rescaling is None else layers.Rescaling(**rescaling, name="rescaling")(x)


def _renumber(network: keras.Model) -> None:
    """Name unnamed layers as in a fresh session; Keras counts on from network to network."""
    unnamed: dict[str, list[Any]] = {}
    for node in graphs.model_nodes(network):
        stem = re.sub(r"_\d+$", "", node.operation.name)
        if stem.replace("_", "") == type(node.operation).__name__.lower():
            unnamed.setdefault(stem, []).append(node.operation)
    for stem, operations in unnamed.items():
        operations.sort(key=lambda operation: int(operation.name[len(stem) + 1 :] or 0))
        for index, operation in enumerate(operations):
            operation.name = f"{stem}_{index}" if index else stem


def _check_backbone(
    input_shape: tuple[int, int, int],
    width: float,
    normalization: Normalization,
    dropout: float,
    *,
    smallest: int,
) -> None:
    check_input_shape(input_shape, smallest=smallest)
    check_positive("width", width)
    check_choice("normalization", normalization, ("batch", None))
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout!r}; expected a share in [0, 1), such as 0.5.")


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _pixels(input_shape: tuple[int, int, int]) -> tuple[Any, Any]:
    images = keras.Input(input_shape, name="images")
    return images, layers.Rescaling(1 / 127.5, offset=-1, name="rescaling")(images)


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
    for index in (1, 2):
        name = f"fc{index}"
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


# How the families of networks name their blocks, detl's own and those of keras.applications.
_BLOCK_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        r"(block\d+_\d+)(?:_|$)",  # Inception-ResNet
        r"(block\d+)[a-z]?_",  # detl, VGG, Xception, EfficientNet
        r"(conv\d+)_block\d+_",  # ResNet, DenseNet
        r"(expanded_conv(?:_\d+)?|block_\d+)_",  # MobileNetV2, MobileNetV3
        r"(conv_dw_\d+)",  # MobileNet
        r"(mixed\d+)$",  # Inception
        r"(.*stage_\d+)_block_\d+_",  # ConvNeXt
    )
)


def block_names(model: keras.Model) -> list[str]:
    """Return the names of a model's convolutional blocks, from input to output.

    Parameters
    ----------
    model : keras.Model
        A backbone, or any functional or Sequential network.

    Returns
    -------
    list of str
        Empty where the layers' names follow no known family; there, layers can be named instead.

    Examples
    --------
    >>> from detl import backbones
    >>> backbones.block_names(backbones.vgg16((32, 32, 1), width=0.125))
    ['block1', 'block2', 'block3', 'block4', 'block5']
    """
    _check_graph(model)
    names = [node.operation.name for node in graphs.model_nodes(model)]
    for pattern in _BLOCK_NAMES:
        blocks = [match[1] for name in names if (match := pattern.match(name))]
        if len(set(blocks)) > 1:
            return list(dict.fromkeys(blocks))
    return []


def entrance_of(model: keras.Model, trainable_from: str) -> Any:
    """Return the tensor at which training begins: the last one that all of it depends on.

    Parameters
    ----------
    model : keras.Model
        A flat functional model.
    trainable_from : str
        ``"last_block"`` (the last of :func:`block_names`; without known names, the last
        convolution), ``"input"`` (all of the network), the name of a block, of a unit in it, or
        of a layer.

    Returns
    -------
    keras.KerasTensor
        A tensor of the model. Where the named layer lies inside a residual or dense block, it is
        the tensor that enters that block: a graph can be cut in two only where nothing runs
        beside it.

    Raises
    ------
    ValueError
        If nothing has that name (the nearest names are offered), or if ``"last_block"`` is asked
        of a network without a convolution.

    Notes
    -----
    A block is what its network names so. Pooling between two blocks, and what DenseNet and
    ConvNeXt reduce the image with between theirs, comes before the cut; what a block reduces the
    image with itself, as in ResNet and EfficientNet, after it.

    Examples
    --------
    >>> from detl import backbones
    >>> from detl.backbones.architectures import entrance_of
    >>> network = backbones.vgg16((32, 32, 1), width=0.125)
    >>> entrance_of(network, "last_block").shape
    (None, 2, 2, 64)
    """
    _check_graph(model)
    if not isinstance(trainable_from, str):
        raise TypeError(
            f"trainable_from is {type(trainable_from).__name__} {trainable_from!r}; expected the "
            "name of a block or a layer, or 'last_block'."
        )
    if trainable_from == "input" and len(model.inputs) == 1:
        return model.inputs[0]
    named = {id(node) for node in _named_nodes(model, trainable_from)}
    entrance = None
    for tensor, after in graphs.bottlenecks(model):
        if not named <= {id(node) for node in after}:
            break
        entrance = tensor
    if entrance is None:
        raise ValueError(
            f"{model.name!r} has {len(model.inputs)} inputs that only meet after "
            f"trainable_from={trainable_from!r}; name a layer after they have met."
        )
    return entrance


def exit_of(model: keras.Model, name: str) -> Any:
    """Return the tensor in which a block, a unit or a layer ends.

    Parameters
    ----------
    model : keras.Model
        A flat functional model.
    name : str
        ``"last_block"``, or the name of a block, of a unit in it, or of a layer.

    Returns
    -------
    keras.KerasTensor
        A tensor of the model: what the last layer of that name gives.

    Raises
    ------
    ValueError
        If nothing has that name (the nearest names are offered).

    Examples
    --------
    >>> from detl import backbones
    >>> from detl.backbones.architectures import exit_of
    >>> network = backbones.vgg16((32, 32, 1), width=0.125)
    >>> exit_of(network, "block2").shape
    (None, 8, 8, 16)
    """
    _check_graph(model)
    return _named_nodes(model, name, "layers")[-1].outputs[0]


def _check_graph(model: Any) -> None:
    if not graphs.is_graph(model):
        raise TypeError(
            f"model is {type(model).__name__}; expected a functional or built Sequential "
            "keras.Model, whose layers can be followed from its input to its output."
        )


def _named_nodes(model: keras.Model, name: str, argument: str = "trainable_from") -> Sequence[Any]:
    order = graphs.model_nodes(model)
    if name == "last_block":
        convolutions = [node for node in order if is_convolution(node.operation)]
        if not convolutions:
            raise ValueError(
                f"The source {model.name!r} has no convolution, so it has no last block; "
                f"name the layer to train from, one of {_layer_names(order)}."
            )
        blocks = block_names(model)
        if not blocks:
            return convolutions[-1:]
        name = blocks[-1]
    exact = [node for node in order if node.operation.name == name]
    if exact:
        return exact
    # "block7" stands for block7_conv and block7a_conv, but not for block70_conv.
    prefix = re.compile(re.escape(name) + r"(?:(?<=\d)[a-z])?_")
    members = [node for node in order if prefix.match(node.operation.name)]
    if not members:
        known = [*block_names(model), *_layer_names(order)]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[-5:]
        raise ValueError(
            f"{argument}={name!r} names neither a block nor a layer of {model.name!r}; "
            f"the nearest are {', '.join(map(repr, near))}, or use 'last_block'."
        )
    return members


def _layer_names(order: Sequence[Any]) -> list[str]:
    return [node.operation.name for node in order if not node.is_input]


def is_convolution(layer: Any) -> bool:
    """Whether a layer is a convolution of any kind (depthwise and separable ones included)."""
    kinds = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv", "SeparableConv")
    return any(kind.__name__.startswith(kinds) for kind in type(layer).__mro__)
