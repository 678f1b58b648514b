"""Images whose label the networks that were not trained on them doubt most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from detl.checks import check_count, check_labels
from detl.notebook import ShowsItself


@dataclass(frozen=True, kw_only=True, eq=False)
class Suspects(ShowsItself):
    """Images to look at: wrong labels, bad images, or what the classifier cannot do.

    Attributes
    ----------
    rows : numpy.ndarray of int, shape (k,)
        Row index of each image, the most doubtful first.
    names : numpy.ndarray or None
        File name of each, where names were given.
    labels, predictions : numpy.ndarray of shape (k,)
        Its label, and the class that was decided for.
    of_label, of_prediction : numpy.ndarray of float, shape (k,)
        Out-of-fold probabilities of the two.
    n_wrong : int
        How many images in all are taken for another class than their label.
    counted : str
        ``"images"``, or ``"groups"`` of a result by group.

    References
    ----------
    Northcutt, Jiang, Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels",
    JAIR 70, sec. 3: out-of-fold probabilities of the given label.
    """

    rows: np.ndarray
    names: np.ndarray | None = field(repr=False)
    labels: np.ndarray
    predictions: np.ndarray
    of_label: np.ndarray
    of_prediction: np.ndarray
    n_wrong: int
    counted: str = field(repr=False)

    def __str__(self) -> str:
        """Return a table."""
        names = [""] * len(self.rows) if self.names is None else [str(name) for name in self.names]
        cells = [
            [str(row), f"{label} ({of_label:.3f})", f"{taken} ({of_taken:.3f})", name]
            for row, label, of_label, taken, of_taken, name in zip(
                self.rows,
                self.labels,
                self.of_label,
                self.predictions,
                self.of_prediction,
                names,
                strict=True,
            )
        ]
        table = [
            ["image", "label (probability)", "taken for", "" if self.names is None else "file"]
        ]
        table += cells
        widths = [max(len(row[column]) for row in table) for column in range(3)]
        lines = [
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]]).rstrip()
            for row in table
        ]
        return "\n".join(
            [
                *lines,
                f"{len(self.rows)} of {self.n_wrong} {self.counted} that are taken for another "
                "class than their label, the least probable label first.",
            ]
        )


def suspects(result: Any, *, n: int, names: Sequence[Any] | None) -> Suspects:
    """Return the most doubtful images; see :meth:`CrossValidationResult.suspects`."""
    check_count("n", n)
    found = None
    if names is not None:
        found = check_labels(names, len(result.labels), name="names", of=result.row_unit)
    every, of_label, predictions = doubts(result)
    rows, predictions = every[:n], predictions[:n]
    columns = np.searchsorted(result.classes, predictions.astype(result.classes.dtype))
    return Suspects(
        rows=rows,
        names=None if found is None else found[rows],
        labels=result.labels[rows],
        predictions=predictions,
        of_label=of_label[:n],
        of_prediction=result.probabilities[rows, columns],
        n_wrong=len(every),
        counted=result.row_unit,
    )


def doubts(result: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows that are taken for another class, the least probable label first.

    With the probability of each label, and the class that was decided for.
    """
    tested = np.unique(result.predicted_rows)
    truth = np.searchsorted(result.classes, result.labels[tested])
    of_truth = result.probabilities[tested, truth]
    wrong = result.predictions[tested] != result.labels[tested]
    order = np.argsort(of_truth, kind="stable")
    order = order[wrong[order]]
    return tested[order], of_truth[order], result.predictions[tested[order]]
