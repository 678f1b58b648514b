"""Heatmaps from the kept output of frozen layers.

Where all layers explained come after the cut of a transfer, maps, gradients and scores follow from
what its trunk gave, and training has computed that already.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras

from detl.backbones.blocks import entrance_of
from detl.features.identity import trunk_name
from detl.features.trunk import features_of, n_to_run
from detl.features.views import UNCHANGED
from detl.gradcam.inputs import Array
from detl.gradcam.taps import Tap, TappedNetwork, Tensor
from detl.networks.classifiers import network_of
from detl.networks.digests import weights_digest
from detl.networks.folding import Folded

_MOST_RUN = 1.25  # images in batches filled up, over those to explain, which the network would run


class FrozenTrunk:
    """The frozen layers of a network, and the network from there on, as a tapped one."""

    def __init__(self, network: TappedNetwork, trunk: keras.Model, cache_dir: Path | None) -> None:
        self._network = network
        self._trunk = trunk
        self._folded = Folded(trunk)
        self._cache_dir = cache_dir
        self.variables = network.variables

    @cached_property
    def _known_by(self) -> tuple[str, str]:
        """The digest of the weights, and what features are kept under."""
        return weights_digest(self._trunk), trunk_name(self._trunk, cache_dir=self._cache_dir)

    def features(self, images: Array) -> Array | None:
        """Return the features of images, or None where it is better to run the whole network."""
        digest, key = self._known_by
        if weights_digest(self._trunk) != digest:
            return None  # such as scrambled ones: features of them would push out those of a fit
        if n_to_run(images, key=key, cache_dir=self._cache_dir) > _MOST_RUN * len(images):
            return None
        return features_of(
            self._folded, images, key=key, views=UNCHANGED, cache_dir=self._cache_dir
        )

    def tensors_for(self, arrays: Sequence[Array]) -> list[Any]:
        """Return shape and dtype, as a symbolic tensor, in which features are read."""
        return list(self._trunk.outputs)

    def logits(self, tap: Tap, features: Tensor) -> Tensor:
        """Run from features to the logits, as :meth:`TappedNetwork.logits` from images."""
        return self._network.logits_from(self._trunk.outputs[0], tap, features)


def frozen_trunk(model: Any, network: TappedNetwork) -> FrozenTrunk | None:
    """Return the frozen layers of a fitted transfer; None of other models and of lower layers."""
    if not hasattr(model, "trainable_from"):
        return None
    whole = network_of(model)
    with contextlib.suppress(TypeError, ValueError):  # a parameter that was changed after the fit
        entrance = entrance_of(whole, model.trainable_from)
        if entrance is not whole.inputs[0] and network.all_above(entrance):
            cache_dir = None if model.cache_dir is None else Path(model.cache_dir)
            return FrozenTrunk(network, keras.Model(whole.input, entrance), cache_dir)
    return None
