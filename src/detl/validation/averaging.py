"""Several classifiers on the same folds as one: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detl.folds.audit_report import Audit
from detl.validation.pairing import check_paired
from detl.validation.results import CrossValidationResult, FoldResult

_SEEDS = ("fold_seeds", "views_seed", "interval_seed")


def average_results(results: Sequence[CrossValidationResult]) -> CrossValidationResult:
    """Average the probabilities of several cross-validations, fold by fold.

    Networks that learned from other images, or from other seeds, err differently; their mean is
    often better than each. Decide what to average before you see the scores, or choose it on an
    inner split of the training images: the best of many averages flatters. To train such an average
    for use, give the transfers to scikit-learn's ``VotingClassifier(..., voting="soft")``.

    Parameters
    ----------
    results : sequence of CrossValidationResult
        Of the same images, labels, groups and folds, as :func:`detl.compare` makes them, or
        :func:`detl.cross_validate` with the same ``random_state`` or the same list as ``cv``.

    Returns
    -------
    CrossValidationResult
        ``settings["transfer"]["average_of"]`` has the settings of the parts. Histories are empty;
        seeds, and the draws of the intervals, are those of the first. Its audit has the leaks of
        all parts.

    References
    ----------
    Lakshminarayanan, Pritzel, Blundell 2017, "Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles", NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import DomainExtensionTransfer, average_results, backbones, cross_validate
    >>> images = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 1), dtype="uint8")
    >>> labels = ["covid", "normal"] * 6
    >>> parts = [
    ...     cross_validate(
    ...         DomainExtensionTransfer(backbones.alexnet((64, 64, 1), width=0.125), epochs=1),
    ...         images, labels, n_splits=2, random_state=0, verbose=0,
    ...     )
    ...     for _ in range(2)
    ... ]
    >>> average = average_results(parts)
    >>> both = [part.probabilities for part in parts]
    >>> bool(np.allclose(average.probabilities, np.mean(both, axis=0)))
    True
    """
    results = _checked(results)
    first = results[0]
    # Rivals and comparisons draw from the first one's seeds; the whole settings of all are kept.
    shared = {
        name: value
        for name, value in first.settings.items()
        if name in _SEEDS or all(result.settings.get(name) == value for result in results)
    }
    versions = _listed([result.versions for result in results])
    seconds = _listed([result.seconds for result in results])
    return replace(
        first,
        folds=tuple(_average(folds) for folds in zip(*(r.folds for r in results), strict=True)),
        audit=_worst([result.audit for result in results]),
        settings=shared | {"transfer": {"average_of": [r.settings for r in results]}},
        versions={name: ", ".join(dict.fromkeys(found)) for name, found in versions.items()},
        seconds={name: sum(found) for name, found in seconds.items()},
    )


def _average(folds: tuple[FoldResult, ...]) -> FoldResult:
    """Average what several classifiers say of the same test images."""
    mean = np.mean([fold.probabilities for fold in folds], axis=0, dtype="float64")
    decisions = None
    if any(fold.decisions is not None for fold in folds):
        # Where all decide alike, so does the average.
        predicted = np.stack([fold.predicted for fold in folds])
        decisions = np.where((predicted == predicted[0]).all(axis=0), predicted[0], mean.argmax(1))
    return replace(
        folds[0],
        probabilities=mean.astype("float32"),
        decisions=decisions,
        history={},
        start="",
        seconds=sum(fold.seconds for fold in folds),
    )


def _worst(audits: list[Audit]) -> Audit:
    """Return an audit with the leaks of all: one part that has seen the test images is enough."""
    leaks = tuple(dict.fromkeys(leak for audit in audits for leak in audit.leaks))
    # Of those with as many leaks, one whose source was not looked at.
    worst = max(audits, key=lambda audit: (len(audit.leaks), audit.source_shared_groups is None))
    return replace(worst, leaks=leaks)


def _listed(parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return what the parts have under each name."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: [part[name] for part in parts if name in part] for name in names}


def _checked(results: Any) -> list[CrossValidationResult]:
    """Return the results as a list, all of the same images and folds."""
    if not np.iterable(results) or isinstance(results, Mapping | str):
        raise TypeError(
            f"results is a {type(results).__name__}; expected a list of CrossValidationResult, as "
            "cross_validate returns them."
        )
    results = list(results)
    if not results:
        raise ValueError("results is empty; expected at least one CrossValidationResult.")
    check_paired(dict(enumerate(results)))
    for number, other in enumerate(results):
        # A result that was read from a file of an earlier version may lack the digest.
        if results[0].settings.get("images") != other.settings.get("images"):
            raise ValueError(
                f"results[{number}] is of other images than results[0]; give results of the same "
                "images only."
            )
    return results
