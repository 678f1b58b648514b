"""The report of an audit: what is on both sides of a split, as numbers, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from detl import plots
from detl.notebook import ShowsItself

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS_SHOWN = 10
_PAIRS_SHOWN = 5
_PAIRS = ("copies", "source_copies")
_FLAGS = ("copies_exact", "copies_across", "copies_relabelled", "source_copies_exact")
_SCORES = ("copy_scores", "copy_thresholds", "source_copy_scores")
_COUNTS = ("train_counts", "test_counts", "shared_group_images", "copied_images", *_PAIRS)
_DTYPES: dict[str, type] = {
    **dict.fromkeys(_COUNTS, int),
    **dict.fromkeys(_FLAGS, bool),
    **dict.fromkeys(_SCORES, float),
}
# What records of earlier versions do not have.
_NEW = (*_SCORES, "copy_names", "source_copy_names", "n_alike")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Audit(ShowsItself):
    """What is on both sides of a split; ``print`` it for a report.

    Names of classes and groups are plain strings and numbers, as JSON has them. None stands for
    what was not checked, because it was not given.

    Attributes
    ----------
    leaks : tuple of str
        What makes the scores too optimistic, one sentence each; empty if nothing was found.
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
        Rows of images that are copies. Of k equal images, these are the k - 1 pairs of the first
        with each other, and pairs across a fold that does not use the first.
    copies_exact, copies_across, copies_relabelled : numpy.ndarray of bool, shape (m,), or None
        Whether all pixels are equal; whether the two are on different sides in some fold; whether
        they have different labels.
    copied_images : numpy.ndarray of int, shape (n_folds,), or None
        Test images of which a copy, or a copy's copy, is trained on.
    copy_scores : numpy.ndarray of float, shape (m,), or None
        Correlation of the pairs' detail, 1 for equal images.
    copy_names : tuple of (str, str), or None
        File names of the pairs, where the audit was given them.
    copy_thresholds : numpy.ndarray of float, shape (n_classes,), or None
        Correlation from which on images of each class are called copies.
    n_alike : int or None
        Pairs that are called none, though 0.85 or more alike: different images of the class are.
    source_shared_groups : tuple, or None
        Groups that the source has too.
    source_group_images : int, or None
        Images of these groups.
    source_copies : numpy.ndarray of int, shape (m, 2), or None
        Pairs of copies (row of the image, row of the source image).
    source_copies_exact, source_copy_scores, source_copy_names
        As for ``copies``.
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
    copy_scores: np.ndarray | None = None
    copy_names: tuple[tuple[str, str], ...] | None = None
    copy_thresholds: np.ndarray | None = None
    n_alike: int | None = None
    source_shared_groups: tuple[Any, ...] | None = None
    source_group_images: int | None = None
    source_copies: np.ndarray | None = None
    source_copies_exact: np.ndarray | None = None
    source_copy_scores: np.ndarray | None = None
    source_copy_names: tuple[tuple[str, str], ...] | None = None

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

    def plot(self, *, ax: Axes | None = None, figsize: tuple[float, float] | None = None) -> Figure:
        r"""Draw the test images of each fold and its leaks with :func:`detl.plots.audit`.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on. By default, those of a new figure.
        figsize : tuple of (float, float), optional
            Width and height of a new figure in inches.

        Returns
        -------
        matplotlib.figure.Figure

        Examples
        --------
        >>> from detl import folds
        >>> labels, patients = ["covid", "normal"] * 6, [0, 1, 2, 3] * 3
        >>> split = folds.stratified_folds(labels, groups=patients, n_splits=2, random_state=0)
        >>> figure = folds.audit(split, labels, groups=patients).plot()
        >>> figure.axes[0].get_title()
        'leaks: none found\n(copies not checked)'
        """
        return plots.audit(self, ax=ax, figsize=figsize)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it, for :meth:`from_dict`."""
        return {entry.name: _to_json(getattr(self, entry.name)) for entry in fields(self)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Audit:
        """Return the audit that :meth:`to_dict` wrote down."""
        names = [entry.name for entry in fields(cls)]
        absent = [name for name in names if name not in (*record, *_NEW)]
        if absent:
            raise ValueError(
                f"The record has no {', '.join(absent)}; expected what Audit.to_dict returns."
            )
        return cls(**{name: _from_json(name, record.get(name)) for name in names})

    def __repr__(self) -> str:
        """Return the size of the split and the number of leaks."""
        folds = counted(len(self.test_counts), "fold")
        return f"Audit({folds}, {self.n_images} images, leaks: {self._verdict()})"

    def __str__(self) -> str:
        """Return the report as text."""
        untested = f", {self.n_untested} never tested" if self.n_untested else ""
        lines = [
            f"audit of {counted(len(self.test_counts), 'fold')}: {self.n_images} images{untested}",
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
                        f"class {name!r}: {counted(len(absent), 'fold')} ({folds}{more}) "
                        f"without images to {verb}; {so}"
                    )
        return lines

    def _checked(self) -> list[str]:
        """Return what was looked for, and found."""
        groups, copies = (
            "groups: not checked, none were given",
            "copies: not checked, none were given",
        )
        of_source = "groups of the source: not checked, none were given"
        source_copies = "copies of source images: not checked, none were given"
        if self.shared_groups is not None:
            groups = f"groups on both sides: {sum(map(len, self.shared_groups)) or 'none'}"
        if self.copies is not None:
            copies = (
                f"copies: {counted(len(self.copies), 'pair')} ({_count(self.copies_exact)} exact), "
                f"{_count(self.copies_across)} across the split, "
                f"{_count(self.copies_relabelled)} of different labels"
            )
        if self.source_shared_groups is not None:
            of_source = (
                f"groups shared with the source: {len(self.source_shared_groups)}, "
                f"of {self.source_group_images} images"
            )
        if self.source_copies is not None:
            copied = len(np.unique(self.source_copies[:, 0]))
            exact = _count(self.source_copies_exact)
            source_copies = f"copies of source images: {copied} ({exact} exact)"
        return [
            groups,
            copies,
            *_shown(self.copies, self.copy_scores, self.copies_exact, self.copy_names, "image"),
            *self._alike(),
            of_source,
            source_copies,
            *_shown(
                self.source_copies,
                self.source_copy_scores,
                self.source_copies_exact,
                self.source_copy_names,
                "source image",
            ),
        ]

    def _alike(self) -> list[str]:
        """Return how many pairs are alike, but no copies, and from where on they would be."""
        if not self.n_alike or self.copy_thresholds is None:
            return []
        low, high = self.copy_thresholds.min(), self.copy_thresholds.max()
        least = f"{low:.3f}" if low == high else f"{low:.3f} to {high:.3f}, by class"
        return [
            f"alike, as different images are here: {counted(self.n_alike, 'pair')} from 0.85 "
            f"on; copies have at least {least} (copy_threshold)"
        ]


def _shown(
    pairs: np.ndarray | None, scores: np.ndarray | None, exact: Any, names: Any, second: str
) -> list[str]:
    """Return a line for each of the least alike of the pairs: those that may be none."""
    if pairs is None or scores is None:
        return []
    lines = []
    for place in np.argsort(scores, kind="stable")[:_PAIRS_SHOWN]:
        a, b = pairs[place].tolist()
        both = names[place] if names else (f"image {a}", f"{second} {b}")
        score = "exact" if exact[place] else f"{scores[place]:.3f}"
        lines.append(f"  {' and '.join(both)}: {score}")
    if len(pairs) > _PAIRS_SHOWN:
        lines.append(f"  and {len(pairs) - _PAIRS_SHOWN} more alike")
    return lines


def _to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [_to_json(item) for item in value] if isinstance(value, tuple) else value


def _from_json(name: str, value: Any) -> Any:
    if value is None or name not in _DTYPES:
        return _as_tuple(value)
    array: np.ndarray = np.array(value, dtype=_DTYPES[name])
    return array.reshape(-1, 2) if name in _PAIRS else array


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def counted(count: int, noun: str) -> str:
    """Return the count with its noun, in the plural where it is not one."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _count(flags: np.ndarray | None) -> str:
    return str((0 if flags is None else np.count_nonzero(flags)) or "none")
