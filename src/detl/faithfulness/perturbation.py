"""Does the classifier need what a heatmap shows? Take it away, or show nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from detl.checks import check_choice, check_count, check_heatmaps, check_number
from detl.faithfulness.baselines import centre_maps, random_maps
from detl.faithfulness.estimates import Array, Compared, estimates
from detl.faithfulness.filling import Hide, check_fill, filled_with, noisy_linear
from detl.faithfulness.inputs import Classified, classified
from detl.networks.classifiers import probabilities_of
from detl.renaming import renamed_arguments
from detl.seeds import seed_sequence

_LARGEST_GAP = 0.99


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve(Compared):
    """What a classifier still says while pixels are hidden, in the order of a heatmap.

    Attributes
    ----------
    metric : str
    fractions : numpy.ndarray of shape (n_steps,)
        Share of the pixels that was changed.
    probabilities : numpy.ndarray of shape (n, n_steps)
        Of the class, with that share changed in the order of the heatmap.
    random_probabilities, centre_probabilities : numpy.ndarray of shape (n, n_steps)
        The same in the order of a random map (noise on an 8 × 8 grid, resized), and from the centre
        of the image outwards.
    heatmaps, random, centre : Estimate
        Area under each curve, divided by the range of fractions, so in [0, 1]. Those of the
        heatmaps are at hand as ``values``, ``mean`` and ``interval``.
    class_indices : numpy.ndarray of int, shape (n,)
        The class whose probability it is.
    blank : numpy.ndarray of bool, shape (n,)
        Whether the heatmap is zero everywhere. It has no order then, and the random map's is used.
    """

    fractions: Array = field(repr=False)
    probabilities: Array = field(repr=False)
    random_probabilities: Array = field(repr=False)
    centre_probabilities: Array = field(repr=False)
    class_indices: Array = field(repr=False)

    _quantity = ", area under the curve"


@renamed_arguments(class_index="target_class")
def deletion(
    model: Any,
    images: Any,
    heatmaps: Any,
    *,
    target_class: Any = None,
    fill: Any = "mean",
    n_steps: int = 20,
    batch_size: int = 32,
    groups: Any = None,
    random_state: Any = None,
) -> Curve:
    """Take the pixels away, the most important first: the probability should fall at once.

    Parameters
    ----------
    model : keras.Model, SourceModel or DomainExtensionTransfer
        A classifier of images whose output is probabilities, ``(n, classes)``, softmax or sigmoid.
        It is left as it is. One that gives logits is refused: put a softmax behind it.
    images : array-like of shape (n, height, width, channels)
        Pixels as the model takes them.
    heatmaps : array-like of shape (n, height, width)
        In [0, 1], such as :class:`detl.GradCAM` gives for these images and that class.
    target_class : int, str or array-like of shape (n,), optional
        Column of the model's output, or name of a class where the model carries names; the same
        for all images or one per image. By default the predicted class of each whole image.
    fill : {"mean", "blur"}, number or array-like, default="mean"
        What is put where a pixel is taken away: the mean of its image and channel, as in Petsiuk et
        al.; the image blurred by a Gaussian whose standard deviation is a sixteenth of each side; a
        pixel value; or an image ``(height, width, channels)``, on the scale of the images.
    n_steps : int, default=20
        Steps from none of the pixels to all.
    batch_size : int, default=32
        Images per step of the model.
    groups : array-like of shape (n,), optional
        Whose image each is, such as the patient: groups are then what the interval draws from.
    random_state : int, numpy generator or None
        Seed of the random maps, which order equal pixels of the heatmap too, and of the interval.

    Returns
    -------
    Curve
        The smaller the area the better. Compare it with the random map's: an image with holes is
        like none that the network was trained on, and any holes may change its mind.

    References
    ----------
    Petsiuk, Das, Saenko 2018, "RISE: Randomized Input Sampling for Explanation of Black-box
    Models", BMVC, sec. 4.2.
    """
    steps = _fractions(n_steps)
    asked = classified(
        model, images, target_class=target_class, groups=groups, batch_size=batch_size
    )
    check_fill(fill, asked.images)
    hide = partial(filled_with, fill=fill)
    return _curve("deletion", asked, heatmaps, steps, hide, random_state)


@renamed_arguments(class_index="target_class")
def insertion(
    model: Any,
    images: Any,
    heatmaps: Any,
    *,
    target_class: Any = None,
    fill: Any = "blur",
    n_steps: int = 20,
    batch_size: int = 32,
    groups: Any = None,
    random_state: Any = None,
) -> Curve:
    """Show nothing but the most important pixels, more and more: the probability should rise.

    Parameters
    ----------
    model, images, heatmaps, target_class, n_steps, batch_size, groups, random_state
        As for :func:`deletion`.
    fill : {"blur", "mean"}, number or array-like, default="blur"
        As for :func:`deletion`. Petsiuk et al. blur by 5 pixels in images of 224, where large
        objects can still be seen; here it is 14 of 224.

    Returns
    -------
    Curve
        The larger the area the better.
    """
    steps = _fractions(n_steps)
    asked = classified(
        model, images, target_class=target_class, groups=groups, batch_size=batch_size
    )
    check_fill(fill, asked.images)
    hide = partial(filled_with, fill=fill)
    return _curve("insertion", asked, heatmaps, steps, hide, random_state, shown=True)


@renamed_arguments(class_index="target_class")
def road(
    model: Any,
    images: Any,
    heatmaps: Any,
    *,
    target_class: Any = None,
    first: Literal["most", "least"] = "most",
    fractions: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    noise: float = 0.01,
    batch_size: int = 32,
    groups: Any = None,
    random_state: Any = None,
) -> Curve:
    """Remove and debias: take pixels away so that the gap itself says nothing.

    Where :func:`deletion` leaves an outline of what was there, each pixel taken away becomes the
    weighted mean of its eight neighbours, those that were taken away too included, plus noise.

    Parameters
    ----------
    model, images, heatmaps, target_class, batch_size, groups, random_state
        As for :func:`deletion`.
    first : {"most", "least"}
        Which pixels go first. With the least important first, the probability should stay.
    fractions : sequence of float
        Shares of the pixels to take away, rising, in [0, 0.99].
    noise : float, default=0.01
        Standard deviation of the noise, in standard deviations of the image's pixels.

    Returns
    -------
    Curve
        With ``first="most"``, the smaller the area the better; with ``"least"``, the larger.

    Notes
    -----
    Every image and fraction solves a sparse linear system of as many unknowns as pixels are gone:
    about 0.1 s at 128 × 128 pixels.

    References
    ----------
    Rong et al. 2022, "A Consistent and Efficient Evaluation Strategy for Attribution Methods",
    ICML, sec. 5 and app. B.
    """
    check_choice("first", first, ("most", "least"))
    steps = np.asarray(fractions, dtype=np.float64)
    rising = steps.ndim == 1 and len(steps) > 1 and (np.diff(steps) > 0).all()
    if not (rising and steps[0] >= 0 and steps[-1] <= _LARGEST_GAP):
        raise ValueError(
            f"fractions={fractions!r}; expected at least two, rising, from 0 to {_LARGEST_GAP}: "
            "an image that is gone cannot be filled from its rest."
        )
    check_number("noise", noise, at_least=0)
    of_maps, of_noise = seed_sequence(random_state).spawn(2)
    generator = np.random.default_rng(of_noise)

    def imputed(images: Array) -> Callable[[Array], Array]:
        spread = noise * images.std(axis=(1, 2, 3))
        return lambda hidden: np.stack(
            [
                noisy_linear(image, gap, sd, generator)
                for image, gap, sd in zip(images, hidden, spread)
            ]
        )

    asked = classified(
        model, images, target_class=target_class, groups=groups, batch_size=batch_size
    )
    return _curve(
        f"ROAD, {first} important first",
        asked,
        heatmaps,
        steps,
        imputed,
        of_maps,
        least_first=first == "least",
    )


def _curve(
    metric: str,
    asked: Classified,
    heatmaps: Any,
    fractions: Array,
    hide: Hide,
    random_state: Any,
    *,
    shown: bool = False,
    least_first: bool = False,
) -> Curve:
    """Trace the probability over the share of pixels hidden, or ``shown`` while all others are."""
    heatmaps = check_heatmaps(heatmaps, asked.images.shape[:3])
    n, size = len(heatmaps), heatmaps.shape[1:]
    of_maps, of_interval = seed_sequence(random_state).spawn(2)
    generator = np.random.default_rng(of_maps)
    counts = np.rint(fractions * size[0] * size[1]).astype(int)
    found = np.empty((3, n, len(fractions)))
    for start in range(0, n, asked.batch_size):
        rows = slice(start, start + asked.batch_size)
        batch = np.asarray(asked.images[rows], dtype=np.float32)
        hidden = hide(batch)
        random = random_maps(len(batch), size, generator)
        for kind, maps in enumerate((heatmaps[rows], random, centre_maps(len(batch), size))):
            ranks = _ranks(-maps, -random) if least_first else _ranks(maps, random)
            for step, count in enumerate(counts):
                seen = hidden(ranks >= count if shown else ranks < count)
                probabilities = probabilities_of(asked.network, seen, batch_size=asked.batch_size)
                found[kind, rows, step] = probabilities[np.arange(len(batch)), asked.classes[rows]]
    areas = np.trapezoid(found, fractions, axis=2) / (fractions[-1] - fractions[0])
    of_heatmaps, of_random, of_centre = estimates(areas, groups=asked.groups, seed=of_interval)
    return Curve(
        metric=metric,
        fractions=fractions,
        probabilities=found[0],
        random_probabilities=found[1],
        centre_probabilities=found[2],
        heatmaps=of_heatmaps,
        random=of_random,
        centre=of_centre,
        class_indices=asked.classes,
        blank=heatmaps.max(axis=(1, 2)) <= 0,
    )


def _fractions(n_steps: int) -> Array:
    check_count("n_steps", n_steps)
    return np.linspace(0, 1, n_steps + 1)


def _ranks(maps: Array, ties: Array) -> Array:
    """Return the rank of each pixel in its image, 0 the highest; ``ties`` order equal ones."""
    n = len(maps)
    order = np.lexsort((-ties.reshape(n, -1), -maps.reshape(n, -1)), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[np.newaxis], axis=1)
    return ranks.reshape(maps.shape)
