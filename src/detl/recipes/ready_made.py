"""The recipes, ready to be cross-validated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from detl.checks import check_count, check_positive
from detl.features.lookup import PrecomputedFeatures
from detl.pretraining.batches import ClassWeight
from detl.pretraining.source import Source, load_source, source_network
from detl.recipes.probing import LinearProbe
from detl.recipes.scratch import FromScratch
from detl.recipes.thumbnails import PENALTY, thumbnails
from detl.transfer.classifier import DomainExtensionTransfer


def linear_probe(
    source: Source | PrecomputedFeatures,
    *,
    blocks: Sequence[str] | None = None,
    grid: int = 1,
    Cs: Sequence[float] = (0.001, 0.03, 1.0),
    class_weight: ClassWeight | dict[Any, float] = None,
    scoring: str = "accuracy",
    random_state: Any = None,
) -> LinearProbe:
    """Return a logistic regression on the block of the source that serves it best.

    Nothing of the network is trained, so it takes seconds. The block is chosen inside each fit, by
    inner folds that keep patients together.

    Parameters
    ----------
    source : SourceModel, keras.Model, path or PrecomputedFeatures
        What :func:`detl.pretrain` returned, a network of photographs, see
        :func:`detl.backbones.from_application`, or what :func:`detl.features.precomputed` returned.
    blocks, grid, Cs, class_weight, scoring, random_state
        As for :class:`LinearProbe`.

    Returns
    -------
    LinearProbe
        Not fitted.
    """
    return LinearProbe(
        source if isinstance(source, PrecomputedFeatures) else _read(source),
        blocks=blocks,
        grid=grid,
        Cs=Cs,
        class_weight=class_weight,
        scoring=scoring,
        random_state=random_state,
    )


def domain_extension(
    source: Source,
    *,
    class_weight: ClassWeight | dict[Any, float] = None,
    random_state: Any = None,
) -> DomainExtensionTransfer:
    """Return domain extension with its defaults: a new last layer, the last block trained.

    Parameters
    ----------
    source : SourceModel, keras.Model or path
        What :func:`detl.pretrain` returned.
    class_weight, random_state
        As for :class:`detl.DomainExtensionTransfer`, which has all other settings.

    Returns
    -------
    DomainExtensionTransfer
        Not fitted.

    References
    ----------
    Basu, Mitra, Saha 2020, "Deep Learning for Screening COVID-19 using Chest X-Ray Images", SSCI.
    """
    return DomainExtensionTransfer(
        _read(source), class_weight=class_weight, random_state=random_state
    )


def fine_tuning(
    source: Source,
    *,
    class_weight: ClassWeight | dict[Any, float] = None,
    random_state: Any = None,
) -> DomainExtensionTransfer:
    """Return domain extension that trains the whole network, from a linear probe on.

    It pays where the source fits the target badly, and costs as much as training from scratch.

    Parameters
    ----------
    source, class_weight, random_state
        As for :func:`domain_extension`.

    Returns
    -------
    DomainExtensionTransfer
        Not fitted.

    References
    ----------
    Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features and Underperform
    Out-of-Distribution", ICLR.
    """
    return domain_extension(
        source, class_weight=class_weight, random_state=random_state
    ).set_params(trainable_from="input")


def from_scratch(
    source: Source,
    *,
    epochs: int = 30,
    learning_rate: float = 1e-2,
    class_weight: ClassWeight | dict[Any, float] = None,
    random_state: Any = None,
) -> FromScratch:
    """Return an untrained copy of a network that is trained whole: what the source has to beat.

    Parameters
    ----------
    source : SourceModel, keras.Model or path
        A source or a backbone; only its architecture counts.
    epochs, learning_rate, class_weight, random_state
        As for :class:`FromScratch`.

    Returns
    -------
    FromScratch
        Not fitted.
    """
    return FromScratch(
        _read(source),
        epochs=epochs,
        learning_rate=learning_rate,
        class_weight=class_weight,
        random_state=random_state,
    )


def thumbnail(
    *,
    side: int = 16,
    C: float = PENALTY,
    class_weight: ClassWeight | dict[Any, float] = None,
) -> Pipeline:
    """Return a logistic regression on a tiny copy of the image: the floor.

    A network that is not better has learned nothing beyond coarse brightness and colour.

    Parameters
    ----------
    side : int, default=16
        Cells along each side of the copy.
    C : float, default=0.01
        Penalty of the regression, the smaller the stronger.
    class_weight : {"balanced", None} or dict of label to float, default=None
        As for :class:`sklearn.linear_model.LogisticRegression`.

    Returns
    -------
    sklearn.pipeline.Pipeline
        Not fitted.
    """
    check_count("side", side)
    check_positive("C", C)
    return make_pipeline(
        FunctionTransformer(thumbnails, kw_args={"side": side}),
        StandardScaler(),
        LogisticRegression(C=C, class_weight=class_weight, max_iter=2000),
    )


def _read(source: Source) -> Source:
    """Return a source that is a network; a file is read once, not in every fold."""
    if isinstance(source, str | Path):
        return load_source(source)
    source_network(source)  # refuses what is none
    return source
