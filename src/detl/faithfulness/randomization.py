"""Does a heatmap depend on what the model learned? Scramble its weights, from the top down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from scipy import stats

from detl.checks import check_count, check_heatmaps
from detl.faithfulness.baselines import centre_maps, random_maps
from detl.faithfulness.estimates import Array, Estimate, estimates, table
from detl.faithfulness.inputs import classified
from detl.gradcam.explanation import GradCAM
from detl.networks.pixels import leaves
from detl.renaming import renamed_arguments
from detl.seeds import seed_sequence

_CHUNK = 32  # images ranked at once: bounds the memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Randomization:
    """How alike heatmaps stay while the model loses what it learned.

    Attributes
    ----------
    layers : tuple of tuple of str
        Names of the layers that each step scrambled, in addition to those of the steps before.
    correlations : numpy.ndarray of shape (n_steps, n)
        Spearman's rank correlation over the pixels of each image, of its heatmap after the step
        with that of the intact model, averaged over repeats. 0 where the heatmap went blank, NaN
        where it had been.
    steps : tuple of Estimate
        Mean over images of each step.
    random, centre : Estimate
        Rank correlation of the intact model's heatmaps with a random map, and with a Gaussian at
        the centre: the baselines.
    class_indices : numpy.ndarray of int, shape (n,)
        The class explained, in all steps.
    blank : numpy.ndarray of bool, shape (n,)
        Whether the heatmap of the intact model is zero everywhere. Such images do not count.
    """

    layers: tuple[tuple[str, ...], ...]
    correlations: Array = field(repr=False)
    steps: tuple[Estimate, ...]
    random: Estimate
    centre: Estimate
    class_indices: Array = field(repr=False)
    blank: Array = field(repr=False)

    def __str__(self) -> str:
        """Return a table: a line per step, named by the lowest layer it scrambled."""
        title = "cascading randomisation, rank correlation with the intact model's heatmaps"
        rows = [(names[-1], step) for names, step in zip(self.layers, self.steps)]
        baselines = [("random map", self.random), ("centre", self.centre)]
        return table(title, self.blank, [*rows, *baselines])


@renamed_arguments(class_index="target_class")
def randomization(
    model: Any,
    images: Any,
    explain: Callable[..., Any] | None = None,
    *,
    target_class: Any = None,
    n_steps: int = 10,
    n_repeats: int = 5,
    batch_size: int = 32,
    groups: Any = None,
    random_state: Any = None,
) -> Randomization:
    """Scramble the model's weights layer by layer, from the output down, and explain it anew.

    Heatmaps that stay as they were do not show what the model learned, however plausible they look.

    Parameters
    ----------
    model : keras.Model, SourceModel or DomainExtensionTransfer
        The classifier. Its weights are put back, also after an exception; meanwhile nothing else
        may use it.
    images : array-like of shape (n, height, width, channels)
        Pixels as the model takes them.
    explain : callable, optional
        Called as ``explain(images, target_class)``, returns heatmaps ``(n, height, width)`` in
        [0, 1] of this very model, such as ``GradCAM(model, layer=...)``. By default
        ``GradCAM(model)``.
    target_class : int, str or array-like of shape (n,), optional
        As for :func:`deletion`. By default the class that the intact model predicts.
    n_steps : int, default=10
        A model with more layers than this has them scrambled in as many groups.
    n_repeats : int, default=5
        How often it is all done again, scrambled otherwise: one scrambled layer may by chance
        favour what the trained one did, in all images alike, which the intervals do not know.
    batch_size, groups
        As for :func:`deletion`.
    random_state : int, numpy generator or None
        Seed of the weights, the random maps and the intervals.

    Returns
    -------
    Randomization
        Correlations should fall towards 0 once the layer explained is scrambled.

    Notes
    -----
    The numbers within each weight array change places. Adebayo et al. draw new ones instead; places
    keep the scale of every layer whatever initialised it, batch normalisation included, so that
    activations neither vanish nor overflow.

    References
    ----------
    Adebayo et al. 2018, "Sanity Checks for Saliency Maps", NeurIPS, sec. 3.1, cascading
    randomization.
    """
    check_count("n_steps", n_steps)
    check_count("n_repeats", n_repeats)
    asked = classified(
        model, images, target_class=target_class, groups=groups, batch_size=batch_size
    )
    network, images = asked.network, asked.images
    explain = GradCAM(model, batch_size=asked.batch_size) if explain is None else explain
    of_weights, of_maps, of_interval = seed_sequence(random_state).spawn(3)

    def heatmaps() -> Array:
        return check_heatmaps(explain(images, asked.classes), images.shape[:3])

    intact = heatmaps()
    size = intact.shape[1:]
    baselines = [
        random_maps(len(intact), size, np.random.default_rng(of_maps)),
        centre_maps(len(intact), size),
    ]
    of_baselines = [_rank_correlations(intact, baseline) for baseline in baselines]
    groups_of_layers = _from_the_top(network, n_steps)
    found = np.empty((n_repeats, len(groups_of_layers), len(images)))
    for repeat, seed in enumerate(of_weights.spawn(n_repeats)):
        generator = np.random.default_rng(seed)
        with _weights_kept(network):
            for step, layers in enumerate(groups_of_layers):
                for layer in layers:
                    _scramble(layer, generator)
                found[repeat, step] = _rank_correlations(intact, heatmaps())
    correlations = found.mean(axis=0)
    random, centre, *steps = estimates(
        [*of_baselines, *correlations], groups=asked.groups, seed=of_interval
    )
    return Randomization(
        layers=tuple(tuple(layer.name for layer in layers) for layers in groups_of_layers),
        correlations=correlations,
        steps=tuple(steps),
        random=random,
        centre=centre,
        class_indices=asked.classes,
        blank=intact.max(axis=(1, 2)) <= 0,
    )


def _rank_correlations(maps: Array, others: Array) -> Array:
    """Return Spearman's correlation of each pair, ``(n,)``: 0 if the other is flat, else NaN."""
    found = np.empty(len(maps))
    for start in range(0, len(maps), _CHUNK):
        rows = slice(start, start + _CHUNK)
        flat = (part[rows].reshape(len(part[rows]), -1) for part in (maps, others))
        ranks = (stats.rankdata(part, axis=1) for part in flat)
        first, second = (rank - rank.mean(axis=1, keepdims=True) for rank in ranks)
        length, other = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
        with np.errstate(invalid="ignore"):
            found[rows] = (first * second).sum(axis=1) / (length * np.where(other > 0, other, 1))
    return found


def _from_the_top(network: keras.Model, n_steps: int) -> list[list[keras.layers.Layer]]:
    """Return the layers that have weights to scramble, from the output down, in groups."""
    layers = [
        layer
        for layer in dict.fromkeys(leaves(network))
        if any(np.prod(variable.shape) > 1 for variable in layer.weights)
    ][::-1]
    if not layers:
        raise ValueError(f"{network.name!r} has no weights to scramble.")
    parts = np.array_split(np.arange(len(layers)), min(n_steps, len(layers)))
    return [[layers[i] for i in part] for part in parts]


def _scramble(layer: keras.layers.Layer, generator: np.random.Generator) -> None:
    for variable in layer.weights:
        values = keras.ops.convert_to_numpy(variable)
        variable.assign(generator.permutation(values.reshape(-1)).reshape(values.shape))


@contextmanager
def _weights_kept(network: keras.Model) -> Iterator[None]:
    """Put all weights back on leaving."""
    kept = [(variable, keras.ops.convert_to_numpy(variable).copy()) for variable in network.weights]
    try:
        yield
    finally:
        for variable, values in kept:
            variable.assign(values)
