"""Compare transfers on the same folds, and tell a difference from noise."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import stats

from detl.checks import check_choice
from detl.folds.audit_report import Audit
from detl.metrics import OVERALL, Interval
from detl.metrics.fold_scores import weighted_scores
from detl.metrics.intervals import quantiles
from detl.metrics.scoring import redrawn_scores
from detl.seeds import seed_sequence
from detl.storage.run_directory import check_repeatable
from detl.validation.cross_validation import (
    FoldError,
    Prepared,
    leaks_of,
    prepare,
    react_to_leaks,
    train_folds,
)
from detl.validation.estimators import check_classifier
from detl.validation.results import CrossValidationResult

# Differences of scores that agree but for this are equal: 0.9 - 0.8 is not quite 0.8 - 0.7.
_ROUNDING = 1e-12
_COMPARED = ("accuracy", "balanced_accuracy", "macro_f1", "roc_auc")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much one transfer's score exceeds another's, over the same folds.

    Attributes
    ----------
    first, second : str
        Names of the transfers.
    folds : tuple of float
        Score of the first less that of the second in each fold.
    mean : float
        Mean of ``folds``.
    interval : Interval
        95 % interval of the mean by paired bootstrap: both transfers are scored on the same
        redrawn groups, or images.
    p_value : float
        Two-sided, of the corrected resampled t-test, see :func:`detl.validation.corrected_t_test`;
        NaN where the folds have no spread to test against.
    p_adjusted : float
        The same after Holm's correction for the number of pairs compared.
    """

    first: str
    second: str
    folds: tuple[float, ...]
    mean: float
    interval: Interval
    p_value: float
    p_adjusted: float

    @property
    def better(self) -> str | None:
        """Name of the better one; None unless test and interval both tell them apart."""
        apart = self.interval.low > 0 or self.interval.high < 0
        if not (apart and self.p_adjusted < 0.05):
            return None
        return self.first if self.mean > 0 else self.second

    @property
    def verdict(self) -> str:
        """A sentence for the reader of the table."""
        if np.isnan(self.mean):
            return "no fold has the score"
        if self.better is None:
            untested = len(self.folds) > 1 and np.isnan(self.p_value)
            return "no spread to test against" if untested else "no difference shown"
        return f"{self.better} is better"


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What :func:`compare` found; ``print`` it for a table.

    Attributes
    ----------
    score : str
        What was compared.
    results : dict of str to CrossValidationResult
        Of each transfer, all on the same folds.
    differences : tuple of Difference
        Of each pair.
    """

    score: str
    results: dict[str, CrossValidationResult] = field(repr=False)
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything in lists, strings and numbers that JSON can hold; None for NaN."""

        def known(value: float) -> float | None:
            return None if np.isnan(value) else value

        return {
            "score": self.score,
            "results": {name: result.to_dict() for name, result in self.results.items()},
            "differences": [
                {
                    "first": d.first,
                    "second": d.second,
                    "mean": known(d.mean),
                    "low": known(d.interval.low),
                    "high": known(d.interval.high),
                    "method": d.interval.method,
                    "p_value": known(d.p_value),
                    "p_adjusted": known(d.p_adjusted),
                    "folds": list(map(known, d.folds)),
                    "verdict": d.verdict,
                }
                for d in self.differences
            ],
        }

    def __str__(self) -> str:
        """Return the table worth pasting."""
        any_result = next(iter(self.results.values()))
        names = [*self.results]
        width = max(map(len, names))
        title = self.score.replace("_", " ")
        lines = [
            f"{title}, mean ± standard deviation over {len(any_result.folds)} folds, with 95 % "
            f"interval ({any_result.interval.method})"
        ]
        for name, result in self.results.items():
            score = result.scores[self.score]
            low, high = score.interval.low, score.interval.high
            lines.append(
                f"{name:<{width}}  {score.mean:.3f} ± {score.std:.3f}  {low:.3f} to {high:.3f}"
            )
        pairs = [f"{d.first} - {d.second}" for d in self.differences]
        width = max(len("difference in points"), *map(len, pairs))
        lines += [
            "",
            f"{'difference in points':<{width}}   mean  95 % interval      p   verdict",
        ]
        for pair, d in zip(pairs, self.differences, strict=True):
            low, high = 100 * d.interval.low, 100 * d.interval.high
            p = "<0.001" if d.p_adjusted < 0.001 else f"{d.p_adjusted:6.3f}".replace("nan", "  -")
            lines.append(
                f"{pair:<{width}}  {100 * d.mean:+5.1f}  {low:+5.1f} to {high:+5.1f}  {p}   "
                f"{d.verdict}"
            )
        lines += [
            "",
            "p: corrected resampled t-test over the folds (Nadeau & Bengio 2003), after Holm for "
            f"{len(pairs)} {'pair' if len(pairs) == 1 else 'pairs'};",
            "interval: paired bootstrap. One is called better only if both tell the two apart.",
        ]
        leaks = leaks_of({name: result.audit for name, result in self.results.items()})
        if leaks:
            lines += ["", "LEAKS", *(f"- {sentence}" for sentence in leaks)]
        return "\n".join(lines)


def compare(
    transfers: Mapping[str, Any],
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
    verbose: int = 0,
) -> Comparison:
    """Cross-validate several transfers on the same folds and compare them in pairs.

    Parameters
    ----------
    transfers : dict of str to DomainExtensionTransfer, or to another classifier of scikit-learn
        At least two. From scratch is an untrained backbone as the source with
        ``trainable_from="input"``.
    images, labels, groups, n_splits, n_repeats, cv, on_leak, n_jobs, verbose
        As for :func:`detl.cross_validate`.
    source_groups : array-like, or dict of str to array-like or None, optional
        Groups of the images that all sources were trained on, or, by the transfer's name, of those
        that its own source was; a transfer that the dict leaves out, such as one from ImageNet,
        shares none.
    score : {"accuracy", "balanced_accuracy", "macro_f1", "roc_auc"}, default="accuracy"
        What to compare.
    checkpoint_dir : path, optional
        Each transfer's finished folds go into a folder of its own in there.
    random_state : int, numpy generator or None
        Seeds folds and training. Every transfer gets the folds and seeds that
        :func:`detl.cross_validate` draws from the same number, and so the same result.

    Returns
    -------
    Comparison
        All results, and the difference of each pair.

    Raises
    ------
    ValueError
        If fewer than two transfers are given, two names make the same folder, ``source_groups``
        names one that is not there, or the data do not fit.
    TypeError
        If one of them is no classifier, or gives neither probabilities nor decisions.
    FoldError
        If a fold failed; a note says of which transfer.

    Notes
    -----
    Repeats (``n_repeats=10``) make the test sharper: with five folds it has four degrees of
    freedom.

    References
    ----------
    Nadeau & Bengio 2003, "Inference for the Generalization Error", Machine Learning 52.
    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".

    Examples
    --------
    >>> import numpy as np
    >>> from detl import DomainExtensionTransfer, backbones, compare
    >>> images = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 1), dtype="uint8")
    >>> labels, patients = ["normal", "covid"] * 6, np.arange(12) // 2
    >>> source = backbones.vgg16((32, 32, 1), width=0.125)  # for real: what pretrain returned
    >>> transfers = {
    ...     "last block": DomainExtensionTransfer(source, epochs=1),
    ...     "last layer": DomainExtensionTransfer(source, trainable_from="logits", epochs=1),
    ... }
    >>> found = compare(transfers, images, labels, groups=patients, n_splits=3, random_state=0)
    >>> found.differences[0].interval.method
    'paired percentile bootstrap over 6 groups, 2000 draws, too narrow under 20 groups'
    """
    check_choice("score", score, _COMPARED)
    if not isinstance(transfers, Mapping) or len(transfers) < 2:
        raise ValueError(
            f"transfers is {transfers!r}; expected a dict of at least two, such as "
            '{"domain extension": a, "from scratch": b}.'
        )
    for name, transfer in transfers.items():
        check_classifier(transfer, name=f"transfers[{name!r}]")
    check_choice("on_leak", on_leak, ("warn", "raise", "ignore"))
    check_repeatable(checkpoint_dir, random_state)
    sources = _by_transfer(source_groups, transfers)
    folders = {str(name): re.sub(r"\W+", "_", str(name)) for name in transfers}
    if checkpoint_dir is not None and len(set(folders.values())) < len(folders):
        raise ValueError(f"Two of the names {list(transfers)} make the same folder; rename one.")
    root = seed_sequence(random_state)
    audits: dict[str | None, Audit] = {}
    prepared: dict[str, Prepared] = {}
    for name, transfer in transfers.items():
        of_one = prepared[str(name)] = prepare(
            transfer,
            images,
            labels,
            groups=groups,
            n_splits=n_splits,
            n_repeats=n_repeats,
            cv=cv,
            source_groups=sources[name],
            checkpoint_dir=checkpoint_dir,
            n_jobs=n_jobs,
            random_state=copy.copy(root),  # one that is spawned from is used up
            audits=audits,
        )
        if cv is not None:
            cv = of_one.indices  # a generator is used up by now, a splitter would draw anew
    react_to_leaks({name: of_one.audit for name, of_one in prepared.items()}, on_leak)
    results: dict[str, CrossValidationResult] = {}
    for name, of_one in prepared.items():
        folder = None if checkpoint_dir is None else Path(checkpoint_dir) / folders[name]
        try:
            results[name] = train_folds(
                of_one, checkpoint_dir=folder, n_jobs=n_jobs, verbose=verbose
            )
        except FoldError as error:
            error.add_note(f"The transfer that failed: {name!r}; finished: {list(results)}.")
            raise
    return compare_results(results, score=score)


def _by_transfer(source_groups: Any, transfers: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(source_groups, Mapping):
        return dict.fromkeys(transfers, source_groups)
    unknown = [name for name in source_groups if name not in transfers]
    if unknown:
        raise ValueError(
            f"source_groups has {', '.join(map(repr, unknown))}; expected names of transfers: "
            f"{', '.join(map(repr, transfers))}."
        )
    return {name: source_groups.get(name) for name in transfers}


def compare_results(
    results: Mapping[str, CrossValidationResult], *, score: str = "accuracy"
) -> Comparison:
    """Compare results that are at hand, of the same folds.

    Parameters
    ----------
    results : dict of str to CrossValidationResult
        At least two, of the same images, labels, groups and folds.
    score : {"accuracy", "balanced_accuracy", "macro_f1", "roc_auc"}, default="accuracy"
        What to compare.

    Returns
    -------
    Comparison
        With the difference of each pair.

    Raises
    ------
    ValueError
        If fewer than two results are given, or they are of different images or folds.
    """
    check_choice("score", score, _COMPARED)
    if len(results) < 2:
        raise ValueError(f"results has {len(results)}, {list(results)}; expected at least two.")
    first, *others = results.values()
    for other in others:
        if any(
            other.settings[name] != first.settings[name]
            for name in ("labels", "groups", "folds", "interval_seed")
        ):
            raise ValueError(
                "The results are of different images or folds, so they cannot be paired; "
                "cross-validate with the same data and random_state, or use compare."
            )
    row = OVERALL.index(score)
    draws, per_fold = {}, {}
    for name, result in results.items():
        predictions = result.fold_predictions
        drawn, method = redrawn_scores(
            predictions, unit=result.unit, random_state=result.settings["interval_seed"]
        )
        draws[name] = drawn[row]
        per_fold[name] = np.array([weighted_scores(fold)[0, row] for fold in predictions])
    n_train = np.mean([len(fold.train) for fold in first.folds])
    n_test = np.mean([len(fold.test) for fold in first.folds])
    pairs = list(itertools.combinations(results, 2))
    differences, p_values = [], []
    for a, b in pairs:
        folds = per_fold[a] - per_fold[b]
        known = folds[~np.isnan(folds)]
        p_values.append(corrected_t_test(known, test_share=float(n_test / n_train)))
        (low,), (high,) = quantiles((draws[a] - draws[b])[np.newaxis])
        interval = Interval(low=float(low), high=float(high), method=f"paired {method}")
        mean = float(known.mean()) if len(known) else np.nan
        differences.append((a, b, tuple(folds.tolist()), mean, interval))
    return Comparison(
        score=score,
        results=dict(results),
        differences=tuple(
            Difference(
                first=a,
                second=b,
                folds=folds,
                mean=mean,
                interval=interval,
                p_value=p,
                p_adjusted=adjusted,
            )
            for (a, b, folds, mean, interval), p, adjusted in zip(
                differences, p_values, _holm(p_values), strict=True
            )
        ),
    )


def corrected_t_test(differences: Any, *, test_share: float) -> float:
    """Return the two-sided p-value of the corrected resampled t-test.

    Folds share most of their training images, so that their scores vary less than those of
    independent experiments; a plain paired t-test takes noise for a difference far too often.

    Parameters
    ----------
    differences : array-like of shape (n_folds,)
        Difference of two scores in each fold.
    test_share : float
        Number of test images over number of training images of a fold: 0.25 with five folds.

    Returns
    -------
    float
        1 if all differences are zero. NaN where there is no spread to test against: with fewer than
        two folds, or if all differences are equal and not zero. So a test of few images says
        nothing, for their scores are coarse, while the formula would say that chance is ruled out.

    References
    ----------
    Nadeau & Bengio 2003, "Inference for the Generalization Error", sec. 4: the variance of the
    mean is ``(1 / n_folds + test_share) * variance``, with ``n_folds - 1`` degrees of freedom.

    Examples
    --------
    >>> from detl.validation import corrected_t_test
    >>> round(corrected_t_test([0.04, 0.02, 0.05, 0.01, 0.03], test_share=0.25), 3)
    0.047
    """
    differences = np.asarray(differences, dtype=float)
    n = len(differences)
    if n < 2:
        return np.nan
    if np.ptp(differences) < _ROUNDING:
        return 1.0 if abs(differences.mean()) < _ROUNDING else np.nan
    variance = (1 / n + test_share) * differences.var(ddof=1)
    return float(2 * stats.t.sf(abs(differences.mean()) / np.sqrt(variance), df=n - 1))


def _holm(p_values: list[float]) -> list[float]:
    """Return the p-values after Holm's step-down correction."""
    order = np.argsort(p_values)
    scaled = np.asarray(p_values)[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted.tolist()
