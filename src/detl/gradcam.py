"""Grad-CAM: which parts of an image speak for a class.

References
----------
Basu, Mitra, Saha 2020, "Deep Learning for Screening COVID-19 using Chest X-Ray Images", SSCI,
eq. 1 and 2.
Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import keras
import numpy as np

from detl import _graphs
from detl._checks import check_count, check_images
from detl._gradients import with_gradient
from detl._heads import ends_in_output_function, is_output_function
from detl.backbones import is_convolution

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_PREDICTED = -1  # stands for "the class that the model predicts"


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """What :meth:`GradCAM.explain` found, one row per image.

    Attributes
    ----------
    heatmaps : numpy.ndarray of float32, shape (n, height, width)
        In [0, 1], at the size of the images; 1 is the place that speaks most for the class *in its
        own image*, so heights of two images do not compare.
    raw : numpy.ndarray of float32, shape (n, map_height, map_width)
        The weighted sum of eq. 2 before its ReLU, at the resolution of the layer: what is negative
        speaks against the class.
    scores : numpy.ndarray of float32, shape (n,)
        Logit of the explained class.
    class_indices : numpy.ndarray of int, shape (n,)
        The class explained.
    layer : str
        Name of the layer whose maps were weighted; in a nested model its path, such as
        ``"vgg16/block5_conv3"``.
    blank : numpy.ndarray of bool, shape (n,)
        Whether nothing in the image spoke for the class: ``raw`` is nowhere positive, and the
        heatmap zero everywhere. The model may be sure of the class all the same, by its biases and
        by the absence of what speaks for the others.
    """

    heatmaps: Array = field(repr=False)
    raw: Array = field(repr=False)
    scores: Array
    class_indices: Array
    layer: str
    blank: Array


class GradCAM:
    r"""Explain a classifier's decisions by heatmaps over its images.

    Channel :math:`k` of the last convolutional maps :math:`A^k` weighs as much as the score
    :math:`y^c` of class :math:`c` rises with it on average, and the heatmap is the weighted sum,
    where it is positive (Basu et al. 2020, eq. 1 and 2; Selvaraju et al. 2017, eq. 1 and 2):

    .. math::

        \alpha_k^c = \frac{1}{Z} \sum_{i,j} \frac{\partial y^c}{\partial A_{ij}^k}
        \qquad
        L^c = \mathrm{ReLU}\Bigl(\sum_k \alpha_k^c A^k\Bigr)

    The score is the logit: a final softmax or sigmoid is passed over, as it would mix in the other
    classes and flatten the gradient of a confident model. :math:`L^c` is resized to the image
    (bilinear, pixels aligned at their centres) and divided by its maximum.

    Parameters
    ----------
    model : keras.Model, SourceModel or DomainExtensionTransfer
        A functional or Sequential classifier with a convolution, of one input ``(n, height, width,
        channels)`` and one output ``(n, classes)``; models may be nested in it. Or what has one:
        what :func:`detl.pretrain` returned, or a fitted transfer. It is left as it is; where its
        weights change later, the heatmaps follow.
    layer : str, optional
        Name of the layer whose output is weighted, or its path in a nested model, such as
        ``"vgg16/block5_conv3"``. By default the last convolutional maps before pooling or
        flattening that everything passes through: after normalisation, activation and the
        addition of a residual unit.
    batch_size : int, default=32
        Images per step.

    Attributes
    ----------
    layer : str
        The layer used.

    Raises
    ------
    TypeError
        If the model is not a graph that can be followed from its input to its output.
    ValueError
        If it has no convolution, no layer of that name (the nearest are offered), or other inputs
        and outputs than above.

    Notes
    -----
    A model with a single output unit (sigmoid) has two classes: the unit's logit is the score of
    class 1, its negative that of class 0.

    Examples
    --------
    >>> import numpy as np
    >>> from keras import Sequential, layers
    >>> from detl import GradCAM
    >>> model = Sequential([
    ...     layers.Input((6, 6, 1)),
    ...     layers.Conv2D(1, 1, kernel_initializer="ones", name="conv"),
    ...     layers.GlobalAveragePooling2D(),
    ...     layers.Dense(2, activation="softmax"),
    ... ])
    >>> model.layers[-1].set_weights([np.array([[-1.0, 1.0]]), np.zeros(2)])
    >>> image = np.zeros((1, 6, 6, 1))
    >>> image[0, 4, 1] = 255
    >>> cam = GradCAM(model)
    >>> cam.layer
    'conv'
    >>> np.argwhere(cam(image, class_index=1)[0] == 1).tolist()
    [[4, 1]]
    >>> cam.explain(image, class_index=0).blank.tolist()  # a bright pixel speaks against class 0
    [True]
    """

    def __init__(self, model: Any, *, layer: str | None = None, batch_size: int = 32) -> None:
        check_count("batch_size", batch_size)
        network = _network_of(model)
        calls, logits = _calls_to_logits(network)
        explained = _last_maps(calls, network) if layer is None else _named(calls, layer, network)
        self.layer = explained.path
        self.batch_size = batch_size
        self._image_shape = network.inputs[0].shape[1:]
        # One unit stands for two classes.
        self._n_classes = max(2, network.outputs[0].shape[-1])

        def forward(tap: Any, images: Any, classes: Any) -> tuple[Any, ...]:
            values = {0: images}
            for call in calls:
                values.update(call.run(values))
                if call is explained:
                    values[call.outputs[0]] = tap(values[call.outputs[0]])
            return _scores(values[logits], classes)

        self._maps_and_gradients = with_gradient(
            forward,
            inputs=[network.inputs[0], keras.KerasTensor((None,), dtype="int32")],
            variables=network.variables,
        )

    def __call__(self, images: Any, class_index: Any = None) -> Array:
        """Return a heatmap for every image.

        Parameters
        ----------
        images : array-like of shape (n, height, width, channels)
            Pixels as the model takes them, in [0, 255] for those of detl; may be a memory map.
        class_index : int or array-like of int of shape (n,), optional
            Column of the model's output, the same for all images or one per image; by default the
            predicted class of each image.

        Returns
        -------
        numpy.ndarray of float32, shape (n, height, width)
            In [0, 1], see :attr:`Explanation.heatmaps`.
        """
        return self.explain(images, class_index).heatmaps

    def explain(self, images: Any, class_index: Any = None) -> Explanation:
        """Return heatmaps together with what they were made of.

        Parameters
        ----------
        images, class_index
            As for calling the object.

        Returns
        -------
        Explanation
            Each row depends on its own image alone.

        Raises
        ------
        ValueError
            If images or class indices do not fit the model, or if the model gives NaN or infinity.
        """
        images = check_images(images, shape=self._image_shape, any_scale=True)
        wanted = _check_class_index(class_index, len(images), self._n_classes)
        steps = []
        for start in range(0, len(images), self.batch_size):
            rows = slice(start, start + self.batch_size)
            maps, gradients, scores, classes = self._maps_and_gradients(
                np.asarray(images[rows]), wanted[rows]
            )
            steps.append((_weighted_sum(maps, gradients), scores, classes))
        raw, scores, classes = (np.concatenate(parts) for parts in zip(*steps, strict=True))
        _check_finite(raw, scores, self.layer)
        return Explanation(
            heatmaps=_heatmaps(raw, images.shape[1:3]),
            raw=raw,
            scores=scores,
            class_indices=classes.astype(int),
            layer=self.layer,
            blank=raw.max(axis=(1, 2)) <= 0,
        )


# ---------------------------------------------------------------------------------- the formula


def _scores(logits: Any, classes: Any) -> tuple[Any, Any]:
    """Return each image's logit of the wanted class, and that class."""
    logits = keras.ops.cast(logits, "float32")
    if logits.shape[-1] == 1:
        logits = keras.ops.concatenate([-logits, logits], axis=-1)
    predicted = keras.ops.cast(keras.ops.argmax(logits, axis=-1), classes.dtype)
    classes = keras.ops.where(classes == _PREDICTED, predicted, classes)
    return keras.ops.take_along_axis(logits, classes[:, None], axis=-1)[:, 0], classes


def _weighted_sum(maps: Array, gradients: Array) -> Array:
    """Weigh the maps by their mean gradients, both ``(n, height, width, channels)``."""
    channel_weights = gradients.mean(axis=(1, 2))  # eq. 1
    return np.einsum("nhwc,nc->nhw", maps, channel_weights)  # eq. 2, before its ReLU


def _heatmaps(raw: Array, size: tuple[int, int]) -> Array:
    """Return the positive part, resized, each map divided by its maximum; blank maps are zero."""
    height, width = raw.shape[1:]
    positive = _over_maximum(np.maximum(raw, 0))  # before resizing too, lest tiny maps underflow
    rows, columns = _bilinear(height, size[0]), _bilinear(width, size[1])
    return _over_maximum(rows @ positive @ columns.T)


def _over_maximum(maps: Array) -> Array:
    maxima = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(maxima > 0, maxima, 1)


def _bilinear(n: int, size: int) -> Array:
    """Return the matrix ``(size, n)`` that resizes an axis, pixels aligned at their centres."""
    centres = np.clip((np.arange(size) + 0.5) * n / size - 0.5, 0, n - 1)
    return np.maximum(0, 1 - np.abs(centres[:, np.newaxis] - np.arange(n))).astype("float32")


# ------------------------------------------------------------------------------------ the graph


@dataclass(frozen=True, kw_only=True, eq=False)
class _Call:
    """One call of one layer, in a graph whose nested models are dissolved.

    Tensors have numbers here: a model that is nested twice computes the same symbolic tensors
    twice, with different values.
    """

    path: str  # "block5_conv3"; in a nested model "vgg16/block5_conv3"
    operation: Any
    node: _graphs.Node
    inputs: list[int]
    outputs: list[int]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of the first output, without the images' axis."""
        return tuple(self.node.outputs[0].shape[1:])

    def run(self, values: dict[int, Any]) -> Iterator[tuple[int, Any]]:
        """Compute the outputs, in inference mode."""
        known = {id(t): values[i] for t, i in zip(self.node.input_tensors, self.inputs)}
        args, kwargs = self.node.arguments.fill_in(known)
        if "training" in inspect.signature(self.operation.call).parameters:
            kwargs = {**kwargs, "training": False}
        return zip(self.outputs, keras.tree.flatten(self.operation(*args, **kwargs)))


def _network_of(model: Any) -> keras.Model:
    """Return the Keras model that was given, or that what was given carries."""
    network = model
    if not isinstance(model, keras.Model):
        if hasattr(model, "fit") and hasattr(model, "source") and not hasattr(model, "model_"):
            raise ValueError(f"This {type(model).__name__} is not fitted; call fit first.")
        network = getattr(model, "model_", getattr(model, "model", None))
    if not _graphs.is_graph(network):
        raise TypeError(
            f"model is {type(model).__name__}; expected a functional or built Sequential "
            "keras.Model, a SourceModel or a fitted DomainExtensionTransfer."
        )
    shapes = [tensor.shape for tensor in (*network.inputs, *network.outputs)]
    if len(shapes) != 2 or len(shapes[0]) != 4 or len(shapes[1]) != 2:
        raise ValueError(
            f"{network.name!r} takes {[t.shape for t in network.inputs]} and gives "
            f"{[t.shape for t in network.outputs]}; expected one input (n, height, width, "
            "channels) and one output (n, classes)."
        )
    return network


def _calls_to_logits(network: keras.Model) -> tuple[list[_Call], int]:
    """Return the calls from the images, tensor 0, to the logits, and the number of the latter."""
    calls, (output,) = _unfold(network, [0], itertools.count(1), "")
    if any(getattr(call.operation, "data_format", "") == "channels_first" for call in calls):
        raise ValueError(
            f"{network.name!r} has layers with data_format='channels_first'; expected "
            "'channels_last', images of (n, height, width, channels)."
        )
    producers = {number: call for call in calls for number in call.outputs}
    while is_output_function(producers[output].operation):
        output = producers[output].inputs[0]
    needed = {output}
    used: list[_Call] = []
    for call in reversed(calls):  # what only the squashing, or an output unused, needs is left out
        if needed.intersection(call.outputs):
            needed.update(call.inputs)
            used.insert(0, call)
    if ends_in_output_function(used[-1].operation):
        used[-1] = replace(used[-1], operation=_without_activation(used[-1].operation))
    return used, output


def _unfold(
    model: keras.Model, inputs: list[int], numbers: Iterator[int], prefix: str
) -> tuple[list[_Call], list[int]]:
    """Return the calls of a model, nested models dissolved, and the numbers of its outputs."""
    number_of = dict(zip(map(id, model.inputs), inputs, strict=True))
    calls = []
    for node in _graphs.model_nodes(model):
        path = f"{prefix}{node.operation.name}"
        arguments = [number_of[id(tensor)] for tensor in node.input_tensors]
        if _graphs.is_graph(node.operation):
            inner, outputs = _unfold(node.operation, arguments, numbers, f"{path}/")
            calls += inner
        else:
            outputs = [next(numbers) for _ in node.outputs]
            calls.append(
                _Call(
                    path=path,
                    operation=node.operation,
                    node=node,
                    inputs=arguments,
                    outputs=outputs,
                )
            )
        number_of.update(zip(map(id, node.outputs), outputs, strict=True))
    return calls, [number_of[id(tensor)] for tensor in model.outputs]


def _without_activation(layer: Any) -> Any:
    """Return a layer that shares everything with the given one but its activation."""
    # Not copy.copy: Keras pickles a layer by saving it, weights and all.
    linear = object.__new__(type(layer))
    linear.__dict__.update(layer.__dict__, activation=keras.activations.linear)
    return linear


def _is_spatial(call: _Call) -> bool:
    return len(call.outputs) == 1 and len(call.shape) == 3


def _last_maps(calls: Sequence[_Call], network: keras.Model) -> _Call:
    """Return the call that gives the last convolutional maps before pooling or flattening."""
    convolved: set[int] = set()
    candidates = []
    for call in calls:
        if is_convolution(call.operation) or convolved.intersection(call.inputs):
            convolved.update(call.outputs)
            if _is_spatial(call) and call.shape[:2] != (1, 1) and not _is_pooling(call.operation):
                candidates.append(call)
    if not convolved:
        raise ValueError(
            f"{network.name!r} has no convolution, and so no maps for Grad-CAM to weigh; "
            "expected a convolutional classifier."
        )
    if not candidates:
        raise ValueError(
            f"No convolution of {network.name!r} gives maps (n, height, width, channels) of more "
            "than one pixel; use larger images, or a network that reduces them less."
        )
    # Within a residual unit, maps are only a part of the evidence. Where branches never meet
    # again as maps, there is nothing better than the last.
    whole = set(_bottlenecks(calls))
    return [call for call in candidates if call in whole or not whole.intersection(candidates)][-1]


def _bottlenecks(calls: Sequence[_Call]) -> Iterator[_Call]:
    """Yield the calls whose output everything after them depends on, and on nothing earlier."""
    last_use = {number: index for index, call in enumerate(calls) for number in call.inputs}
    reach = last_use[0]
    for index, call in enumerate(calls):
        if reach <= index:
            yield call
        reach = max(reach, *(last_use.get(number, -1) for number in call.outputs))


def _is_pooling(operation: Any) -> bool:
    """Whether maps are still to be read before this: it pools them, or adds nothing to them."""
    kinds = ("Pool", "Dropout", "Padding")
    return any(kind in base.__name__ for base in type(operation).__mro__ for kind in kinds)


def _named(calls: Sequence[_Call], name: Any, network: keras.Model) -> _Call:
    """Return the call of a layer by its name or path."""
    if not isinstance(name, str):
        raise TypeError(f"layer is {type(name).__name__} {name!r}; expected the name of a layer.")
    found = [call for call in calls if name in (call.path, call.path.rpartition("/")[2])]
    if not found:
        known = [call.path for call in calls if _is_spatial(call)]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[-3:]
        raise ValueError(
            f"layer={name!r} is no layer of {network.name!r}; "
            f"the nearest are {', '.join(map(repr, near))}."
        )
    if len(found) > 1:
        raise ValueError(
            f"layer={name!r} is called {len(found)} times in {network.name!r}, as "
            f"{', '.join(repr(call.path) for call in found)}; name one that is called once."
        )
    if not _is_spatial(found[0]):
        raise ValueError(
            f"layer={name!r} gives {('n', *found[0].shape)}; Grad-CAM weighs maps of shape "
            "(n, height, width, channels). Name a convolution, or what normalises or activates it."
        )
    return found[0]


# ----------------------------------------------------------------------------------- the checks


def _check_class_index(class_index: Any, n: int, n_classes: int) -> Array:
    """Return one class per image, int32, or the mark that stands for the predicted one."""
    if class_index is None:
        return np.full(n, _PREDICTED, dtype="int32")
    wanted = np.asarray(class_index)
    if wanted.dtype.kind not in "ui":
        raise TypeError(
            f"class_index={class_index!r} has dtype {wanted.dtype}; expected a whole number or one "
            "per image: the column of the class in the model's output."
        )
    if wanted.shape not in ((), (n,)):
        raise ValueError(
            f"class_index has shape {wanted.shape} for {n} images; expected one number for all or "
            f"({n},), one per image."
        )
    if wanted.min() < 0 or wanted.max() >= n_classes:
        wrong = wanted.min() if wanted.min() < 0 else wanted.max()
        raise ValueError(
            f"class_index={wrong}, but the model has the classes 0 to {n_classes - 1}."
        )
    return np.broadcast_to(wanted, n).astype("int32")


def _check_finite(raw: Array, scores: Array, layer: str) -> None:
    broken = ~(np.isfinite(raw).all(axis=(1, 2)) & np.isfinite(scores))
    if broken.any():
        raise ValueError(
            f"The model gives NaN or infinity for {broken.sum()} of {len(broken)} images, first in "
            f"row {np.flatnonzero(broken)[0]} (score, or maps of {layer!r}). "
            "Check its weights: training may have diverged."
        )
