"""What is on both sides of a split, and what of the target the source model has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from detl.checks import check_images, check_labels
from detl.folds.copies import Sketches, copies_between, copies_within, sketch
from detl.folds.splitting import Indices, from_splitter

_COLUMNS_SHOWN = 10
# Of the arrays of an audit: what to make of a list that JSON gives back.
_DTYPES = {
    "train_counts": int,
    "test_counts": int,
    "shared_group_images": int,
    "copies": int,
    "copies_exact": bool,
    "copies_across": bool,
    "copies_relabelled": bool,
    "copied_images": int,
    "source_copies": int,
    "source_copies_exact": bool,
}


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Audit:
    """What is on both sides of a split; ``print`` it for a report.

    Names of classes and groups are plain strings and numbers, as JSON has them. None stands for
    what was not checked, because it was not given.

    Attributes
    ----------
    leaks : tuple of str
        What makes scores flatter, one sentence each; empty if nothing was found.
    classes : tuple
        Class names, sorted.
    n_images, n_untested : int
        Number of labelled images, and of those that no fold tests.
    train_counts, test_counts : numpy.ndarray of int, shape (n_folds, n_classes)
        Images of each class that each fold trains on and tests.
    shared_groups : tuple of tuple, or None
        Groups on both sides, of each fold.
    shared_group_images : numpy.ndarray of int, shape (n_folds,), or None
        Test images of these groups.
    copies : numpy.ndarray of int, shape (m, 2), or None
        Rows of images that are copies, wherever they are. Of k equal images, these are the k - 1
        pairs of the first with each other; where a fold does not use the first, so that none of
        them is across, those of the first that it uses with those on the other side come on top.
    copies_exact, copies_across, copies_relabelled : numpy.ndarray of bool, shape (m,), or None
        Whether all pixels are equal; whether the two are on different sides in some fold; whether
        they have different labels.
    copied_images : numpy.ndarray of int, shape (n_folds,), or None
        Test images of which a copy, or a copy's copy, is trained on.
    source_shared_groups : tuple, or None
        Groups that the source has too.
    source_group_images : int, or None
        Images of these groups.
    source_copies : numpy.ndarray of int, shape (m, 2), or None
        Pairs of copies (row of the image, row of the source image).
    source_copies_exact : numpy.ndarray of bool, shape (m,), or None
        Whether all pixels are equal.
    """

    leaks: tuple[str, ...]
    classes: tuple[Any, ...]
    n_images: int
    n_untested: int
    train_counts: np.ndarray
    test_counts: np.ndarray
    shared_groups: tuple[tuple[Any, ...], ...] | None = None
    shared_group_images: np.ndarray | None = None
    copies: np.ndarray | None = None
    copies_exact: np.ndarray | None = None
    copies_across: np.ndarray | None = None
    copies_relabelled: np.ndarray | None = None
    copied_images: np.ndarray | None = None
    source_shared_groups: tuple[Any, ...] | None = None
    source_group_images: int | None = None
    source_copies: np.ndarray | None = None
    source_copies_exact: np.ndarray | None = None

    @property
    def leaks_across(self) -> bool:
        """Whether groups or copies of images are on both sides of a fold."""
        sides = (self.shared_group_images, self.copied_images)
        return any(images is not None and bool(images.any()) for images in sides)

    @property
    def leaks_from_source(self) -> bool:
        """Whether the source has groups of the target or copies of its images."""
        copies = 0 if self.source_copies is None else len(self.source_copies)
        return bool(self.source_shared_groups) or copies > 0

    @property
    def missing_from_train(self) -> tuple[tuple[Any, ...], ...]:
        """Classes that each fold does not train on."""
        return self._missing(self.train_counts)

    @property
    def missing_from_test(self) -> tuple[tuple[Any, ...], ...]:
        """Classes that each fold does not test: scores that need them are left out there."""
        return self._missing(self.test_counts)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it; :meth:`from_dict` reads it again."""
        return {entry.name: _to_json(getattr(self, entry.name)) for entry in fields(self)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Audit:
        """Return the audit that :meth:`to_dict` wrote down."""
        names = [entry.name for entry in fields(cls)]
        absent = [name for name in names if name not in record]
        if absent:
            raise ValueError(
                f"The record has no {', '.join(absent)}; expected what Audit.to_dict returns."
            )
        return cls(**{name: _from_json(name, record[name]) for name in names})

    def __repr__(self) -> str:
        """Return the size of the split and the number of leaks."""
        folds = _number(len(self.test_counts), "fold")
        return f"Audit({folds}, {self.n_images} images, leaks: {self._verdict()})"

    def __str__(self) -> str:
        """Return the report worth pasting."""
        untested = f", {self.n_untested} never tested" if self.n_untested else ""
        lines = [
            f"audit of {_number(len(self.test_counts), 'fold')}: {self.n_images} images{untested}",
            *self._table(),
            *self._absences(),
            *self._checked(),
            f"leaks: {self._verdict()}",
            *(f"- {leak}" for leak in self.leaks),
        ]
        return "\n".join(lines)

    def _missing(self, counts: np.ndarray) -> tuple[tuple[Any, ...], ...]:
        return tuple(tuple(self.classes[i] for i in np.flatnonzero(row == 0)) for row in counts)

    def _verdict(self) -> str:
        unchecked = self.shared_groups is None or self.copies is None
        return f"{len(self.leaks) or 'none'} found" + (", not everything checked" * unchecked)

    def _table(self) -> list[str]:
        """Return counts by fold, or the fewest and the most of many folds."""
        rows = [("training images", self.train_counts.sum(axis=1))]
        rows += [("test images", self.test_counts.sum(axis=1))]
        rows += [(f"  {name}", self.test_counts[:, i]) for i, name in enumerate(self.classes)]
        if self.shared_group_images is not None:
            rows.append(("  of a group in training", self.shared_group_images))
        if self.copied_images is not None:
            rows.append(("  copied in training", self.copied_images))
        head: list[Any] = ["fold", *range(len(self.test_counts))]
        table = [[name, *counts.tolist()] for name, counts in rows]
        if len(self.test_counts) > _COLUMNS_SHOWN:
            head = ["of all folds", "fewest", "most"]
            table = [[name, int(counts.min()), int(counts.max())] for name, counts in rows]
        width = max(len(row[0]) for row in [head, *table])
        return [
            f"{name:<{width}}" + "".join(f"{cell:>8}" for cell in cells)
            for name, *cells in [head, *table]
        ]

    def _absences(self) -> list[str]:
        """Return which classes are in no part of which folds, one line per class and part."""
        lines = []
        parts = (
            ("train on", self.train_counts, "those that are tested there count as wrong"),
            ("test", self.test_counts, "scores that need them are left out"),
        )
        for verb, counts, so in parts:
            for name, count in zip(self.classes, counts.T):
                absent = np.flatnonzero(count == 0).tolist()
                if absent:
                    folds = ", ".join(map(str, absent[:_COLUMNS_SHOWN]))
                    more = ", ..." if len(absent) > _COLUMNS_SHOWN else ""
                    lines.append(
                        f"class {name!r}: {_number(len(absent), 'fold')} ({folds}{more}) "
                        f"without images to {verb}; {so}"
                    )
        return lines

    def _checked(self) -> list[str]:
        """Return what was looked for, and found."""
        lines = []
        if self.shared_groups is None:
            lines.append("groups: not checked, none were given")
        else:
            shared = sum(map(len, self.shared_groups))
            lines.append(f"groups on both sides: {shared or 'none'}")
        if self.copies is None:
            lines.append("copies: not checked, no images were given")
        else:
            lines.append(
                f"copies: {_number(len(self.copies), 'pair')} ({_count(self.copies_exact)} exact), "
                f"{_count(self.copies_across)} across the split, "
                f"{_count(self.copies_relabelled)} of different labels"
            )
        if self.source_shared_groups is None:
            lines.append("groups of the source: not checked, none were given")
        else:
            lines.append(
                f"groups shared with the source: {len(self.source_shared_groups)}, "
                f"of {self.source_group_images} images"
            )
        if self.source_copies is None:
            lines.append("copies of source images: not checked, none were given")
        else:
            copied = len(np.unique(self.source_copies[:, 0]))
            lines.append(
                f"copies of source images: {copied} ({_count(self.source_copies_exact)} exact)"
            )
        return lines


def audit(
    indices: Any,
    labels: Any,
    *,
    groups: Any = None,
    images: Any = None,
    source_groups: Any = None,
    source_images: Any = None,
) -> Audit:
    """Tell what is on both sides of a split, and what the source model has seen already.

    Give as much as there is: what is not given is not checked, and the report says so.

    Copies are images with the same pixels, or of the same picture saved anew, resized, cropped by a
    few per cent, brightened or mirrored (not rotated). They are found by comparing images in
    detail, and now and then two exposures of one patient are as alike: look at the pairs. Images of
    which little is to be seen, such as bare borders, are alike too: audit them uncovered.

    Parameters
    ----------
    indices : list of (train, test), or splitter
        Row indices, as the functions of this module return them; see :func:`from_splitter`.
    labels : array-like of shape (n,)
        Class of each image.
    groups : array-like of shape (n,), optional
        What must not be on both sides, such as the patient of each image.
    images : numpy.ndarray of shape (n, height, width, channels), optional
        Pixels in [0, 255]; may be a memory map, which is read in batches.
    source_groups : array-like of shape (n_source,), optional
        Groups of the images that the source model was trained on, named as in ``groups``.
    source_images : numpy.ndarray of shape (n_source, height, width, channels), optional
        These images, of any size.

    Returns
    -------
    Audit
        Counts, shared groups, copies, and ``leaks``, one sentence for each thing that is wrong.

    Raises
    ------
    ValueError
        If lengths differ, or indices are out of range or overlap.

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
    indices = from_splitter(indices, labels, groups=groups)
    if groups is not None:
        groups = check_labels(groups, len(labels), name="groups")
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
    for name, of_source, of_target in (
        ("groups", source_groups, groups),
        ("images", source_images, images),
    ):
        if of_source is not None and of_target is None:
            raise ValueError(f"source_{name} without {name}; give both, to find what they share.")

    if source_groups is not None and _is_text(source_groups) != _is_text(groups):
        raise TypeError(
            f"groups are such as {groups.tolist()[0]!r}, but source_groups such as "
            f"{source_groups.tolist()[0]!r}: text and numbers are never equal; name both alike."
        )
    return _examine(
        indices,
        labels,
        groups=groups,
        images=images,
        source_groups=source_groups,
        source_images=source_images,
    )


def _examine(
    indices: list[Indices],
    labels: np.ndarray,
    *,
    groups: np.ndarray | None,
    images: np.ndarray | None,
    source_groups: np.ndarray | None,
    source_images: np.ndarray | None,
) -> Audit:
    """Return the audit of arguments that :func:`detl.folds.audit` has checked."""
    classes, targets = np.unique(labels, return_inverse=True)
    train_counts, test_counts = (
        np.array([np.bincount(targets[split[part]], minlength=len(classes)) for split in indices])
        for part in (0, 1)
    )
    tested = np.unique(np.concatenate([test for _, test in indices]))
    found: dict[str, Any] = {}
    leaks: list[str] = []
    if groups is not None:
        leaks += _examine_groups(found, indices, groups)
        if source_groups is not None:
            leaks += _examine_source_groups(found, groups, source_groups)
    if images is not None:
        sketches = sketch(images)
        leaks += _examine_copies(found, indices, labels, sketches)
        if source_images is not None:
            leaks += _examine_source_copies(found, sketches, sketch(source_images))
    return Audit(
        leaks=tuple(leaks),
        classes=_plain(classes),
        n_images=len(labels),
        n_untested=len(labels) - len(tested),
        train_counts=train_counts,
        test_counts=test_counts,
        **found,
    )


def _examine_groups(found: dict[str, Any], indices: list[Indices], groups: np.ndarray) -> list[str]:
    shared = [np.intersect1d(groups[train], groups[test]) for train, test in indices]
    images = [np.isin(groups[test], names).sum() for names, (_, test) in zip(shared, indices)]
    found["shared_groups"] = tuple(map(_plain, shared))
    found["shared_group_images"] = np.array(images)
    where = np.flatnonzero(images)
    if not where.size:
        return []
    example = found["shared_groups"][where[0]][0]
    return [
        f"Groups are on both sides in {_of_folds(where, indices)}: {_of_tests(images, indices)} "
        f"have a group that is trained on, such as {example!r} in fold {where[0]}."
    ]


def _examine_copies(
    found: dict[str, Any],
    indices: list[Indices],
    labels: np.ndarray,
    sketches: Sketches,
) -> list[str]:
    copies = copies_within(sketches)
    first, second = copies.pairs.T
    n = len(labels)
    links = coo_array((np.ones(len(first)), (first, second)), shape=(n, n))
    cluster = connected_components(links, directed=False)[1]
    across = np.zeros(len(first), dtype=bool)
    copied = []
    unlisted: list[tuple[int, int]] = []
    example = ""
    for number, (train, test) in enumerate(indices):
        side = np.zeros(n, dtype=int)
        side[train], side[test] = 1, -1
        crossing = side[first] * side[second] < 0
        across |= crossing
        unlisted += _unlisted(cluster, side, cluster[first[crossing]])
        rows = test[np.isin(cluster[test], cluster[train])]
        copied.append(len(rows))
        if not example and len(rows):
            original = train[cluster[train] == cluster[rows[0]]][0]
            example = f"such as image {rows[0]} of image {original} in fold {number}"
    pairs, exact = copies.pairs, copies.exact
    if unlisted:
        more = np.unique(unlisted, axis=0)
        equal = sketches.digests[more[:, 0]] == sketches.digests[more[:, 1]]
        pairs = np.concatenate([pairs, more])
        order = np.lexsort(pairs.T[::-1])
        pairs, exact = pairs[order], np.concatenate([exact, equal])[order]
        across = np.concatenate([across, np.ones(len(more), dtype=bool)])[order]
    first, second = pairs.T
    relabelled = np.asarray(labels[first] != labels[second], dtype=bool)
    found["copies"] = pairs
    found["copies_exact"] = exact
    found["copies_across"] = across
    found["copies_relabelled"] = relabelled
    found["copied_images"] = np.array(copied)
    leaks = []
    if example:
        leaks.append(
            f"Copies are on both sides in {_of_folds(np.flatnonzero(copied), indices)}: "
            f"{_of_tests(copied, indices)} are copies of training images, {example}."
        )
    contradictions = np.flatnonzero(across & relabelled)
    if contradictions.size:
        a, b = pairs[contradictions[0]].tolist()
        leaks.append(
            "Copies across the split have different labels: "
            f"{_number(len(contradictions), 'pair')}, such as image {a} ({_plain(labels)[a]!r}) "
            f"and image {b} ({_plain(labels)[b]!r})."
        )
    return leaks


def _unlisted(cluster: np.ndarray, side: np.ndarray, listed: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs across a fold of copies that only images in neither part connect.

    ``listed`` are the clusters of which another pair is across.
    """
    spanning = np.intersect1d(cluster[side > 0], cluster[side < 0])
    found = []
    for name in np.setdiff1d(spanning, listed):
        members = np.flatnonzero((cluster == name) & (side != 0))
        others = members[side[members] != side[members[0]]]
        found += [(int(members[0]), int(other)) for other in others]
    return found


def _examine_source_groups(
    found: dict[str, Any], groups: np.ndarray, source_groups: np.ndarray
) -> list[str]:
    known = set(_plain(source_groups))
    shared = [name for name in _plain(np.unique(groups)) if name in known]
    images = sum(name in known for name in _plain(groups))
    found["source_shared_groups"] = tuple(shared)
    found["source_group_images"] = images
    if not shared:
        return []
    return [
        f"The source has {_number(len(shared), 'group')} of the target too, such as {shared[0]!r}: "
        f"{images} of {_number(len(groups), 'image')} ({_percent(images, len(groups))}) have a "
        "group that the source model was trained on."
    ]


def _examine_source_copies(
    found: dict[str, Any], sketches: Sketches, of_source: Sketches
) -> list[str]:
    copies = copies_between(sketches, of_source)
    found["source_copies"] = copies.pairs
    found["source_copies_exact"] = copies.exact
    n, copied = len(sketches.digests), len(np.unique(copies.pairs[:, 0]))
    if not copied:
        return []
    row, of = copies.pairs[0].tolist()
    return [
        f"The source has copies of {copied} of {_number(n, 'image')} ({_percent(copied, n)}), "
        f"such as source image {of} of image {row}."
    ]


def _of_folds(where: np.ndarray, indices: list[Indices]) -> str:
    return f"{len(where)} of {_number(len(indices), 'fold')}"


def _of_tests(images: list[Any], indices: list[Indices]) -> str:
    count, tests = int(sum(images)), sum(len(test) for _, test in indices)
    return f"{count} of {_number(tests, 'test image')} ({_percent(count, tests)})"


def _percent(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _count(flags: np.ndarray | None) -> str:
    return str((0 if flags is None else np.count_nonzero(flags)) or "none")


def _plain(values: np.ndarray) -> tuple[Any, ...]:
    """Return names as JSON has them: strings, numbers and truth values."""
    names = (name.item() if isinstance(name, np.generic) else name for name in values.tolist())
    return tuple(name if isinstance(name, (str, int, float)) else str(name) for name in names)


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_to_json(item) for item in value] if isinstance(value, tuple) else value


def _from_json(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _DTYPES:
        array: np.ndarray = np.array(value, dtype=_DTYPES[name])
        return array.reshape(-1, 2) if name in ("copies", "source_copies") else array
    return _as_tuple(value)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _is_text(names: np.ndarray) -> bool:
    return any(isinstance(name, str) for name in names.tolist())
