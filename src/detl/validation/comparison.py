"""Compare classifiers on the same folds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from detl.checks import check_choice, check_path
from detl.renaming import renamed_arguments
from detl.validation.differences import COMPARED, Comparison, compare_results
from detl.validation.fold_training import FoldError, train_folds
from detl.validation.leaks import react_to_leaks
from detl.validation.pairing import check_named
from detl.validation.preparation import prepare
from detl.validation.results import CrossValidationResult


@renamed_arguments(transfers="classifiers")
def compare(
    classifiers: Mapping[str, Any],
    images: Any,
    labels: Any,
    *,
    score: str = "accuracy",
    groups: Any = None,
    n_splits: int | None = None,
    n_repeats: int | None = None,
    cv: Any = None,
    source_groups: Any = None,
    on_leak: Literal["warn", "raise", "ignore"] = "warn",
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    random_state: Any = None,
    verbose: int = 1,
) -> Comparison:
    """Cross-validate several classifiers on the same folds and compare them in pairs.

    Parameters
    ----------
    classifiers : dict of str to DomainExtensionTransfer, or to another classifier of scikit-learn
        At least two. From scratch is an untrained backbone as the source with
        ``trainable_from="input"``.
    images, labels, groups, n_splits, n_repeats, cv, on_leak, n_jobs, verbose
        As for :func:`detl.cross_validate`.
    source_groups : array-like, or dict of str to array-like or None, optional
        Groups of the images that all sources were trained on, or a dict with the groups of each
        classifier's source. A classifier that is not in the dict, such as one from ImageNet,
        shares no groups.
    score : {"accuracy", "balanced_accuracy", "macro_f1", "roc_auc"}, default="accuracy"
        What to compare.
    checkpoint_dir : path, optional
        Each classifier's finished folds go into a folder of its own in there.
    random_state : int, numpy generator or None
        Seeds folds and training. Every classifier gets the folds and seeds that
        :func:`detl.cross_validate` draws from the same number, and so the same result.

    Returns
    -------
    Comparison
        All results, and the difference of each pair.

    Raises
    ------
    TypeError, ValueError, FoldError
        As for :func:`detl.cross_validate`; a note says of which classifier a fold failed.

    Notes
    -----
    With five folds the test has four degrees of freedom and shows large differences only, the less
    the more pairs there are: ``detectable`` says which. Where it has no power, the interval
    decides. Repeats (``n_repeats=10``) make the test sharper.

    References
    ----------
    Nadeau & Bengio 2003, "Inference for the Generalization Error", Machine Learning 52.
    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".

    Examples
    --------
    >>> import numpy as np
    >>> from detl import DomainExtensionTransfer, backbones, compare
    >>> images = np.random.default_rng(0).integers(0, 256, (12, 64, 64, 1), dtype="uint8")
    >>> labels, patients = ["normal", "covid"] * 6, np.arange(12) // 2
    >>> source = backbones.alexnet((64, 64, 1), width=0.125)  # for real: what pretrain returned
    >>> classifiers = {
    ...     "last block": DomainExtensionTransfer(source, epochs=1),
    ...     "last layer": DomainExtensionTransfer(source, trainable_from="logits", epochs=1),
    ... }
    >>> found = compare(classifiers, images, labels, groups=patients, n_splits=3, random_state=0)
    >>> found.differences[0].interval.method
    'paired percentile bootstrap over 6 groups, 2000 draws, too narrow under 20 groups'
    """
    check_choice("score", score, COMPARED)
    check_named("classifiers", classifiers)
    check_choice("on_leak", on_leak, ("warn", "raise", "ignore"))
    folders = folders_of(classifiers, checkpoint_dir)
    found = prepare(
        {f"classifiers[{name!r}]": classifier for name, classifier in classifiers.items()},
        images,
        labels,
        groups=groups,
        n_splits=n_splits,
        n_repeats=n_repeats,
        cv=cv,
        source_groups=_by_classifier(source_groups, classifiers),
        checkpoint_dir=checkpoint_dir,
        n_jobs=n_jobs,
        random_state=random_state,
    )
    prepared = dict(zip(folders, found, strict=True))
    react_to_leaks({name: of_one.audit for name, of_one in prepared.items()}, on_leak)
    results: dict[str, CrossValidationResult] = {}
    for name, of_one in prepared.items():
        try:
            results[name] = train_folds(
                of_one,
                checkpoint_dir=folders[name],
                n_jobs=n_jobs,
                verbose=verbose,
                description=name,
            )
        except FoldError as error:
            error.add_note(f"The classifier that failed: {name!r}; finished: {list(results)}.")
            raise
    return compare_results(results, score=score)


def folders_of(names: Iterable[Any], checkpoint_dir: str | Path | None) -> dict[str, Path | None]:
    """Return by name, as text, the folder of what is compared in ``checkpoint_dir``, if any."""
    within = {str(name): re.sub(r"\W+", "_", str(name)) for name in names}
    if checkpoint_dir is None:
        return dict.fromkeys(within)
    if len(set(within.values())) < len(within):
        raise ValueError(f"Two of the names {list(within)} make the same folder; rename one.")
    return {
        name: check_path("checkpoint_dir", checkpoint_dir, of="a folder") / folder
        for name, folder in within.items()
    }


def _by_classifier(source_groups: Any, classifiers: Mapping[str, Any]) -> list[Any]:
    if not isinstance(source_groups, Mapping):
        return [source_groups] * len(classifiers)
    unknown = [name for name in source_groups if name not in classifiers]
    if unknown:
        raise ValueError(
            f"source_groups has {', '.join(map(repr, unknown))}; expected names of classifiers: "
            f"{', '.join(map(repr, classifiers))}."
        )
    return [source_groups.get(name) for name in classifiers]
