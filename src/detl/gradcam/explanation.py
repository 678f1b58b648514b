"""Explain a classifier: :class:`GradCAM`, and what it finds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import keras
import numpy as np

from detl.checks import check_choice, check_count
from detl.gradcam.frozen import FrozenTrunk, frozen_trunk
from detl.gradcam.layers import check_layer_names
from detl.gradcam.methods import METHODS, heatmaps_and_raw, map_of, masks_of
from detl.gradcam.taps import PREDICTED, Score, TappedNetwork, scores_of
from detl.networks.classifiers import check_target_class, class_names_of, network_of
from detl.networks.gradients import with_gradient
from detl.renaming import renamed_arguments

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_logger = logging.getLogger("detl")
_COARSE = 4  # cells on the shorter side of a map, of which fewer are said to be few


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """What :meth:`GradCAM.explain` found, one row per image.

    For signals and volumes, read (length) or (depth, height, width) for (height, width).

    Attributes
    ----------
    heatmaps : numpy.ndarray of float32, shape (n, height, width)
        In [0, 1], at the size of the images; 1 is the place that speaks most for the class *in its
        own image*, so heights of two images do not compare.
    raw : numpy.ndarray of float32, shape (n, map_height, map_width)
        The map before its ReLU, at the resolution of the layer: what is negative speaks against
        the class. Of several layers: at the size of the images, the mean of their maps, each
        divided by its largest absolute value.
    scores : numpy.ndarray of float32, shape (n,)
        Logit of the explained class, or what the callable gave.
    class_indices : numpy.ndarray of int, shape (n,)
        The class explained; -1 where a callable gave the score.
    layer : str or tuple of str
        As ``layer`` of :class:`~detl.GradCAM`.
    blank : numpy.ndarray of bool, shape (n,)
        Whether nothing in the image spoke for the class, so that the heatmap is zero everywhere.
        The model may be sure of the class all the same, by its biases and by the absence of what
        speaks for the others.
    """

    heatmaps: Array = field(repr=False)
    raw: Array = field(repr=False)
    scores: Array
    class_indices: Array
    layer: str | tuple[str, ...]
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
        A classifier with a convolution, of one output ``(n, classes)``: functional or Sequential,
        with models nested in it, or subclassed and called once. Signals, images and volumes,
        channels first or last, with or without other inputs. It is left as it is; where its weights
        change later, the heatmaps follow. Of a transfer, what its frozen layers gave for an image
        is found again where ``layer`` lies above them.
    layer : str or list of str, optional
        Name of the layer whose output is weighted, or its path: of names in a nested model, such
        as ``"vgg16/block5_conv3"``, of attributes in a subclassed one, such as ``"blocks/2/conv"``.
        Default: the last convolutional feature map that everything passes through, after
        normalisation, activation and the addition of a residual unit. Of several layers, the
        heatmaps are averaged (and divided by the maximum of their mean).
    method : str, default="gradcam"
        How maps and gradients become one map:

        - ``"gradcam"``: as above (Selvaraju et al. 2017).
        - ``"gradcam++"``: positive gradients alone, each with its own share, so that several
          objects of a class all count (Chattopadhay et al. 2018, eq. 19; for maps after a ReLU).
        - ``"hirescam"``: maps times gradients, pixel by pixel (Draelos & Carin 2020).
        - ``"layercam"``: the same with the positive gradients, for early, fine layers (Jiang et al.
          2021).
        - ``"xgradcam"``: gradients averaged where the map is active (Fu et al. 2020).
        - ``"eigencam"``: the maps' first principal direction, whatever the class (Muhammad & Yeasin
          2020); its sign is the one that makes most of the map positive.
        - ``"scorecam"``: no gradients; the score of the image seen through each map, the rest black
          (Wang et al. 2020). One forward pass per channel.
    batch_size : int, default=32
        Images per step.

    Attributes
    ----------
    layer : str or tuple of str
        The layer or layers used, the latter in the order in which they run. A subclassed model
        may add maps up outside of any layer; then it is the layer that reads them, with the
        addition ``" (input)"``.

    See Also
    --------
    detl.faithfulness : Is a heatmap true?

    Notes
    -----
    A single output unit (sigmoid) stands for two classes: its logit is the score of class 1, the
    negative that of class 0. The softmax or sigmoid of a subclassed model is passed over where it
    is the last layer called, or the activation of that. Where the model computes it in its own
    ``call``, the score is the model's output, and a line of the logger "detl" says so.

    Examples
    --------
    >>> import numpy as np
    >>> from keras import Sequential, layers
    >>> from detl import GradCAM
    >>> conv = layers.Conv2D(1, 1, kernel_initializer="ones", name="conv")
    >>> head = [layers.GlobalAveragePooling2D(), layers.Dense(2, activation="softmax")]
    >>> model = Sequential([layers.Input((6, 6, 1)), conv, *head])
    >>> model.layers[-1].set_weights([np.array([[-1.0, 1.0]]), np.zeros(2)])
    >>> image = np.zeros((1, 6, 6, 1))
    >>> image[0, 4, 1] = 255
    >>> cam = GradCAM(model)
    >>> cam.layer
    'conv'
    >>> np.argwhere(cam(image, target_class=1)[0] == 1).tolist()
    [[4, 1]]
    >>> cam.explain(image, target_class=0).blank.tolist()  # a bright pixel speaks against class 0
    [True]
    """

    def __init__(
        self,
        model: Any,
        *,
        layer: str | Sequence[str] | None = None,
        method: str = "gradcam",
        batch_size: int = 32,
    ) -> None:
        check_count("batch_size", batch_size)
        check_choice("method", method, tuple(METHODS))
        names = check_layer_names(layer)
        self._network = TappedNetwork(network_of(model), names)
        self._trunk = frozen_trunk(model, self._network)
        paths = self._network.paths
        self.layer = paths[0] if layer is None or isinstance(layer, str) else tuple(paths)
        self.method = method
        self.batch_size = batch_size
        # One unit stands for two classes.
        self._n_classes = max(2, self._network.n_outputs)
        self._class_names = class_names_of(model)
        self._compiled: dict[tuple[Any, ...], Callable[..., tuple[Any, ...]]] = {}
        self._said_coarse = False

    @renamed_arguments(class_index="target_class")
    def __call__(self, images: Any, target_class: Any = None) -> Array:
        """Return a heatmap for every image.

        Parameters
        ----------
        images : array-like of shape (n, height, width, channels)
            Pixels as the model takes them, in [0, 255] for those of detl; may be a memory map.
            Of a model of several inputs: a list of arrays, or a dictionary, as Keras takes them.
        target_class : int, str, array-like of shape (n,) or callable, optional
            The class to explain: its column in the model's output, or its name if the model is a
            SourceModel or a DomainExtensionTransfer; one for all images or one per image. Default:
            the predicted class of each image. Or a function of Keras operations that turns logits
            ``(n, classes)`` into scores ``(n,)``, row by row.

        Returns
        -------
        numpy.ndarray of float32, shape (n, height, width)
            In [0, 1], see :attr:`Explanation.heatmaps`.
        """
        return self.explain(images, target_class).heatmaps

    @renamed_arguments(class_index="target_class")
    def explain(
        self, images: Any, target_class: Any = None, *, counterfactual: bool = False
    ) -> Explanation:
        """Return heatmaps together with what they were made of.

        Parameters
        ----------
        images, target_class
            As for calling the object.
        counterfactual : bool, default=False
            Whether to show what speaks *against* the class: the gradients are negated (Selvaraju
            et al. 2017, sec. 3).

        Returns
        -------
        Explanation
            Each row depends on its own image alone.
        """
        check_choice("counterfactual", counterfactual, (False, True))
        if counterfactual and self.method == "eigencam":
            raise ValueError(
                "method='eigencam' looks at no class, so it has no counterfactual; "
                "use another method, such as 'gradcam'."
            )
        inputs = self._network.inputs.arrays_of(images)
        pixels = inputs[self._network.inputs.images]
        score = target_class if callable(target_class) else None
        wanted = np.full(len(pixels), PREDICTED, dtype="int32")
        if target_class is not None and score is None:
            wanted[:] = check_target_class(
                target_class, n=len(pixels), n_classes=self._n_classes, names=self._class_names
            )
        sign = -1 if counterfactual else 1
        features = None if self._trunk is None else self._trunk.features(pixels)
        steps = []
        for start in range(0, len(pixels), self.batch_size):
            rows = slice(start, start + self.batch_size)
            batch = [np.asarray(array[rows]) for array in inputs]
            if self._trunk is None or features is None:
                run, read = self._function(self._network, score, batch), batch
            else:
                read = [features[rows]]
                run = self._function(self._trunk, score, read)
            maps, gradients, scores, classes = run(*read, wanted[rows])
            _check_scores(scores, classes)
            _check_finite([*maps, *gradients, scores], start, self.layer)
            masked_scores = partial(self._masked_scores, score, batch, classes, sign)
            raws = [
                map_of(self.method, part, sign * gradient, masked_scores, channels_first=first)
                for first, part, gradient in zip(self._network.channels_first, maps, gradients)
            ]
            steps.append((*raws, scores, classes))
        *raws, scores, classes = (np.concatenate(parts) for parts in zip(*steps, strict=True))
        self._say_if_coarse(raws)
        heatmaps, raw = heatmaps_and_raw(raws, self._network.inputs.size_of(pixels))
        return Explanation(
            heatmaps=heatmaps,
            raw=raw,
            scores=scores,
            class_indices=classes.astype(int),
            layer=self.layer,
            blank=np.all([part.reshape(len(part), -1).max(axis=1) <= 0 for part in raws], axis=0),
        )

    def _say_if_coarse(self, raws: Sequence[Array]) -> None:
        """Say once that there are so few cells that their interpolation is what one sees."""
        cells = max((raw.shape[1:] for raw in raws), key=min)
        if min(cells) < _COARSE and not self._said_coarse:
            self._said_coarse = True
            _logger.warning(
                "The heatmaps have only %s cells, stretched over the image: too few to show an "
                "object. Explain larger images, or name an earlier layer=.",
                " x ".join(map(str, cells)),
            )

    def _function(
        self,
        network: TappedNetwork | FrozenTrunk,
        score: Score | None,
        batch: Sequence[Array],
        *,
        differentiates: bool = True,
    ) -> Callable[..., tuple[Any, ...]]:
        """Return the compiled function from a batch and its classes to maps, gradients, scores."""
        tensors = network.tensors_for(batch)
        kinds = ((tensor.shape, tensor.dtype) for tensor in tensors)
        key = (score, network, differentiates, *kinds)
        if key not in self._compiled:
            # One callable at a time: a loop over lambdas would fill the memory.
            known = self._compiled.items()
            self._compiled = {key: run for key, run in known if key[0] in (None, score)}

            def forward(tap: Any, *tensors: Any) -> tuple[Any, ...]:
                *inputs, classes = tensors
                if differentiates:
                    return scores_of(network.logits(tap, *inputs), classes, score)
                logits = network.logits(lambda maps: maps, *inputs)
                scores, classes = scores_of(logits, classes, score)
                return tap(scores), classes  # nothing is left to differentiate

            self._compiled[key] = with_gradient(
                forward,
                inputs=[*tensors, keras.KerasTensor((None,), dtype="int32")],
                variables=network.variables,
            )
        return self._compiled[key]

    def _masked_scores(
        self,
        score: Score | None,
        batch: Sequence[Array],
        classes: Array,
        sign: int,
        maps: Array,
    ) -> Array:
        """Return the score of each image seen through each of its maps, ``(n, channels)``."""
        inputs = self._network.inputs
        size = inputs.size_of(batch[inputs.images])
        run = self._function(self._network, score, batch, differentiates=False)
        n, channels = len(maps), maps.shape[-1]
        scores = np.empty(n * channels, dtype="float32")
        for start in range(0, n * channels, self.batch_size):
            numbers = np.arange(start, min(start + self.batch_size, n * channels))
            rows, columns = np.divmod(numbers, channels)
            parts = [array[rows] for array in batch]
            masks = masks_of(maps[rows, ..., columns], size)
            parts[inputs.images] = inputs.masked(parts[inputs.images], masks)
            *_, scores[numbers], _ = run(*parts, classes[rows])
        return sign * scores.reshape(n, channels)


def _check_scores(scores: Array, classes: Array) -> None:
    if scores.shape != classes.shape:
        raise ValueError(
            f"target_class is a callable that returns shape {scores.shape} for "
            f"{len(classes)} images; expected one score per image."
        )


def _check_finite(parts: Sequence[Array], start: int, layer: Any) -> None:
    finite = np.all(
        [np.isfinite(part).reshape(len(part), -1).all(axis=1) for part in parts], axis=0
    )
    if not finite.all():
        raise ValueError(
            f"The model gives NaN or infinity, first in row {start + int(finite.argmin())} "
            f"(score, or maps of {layer!r}). Check its weights: training may have diverged."
        )
