"""Try the recipes that a good colleague would try, and say which one to take."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from detl.checks import check_choice, check_number
from detl.metrics.intervals import units_of
from detl.pretraining.batches import ClassWeight
from detl.pretraining.source import Source
from detl.validation.candidates import FLOOR, KNOW_THE_SOURCE, candidates
from detl.validation.choosing import choose
from detl.validation.comparison import folders_of
from detl.validation.differences import COMPARED, compare_results
from detl.validation.fold_training import train_folds
from detl.validation.leaks import react_to_leaks
from detl.validation.preparation import Prepared, prepare
from detl.validation.recommendation import Recommendation
from detl.validation.results import CrossValidationResult

_UNGROUPED = (
    "No groups are given. If a patient has several images, they are on both sides of a split, and "
    "every recipe looks better than it is: give groups, the patient of each image. If all images "
    "are independent, pass groups=range(len(images))."
)


def recommend(
    source: Source,
    images: Any,
    labels: Any,
    *,
    groups: Any = None,
    imagenet: Source | None = None,
    also: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    score: str = "accuracy",
    margin: float = 0.02,
    class_weight: ClassWeight | dict[Any, float] = None,
    n_splits: int | None = None,
    n_repeats: int | None = None,
    cv: Any = None,
    source_groups: Any = None,
    on_leak: Literal["warn", "raise", "ignore"] = "warn",
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: int = 1,
) -> Recommendation:
    r"""Try several recipes on the same folds and say which one to take.

    The recipes are those of :mod:`detl.recipes`: ``"linear probe"`` (a logistic regression on the
    block of the source that serves it best), ``"domain extension"``, ``"fine-tuning"`` (the whole
    network is trained), ``"from scratch"`` (the same architecture, untrained), ``"ImageNet probe"``
    where a network of photographs is given, and ``"thumbnail"`` (a logistic regression on a tiny
    copy of the image), the floor.

    Parameters
    ----------
    source : SourceModel, keras.Model or path
        What :func:`detl.pretrain` returned.
    images, labels, groups, n_splits, n_repeats, cv, on_leak, checkpoint_dir, n_jobs
        As for :func:`detl.compare`. Without ``groups`` a warning says what that may hide.
    imagenet : SourceModel, keras.Model or path, optional
        A network trained on photographs, such as
        ``backbones.from_application("ResNet50", input_shape, weights="imagenet")``.
    also : dict of str to scikit-learn classifier, optional
        Recipes of your own, tried beside the others.
    without : sequence of str, default=()
        Recipes to leave out: on a laptop ``["from scratch", "fine-tuning"]``, which take longest.
    score : {"accuracy", "balanced_accuracy", "macro_f1", "roc_auc"}, default="accuracy"
        What to compare.
    margin : float, default=0.02
        Loss in score, above 0, that you accept for a faster recipe.
    class_weight : {"balanced", None} or dict of label to float, default=None
        For all recipes but those of ``also``.
    source_groups : array-like, optional
        Groups (patients) of the images that the source was trained on, for the audit.
    random_state : int, numpy generator or None
        Seeds folds and training.
    verbose : int, default=1
        1 shows a progress bar for each recipe in a terminal or a notebook, 0 nothing.

    Returns
    -------
    Recommendation
        ``print`` it. ``classifier`` is the recommended recipe, not fitted.

    Raises
    ------
    TypeError, ValueError
        If arguments do not fit each other, or the audit found a leak and ``on_leak="raise"``.
        Nothing has been trained then.
    RuntimeError
        If every recipe failed. If some did, the others are judged, and a warning says why.

    Notes
    -----
    The best recipe is that of the highest mean score. A faster one is preferred unless it is shown
    to be worse. *Lead* is the best score minus that of the faster recipe, with a
    paired 95 % interval from *low* to *high* as :func:`detl.compare` computes it:

    1. If *high* is at most ``margin``, over at least 20 groups or images, the faster one is *as
       good*. Of several, the fastest is recommended.
    2. If zero is inside the interval and the comparison does not call the best one better, the
       choice is *undecided*, and the faster one is recommended for the time being (but never the
       thumbnail: it has to be as good). The ends of an interval come closer to its mean as
       :math:`1 / \sqrt{n}`. So :math:`n` groups (or images) have to become
       :math:`n ((lead - low) / lead)^2` for zero to be outside, or
       :math:`n ((high - lead) / (margin - lead))^2` for the faster one to be as good; the verdict
       names the smaller number, at least 20. Beyond 20 times as many it gives none. It is a rough
       estimate: the lead itself is uncertain.
    3. Else the best is recommended.

    The score of the best recipe was chosen on these folds, and so it is a little too good, the
    more the more recipes were tried. The block of a probe is chosen inside, on the training images
    of each fold, which does not flatter (Varma & Simon 2006).

    Seconds are those of this machine at that time. Features that are in memory already count as
    nothing; folds that are found in ``checkpoint_dir`` count as when they were trained.

    References
    ----------
    Varma, Simon 2006, "Bias in error estimation when using cross-validation for model selection",
    BMC Bioinformatics 7.

    Examples
    --------
    >>> import numpy as np
    >>> from detl import backbones, recommend
    >>> images = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 1), dtype="uint8")
    >>> labels, patients = ["normal", "covid"] * 12, np.arange(24) // 2
    >>> source = backbones.alexnet((64, 64, 1), width=0.125)  # for real: what pretrain returned
    >>> found = recommend(
    ...     source, images, labels, groups=patients, n_splits=3, random_state=0,
    ...     without=["domain extension", "fine-tuning", "from scratch"],  # to keep it short
    ... )
    >>> sorted(found.results)
    ['linear probe', 'thumbnail']
    """
    check_choice("score", score, COMPARED)
    check_number("margin", margin, above=0, below=1)
    check_choice("on_leak", on_leak, ("warn", "raise", "ignore"))
    tried = candidates(
        source,
        images,
        imagenet=imagenet,
        also=also,
        without=without,
        score=score,
        class_weight=class_weight,
        random_state=random_state,
    )
    folders = folders_of(tried, checkpoint_dir)
    found = prepare(
        tried,
        images,
        labels,
        groups=groups,
        n_splits=n_splits,
        n_repeats=n_repeats,
        cv=cv,
        source_groups=[source_groups if name in KNOW_THE_SOURCE else None for name in tried],
        checkpoint_dir=checkpoint_dir,
        n_jobs=n_jobs,
        random_state=random_state,
    )
    prepared = dict(zip(tried, found, strict=True))
    audits = {name: of_one.audit for name, of_one in prepared.items()}
    react_to_leaks(audits, on_leak, remark=_UNGROUPED if groups is None else "")
    results, seconds, failed = {}, {}, {}
    with _each_warning_once():
        for name, of_one in prepared.items():
            try:
                results[name] = train_folds(
                    of_one,
                    checkpoint_dir=folders[name],
                    n_jobs=n_jobs,
                    verbose=verbose,
                    description=name,
                )
                seconds[name] = _seconds(results[name], of_one)
            except Exception as error:
                failed[name] = error
    reasons = {name: f"{type(error).__name__}: {error}" for name, error in failed.items()}
    said = "; ".join(f"{name} ({reason})" for name, reason in reasons.items())
    if not results:
        raise RuntimeError(f"Every recipe failed: {said}") from next(iter(failed.values()))
    if failed:
        warnings.warn(f"Some recipes failed and are left out: {said}", RuntimeWarning, stacklevel=2)
    return _judged(results, seconds, reasons, tried, score=score, margin=margin)


def _judged(
    results: dict[str, CrossValidationResult],
    seconds: dict[str, float],
    failed: dict[str, str],
    tried: dict[str, Any],
    *,
    score: str,
    margin: float,
) -> Recommendation:
    only, *others = results
    any_result = results[only]

    def called(name: str) -> str:
        blocks = Counter(fold.chosen.get("block") for fold in results[name].folds)
        block, count = blocks.most_common(1)[0]
        is_clear = block is not None and 2 * count > len(results[name].folds)
        return f"{name} of {block}" if is_clear else name

    comparison = None
    recommended: str | None = only
    verdict = f"{called(only)}: the only recipe that did not fail"
    if others:
        comparison = compare_results(results, score=score)
        recommended, verdict = choose(
            comparison,
            seconds,
            margin=margin,
            n_units=len(units_of(any_result.fold_predictions)),
            unit=any_result.unit,
            called=called,
            floor=FLOOR,
        )
    return Recommendation(
        recommended=recommended,
        verdict=verdict,
        score=score,
        recipes=tried,
        results=results,
        comparison=comparison,
        seconds=seconds,
        failed=failed,
    )


def _seconds(result: CrossValidationResult, prepared: Prepared) -> float:
    """Return what a recipe took, without what comes before the training of all."""
    before = max(0.0, result.seconds["features"] - prepared.seconds)
    return before + sum(fold.seconds for fold in result.folds)


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Say at the end what was warned of: once, not for every fold with other numbers in it."""
    with warnings.catch_warnings(record=True) as caught:
        yield
    first: dict[str, warnings.WarningMessage] = {}
    for warning in caught:
        first.setdefault(re.sub(r"\d+", "#", str(warning.message)), warning)
    for warning in first.values():
        warnings.warn(warning.message, warning.category, stacklevel=4)
