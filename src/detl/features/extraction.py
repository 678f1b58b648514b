"""What a network sees in an image, as a row of numbers that any classifier can learn from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import ops
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from detl.backbones.blocks import exit_of
from detl.checks import check_choice, check_count, check_path
from detl.features.identity import trunk_name
from detl.features.pooling import Pooling, n_features, pooled
from detl.features.trunk import features_of
from detl.features.views import UNCHANGED
from detl.networks import copying, graphs
from detl.networks.folding import folded
from detl.networks.normalization import fused_layers
from detl.networks.precision import Precision, dtype_policy
from detl.pretraining.source import SharesSource, Source, source_network


class FeatureExtractor(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SharesSource):
    """Turn images into features of a trained network: a scikit-learn transformer.

    Feature maps are averaged over the cells of a grid, and the tokens of a vision transformer over
    the image, so that a classifier of scikit-learn can learn from them, in seconds. Layers in the
    middle often serve another task better than the last ones, which know most about the classes of
    the source (Yosinski et al. 2014). For a network outside Keras see
    :func:`detl.features.precomputed`.

    Parameters
    ----------
    source : SourceModel, keras.Model or path
        As for :class:`detl.DomainExtensionTransfer`. It is never changed, and clones share it.
    layers : str or sequence of str, default="last_block"
        Name of a block, a unit or a layer (see :func:`detl.backbones.block_names`): what it gives
        is taken where it ends. Of several names the features stand side by side. ``"last_block"``
        of a vision transformer is the last layer that gives tokens, its last normalisation
        included.
    grid : int, default=1
        Feature maps are averaged in ``grid`` × ``grid`` cells: 1 forgets where something was, 2
        keeps the quarter, and so on. Maps with fewer pixels are taken as they are.
    tokens : {"mean", "class"}, default="mean"
        What is taken of tokens, ``(n, tokens, features)``: the mean of all, the class token
        included, or the class token alone, which has to come first.
    precision : {"float32", "mixed_bfloat16", "auto"}, default="float32"
        Number format of the computation; features are float32.
    cache_dir : path, optional
        Where features are kept, to be found again by later processes. Without it this process
        finds them again: the network runs once for each image, however many folds there are.
    verbose : int, default=1
        1 shows a progress bar in a terminal or a notebook, 0 nothing.

    Attributes
    ----------
    n_features_in_ : int
        Length of the second axis of ``X``.
    layer_sizes_ : tuple of int
        How many columns of the features each layer has, in the order of ``layers``.

    References
    ----------
    Yosinski, Clune, Bengio, Lipson 2014, "How transferable are features in deep neural networks?",
    NeurIPS.
    Razavian, Azizpour, Sullivan, Carlsson 2014, "CNN Features off-the-shelf: an Astounding Baseline
    for Recognition", CVPR workshops.
    Lazebnik, Schmid, Ponce 2006, "Beyond Bags of Features: Spatial Pyramid Matching for Recognizing
    Natural Scene Categories", CVPR: averages in the cells of a grid.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from detl import FeatureExtractor, backbones
    >>> images = np.zeros((8, 64, 64, 1), dtype="uint8")
    >>> images[4:, 8:24, 8:24] = 255
    >>> labels = ["dark"] * 4 + ["bright"] * 4
    >>> source = backbones.alexnet((64, 64, 1), width=0.125)  # untrained: only to show the call
    >>> extractor = FeatureExtractor(source, layers=["block2", "block3"])
    >>> classifier = make_pipeline(extractor, LogisticRegression())
    >>> classifier.fit(images, labels).predict(images[[0, 7]]).tolist()
    ['dark', 'bright']
    """

    def __init__(
        self,
        source: Source,
        *,
        layers: str | Sequence[str] = "last_block",
        grid: int = 1,
        tokens: Literal["mean", "class"] = "mean",
        precision: Precision = "float32",
        cache_dir: str | Path | None = None,
        verbose: int = 1,
    ) -> None:
        self.source = source
        self.layers = layers
        self.grid = grid
        self.tokens = tokens
        self.precision = precision
        self.cache_dir = cache_dir
        self.verbose = verbose

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # float32, whatever the images are
        return tags

    def fit(self, X: Any, y: Any = None) -> FeatureExtractor:
        """Check that images, source and layers fit each other; nothing is learned.

        ``X`` are pixels in [0, 255], ``(n, height, width, channels)``, and may be a memory map.
        """
        network = _flat(source_network(self.source))
        self._check_images(X, network, reset=True)
        check_count("grid", self.grid)
        check_choice("tokens", self.tokens, ("mean", "class"))
        self.layer_sizes_ = tuple(
            n_features(tensor, self._pooling, network) for tensor in self._exits(network)
        )
        self._n_features_out = sum(self.layer_sizes_)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the features of each image, float32 ``(n, n_features)``.

        The columns of a layer go through the rows of its grid, then the columns, then the channels.
        """
        check_is_fitted(self)
        network = _flat(source_network(self.source))
        X = self._check_images(X, network, reset=False)
        lower = keras.Model(graphs.input_structure(network), self._exits(network))
        policy = dtype_policy(self.precision)
        cache_dir = None if self.cache_dir is None else check_path("cache_dir", self.cache_dir)
        found = features_of(
            _Pooled(lower, self._pooling, policy),
            X,
            key=trunk_name(lower, settings=f"{policy}{self._pooling}", cache_dir=cache_dir),
            views=UNCHANGED,
            cache_dir=cache_dir,
            verbose=self.verbose,
        )
        return np.array(found)  # theirs to write to; what is kept is shared

    @property
    def _pooling(self) -> Pooling:
        return Pooling(grid=self.grid, tokens=self.tokens)

    def _exits(self, network: keras.Model) -> list[Any]:
        """Return the tensors in which the named layers end."""
        layers = self.layers
        names = [layers] if isinstance(layers, str) else layers
        if not (isinstance(names, Sequence) and all(isinstance(name, str) for name in names)):
            raise TypeError(
                f"layers is {layers!r}; expected the name of a block or a layer, or a list of them."
            )
        if not names:
            raise ValueError("layers is empty; name at least one block or layer.")
        return [exit_of(network, name) for name in names]


def _flat(network: keras.Model) -> keras.Model:
    """Return the network, or a flat copy of one that hides layers in a nested model."""
    nested = any(graphs.is_graph(node.operation) for node in graphs.model_nodes(network))
    return copying.copy_model(network) if nested else network


class _Pooled:
    """Layers and their averages, put together when an image comes that is not known yet."""

    def __init__(self, lower: keras.Model, pooling: Pooling, policy: str) -> None:
        self.lower, self.pooling, self.policy = lower, pooling, policy

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        return np.asarray(self._model.predict_on_batch(images))

    @cached_property
    def _model(self) -> keras.Model:
        # A copy: whatever reads a tensor of the source would stay tied to it.
        lower = folded(self.lower, dtype_policy=self.policy, replacing=fused_layers())
        rows = [pooled(tensor, self.pooling, lower) for tensor in lower.outputs]
        joined = ops.concatenate(rows, axis=1) if len(rows) > 1 else rows[0]
        return keras.Model(lower.input, joined)
