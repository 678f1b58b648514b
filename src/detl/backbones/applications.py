"""Networks of ``keras.applications`` as backbones: their own preprocessing inside, and flat."""

from __future__ import annotations

import difflib
import os
import re
from typing import Any, Literal

import keras
from keras import layers

from detl.checks import check_input_shape
from detl.networks import copying, graphs

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
        Its constructor in ``keras.applications``, such as ``"ResNet50"``.
    input_shape : tuple of int
        ``(height, width, channels)``; 1 or 3 channels, of any size that the network takes. Grey
        images are repeated in red, green and blue.
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
        If there is no such network or file, or if Keras refuses the input size or the weights.

    Notes
    -----
    The network's own preprocessing is inside. In NASNet every cell reads the outputs of two cells
    before it, so that nothing between its stem and its last layers can be cut: there,
    ``"last_block"`` trains all cells.

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
    if not isinstance(name, str) or name not in known.values():
        near = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.4) or known
        raise ValueError(
            f"name={name!r} is no network of keras.applications; "
            f"the nearest are {', '.join(repr(known[key]) for key in near)}."
        )
    if weights is not None and not isinstance(weights, str | os.PathLike):
        raise TypeError(
            f"weights is {type(weights).__name__}; expected None, 'imagenet' or a path."
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
        is_small = "must be at least" in str(error)
        hint = " detl.images.resize(images, size=...) enlarges images." if is_small else ""
        raise ValueError(
            f"keras.applications.{name} cannot be built for images of {input_shape[0]} x "
            f"{input_shape[1]} pixels and weights={weights!r}: {error}{hint}"
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
