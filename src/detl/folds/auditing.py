"""What is on both sides of a split, and what of the target the source model has seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from detl.checks import check_classes, check_images, check_labels, check_number
from detl.folds.audit_report import Audit, counted
from detl.folds.copies import (
    Copies,
    Sketches,
    copies_between,
    copies_within,
    score_pairs,
    sketch,
)
from detl.folds.splitters import checked_folds
from detl.folds.splitting import Indices

# Attributes of the audit, and what makes scores flatter, in sentences.
_Finding = tuple[dict[str, Any], list[str]]


def audit(
    indices: Any,
    labels: Any,
    *,
    groups: Any = None,
    images: Any = None,
    source_groups: Any = None,
    source_images: Any = None,
    copy_threshold: float | None = None,
) -> Audit:
    """Tell what is on both sides of a split, and what the source model has seen already.

    What is not given is not checked, and the report says so.

    Copies are images with the same pixels, or of the same picture saved anew, resized, cropped by a
    few per cent, brightened or mirrored (not rotated). They are far more alike in detail than
    different images of their class. Now and then two exposures of one patient are too: look at the
    pairs. Where different images are nearly the same, such as digits or bare borders, copies other
    than exact ones may be missed; the report says how many pairs are alike.

    Parameters
    ----------
    indices : list of (train, test), or splitter
        Row indices, as the functions of this module return them; see :func:`from_splitter`.
    labels : array-like of shape (n,)
        Class of each image.
    groups : array-like of shape (n,), optional
        What must not be on both sides, such as the patient of each image.
    images : numpy.ndarray of shape (n, height, width, channels) or LoadedImages, optional
        Pixels in [0, 255]; may be a memory map, which is read in batches. What
        :func:`detl.images.load` returns has the names of the files, which the report then shows.
    source_groups : array-like of shape (n_source,), optional
        Groups of the images that the source model was trained on, named as in ``groups``.
    source_images : numpy.ndarray of shape (n_source, height, width, channels), optional
        These images, of any size.
    copy_threshold : float in (0, 1], optional
        Correlation of two images' detail from which on they are copies; 1 finds equal pixels alone.
        By default it is found for each class, from 0.85 to 0.98.

    Returns
    -------
    Audit
        Counts, shared groups, copies, and ``leaks``, one sentence for each thing that is wrong.

    Examples
    --------
    >>> from detl import folds
    >>> labels, patients = ["cat", "dog"] * 3, [0, 1, 1, 2, 3, 4]
    >>> report = folds.audit([([0, 1, 3], [2, 4, 5])], labels, groups=patients)
    >>> print(*report.leaks)
    Groups are on both sides in 1 of 1 fold: 1 of 3 test images (33.3 %) have a group that is
    trained on, such as 1 in fold 0.
    """
    labels = check_labels(labels)
    classes, targets = check_classes(labels)
    for name, of_source, of_target in (
        ("groups", source_groups, groups),
        ("images", source_images, images),
    ):
        if of_source is not None and of_target is None:
            raise ValueError(f"source_{name} without {name}; give both, to find what they share.")
    if groups is not None:
        groups = check_labels(groups, len(labels), name="groups", of="labels")
    indices = checked_folds(indices, targets, groups, name="indices")
    if copy_threshold is not None:
        check_number("copy_threshold", copy_threshold, above=0, at_most=1)
    # The rooms beside this one are not imported: what has images and paths is a LoadedImages.
    names = getattr(images, "paths", None)
    source_names = getattr(source_images, "paths", None)
    images = getattr(images, "images", images)
    source_images = getattr(source_images, "images", source_images)
    if images is not None:
        images = check_images(images, any_scale=True)
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images for {len(labels)} labels; expected as many.")
    if source_images is not None:
        source_images = check_images(source_images, name="source_images", any_scale=True)
    if source_groups is not None:
        n_source = None if source_images is None else len(source_images)
        source_groups = check_labels(
            source_groups, n_source, name="source_groups", of="source_images"
        )
        if _is_text(source_groups) != _is_text(groups):
            raise TypeError(
                f"groups are such as {groups.tolist()[0]!r}, but source_groups such as "
                f"{source_groups.tolist()[0]!r}: text and numbers are never equal; name both alike."
            )
    train_counts, test_counts = (
        np.array([np.bincount(targets[split[part]], minlength=len(classes)) for split in indices])
        for part in (0, 1)
    )
    tested = np.unique(np.concatenate([test for _, test in indices]))
    findings: list[_Finding] = []
    if groups is not None:
        findings.append(_groups_across(indices, groups))
        if source_groups is not None:
            findings.append(_groups_of_source(groups, source_groups))
    if images is not None:
        sketches = sketch(images)
        copies = copies_within(sketches, targets, threshold=copy_threshold)
        findings.append(_copies_across(indices, labels, sketches, copies, names))
        if source_images is not None:
            copies = copies_between(
                sketches, sketch(source_images), targets, threshold=copy_threshold
            )
            findings.append(_copies_of_source(copies, len(labels), names, source_names))
    return Audit(
        leaks=tuple(leak for _, leaks in findings for leak in leaks),
        classes=_plain(classes),
        n_images=len(labels),
        n_untested=len(labels) - len(tested),
        train_counts=train_counts,
        test_counts=test_counts,
        **{name: value for values, _ in findings for name, value in values.items()},
    )


def _groups_across(indices: list[Indices], groups: np.ndarray) -> _Finding:
    shared = [np.intersect1d(groups[train], groups[test]) for train, test in indices]
    images = [np.isin(groups[test], names).sum() for names, (_, test) in zip(shared, indices)]
    found = {"shared_groups": tuple(map(_plain, shared)), "shared_group_images": np.array(images)}
    where = np.flatnonzero(images)
    if not where.size:
        return found, []
    example = _plain(shared[where[0]])[0]
    return found, [
        f"Groups are on both sides in {_of_folds(where, indices)}: {_of_tests(images, indices)} "
        f"have a group that is trained on, such as {example!r} in fold {where[0]}."
    ]


def _copies_across(
    indices: list[Indices],
    labels: np.ndarray,
    sketches: Sketches,
    copies: Copies,
    names: Sequence[Any] | None,
) -> _Finding:
    sides = np.zeros((len(indices), len(labels)), "int8")
    for side, (train, test) in zip(sides, indices):
        side[train], side[test] = 1, -1
    links = coo_array((np.ones(len(copies.pairs)), copies.pairs.T), shape=(len(labels),) * 2)
    cluster = connected_components(links, directed=False)[1]
    pairs, exact, scores = _with_unlisted(copies, sketches, cluster, sides)
    first, second = pairs.T
    across = (sides[:, first] * sides[:, second] < 0).any(axis=0)
    relabelled = np.asarray(labels[first] != labels[second], dtype=bool)
    copied = [test[np.isin(cluster[test], cluster[train])] for train, test in indices]
    counts = np.array(list(map(len, copied)))
    found = {
        "copies": pairs,
        "copies_exact": exact,
        "copies_across": across,
        "copies_relabelled": relabelled,
        "copied_images": counts,
        "copy_scores": scores,
        "copy_names": _names(pairs, names, names),
        "copy_thresholds": copies.thresholds,
        "n_alike": copies.n_alike,
    }
    leaks = []
    if counts.any():
        number = int(np.flatnonzero(counts)[0])
        row, train = copied[number][0], indices[number][0]
        original = train[cluster[train] == cluster[row]][0]
        leaks.append(
            f"Copies are on both sides in {_of_folds(np.flatnonzero(counts), indices)}: "
            f"{_of_tests(counts, indices)} are copies of training images, such as image {row} of "
            f"image {original} in fold {number}."
        )
    contradictions = np.flatnonzero(across & relabelled)
    if contradictions.size:
        a, b = pairs[contradictions[0]].tolist()
        leaks.append(
            "Copies across the split have different labels: "
            f"{counted(len(contradictions), 'pair')}, such as image {a} ({_plain(labels)[a]!r}) "
            f"and image {b} ({_plain(labels)[b]!r})."
        )
    return found, leaks


def _with_unlisted(
    copies: Copies, sketches: Sketches, cluster: np.ndarray, sides: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add pairs across a fold that only copies in neither of its parts connect."""
    first, second = copies.pairs.T
    unlisted = []
    for side in sides:
        listed = cluster[first[side[first] * side[second] < 0]]
        spanning = np.intersect1d(cluster[side > 0], cluster[side < 0])
        for name in np.setdiff1d(spanning, listed):
            members = np.flatnonzero((cluster == name) & (side != 0))
            others = members[side[members] != side[members[0]]]
            unlisted += [(members[0], other) for other in others]
    if not unlisted:
        return copies.pairs, copies.exact, copies.scores
    more = np.unique(unlisted, axis=0)
    equal = sketches.digests[more[:, 0]] == sketches.digests[more[:, 1]]
    scores = np.where(equal, 1, score_pairs(sketches, more))
    pairs = np.concatenate([copies.pairs, more])
    order = np.lexsort(pairs.T[::-1])
    return (
        pairs[order],
        np.concatenate([copies.exact, equal])[order],
        np.concatenate([copies.scores, scores])[order],
    )


def _groups_of_source(groups: np.ndarray, source_groups: np.ndarray) -> _Finding:
    known = set(_plain(source_groups))
    shared = [name for name in _plain(np.unique(groups)) if name in known]
    images = sum(name in known for name in _plain(groups))
    found = {"source_shared_groups": tuple(shared), "source_group_images": images}
    if not shared:
        return found, []
    return found, [
        f"The source has {counted(len(shared), 'group')} of the target too, such as {shared[0]!r}: "
        f"{images} of {counted(len(groups), 'image')} ({_percent(images, len(groups))}) have a "
        "group that the source model was trained on."
    ]


def _copies_of_source(
    copies: Copies, n: int, names: Sequence[Any] | None, source_names: Sequence[Any] | None
) -> _Finding:
    found = {
        "source_copies": copies.pairs,
        "source_copies_exact": copies.exact,
        "source_copy_scores": copies.scores,
        "source_copy_names": _names(copies.pairs, names, source_names),
    }
    copied = len(np.unique(copies.pairs[:, 0]))
    if not copied:
        return found, []
    row, of = copies.pairs[0].tolist()
    return found, [
        f"The source has copies of {copied} of {counted(n, 'image')} ({_percent(copied, n)}), "
        f"such as source image {of} of image {row}."
    ]


def _names(
    pairs: np.ndarray, first: Sequence[Any] | None, second: Sequence[Any] | None
) -> tuple[tuple[str, str], ...] | None:
    """Return the file names of pairs of images, where they are known."""
    if first is None or second is None:
        return None
    return tuple((str(first[a]), str(second[b])) for a, b in pairs.tolist())


def _of_folds(where: np.ndarray, indices: list[Indices]) -> str:
    return f"{len(where)} of {counted(len(indices), 'fold')}"


def _of_tests(images: Any, indices: list[Indices]) -> str:
    count, tests = int(sum(images)), sum(len(test) for _, test in indices)
    return f"{count} of {counted(tests, 'test image')} ({_percent(count, tests)})"


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"


def _plain(values: np.ndarray) -> tuple[Any, ...]:
    """Return names as JSON has them: strings, numbers and truth values."""
    names = (name.item() if isinstance(name, np.generic) else name for name in values.tolist())
    return tuple(name if isinstance(name, (str, int, float)) else str(name) for name in names)


def _is_text(names: np.ndarray) -> bool:
    return any(isinstance(name, str) for name in names.tolist())
