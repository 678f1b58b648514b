"""Find out whether a classifier looks at what it should, or something else gives the class away.

Each test takes what :func:`detl.cross_validate` found and asks a question on the same folds, with
the same seeds: can the classes be told with the object blanked out (:func:`region_test`)? By
classifiers that know next to nothing (:func:`rivals`)? By where an image comes from
(:func:`collection_test`)? Where does the network look (:func:`attention`)? :func:`examine` asks
all of them. ``print`` the report, draw it with :func:`detl.plots.shortcut_report`.

What decides is a share: of what the network knows of a class (how far the area under its ROC curve
is above 1/2), how much is known without the object as well? Its interval is held against a
threshold that is yours to set.

Examples
--------
>>> import numpy as np
>>> from detl import DomainExtensionTransfer, backbones, cross_validate, shortcuts
>>> images = np.random.default_rng(0).integers(0, 200, (40, 32, 32, 1), dtype="uint8")
>>> labels = np.array(["healthy", "ill"] * 20)
>>> images[labels == "ill", :3, :3] = 255  # a mark in the corner gives the class away
>>> source = backbones.vgg16((32, 32, 1), width=0.125)  # for real: what pretrain returned
>>> transfer = DomainExtensionTransfer(source, trainable_from="input", epochs=2)
>>> result = cross_validate(transfer, images, labels, n_splits=2, random_state=0)
>>> report = shortcuts.rivals(result, images)
>>> round(report.results["border"].scores["roc_auc"].mean, 2)
1.0
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from detl import faithfulness, folds, metrics
from detl._attention import out_of_fold_heatmaps
from detl._batches import array_digest
from detl._checks import check_images, check_labels, check_positive
from detl._regions import Array, Region, blanked, border_mask, region_masks
from detl._rivals import class_shares, histograms, linear, on_the_folds_of, shapes, thumbnails
from detl._verdicts import (
    FEW_PER_CLASS,
    LIKELY,
    NONE_FOUND,
    UNTOLD,
    Figure,
    ShortcutReport,
    ShortcutTest,
    shares,
    units_per_class,
    verdict_of,
)
from detl.comparison import compare_results
from detl.cross_validation import Prepared, cross_validate, train_folds
from detl.pretraining import load_source
from detl.results import CrossValidationResult
from detl.transfer import DomainExtensionTransfer

__all__ = [
    "Figure",
    "ShortcutReport",
    "ShortcutTest",
    "attention",
    "collection_test",
    "examine",
    "region_test",
    "rivals",
]

# Calibrated on phantoms, see benchmarks/shortcut_detection.py.
THRESHOLD = 0.33
# Of a heatmap on the region, over the region's share of the area: half of what chance would give.
# Chance itself is too much to ask, as the maps are coarse and edges of the object count, too.
ATTENTION_THRESHOLD = 0.5
# The middle of the scale: the same in every image, so that it says nothing of any.
FILL = 128
BORDER = 0.1

_SHARE = "share of the network's ROC AUC above 1/2 that is kept"
_DETAIL = 32  # cells along a side of what a linear rival sees of a border or a background


def examine(
    result: CrossValidationResult,
    transfer: DomainExtensionTransfer,
    images: Any,
    *,
    region: Region | None = None,
    border: float | None = BORDER,
    collections: Any = None,
    sizes: Any = None,
    threshold: float = THRESHOLD,
    attention_threshold: float = ATTENTION_THRESHOLD,
    fill: float = FILL,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> ShortcutReport:
    """Run every shortcut test that the data allow.

    With a region this trains all folds three times more, two of them on a part of each image; with
    collections about twice more. The rivals take seconds.

    Parameters
    ----------
    result : CrossValidationResult
        What :func:`detl.cross_validate` found: the classifier under examination.
    transfer : DomainExtensionTransfer
        The one that was cross-validated.
    images : numpy.ndarray of shape (n, height, width, channels)
        Those that were cross-validated.
    region : (top, left, bottom, right), numpy.ndarray of bool, or callable, optional
        Where the object is, see :func:`region_test`. Without it nothing is blanked out but all
        inside the border, and there is no test of attention.
    border : float or None, default=0.1
        Width of the border that is tested alone, as a share of the shorter side. None where the
        object reaches it.
    collections : array-like of shape (n,), optional
        Where each image comes from, such as its hospital, see :func:`collection_test`.
    sizes : array-like of shape (n, 2), optional
        Height and width of each image before it was resized, pixels.
    threshold : float, default=0.33
        Of what the network knows of a class, the share above which it is suspicious that the class
        is told without the object.
    attention_threshold : float, default=0.5
        Of the heatmaps' energy in the region over the region's area, below which it is suspicious.
    fill : float, default=128
        What stands where images are blanked out: one grey for all.
    checkpoint_dir : path, optional
        Each test that trains has its finished folds in a folder of its own in there.
    n_jobs, verbose
        As for :func:`detl.cross_validate`. Heatmaps are computed by one process.

    Returns
    -------
    ShortcutReport
        A verdict per test.

    Raises
    ------
    TypeError, ValueError
        If the images, the transfer or the regions do not fit the result. Nothing has been trained
        then.
    """
    subject = _subject(result, transfer, images)
    masks = None if region is None else region_masks(region, subject.images)
    run = _Run(checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose)
    check_positive("threshold", threshold)
    check_positive("attention_threshold", attention_threshold)
    found = _Found(result)
    _rivals(found, subject.images, masks, border, sizes, fill, threshold)
    if collections is not None:
        _class_by_collection(found, subject, collections, threshold)
    _region(found, subject, masks, border, fill, threshold, run)
    if masks is not None:
        _attention(found, subject, masks, attention_threshold, "gradcam", verbose)
    if collections is not None:
        _collections(found, subject, collections, threshold, run)
    return found.report()


def region_test(
    result: CrossValidationResult,
    transfer: DomainExtensionTransfer,
    images: Any,
    *,
    region: Region | None = None,
    border: float | None = BORDER,
    threshold: float = THRESHOLD,
    fill: float = FILL,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> ShortcutReport:
    """Train and test with the object blanked out, and with nothing but the border.

    A network that still tells the classes has something else to go by.

    Parameters
    ----------
    result, transfer, images, threshold, fill, checkpoint_dir, n_jobs, verbose
        As for :func:`examine`.
    region : (top, left, bottom, right), numpy.ndarray of bool, or callable, optional
        Where the object is. A box: floats are shares of height and width, whole numbers pixels. A
        mask ``(height, width)`` for all images, or one per image ``(n, height, width)``. Or a
        function from the images to such masks.
    border : float or None, default=0.1
        As for :func:`examine`. Where the region reaches into the border, it is blanked out there.

    Returns
    -------
    ShortcutReport
        With the tests ``"region blanked"`` and ``"border kept"``. With a mask per image also
        ``"region outline"``: if the outlines alone tell the class, then so do the holes that
        blanking leaves, and nothing can be concluded from ``"region blanked"``.

    Raises
    ------
    TypeError, ValueError
        As for :func:`examine`, or if there is neither region nor border.
    """
    if region is None and border is None:
        raise ValueError("There is neither region nor border to test; give one of them.")
    check_positive("threshold", threshold)
    subject = _subject(result, transfer, images)
    masks = None if region is None else region_masks(region, subject.images)
    run = _Run(checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose)
    found = _Found(result)
    _region(found, subject, masks, border, fill, threshold, run)
    return found.report()


def rivals(
    result: CrossValidationResult,
    images: Any,
    *,
    region: Region | None = None,
    border: float | None = BORDER,
    sizes: Any = None,
    threshold: float = THRESHOLD,
    fill: float = FILL,
) -> ShortcutReport:
    """Hold the network against classifiers that know next to nothing, on the same folds.

    Parameters
    ----------
    result, images, region, border, sizes, threshold, fill
        As for :func:`examine`.

    Returns
    -------
    ShortcutReport
        Two kinds of rivals. Those that do not see the object get a verdict: ``"border"`` and
        ``"background"`` (all but the region), logistic regressions on 32 × 32 cells, and
        ``"sizes"``, on height, width and their ratio. Those that see all of the image are no
        shortcuts, and it is said who is better: ``"class prior"``, ``"thumbnail"``, a logistic
        regression on 16 × 16 cells, and ``"histogram"``, on the shares of 32 grey levels.

    Raises
    ------
    TypeError, ValueError
        If images, region or sizes do not fit the result.
    """
    check_positive("threshold", threshold)
    images = _check_images(result, images)
    masks = None if region is None else region_masks(region, images)
    found = _Found(result)
    _rivals(found, images, masks, border, sizes, fill, threshold)
    return found.report()


def collection_test(
    result: CrossValidationResult,
    transfer: DomainExtensionTransfer,
    images: Any,
    collections: Any,
    *,
    threshold: float = THRESHOLD,
    checkpoint_dir: str | Path | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> ShortcutReport:
    """Ask whether where an image comes from gives its class away.

    Parameters
    ----------
    result, transfer, images, threshold, checkpoint_dir, n_jobs, verbose
        As for :func:`examine`.
    collections : array-like of shape (n,)
        Where each image comes from, such as its hospital, scanner or file format.

    Returns
    -------
    ShortcutReport
        ``"collection"``: the class is told from the name of the collection alone, by the shares of
        the classes in it. Unless that is excluded, ``"collection from image"``: the transfer is
        trained to tell the collections of one class from each other, so that the class is no help;
        its figure is how far the ROC AUC is above 1/2, as a share of the most there could be.
        ``"collection held out"``: each collection is tested by a network that saw none of it; its
        figure is the share of the accuracy above chance that is lost on the same images.

    Raises
    ------
    TypeError, ValueError
        If the images, the transfer or the collections do not fit the result, or there is one
        collection only.
    """
    check_positive("threshold", threshold)
    subject = _subject(result, transfer, images)
    run = _Run(checkpoint_dir=checkpoint_dir, n_jobs=n_jobs, verbose=verbose)
    found = _Found(result)
    _class_by_collection(found, subject, collections, threshold)
    _collections(found, subject, collections, threshold, run)
    return found.report()


def attention(
    result: CrossValidationResult,
    transfer: DomainExtensionTransfer,
    images: Any,
    *,
    region: Region,
    threshold: float = ATTENTION_THRESHOLD,
    method: str = "gradcam",
    verbose: int = 0,
) -> ShortcutReport:
    """Ask how much of the heatmaps lies on the object, beside its share of the image.

    All folds are trained once more, and each image is explained, for the class predicted, by the
    network that was not trained on it.

    Parameters
    ----------
    result, transfer, images, verbose
        As for :func:`examine`.
    region : (top, left, bottom, right), numpy.ndarray of bool, or callable
        Where the object is, see :func:`region_test`. Images without any are left out.
    threshold : float, default=0.5
        A class is suspicious if its heatmaps have less in the region than so many times what the
        region's area explains.
    method : str, default="gradcam"
        Of :class:`detl.GradCAM`.

    Returns
    -------
    ShortcutReport
        With the test ``"attention"``, and a figure for each class that was predicted, see
        :func:`detl.faithfulness.energy`.

    Raises
    ------
    TypeError, ValueError
        As for :func:`examine`.
    """
    check_positive("threshold", threshold)
    subject = _subject(result, transfer, images)
    found = _Found(result)
    _attention(found, subject, region_masks(region, subject.images), threshold, method, verbose)
    return found.report()


# ------------------------------------------------------------------------------ what all have


@dataclass(frozen=True, kw_only=True)
class _Run:
    """How trainings run."""

    checkpoint_dir: str | Path | None
    n_jobs: int | None
    verbose: int

    def folder(self, name: str) -> Path | None:
        if self.checkpoint_dir is None:
            return None
        return Path(self.checkpoint_dir) / name.replace(" ", "_")


class _Found:
    """Tests and results, as they come in."""

    def __init__(self, network: CrossValidationResult) -> None:
        self.network = network
        self.tests: dict[str, ShortcutTest] = {}
        self.results: dict[str, CrossValidationResult] = {"network": network}

    def report(self) -> ShortcutReport:
        return ShortcutReport(tests=self.tests, results=self.results)

    def add_blind(
        self, name: str, question: str, result: CrossValidationResult, threshold: float
    ) -> None:
        """Add a result of what cannot see the object: what it tells, it tells by a shortcut."""
        figures, untold = shares(result, self.network)
        note = ""
        if untold:
            note = f"Not judged, for the network does not tell them: {_listed(untold)}."
        self.results[name] = result
        self.tests[name] = ShortcutTest(
            question=question,
            measure=_SHARE,
            figures=figures,
            threshold=threshold,
            verdict=verdict_of(figures, threshold=threshold, suspicious="above"),
            note=note,
        )

    def add_rival(self, name: str, question: str, result: CrossValidationResult) -> None:
        """Add a result of what sees the whole image: it is a rival, and no shortcut."""
        compared = compare_results({"network": self.network, name: result}, score="roc_auc")
        (difference,) = compared.differences
        figure = Figure(
            value=difference.mean,
            low=difference.interval.low,
            high=difference.interval.high,
            units=min(units_per_class(result).values()),
        )
        self.results[name] = result
        self.tests[name] = ShortcutTest(
            question=question,
            measure="ROC AUC of the network less that of the rival, mean over classes",
            figures={"all": figure},
            threshold=None,
            suspicious="below",
            verdict=difference.verdict,
        )


def _check_images(result: Any, images: Any) -> Array:
    if not isinstance(result, CrossValidationResult):
        raise TypeError(
            f"result is {type(result).__name__}; expected what detl.cross_validate returns."
        )
    checked: Array = check_images(images)
    if array_digest(checked) != result.settings["images"]:
        raise ValueError(
            f"images of shape {checked.shape} are not those that were cross-validated; give the "
            "same, in the same order and of the same type."
        )
    return checked


def _subject(result: Any, transfer: Any, images: Any) -> Prepared:
    """Return the cross-validation that led to the result, ready to be run on other images."""
    images = _check_images(result, images)
    if not isinstance(transfer, DomainExtensionTransfer):
        raise TypeError(
            f"transfer is {type(transfer).__name__}; expected the DomainExtensionTransfer that was "
            "cross-validated."
        )
    for name, value in result.settings["transfer"].items():
        given = getattr(transfer, name)
        if isinstance(value, str | int | float | None) and given != value:
            raise ValueError(
                f"transfer has {name}={given!r}, but {value!r} was cross-validated; give the same "
                "transfer."
            )
    transfer = clone(transfer).set_params(
        verbose=0, random_state=int(result.settings["views_seed"])
    )
    if isinstance(transfer.source, str | Path):
        transfer.set_params(source=load_source(transfer.source))
    return Prepared(
        transfer=transfer,
        images=images,
        labels=result.labels,
        groups=result.groups,
        indices=result.indices,
        fold_seeds=result.fold_seeds,
        interval_seed=int(result.settings["interval_seed"]),
        audit=result.audit,
        seconds=0.0,
    )


def _listed(labels: list[Any]) -> str:
    return ", ".join(str(label) for label in labels)


# ------------------------------------------------------------------------------------- regions


def _region(
    found: _Found,
    subject: Prepared,
    masks: Array | None,
    border: float | None,
    fill: float,
    threshold: float,
    run: _Run,
) -> None:
    size = subject.images.shape[1:3]
    kept = None if border is None else border_mask(border, size, without=masks)

    def trained_on(name: str, hidden: Array) -> CrossValidationResult:
        return train_folds(
            replace(subject, images=blanked(subject.images, hidden, fill)),
            checkpoint_dir=run.folder(name),
            n_jobs=run.n_jobs,
            verbose=run.verbose,
        )

    if masks is not None:
        share = masks.mean()
        name = "region blanked"
        question = f"Are classes told without the region, {share:.0%} of the image?"
        found.add_blind(name, question, trained_on(name, masks), threshold)
        if (masks != masks[:1]).any():
            _outline(found, masks, threshold)
    if kept is not None:
        name = "border kept"
        question = f"Are classes told by the border alone, {kept.mean():.0%} of the image?"
        found.add_blind(name, question, trained_on(name, ~kept), threshold)


def _outline(found: _Found, masks: Array, threshold: float) -> None:
    """Ask whether the holes themselves tell the class, and then conclude nothing from them."""
    _add_linear(
        found,
        "region outline",
        "Are classes told by the outlines of the regions, by a logistic regression?",
        thumbnails(masks[..., np.newaxis], _DETAIL),
        threshold,
    )
    if found.tests["region outline"].verdict == LIKELY:
        test = found.tests["region blanked"]
        found.tests["region blanked"] = replace(
            test,
            verdict=UNTOLD,
            note=f"{test.note} The outlines of the regions tell classes, and so do the holes that "
            "blanking leaves; give one region for all images.".strip(),
        )
        found.tests["region outline"] = replace(
            found.tests["region outline"],
            verdict=UNTOLD,
            note="Outlines are no part of the images: this is about the regions alone.",
        )


# -------------------------------------------------------------------------------------- rivals


def _rivals(
    found: _Found,
    images: Array,
    masks: Array | None,
    border: float | None,
    sizes: Any,
    fill: float,
    threshold: float,
) -> None:
    targets = np.searchsorted(found.network.classes, found.network.labels)
    n_classes = len(found.network.classes)

    def add_rival(name: str, question: str, predict: Callable[[Array, Array], Array]) -> None:
        found.add_rival(name, question, on_the_folds_of(found.network, name, predict))

    add_rival(
        "class prior",
        "Is the network better than the shares of the classes?",
        class_shares(targets, n_classes),
    )
    add_rival(
        "thumbnail",
        "Is it better than a logistic regression on 16 × 16 cells?",
        linear(thumbnails(images, 16), targets, n_classes),
    )
    add_rival(
        "histogram",
        "Is it better than a logistic regression on the histogram of intensities?",
        linear(histograms(images), targets, n_classes),
    )
    hidden: Mapping[str, Array | None] = {
        "background": masks,
        "border": None
        if border is None
        else ~border_mask(border, images.shape[1:3], without=masks),
    }
    for name, mask in hidden.items():
        if mask is not None:
            _add_linear(
                found,
                name,
                f"Are classes told by the {name}, by a logistic regression on {_DETAIL} × "
                f"{_DETAIL} cells?",
                thumbnails(blanked(images, mask, fill), _DETAIL),
                threshold,
            )
    if sizes is not None:
        _add_linear(
            found,
            "sizes",
            "Are classes told by the images' original sizes, by a logistic regression?",
            shapes(_check_sizes(sizes, len(images))),
            threshold,
        )


def _add_linear(found: _Found, name: str, question: str, features: Array, threshold: float) -> None:
    targets = np.searchsorted(found.network.classes, found.network.labels)
    predict = linear(features, targets, len(found.network.classes))
    found.add_blind(name, question, on_the_folds_of(found.network, name, predict), threshold)


def _check_sizes(sizes: Any, n: int) -> Array:
    array = np.asarray(sizes)
    if array.shape != (n, 2) or array.dtype.kind not in "uif" or not (array > 0).all():
        raise ValueError(
            f"sizes has shape {array.shape} and dtype {array.dtype}; expected ({n}, 2), height and "
            "width of each image in pixels, all above 0."
        )
    return array


# --------------------------------------------------------------------------------- collections


def _check_collections(collections: Any, n: int) -> Array:
    checked = check_labels(collections, n, name="collections")
    if len(np.unique(checked)) < 2:
        raise ValueError(
            f"collections has one value only, {checked.tolist()[0]!r}; expected at least two, or "
            "no collections."
        )
    return checked


def _class_by_collection(
    found: _Found, subject: Prepared, collections: Any, threshold: float
) -> None:
    collections = _check_collections(collections, len(subject.labels))
    targets = np.searchsorted(found.network.classes, subject.labels)
    predict = class_shares(targets, len(found.network.classes), collections)
    found.add_blind(
        "collection",
        f"Are classes told by the names of {len(np.unique(collections))} collections alone?",
        on_the_folds_of(found.network, "collection", predict),
        threshold,
    )


def _collections(
    found: _Found, subject: Prepared, collections: Any, threshold: float, run: _Run
) -> None:
    collections = _check_collections(collections, len(subject.labels))
    if found.tests["collection"].verdict != NONE_FOUND:
        _collection_from_image(found, subject, collections, threshold, run)
    _held_out(found, subject, collections, threshold, run)


def _collection_from_image(
    found: _Found, subject: Prepared, collections: Array, threshold: float, run: _Run
) -> None:
    """Tell collections of one class from each other: there the class itself is no help."""
    transfer = clone(subject.transfer)
    if isinstance(transfer.class_weight, dict):
        transfer.set_params(class_weight="balanced")  # these weights are those of classes
    figures = {}
    left_out = []
    for label in found.network.classes.tolist():
        rows = _rows_of_common(subject, collections, label)
        if rows is None:
            left_out.append(label)
            continue
        name = f"collection from image, {label}"
        told = cross_validate(
            transfer,
            subject.images[rows],
            collections[rows],
            groups=None if subject.groups is None else subject.groups[rows],
            n_splits=min(5, FEW_PER_CLASS),
            on_leak="ignore",  # the audit of the result has said it
            checkpoint_dir=run.folder(name),
            n_jobs=run.n_jobs,
            random_state=subject.interval_seed,
            verbose=run.verbose,
        )
        found.results[name] = told
        area = told.scores["roc_auc"]
        value, low, high = (
            2 * end - 1 for end in (area.mean, area.interval.low, area.interval.high)
        )
        figures[label] = Figure(
            value=value, low=low, high=high, units=min(units_per_class(told).values())
        )
    note = ""
    if left_out:
        note = (
            f"Not judged, for no two collections have {FEW_PER_CLASS} groups or images of them: "
            f"{_listed(left_out)}."
        )
    found.tests["collection from image"] = ShortcutTest(
        question="Are the collections of one class told from each other by the image?",
        measure="twice the ROC AUC above 1/2, mean over collections",
        figures=figures,
        threshold=threshold,
        verdict=verdict_of(figures, threshold=threshold, suspicious="above"),
        note=note,
    )


def _rows_of_common(subject: Prepared, collections: Array, label: Any) -> Array | None:
    """Return the images of a class from the collections that have enough; None if under two do."""
    rows = np.flatnonzero(subject.labels == label)
    units = rows if subject.groups is None else subject.groups[rows]
    names = np.unique(collections[rows])
    common = [
        name
        for name in names.tolist()
        if len(np.unique(units[collections[rows] == name])) >= FEW_PER_CLASS
    ]
    return rows[np.isin(collections[rows], common)] if len(common) > 1 else None


def _held_out(
    found: _Found, subject: Prepared, collections: Array, threshold: float, run: _Run
) -> None:
    question = "How much of the accuracy is lost on a collection that was not trained on?"
    measure = "share of the network's accuracy above chance that is lost on the same images"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            indices = folds.leave_one_collection_out(subject.labels, collections)
        except ValueError as error:
            found.tests["collection held out"] = ShortcutTest(
                question=question,
                measure=measure,
                figures={},
                threshold=threshold,
                verdict=UNTOLD,
                note=str(error),
            )
            return
    held_out = cross_validate(
        subject.transfer,
        subject.images,
        subject.labels,
        groups=subject.groups,
        cv=indices,
        on_leak="ignore",
        checkpoint_dir=run.folder("collection held out"),
        n_jobs=run.n_jobs,
        random_state=subject.interval_seed,
        verbose=run.verbose,
    )
    figure = _lost(held_out, found.network)
    figures = {"all": figure}
    found.results["collection held out"] = held_out
    found.tests["collection held out"] = ShortcutTest(
        question=question,
        measure=measure,
        figures=figures,
        threshold=threshold,
        verdict=verdict_of(figures, threshold=threshold, suspicious="above"),
        note=" ".join(str(warning.message) for warning in caught),
    )


def _lost(held_out: CrossValidationResult, network: CrossValidationResult) -> Figure:
    """Return the share of the accuracy above chance that is lost, on images that both tested."""
    tested = np.flatnonzero((held_out.fold_of >= 0) & (network.fold_of >= 0))
    targets = np.searchsorted(network.classes, network.labels)[tested]
    units = np.arange(len(network.labels)) if network.groups is None else network.groups
    numbers = np.unique(units[tested], return_inverse=True)[1]
    draws, means = [], []
    for result in (network, held_out):
        pooled = metrics.Predictions(
            targets=targets, probabilities=result.probabilities[tested], units=numbers
        )
        drawn, _ = metrics.redrawn_scores(
            [pooled], unit=network.unit, random_state=network.settings["interval_seed"]
        )
        row = metrics.OVERALL.index("accuracy")
        draws.append(drawn[row])
        means.append(metrics.weighted_scores(pooled)[0, row])
    chance = 1 / len(network.classes)

    def lost(before: Any, after: Any) -> Any:
        return (before - after) / np.maximum(before - chance, 0.01)

    low, high = np.nanquantile(lost(*draws), (0.025, 0.975))
    return Figure(
        value=float(lost(*means)), low=float(low), high=float(high), units=int(numbers.max()) + 1
    )


# ----------------------------------------------------------------------------------- attention


def _attention(
    found: _Found,
    subject: Prepared,
    masks: Array,
    threshold: float,
    method: str,
    verbose: int,
) -> None:
    heatmaps, predicted = out_of_fold_heatmaps(
        found.network, subject.transfer, subject.images, method=method, verbose=verbose
    )
    units = np.arange(len(masks)) if subject.groups is None else subject.groups
    figures = {}
    spoken = []
    there = masks.any(axis=(1, 2))
    for number, label in enumerate(found.network.classes.tolist()):
        rows = np.flatnonzero(there & (predicted == number))
        if not len(rows):
            continue
        energy = faithfulness.energy(
            heatmaps[rows],
            masks[rows],
            groups=units[rows],
            random_state=subject.interval_seed,
        )
        figures[label] = Figure(
            value=energy.mean,
            low=energy.interval.low,
            high=energy.interval.high,
            units=len(np.unique(units[rows])),
        )
        share = float(np.mean(energy.values * energy.area))
        spoken.append(f"{label} {share:.0%} on {energy.area.mean():.0%} of the area")
    found.tests["attention"] = ShortcutTest(
        question="Do the heatmaps of the predicted class lie on the region?",
        measure="share of the heatmap on the region, over the region's share of the area",
        figures=figures,
        threshold=threshold,
        suspicious="below",
        verdict=verdict_of(figures, threshold=threshold, suspicious="below"),
        note=f"By predicted class: {'; '.join(spoken)}.",
    )
